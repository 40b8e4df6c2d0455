#!/usr/bin/env bash
# Fuzzes every target for a while, as many at a time as there are cores.
#
#   tests/fuzz/run.sh [SECONDS [TARGET...]]     60 seconds and all targets unless said otherwise
#
# A run begins with the committed inputs of tests/fuzz/corpus/TARGET. What it finds beyond them stays in
# target/fuzz/corpus/TARGET, where the next run begins; logs and failing inputs are beside it. Exits 1 if a target
# failed, after all have run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
seconds=${1:-60}
shift || true

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "'$seconds' is not a number of seconds"
command -v c++ >/dev/null || fail "libFuzzer is built with 'c++', which is not on this machine: install g++ or clang"

# The flags are those of .cargo/config.toml, which these variables would replace.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
out=${CARGO_TARGET_DIR:-$root/target}
mkdir -p "$out"
out=$(cd "$out" && pwd)/fuzz
export CARGO_TARGET_DIR=$out

targets=("$@")
if [[ ${#targets[@]} == 0 ]]; then
    for file in "$here"/targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi
for target in "${targets[@]}"; do
    [[ -f $here/targets/$target.rs ]] || fail "there is no target $target"
    [[ -n $(ls "$here/corpus/$target" 2>/dev/null) ]] || fail "$target has no inputs in tests/fuzz/corpus/$target"
done

# Cargo reads .cargo/config.toml of the directory it is started in.
(cd "$here" && "${CARGO:-cargo}" build --release --locked)
programs=$out/$(rustc -vV | sed -n 's/^host: //p')/release

# One line, or on failure the end of the log, the input's path and, where it is short, the input itself.
fuzz_one() {
    local target=$1 status=0 started=$SECONDS
    local log=$out/logs/$target.log artifacts=$out/artifacts/$target/ options=()
    [[ -f $here/dictionaries/$target.dict ]] && options+=("-dict=$here/dictionaries/$target.dict")
    mkdir -p "$out/logs" "$out/corpus/$target" "$artifacts"
    "$programs/$target" "${options[@]}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -entropic_scale_per_exec_time=1 \
        -artifact_prefix="$artifacts" -print_final_stats=1 \
        "$out/corpus/$target" "$here/corpus/$target" >"$log" 2>&1 || status=$?
    local runs coverage report input
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    if [[ $status == 0 ]]; then
        printf '  %-12s %4d s  %9d runs  %7d/s  coverage %5d  ok\n' "$target" $((SECONDS - started)) \
            "${runs:-0}" $((${runs:-0} / (SECONDS - started + 1))) "${coverage:-0}"
        return
    fi
    # One write, so that the reports of two targets do not mix.
    report=$(
        echo "  $target FAILED (exit $status) after $((SECONDS - started)) s"
        grep -v '^\(#\|INFO:\|stat::\)' "$log" | cut -c 1-500 | tail -n 60
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        if [[ -f $input ]]; then
            echo "the input is $input; see it fail again with:"
            echo "  $programs/$target $input"
            [[ $(wc -c <"$input") -gt 3000 ]] || echo "its octets in base64: $(base64 -w 0 <"$input")"
        fi
        echo "the whole log is $log"
    )
    printf '%s\n' "$report"
    return 1
}
export -f fuzz_one
export here out programs seconds

echo "fuzzing ${targets[*]}, $seconds s each:"
# shellcheck disable=SC2016 # the inner shell expands it
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'fuzz_one "$1"' fuzz_one ||
    fail "a target failed: its input belongs into tests/fuzz/corpus once it passes"
