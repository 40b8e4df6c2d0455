#!/usr/bin/env bash
# Runs a command with a PostgreSQL server whose data stays, in a folder of its own.
#
#   tests/tools/kept.sh FOLDER GIGABYTES COMMAND [ARGUMENT...]
#
# Exports HERALD_TEST_POSTGRES_URL, so that with-services.sh brings the other servers only; and BENCH_KEPT. Fails if the disk has not so
# many gigabytes for what is not in the folder yet.
set -euo pipefail

mkdir -p "$1/postgres"
folder=$(cd "$1" && pwd)
gigabytes=$2
shift 2
postgres=$(cd "$(dirname "${BASH_SOURCE[0]}")/../services" && pwd)/postgres.sh

used=$(du --summarize --block-size=1G "$folder" | cut -f 1)
free=$(df --output=avail --block-size=1G "$folder" | tail -n 1)
if ((free < gigabytes - used)); then
    echo "$folder has $used GB and needs $gigabytes, but the disk has only $((free)) free" >&2
    exit 1
fi
trap '"$postgres" close "$folder/postgres"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
HERALD_TEST_POSTGRES_URL=$("$postgres" open "$folder/postgres")
export HERALD_TEST_POSTGRES_URL BENCH_KEPT=1
"$@"
