#!/bin/sh
# Keys and signatures made by OpenSSL, for tests/crypto.rs. Run in this folder.
set -eu
printf 'a message signed by openssl' > message.bin
for curve in p256:prime256v1 p384:secp384r1 p521:secp521r1; do
    name=${curve%%:*}
    openssl ecparam -name "${curve#*:}" -genkey -noout -outform DER -out "$name.sec1.der"
    openssl pkcs8 -topk8 -nocrypt -in "$name.sec1.der" -inform DER -outform DER -out "$name.pkcs8.der"
    openssl pkey -in "$name.sec1.der" -inform DER -pubout -outform DER -out "$name.spki.der"
    for hash in sha256 sha384 sha512; do
        openssl dgst "-$hash" -keyform DER -sign "$name.pkcs8.der" -out "$name.$hash.sig" message.bin
    done
done
