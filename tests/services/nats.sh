#!/usr/bin/env bash
# A private NATS server with JetStream for tests, or a cluster of three, in a directory of its own.
#
#   tests/services/nats.sh start DIR           starts a server in the empty DIR, prints its URL
#   tests/services/nats.sh start-cluster DIR   starts three, prints their URLs with commas between
#   tests/services/nats.sh kill DIR            ends them as a crash would; what they stored stays
#   tests/services/nats.sh restart DIR         starts those again that do not run, where they were
#   tests/services/nats.sh wipe DIR            removes what they stored; they must be dead
#   tests/services/nats.sh pids DIR            prints their process ids
#   tests/services/nats.sh stop DIR            ends them and removes DIR
#
# They listen on free loopback ports. Files are synced as NATS does by default: Herald asks no more of it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/services/docker.sh
source "$here/docker.sh"

say() {
    echo "NATS: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

# The server on PATH if it is new enough, else our own.
find_server() {
    local server version
    if server=$(command -v nats-server); then
        version=$("$server" --version | sed -n 's/.*v\([0-9][0-9.]*\).*/\1/p')
        if printf '%s\n' 2.11 "$version" | sort -CV; then
            echo "$server"
            return
        fi
        say "$server is $version, older than 2.11, and not used"
    fi
    "$here/../tools/ensure.sh" nats-server
}

# run NAME PORT [SETTING...]: a server whose files are in DIR/NAME.
run() {
    local name=$1 port=$2
    shift 2
    printf '%s\n' "server_name: $name" "listen: 127.0.0.1:$port" "jetstream { store_dir: \"$dir/$name\" }" "$@" \
        >"$dir/$name.conf"
    launch "$name"
}

# launch NAME: starts it by its settings. Prints nothing; fails if it does not come up.
launch() {
    local name=$1 pid
    rm -f "$dir/$name.log"
    # Without the output of this script, whose reader would wait for the server to end; and out of reach of Ctrl-C.
    setsid "$server" -c "$dir/$name.conf" -l "$dir/$name.log" </dev/null >/dev/null 2>&1 &
    pid=$!
    echo "$pid" >"$dir/$name.pid"
    for _ in {1..200}; do
        if grep -q 'Server is ready' "$dir/$name.log" 2>/dev/null; then
            return
        fi
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

# Ports below the range that outgoing connections take; if one is in use, the start fails and others are tried.
any_port() {
    echo $((20000 + RANDOM % 12000))
}

start() {
    local port
    if ! server=$(find_server); then
        has_docker || fail "no server on this machine: install it, or set HERALD_TEST_NATS_URL to a server's URL"
        port=$(run_container "$dir" nats 4222 -- -js)
        until_container "$dir" logs_say "Server is ready" || fail "the container did not start"
        echo "nats://127.0.0.1:$port"
        return
    fi
    for _ in {1..10}; do
        port=$(any_port)
        if run one "$port"; then
            say "a private server, $("$server" --version), on 127.0.0.1:$port in $dir"
            echo "nats://127.0.0.1:$port"
            return
        fi
    done
    tail -n 40 "$dir/one.log" >&2 || true
    fail "the server did not start"
}

start-cluster() {
    local port routes
    server=$(find_server) || fail "no server on this machine, and a cluster does not run in Docker: install it"
    for _ in {1..10}; do
        port=$(any_port)
        routes="nats://127.0.0.1:$((port + 3)), nats://127.0.0.1:$((port + 4)), nats://127.0.0.1:$((port + 5))"
        if run one "$port" "cluster { name: herald, listen: 127.0.0.1:$((port + 3)), routes: [$routes] }" &&
            run two $((port + 1)) "cluster { name: herald, listen: 127.0.0.1:$((port + 4)), routes: [$routes] }" &&
            run three $((port + 2)) "cluster { name: herald, listen: 127.0.0.1:$((port + 5)), routes: [$routes] }" &&
            has_leader; then
            say "a private cluster of three, $("$server" --version), from 127.0.0.1:$port on in $dir"
            echo "nats://127.0.0.1:$port,nats://127.0.0.1:$((port + 1)),nats://127.0.0.1:$((port + 2))"
            return
        fi
        end_servers
    done
    tail -n 40 "$dir"/*.log >&2 || true
    fail "the cluster did not start"
}

# Before that, JetStream refuses all requests.
has_leader() {
    for _ in {1..200}; do
        if grep -q 'cluster new metadata leader' "$dir"/*.log; then
            return
        fi
        sleep 0.05
    done
    return 1
}

restart() {
    local name
    server=$(find_server)
    for name in "$dir"/*.conf; do
        name=$(basename "$name" .conf)
        if [[ ! -e "$dir/$name.pid" ]]; then
            launch "$name" || fail "it did not start again: see $dir/$name.log"
        fi
    done
}

end_servers() {
    local file pid
    for file in "$dir"/*.pid; do
        # The number of one that is dead may be another process's by now.
        if pid=$(cat "$file" 2>/dev/null) && ps -o args= -p "$pid" | grep -qF "$dir/"; then
            kill -KILL "$pid" 2>/dev/null || true
            while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
        fi
        rm -f "$file"
    done
}

# Nothing in the directory is wanted any more.
stop() {
    end_servers
    stop_container "$dir"
    rm -rf -- "$dir"
}

wipe() {
    local file
    for file in "$dir"/*.conf; do
        rm -rf -- "${file%.conf}"
    done
}

usage="usage: nats.sh start|start-cluster|kill|restart|wipe|pids|stop DIR"
[[ $# -eq 2 && -n "$2" ]] || fail "$usage"
dir=$2
[[ "$1" == @(start|start-cluster|stop) ]] || refuse_container "$dir"
case "$1" in
    start | start-cluster | restart | stop | wipe) "$1" ;;
    kill) end_servers ;;
    pids) cat "$dir"/*.pid ;;
    *) fail "$usage" ;;
esac
