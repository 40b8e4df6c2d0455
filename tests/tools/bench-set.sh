#!/usr/bin/env bash
# Runs the standard benchmark and tells it in docs/performance.md and docs/performance.svg.
#
#   tests/services/with-services.sh tests/tools/bench-set.sh PROGRAMS
#
# PROGRAMS is cargo's folder with herald, bench-report and examples/bare_*. Each run leaves its results in target/bench/REVISION,
# and is not repeated while they are there.
#
#   BENCH_AGAIN=1     repeats every run
#   BENCH_SECONDS=2   runs each for so long, to try it; tells it in a copy of the document beside the results
set -euo pipefail

programs=$1
tools=$(dirname "${BASH_SOURCE[0]}")
# The last that changed anything but documents.
code=(. ':!docs' ':!*.md')
revision=$(git log -1 --format=%h -- "${code[@]}")
[[ -z "$(git status --porcelain -- "${code[@]}")" ]] || revision+=-with-changes
folder=target/bench/$revision${BENCH_SECONDS:+-${BENCH_SECONDS}s}
document=docs/performance
[[ -z "${BENCH_AGAIN:-}" ]] || rm -rf -- "$folder"
mkdir -p "$folder"

# What the figures are read with: one sentence.
machine() {
    local cpu kernel memory disk postgres
    cpu=$(lscpu | sed -n 's/^Model name: *//p')
    kernel=$(uname --kernel-release)
    memory=$(awk '/^MemTotal:/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
    disk=$(df --output=fstype . | tail -n 1)
    postgres=$("$("$tools/../services/postgres.sh" bin)/postgres" --version | cut -d ' ' -f 3)
    echo "Measured on $(date --utc +%F) at revision $revision: $(nproc) CPUs ($cpu), $memory GiB of memory, $disk, Linux $kernel," \
        "PostgreSQL $postgres."
}

# run NAME SECONDS ARGUMENT...: `herald bench` with those
run() {
    local file=$folder/$1.json seconds=${BENCH_SECONDS:-$2}
    if [[ -s "$file" ]]; then
        echo "$1: has been measured" >&2
        return
    fi
    echo "$1: $seconds s" >&2
    "${@:3}" --duration "$seconds" -o json >"$file.part"
    mv "$file.part" "$file"
}

# nodes NAME SECONDS ARGUMENT...
nodes() {
    run "$1" "$2" "$tools/bench-nodes.sh" "$programs/herald" --bare-postgres "$programs/examples/bare_postgres" "${@:3}"
}

# embedded NAME SECONDS ARGUMENT...
embedded() {
    run "$1" "$2" "$programs/herald" bench --bare-sqlite "$programs/examples/bare_sqlite" "${@:3}"
}

[[ -s "$folder/machine.txt" ]] || machine >"$folder/machine.txt"

nodes 11-unary-1 30 --by unary --clients 1 --concurrency 1024
nodes 12-unary-1000 30 --by unary --clients 1000 --concurrency 1024
nodes 13-batch-1 30 --by batch --clients 1 --concurrency 1024
nodes 14-stream-1 30 --by stream --clients 1 --concurrency 1024
nodes 15-stream-1000 30 --by stream --clients 1000 --concurrency 1024
nodes 16-stream-60s 60 --by stream --clients 1 --concurrency 1024

nodes 21-burst-unary 30 --burst --by unary --clients 1 --concurrency 1024
nodes 22-burst-stream 30 --burst --by stream --clients 1 --concurrency 1024

for rate in 10 100 500 1000 2000 3000 5000; do
    nodes "$(printf '31-open-%05d' "$rate")" 30 --rate "$rate" --concurrency 1024 --provider-scale 1000
done

embedded 41-embedded-unary 30 --by unary --concurrency 256
embedded 42-embedded-stream 30 --by stream --concurrency 1000
for rate in 100 500 1000; do
    embedded "$(printf '43-embedded-open-%05d' "$rate")" 30 --rate "$rate"
done

nodes 51-idle-subscribers 30 --idle-subscribers 10000 --connections 100

if [[ -n "${BENCH_SECONDS:-}" ]]; then
    cp "$document.md" "$folder"
    document=$folder/performance
fi
"$programs/bench-report" "$folder" "$document.md" "$document.svg"
echo "told in $document.md and $document.svg" >&2
