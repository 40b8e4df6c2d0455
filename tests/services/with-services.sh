#!/usr/bin/env bash
# Runs a command with the services that Herald's tests need, and takes them away afterwards.
#
#   tests/services/with-services.sh COMMAND [ARGUMENT...]
#
# Exports a URL of each service, in this order: the URL already in the environment; a private, temporary server from the
# binaries on this machine; the same after installing it; a container, where there is a Docker. It says which.
#
#   HERALD_TEST_POSTGRES_URL   a superuser's: each test makes its own database
#   HERALD_TEST_NATS_URL       each test makes its own streams
#   HERALD_TEST_REDIS_URL      each test has its own prefix
set -euo pipefail

if [[ $# -eq 0 ]]; then
    echo "usage: with-services.sh COMMAND [ARGUMENT...]" >&2
    exit 64
fi

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/herald-services.XXXXXX")
chmod 755 "$dir" # PostgreSQL runs under an account of its own

# Each server has a directory named as its script.
# shellcheck disable=SC2329 # called by the traps and by the watcher
stop_all() {
    local each
    for each in "$2"/*/; do
        [[ ! -d "$each" ]] || "$1/$(basename "$each").sh" stop "${each%/}"
    done
    rm -rf -- "$2"
}
trap 'stop_all "$scripts" "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The trap does not run when this shell is killed with SIGKILL, as time limits do. This watcher, in a session of
# its own, then stops the servers; it ends by itself once the directory is gone.
export -f stop_all
# shellcheck disable=SC2016 # expanded by the watcher
setsid bash -c 'while kill -0 "$1" && [[ -d "$3" ]]; do sleep 1; done; stop_all "$2" "$3"' \
    watcher "$$" "$scripts" "$dir" </dev/null >/dev/null 2>&1 &

# Leaves the URL of a server in the variable: service NAME VARIABLE
service() {
    local name=$1 variable=$2 url
    if [[ -n "${!variable:-}" ]]; then
        echo "$name: the server of $variable" >&2
        return
    fi
    mkdir "$dir/$name"
    url=$("$scripts/$name.sh" start "$dir/$name")
    export "$variable=$url"
}

service postgres HERALD_TEST_POSTGRES_URL
service nats HERALD_TEST_NATS_URL
service redis HERALD_TEST_REDIS_URL
"$@"
