#!/usr/bin/env bash
# Runs a command with the services that Herald's tests need, and takes them away afterwards.
#
#   tests/services/with-services.sh COMMAND [ARGUMENT...]
#
# Exports HERALD_TEST_POSTGRES_URL: a superuser's URL, each test makes its own database with it. In this
# order: the URL already in the environment; a private, temporary server from the binaries on this machine;
# the same after installing PostgreSQL with apt-get.
set -euo pipefail

if [[ $# -eq 0 ]]; then
    echo "usage: with-services.sh COMMAND [ARGUMENT...]" >&2
    exit 64
fi
if [[ -n "${HERALD_TEST_POSTGRES_URL:-}" ]]; then
    echo "PostgreSQL: the server of HERALD_TEST_POSTGRES_URL" >&2
    exec "$@"
fi

postgres=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/postgres.sh
dir=$(mktemp -d "${TMPDIR:-/tmp}/herald-postgres.XXXXXX")
trap '"$postgres" stop "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The trap does not run when this shell is killed with SIGKILL, as time limits do. This watcher, in a session of
# its own, then stops the server; it ends by itself once the directory is gone.
# shellcheck disable=SC2016 # expanded by the watcher
setsid bash -c 'while kill -0 "$1" && [[ -d "$3" ]]; do sleep 1; done; exec "$2" stop "$3"' \
    watcher "$$" "$postgres" "$dir" </dev/null >/dev/null 2>&1 &

HERALD_TEST_POSTGRES_URL=$("$postgres" start "$dir")
export HERALD_TEST_POSTGRES_URL
"$@"
