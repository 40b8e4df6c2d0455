#!/usr/bin/env bash
# Measures nodes on the servers of tests/services/with-services.sh, whose database must be empty.
#
#   tests/services/with-services.sh tests/tools/bench-nodes.sh HERALD [ARGUMENT...]
set -euo pipefail

herald=$1
shift
export HERALD_STORE_URL=$HERALD_TEST_POSTGRES_URL HERALD_QUEUE__URL=$HERALD_TEST_NATS_URL HERALD_REDIS__URL=$HERALD_TEST_REDIS_URL
# Other installations on the same servers are left alone.
export HERALD_QUEUE__PREFIX=herald_bench_$$ HERALD_REDIS__PREFIX=herald_bench_$$
exec "$herald" bench --nodes "$@"
