#!/usr/bin/env bash
# Builds the no_std crates and a small firmware for a Cortex-M4 and prints the code size of the latter.
set -euo pipefail
cd "$(dirname "$0")/.."

target=thumbv7em-none-eabi
target_dir=${CARGO_TARGET_DIR:-$PWD/target}/bare-metal

build() {
    echo "cargo build -p $*"
    cargo build -q --target "$target" --target-dir "$target_dir" -p "$@"
}

for crate in cmp-message cmp-client cmp-binding ocpp-rpc charger-agent; do
    if [ -d "crates/$crate" ]; then
        build "$crate" --no-default-features
    fi
done
build cmp-message --no-default-features --features rustcrypto
build cmp-message --no-default-features --features full,envelope

# The frames and strings of a debug build say nothing: release, for size.
cargo build -q --release --manifest-path tests/bare-metal/Cargo.toml --target "$target" --target-dir "$target_dir"

firmware="$target_dir/$target/release/bare-metal"
size -A "$firmware" | awk '
    $1 == ".vector_table" || $1 == ".text" || $1 == ".rodata" { code += $2 }
    $1 == ".data" || $1 == ".bss" { ram += $2 }
    END {
        if (code < 10000) { print "no code in the firmware: " code " bytes"; exit 1 }
        printf "code size of the example (text and rodata, %s): %d bytes, %d KB; static RAM: %d bytes, heap included\n", \
            "'"$target"'", code, code / 1000, ram
    }'
