#!/usr/bin/env bash
# Measures nodes on the servers of tests/services/with-services.sh, in a database of their own that is dropped afterwards; or
# with BENCH_KEPT (tests/tools/kept.sh) in the server's own.
#
#   tests/services/with-services.sh tests/tools/bench-nodes.sh HERALD [ARGUMENT...]
set -euo pipefail

herald=$1
shift
psql=$("$(dirname "${BASH_SOURCE[0]}")/../services/postgres.sh" bin)/psql
name=herald_bench_$$

# sql STATEMENT
sql() {
    "$psql" --quiet --no-psqlrc "$HERALD_TEST_POSTGRES_URL" --command "$1"
}

if [[ -n "${BENCH_KEPT:-}" ]]; then
    export HERALD_STORE_URL=$HERALD_TEST_POSTGRES_URL
else
    sql "CREATE DATABASE $name"
    trap 'sql "DROP DATABASE $name WITH (FORCE)"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    export HERALD_STORE_URL=${HERALD_TEST_POSTGRES_URL%/*}/$name
fi
export HERALD_QUEUE__URL=$HERALD_TEST_NATS_URL HERALD_REDIS__URL=$HERALD_TEST_REDIS_URL
# Other installations on the same servers are left alone.
export HERALD_QUEUE__PREFIX=$name HERALD_REDIS__PREFIX=$name
"$herald" bench --nodes "$@"
