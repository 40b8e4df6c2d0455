#!/usr/bin/env bash
# Runs a command with the services that Herald's tests need, and takes them away afterwards.
#
#   tests/services/with-services.sh COMMAND [ARGUMENT...]
#
# Exports a URL of each service. One that is in the environment already is used as it is; else NAME.sh starts a private,
# temporary server, installing it first if the machine has none.
#
#   HERALD_TEST_POSTGRES_URL   a superuser's: each test makes its own database
#   HERALD_TEST_NATS_URL       each test makes its own streams
set -euo pipefail

if [[ $# -eq 0 ]]; then
    echo "usage: with-services.sh COMMAND [ARGUMENT...]" >&2
    exit 64
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Each a script, and its directory.
started=()
stop_all() {
    local number
    for ((number = 0; number < ${#started[@]}; number += 2)); do
        "${started[number]}" stop "${started[number + 1]}" || true
    done
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# provide NAME SCRIPT VARIABLE
provide() {
    local name=$1 script=$here/$2 variable=$3 dir url
    if [[ -n "${!variable:-}" ]]; then
        echo "$name: the server of $variable" >&2
        return
    fi
    dir=$(mktemp -d "${TMPDIR:-/tmp}/herald-${2%.sh}.XXXXXX")
    started+=("$script" "$dir")
    # The trap does not run when this shell is killed with SIGKILL, as time limits do. This watcher, in a session of
    # its own, then stops the server; it ends by itself once the directory is gone.
    # shellcheck disable=SC2016 # expanded by the watcher
    setsid bash -c 'while kill -0 "$1" && [[ -d "$3" ]]; do sleep 1; done; exec "$2" stop "$3"' \
        watcher "$$" "$script" "$dir" </dev/null >/dev/null 2>&1 &
    url=$("$script" start "$dir")
    export "$variable=$url"
}

provide PostgreSQL postgres.sh HERALD_TEST_POSTGRES_URL
provide NATS nats.sh HERALD_TEST_NATS_URL
"$@"
