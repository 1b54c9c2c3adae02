#!/usr/bin/env bash
# Makes a Debian package of csms-bridge with dpkg-deb alone:
#   bash packaging/deb.sh [FOLDER]       → FOLDER/csms-bridge_VERSION_ARCHITECTURE.deb, FOLDER is target/debian if not given
# Builds the program for release first, unless BRIDGE names one that is there.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-target/debian}
target=${CARGO_TARGET_DIR:-$PWD/target}
if [ -z "${BRIDGE:-}" ]; then
    cargo build --release -q -p csms-bridge
    BRIDGE=$target/release/csms-bridge
fi
version=$(sed -nE 's/^version = "(.*)"/\1/p' Cargo.toml | head -n 1)
architecture=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

install -D -m 755 "$BRIDGE" "$root/usr/bin/csms-bridge"
strip --strip-unneeded "$root/usr/bin/csms-bridge" 2>/dev/null || true
install -D -m 644 packaging/csms-bridge.service "$root/usr/lib/systemd/system/csms-bridge.service"
install -D -m 640 packaging/csms-bridge.toml "$root/etc/csms-bridge/csms-bridge.toml"
for file in docs/operator.md docs/sidecar.md docs/proxy.md docs/access.md docs/binding.md csms-bridge/csms-bridge.sample.toml CHANGELOG.md; do
    install -D -m 644 "$file" "$root/usr/share/doc/csms-bridge/$(basename "$file")"
done
cat LICENSE-MIT LICENSE-APACHE > "$root/usr/share/doc/csms-bridge/copyright"
install -d "$root/DEBIAN"
cat > "$root/DEBIAN/control" <<CONTROL
Package: csms-bridge
Version: $version
Architecture: $architecture
Maintainer: The developers of CMP over OCPP <maintainers@ocpp-cmp.invalid>
Section: net
Priority: optional
Depends: libc6, libgcc-s1, adduser
Description: the CSMS side of CMP over OCPP
 Carries certificate management (CMP, RFC 9810) between charging stations, inside OCPP DataTransfer, and an RA or CA.
 Stands beside the CSMS that is there; cannot read or change what it carries.
CONTROL
echo /etc/csms-bridge/csms-bridge.toml > "$root/DEBIAN/conffiles"
install -m 755 packaging/postinst packaging/prerm packaging/postrm "$root/DEBIAN/"
mkdir -p "$out"
package=$out/csms-bridge_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "$package"
