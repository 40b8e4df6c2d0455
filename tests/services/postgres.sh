#!/usr/bin/env bash
# A private PostgreSQL server for tests, in a directory of its own.
#
#   tests/services/postgres.sh start DIR     makes a cluster in the empty DIR, starts it, prints a superuser's URL
#   tests/services/postgres.sh kill DIR      ends it as a crash would; what it stored stays
#   tests/services/postgres.sh restart DIR   starts it again where it was
#   tests/services/postgres.sh stop DIR      stops it at once and removes DIR
#   tests/services/postgres.sh open DIR      starts the one that is kept in DIR, or makes it; prints a superuser's URL
#   tests/services/postgres.sh close DIR     ends it in good order; what it stored stays
#   tests/services/postgres.sh bin           prints the directory of the binaries and tools
#
# It listens on a free loopback port, with a random password, and on a socket in DIR. fsync stays on: the
# crash tests and the benchmark mean what they say.
set -euo pipefail

# shellcheck source=tests/services/docker.sh
source "$(dirname "${BASH_SOURCE[0]}")/docker.sh"

say() {
    echo "PostgreSQL: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

# Prints the directory of the server's binaries: those on PATH, else the newest packaged ones.
find_server() {
    local initdb bin candidates
    mapfile -t candidates < <(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV)
    if initdb=$(command -v initdb); then
        candidates=("$(dirname "$(readlink -f "$initdb")")" "${candidates[@]}")
    fi
    for bin in "${candidates[@]}"; do
        if [[ -x "$bin/initdb" && -x "$bin/postgres" && -x "$bin/pg_ctl" ]]; then
            echo "$bin"
            return
        fi
    done
}

# Installs the server's binaries, without the system-wide cluster that Debian's package would make and start.
install_server() {
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        return 1
    fi
    say "none on this machine, installing it with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    {
        apt-get update -q &&
            apt-get install -y -q --no-install-recommends postgresql-common &&
            sed -i -E 's/^#?create_main_cluster *=.*/create_main_cluster = false/' \
                /etc/postgresql-common/createcluster.conf &&
            apt-get install -y -q --no-install-recommends postgresql
    } </dev/null >&2
}

# PostgreSQL refuses to run as root: prints the account that runs it then, making one if need be.
server_account() {
    local account
    for account in postgres herald-test; do
        if id -u "$account" >/dev/null 2>&1; then
            echo "$account"
            return
        fi
    done
    useradd --system --no-create-home --shell /usr/sbin/nologin herald-test >&2
    echo herald-test
}

# Sets as_server to what runs a command as the owner of DIR.
choose_account() {
    as_server=()
    if [[ $(id -u) == 0 ]]; then
        as_server=(runuser -u "$(stat --format=%U "$1")" --)
    fi
}

# launch PORT: fails if the port is in use.
launch() {
    "${as_server[@]}" "$bin/pg_ctl" start --silent --wait --timeout=60 --pgdata="$dir/data" \
        --log="$dir/server.log" --options="-p $1" </dev/null >/dev/null 2>&1
}

# launch_anywhere WHAT: on a port below the range that outgoing connections take; one that is in use is passed over. Prints the URL.
launch_anywhere() {
    local port
    for _ in {1..10}; do
        port=$((20000 + RANDOM % 12000))
        if launch "$port"; then
            echo "$port" >"$dir/port"
            say "$1, $("$bin/postgres" --version | cut -d ' ' -f 3-), on 127.0.0.1:$port in $dir"
            echo "postgres://herald:$(cat "$dir/password")@127.0.0.1:$port/postgres"
            return
        fi
    done
    tail -n 40 "$dir/server.log" >&2 || true
    fail "the server did not start"
}

# answers CONTAINER
answers() {
    docker exec "$1" pg_isready --quiet --username=herald --host=127.0.0.1
}

start() {
    local dir=$1 bin password port as_server=()
    bin=$(find_server)
    if [[ -z "$bin" ]] && install_server; then
        bin=$(find_server)
    fi
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    if [[ -z "$bin" ]]; then
        has_docker || fail "no server on this machine: install PostgreSQL, or set HERALD_TEST_POSTGRES_URL to a superuser's URL"
        port=$(POSTGRES_PASSWORD=$password run_container "$dir" postgres 5432 --env POSTGRES_PASSWORD \
            --env POSTGRES_USER=herald -- -c max_connections=200)
        # By TCP: while it sets itself up, it listens on a socket only.
        until_container "$dir" answers || fail "the container did not start"
        echo "postgres://herald:$password@127.0.0.1:$port/postgres"
        return
    fi
    (umask 077 && echo "$password" >"$dir/password")
    if [[ $(id -u) == 0 ]]; then
        chown -R "$(server_account)" "$dir"
    fi
    choose_account "$dir"
    # The server's account may not be able to read the directory that this was called from.
    cd "$dir"
    "${as_server[@]}" test -w "$dir" || fail "the account that runs it cannot reach $dir: set TMPDIR to a directory it can"

    "${as_server[@]}" "$bin/initdb" --pgdata="$dir/data" --username=herald --pwfile="$dir/password" \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 </dev/null ||
        { cat "$dir/initdb.log" >&2 && fail "initdb failed"; }
    cat >>"$dir/data/postgresql.conf" <<-SETTINGS
		listen_addresses = '127.0.0.1'
		unix_socket_directories = '$dir'
		max_connections = 200
		fsync = on
		timezone = 'UTC'
	SETTINGS

    launch_anywhere "a private server"
}

restart() {
    local dir=$1 bin as_server=()
    bin=$(find_server)
    choose_account "$dir"
    cd "$dir"
    # What was killed may still hold its port and its memory for a moment.
    for _ in {1..100}; do
        ! launch "$(cat "$dir/port")" || return 0
        sleep 0.1
    done
    tail -n 40 "$dir/server.log" >&2 || true
    fail "the server did not start again"
}

# One that still runs, because whoever opened it was killed, is ended first. Its port may be another each time.
open() {
    local dir=$1 bin as_server=()
    if [[ ! -e "$dir/port" ]]; then
        start "$dir"
        if [[ -e "$dir/container" ]]; then
            stop_container "$dir"
            fail "a container keeps nothing: install PostgreSQL"
        fi
        return
    fi
    close "$dir"
    bin=$(find_server)
    choose_account "$dir"
    cd "$dir"
    launch_anywhere "a kept server"
}

# No session is waited for, but what they wrote is written to the disk.
close() {
    end INT "$1"
}

# end SIGNAL DIR: sends it to the first process, which takes its children along, and waits.
end() {
    local pid
    # The number of one that is dead may be another process's by now.
    if pid=$(head -n 1 "$2/data/postmaster.pid" 2>/dev/null) && ps -o args= -p "$pid" | grep -qF "$2/data"; then
        kill "-$1" "$pid" 2>/dev/null || true
        for _ in {1..600}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
    fi
}

# An immediate shutdown: nothing in the directory is wanted any more.
stop() {
    end QUIT "$1"
    stop_container "$1"
    rm -rf -- "$1"
}

if [[ $# -eq 1 && $1 == bin ]]; then
    bin=$(find_server)
    [[ -n "$bin" ]] || fail "none on this machine"
    echo "$bin"
    exit
fi
usage="usage: postgres.sh start|kill|restart|stop|open|close DIR, postgres.sh bin"
[[ $# -eq 2 && -n "$2" ]] || fail "$usage"
[[ "$1" == @(start|stop) ]] || refuse_container "$2"
case "$1" in
    start | restart | stop | open | close) "$1" "$2" ;;
    kill) end KILL "$2" ;;
    *) fail "$usage" ;;
esac
