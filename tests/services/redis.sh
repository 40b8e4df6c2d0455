#!/usr/bin/env bash
# A private Redis server for tests, in a directory of its own.
#
#   tests/services/redis.sh start DIR     starts a server in the empty DIR, prints its URL
#   tests/services/redis.sh kill DIR      ends it as a crash would
#   tests/services/redis.sh restart DIR   starts it again where it was
#   tests/services/redis.sh wipe DIR      nothing is left to remove: it keeps all in memory
#   tests/services/redis.sh pids DIR      prints its process id
#   tests/services/redis.sh stop DIR      stops it at once and removes DIR
#
# It listens on a free loopback port, with a random password, and keeps nothing on disk.
set -euo pipefail

# shellcheck source=tests/services/docker.sh
source "$(dirname "${BASH_SOURCE[0]}")/docker.sh"

say() {
    echo "Redis: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

# Installs the server's binary. Debian's package would start a server of its own: a policy of this call forbids it.
install_server() {
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        return 1
    fi
    say "none on this machine, installing it with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    local policy=/usr/sbin/policy-rc.d is_ours=no
    if [[ ! -e "$policy" ]]; then
        is_ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    local status=0
    { apt-get update -q && apt-get install -y -q --no-install-recommends redis-server; } </dev/null >&2 || status=$?
    [[ $is_ours == no ]] || rm -f -- "$policy"
    return "$status"
}

# Fails if it does not come up.
launch() {
    local pid
    setsid redis-server "$1/redis.conf" </dev/null >"$1/server.log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        if grep -qis "ready to accept connections" "$1/server.log"; then
            echo "$pid" >"$1/pid"
            return
        fi
        sleep 0.1
    done
    return 1
}

start() {
    local dir=$1 password port
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    if ! command -v redis-server >/dev/null && ! install_server; then
        has_docker || fail "no server on this machine: install Redis, or set HERALD_TEST_REDIS_URL to a server's URL"
        port=$(run_container "$dir" redis 6379 -- redis-server --requirepass "$password" --save "" --appendonly no)
        until_container "$dir" logs_say "ready to accept connections" || fail "the container did not start"
        echo "redis://default:$password@127.0.0.1:$port/0"
        return
    fi

    # A port below the range that outgoing connections take; if it is in use, the server ends and another is tried.
    for _ in {1..10}; do
        port=$((20000 + RANDOM % 12000))
        (umask 077 && cat >"$dir/redis.conf") <<-SETTINGS
			bind 127.0.0.1
			port $port
			requirepass $password
			dir $dir
			save ""
			appendonly no
		SETTINGS
        if launch "$dir"; then
            say "a private server, $(redis-server --version | grep -o 'v=[^ ]*' | cut -c 3-), on 127.0.0.1:$port in $dir"
            echo "redis://default:$password@127.0.0.1:$port/0"
            return
        fi
    done
    tail -n 40 "$dir/server.log" >&2 || true
    fail "the server did not start"
}

restart() {
    launch "$1" || fail "the server did not start again: see $1/server.log"
}

end() {
    local pid
    if pid=$(cat "$1/pid" 2>/dev/null); then
        kill -KILL "$pid" 2>/dev/null || true
        while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
        rm -f "$1/pid"
    fi
}

# Nothing of it is wanted any more.
stop() {
    end "$1"
    stop_container "$1"
    rm -rf -- "$1"
}

usage="usage: redis.sh start|kill|restart|wipe|pids|stop DIR"
[[ $# -eq 2 && -n "$2" ]] || fail "$usage"
[[ "$1" == @(start|stop) ]] || refuse_container "$2"
case "$1" in
    start | restart | stop) "$1" "$2" ;;
    kill) end "$2" ;;
    wipe) ;;
    pids) cat "$2/pid" ;;
    *) fail "$usage" ;;
esac
