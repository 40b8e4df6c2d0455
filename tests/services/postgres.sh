#!/usr/bin/env bash
# A private PostgreSQL server for tests, in a directory of its own.
#
#   tests/services/postgres.sh start DIR   makes a cluster in the empty DIR, starts it, prints a superuser's URL
#   tests/services/postgres.sh stop DIR    stops it at once and removes DIR
#
# It listens on a free loopback port, with a random password, and on a socket in DIR. fsync stays on: the
# crash tests and the benchmark mean what they say.
set -euo pipefail

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
        fail "no server on this machine: install PostgreSQL, or set HERALD_TEST_POSTGRES_URL to a superuser's URL"
    fi
    say "none on this machine, installing it with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    {
        apt-get update -q
        apt-get install -y -q --no-install-recommends postgresql-common
        sed -i -E 's/^#?create_main_cluster *=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
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

start() {
    local dir=$1 bin account password port as_server=()
    bin=$(find_server)
    if [[ -z "$bin" ]]; then
        install_server
        bin=$(find_server)
        [[ -n "$bin" ]] || fail "apt-get installed it, but no server binaries were found"
    fi

    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077 && echo "$password" >"$dir/password")
    if [[ $(id -u) == 0 ]]; then
        account=$(server_account)
        chown -R "$account" "$dir"
        as_server=(runuser -u "$account" --)
    fi
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

    # A port below the range that outgoing connections take; if it is in use, the start fails and another is tried.
    for _ in {1..10}; do
        port=$((20000 + RANDOM % 12000))
        if "${as_server[@]}" "$bin/pg_ctl" start --silent --wait --timeout=60 --pgdata="$dir/data" \
            --log="$dir/server.log" --options="-p $port" </dev/null >/dev/null 2>&1; then
            say "a private server, $("$bin/postgres" --version | cut -d ' ' -f 3-), on 127.0.0.1:$port in $dir"
            echo "postgres://herald:$password@127.0.0.1:$port/postgres"
            return
        fi
    done
    tail -n 40 "$dir/server.log" >&2 || true
    fail "the server did not start"
}

# An immediate shutdown: nothing in the directory is wanted any more.
stop() {
    local dir=$1 pid
    if pid=$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null); then
        kill -QUIT "$pid" 2>/dev/null || true
        for _ in {1..100}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
    fi
    rm -rf -- "$dir"
}

[[ $# -eq 2 && -n "$2" ]] || fail "usage: postgres.sh start|stop DIR"
case "$1" in
    start | stop) "$1" "$2" ;;
    *) fail "usage: postgres.sh start|stop DIR" ;;
esac
