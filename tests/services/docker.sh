# shellcheck shell=bash
# Sourced by the scripts of the engines: a server in a Docker container, where nothing else brings one. Its image is that
# of compose.yaml. It is started and stopped; who wants to kill it, or a cluster, needs the program itself.

# A Docker that answers.
has_docker() {
    command -v docker >/dev/null && docker version >/dev/null 2>&1
}

# run_container DIR IMAGE PORT [OPTION...] -- [ARGUMENT...]: prints the loopback port that leads to PORT.
run_container() {
    local dir=$1 image port=$3 options=()
    image=$(sed -n "s/^ *image: \($2:.*\)/\1/p" "$(dirname "${BASH_SOURCE[0]}")/../../compose.yaml")
    shift 3
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    docker run --rm --detach --cidfile "$dir/container" --publish "127.0.0.1::$port" "${options[@]}" "$image" "$@" \
        </dev/null >/dev/null || return
    say "$image in Docker"
    docker port "$(cat "$dir/container")" "$port/tcp" | sed -n '1s/.*://p'
}

# until_container DIR COMMAND...: waits until the command succeeds; fails when the container ends, or after a minute.
until_container() {
    local id
    id=$(cat "$1/container")
    shift
    for _ in {1..300}; do
        if "$@" "$id" >/dev/null 2>&1; then
            return
        fi
        [[ -n $(docker ps --quiet --no-trunc --filter "id=$id") ]] || break
        sleep 0.2
    done
    docker logs "$id" >&2 || true
    return 1
}

# logs_say TEXT CONTAINER
logs_say() {
    # All of it is read: a pipe that is closed early would count as a failure.
    docker logs "$2" 2>&1 | grep -i "$1"
}

# What a container cannot do is refused.
refuse_container() {
    [[ ! -e "$1/container" ]] || fail "it runs in Docker, where it cannot be killed, restarted or wiped: install the program"
}

stop_container() {
    if [[ -s "$1/container" ]]; then
        docker rm --force "$(cat "$1/container")" >/dev/null || true
    fi
}
