#!/usr/bin/env bash
# Makes a CA and CRLs of it with OpenSSL: bash make-crls.sh, in this folder. Keys are new in each run.
#   crl-ca.der        the CA
#   crl.der           serial numbers 1000 and 80, a reason, cRLNumber 7 and authorityKeyIdentifier
#   crl-empty.der     version 1, nothing on it
#   crl-partial.der   with a critical issuingDistributionPoint
#   crl-indirect.der  with one that says indirectCRL
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 7300 \
    -subj "/C=DE/CN=CRL Test CA" -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
openssl x509 -in ca.pem -outform DER -out "$here/crl-ca.der"
printf 'V\t401231235959Z\t\t1000\tunknown\t/CN=a\nV\t401231235959Z\t\t80\tunknown\t/CN=b\n' >index
sed -i 's/^V\(\t[^\t]*\t\)\t1000/R\1250102000000Z,keyCompromise\t1000/; s/^V\(\t[^\t]*\t\)\t80/R\1250103000000Z\t80/' index
cat >ca.cnf <<CNF
[ca]
default_ca = ca_default
[ca_default]
database = index
crlnumber = number
certificate = ca.pem
private_key = ca.key
default_md = sha256
[full]
authorityKeyIdentifier = keyid
[partial]
authorityKeyIdentifier = keyid
issuingDistributionPoint = critical, @point
[point]
fullname = URI:http://crl.example/7
[indirect]
issuingDistributionPoint = critical, @indirect_point
[indirect_point]
fullname = URI:http://crl.example/8
indirectCRL = TRUE
CNF
crl() {
    local file=$1
    shift
    echo 07 >number
    openssl ca -config ca.cnf -gencrl -crl_lastupdate 20250601000000Z -crl_nextupdate 20250701000000Z "$@" 2>/dev/null |
        openssl crl -outform DER -out "$here/$file"
}
crl crl.der -crlexts full
crl crl-partial.der -crlexts partial
crl crl-indirect.der -crlexts indirect
: >index
sed -i '/^crlnumber/d' ca.cnf
crl crl-empty.der
