#!/usr/bin/env bash
# A private Redis server for tests, in a directory of its own.
#
#   tests/services/redis.sh start DIR   starts a server in the empty DIR, prints its URL
#   tests/services/redis.sh stop DIR    stops it at once and removes DIR
#
# It listens on a free loopback port, with a random password, and keeps nothing on disk.
set -euo pipefail

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
        fail "no server on this machine: install Redis, or set HERALD_TEST_REDIS_URL to a server's URL"
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

start() {
    local dir=$1 password port pid
    command -v redis-server >/dev/null || install_server || fail "apt-get did not install it"
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')

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
        setsid redis-server "$dir/redis.conf" </dev/null >"$dir/server.log" 2>&1 &
        pid=$!
        while kill -0 "$pid" 2>/dev/null; do
            if grep -qi "ready to accept connections" "$dir/server.log"; then
                echo "$pid" >"$dir/pid"
                say "a private server, $(redis-server --version | grep -o 'v=[^ ]*' | cut -c 3-), on 127.0.0.1:$port in $dir"
                echo "redis://default:$password@127.0.0.1:$port/0"
                return
            fi
            sleep 0.1
        done
    done
    tail -n 40 "$dir/server.log" >&2 || true
    fail "the server did not start"
}

# Nothing of it is wanted any more.
stop() {
    local dir=$1 pid
    if pid=$(cat "$dir/pid" 2>/dev/null); then
        kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -rf -- "$dir"
}

[[ $# -eq 2 && -n "$2" ]] || fail "usage: redis.sh start|stop DIR"
case "$1" in
    start | stop) "$1" "$2" ;;
    *) fail "usage: redis.sh start|stop DIR" ;;
esac
