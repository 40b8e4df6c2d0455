#!/usr/bin/env bash
# Builds the `herald` of another git revision and prints its path. It is kept in target/old, with what it was built from.
#
#   tests/tools/herald-at.sh REVISION
set -euo pipefail

[[ $# -eq 1 ]] || { echo "usage: herald-at.sh REVISION" >&2; exit 64; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
revision=$(git -C "$root" rev-parse --verify --end-of-options "$1^{commit}")
old=$root/target/old
kept=$old/herald-$revision
if [[ ! -x "$kept" ]]; then
    echo "herald-at: building $revision" >&2
    rm -rf -- "$old/source"
    mkdir -p "$old/source"
    # With the time of now: what cargo keeps of another revision must not pass for this one's.
    git -C "$root" archive "$revision" | tar -x --touch -C "$old/source"
    (cd "$old/source" && CARGO_TARGET_DIR="$old" "${CARGO:-cargo}" build --locked -p herald --bin herald) >&2
    cp "$old/debug/herald" "$kept"
fi
echo "$kept"
