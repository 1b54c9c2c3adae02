#!/usr/bin/env bash
# The status page of csms-bridge in headless Chromium (tests/peers/browser.py): what it shows, that it sorts and filters, and
# that nothing which a station says does anything. Needs chromium and the Python environment that tests/run.sh makes.
#   bash tests/browser.sh [--picture FILE]
# Exit codes: 0 all is well, 1 it is not, 77 there is no browser.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

browser=
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
        browser=$(command -v "$name")
        break
    fi
done
if [ -z "$browser" ]; then
    echo "no Chromium here: apt-get install chromium" >&2
    exit 77
fi
target=${CARGO_TARGET_DIR:-$PWD/target}
if [ -z "${SYSTEM_TESTS_BUILT:-}" ]; then
    cargo build -q -p csms-bridge || exit 1
fi
exec tests/.venv/bin/python tests/peers/browser.py --chromium "$browser" --bridge "$target/debug/csms-bridge" "$@"
