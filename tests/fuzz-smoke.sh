#!/usr/bin/env bash
# Builds every fuzz target on the stable toolchain, without cargo-fuzz, and runs each for a few seconds:
#   bash tests/fuzz-smoke.sh [SECONDS [TARGET...]]
# The run begins from the seeds and a fixed random seed. An input that fails is left in fuzz/artifacts/TARGET/.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${1:-5}
shift || true
host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${FUZZ_TARGET_DIR:-target}

# What libFuzzer needs to see where an input leads. `--target` keeps it out of build scripts and macros.
flags=(
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Ccodegen-units=1
    -Cdebug-assertions
    -Coverflow-checks
    -Copt-level=2
    --cfg=fuzzing
)

seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
mapfile -t targets < <(cargo run -q --target-dir "$target_dir" --example write-seeds "$seeds")
RUSTFLAGS="${flags[*]}" cargo build -q --target-dir "$target_dir" --target "$host" --bins
if [ $# -gt 0 ]; then
    targets=("$@")
fi

failed=0
for name in "${targets[@]}"; do
    mkdir -p "artifacts/$name"
    log="$seeds/$name.log"
    if "$target_dir/$host/debug/$name" -seed=1 -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -rss_limit_mb=1024 -artifact_prefix="artifacts/$name/" "$seeds/$name" >"$log" 2>&1; then
        echo "fuzz $name: $(sed -n 's/^Done \(.*\)$/\1/p' "$log"), $(grep -o 'cov: [0-9]*' "$log" | tail -1)"
    else
        failed=1
        echo "fuzz $name: FAILED"
        tail -n 40 "$log"
    fi
done
exit "$failed"
