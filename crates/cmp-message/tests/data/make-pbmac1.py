#!/usr/bin/env python3
"""Makes pbmac1.alg.der and pbmac1.mac.bin: PBMAC1 over message.bin with the secret "hunter2", from Python's own
hashlib and a DER encoder of ten lines, to check ours against."""
import hashlib, hmac, pathlib

def tlv(tag, value):
    length = bytes([len(value)]) if len(value) < 128 else bytes([0x81, len(value)])
    return bytes([tag]) + length + value

def oid(text):
    first, second, *rest = map(int, text.split("."))
    out = bytes([40 * first + second])
    for n in rest:
        part = [n & 127]
        while n := n >> 7:
            part.append(n & 127 | 128)
        out += bytes(reversed(part))
    return tlv(6, out)

seq = lambda *parts: tlv(0x30, b"".join(parts))
null = tlv(5, b"")
salt, iterations = bytes(range(16)), 1000
hmac_sha256 = seq(oid("1.2.840.113549.2.9"), null)
kdf = seq(oid("1.2.840.113549.1.5.12"), seq(tlv(4, salt), tlv(2, iterations.to_bytes(2, "big")), tlv(2, b"\x20"), hmac_sha256))
here = pathlib.Path(__file__).parent
(here / "pbmac1.alg.der").write_bytes(seq(oid("1.2.840.113549.1.5.14"), seq(kdf, hmac_sha256)))
key = hashlib.pbkdf2_hmac("sha256", b"hunter2", salt, iterations, 32)
(here / "pbmac1.mac.bin").write_bytes(hmac.digest(key, (here / "message.bin").read_bytes(), "sha256"))
