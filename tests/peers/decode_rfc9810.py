"""Decodes CMP messages with pyasn1-alt-modules' rfc9810 and encodes them again: decode_rfc9810.py FILE...

Prints for each the name of the body. Fails if one does not decode whole, or encodes to other bytes.
"""

import pathlib
import sys

from pyasn1.codec.der import decoder, encoder
from pyasn1_alt_modules import rfc9810


def check(path):
    der = pathlib.Path(path).read_bytes()
    message, rest = decoder.decode(der, asn1Spec=rfc9810.PKIMessage())
    if rest:
        raise ValueError(f"{len(rest)} bytes left over")
    if encoder.encode(message) != der:
        raise ValueError("encodes to other bytes")
    return message["body"].getName()


failed = False
for path in sys.argv[1:]:
    try:
        print(f"{pathlib.Path(path).name} {check(path)}")
    except Exception as error:  # Whatever it is, it is the peer's judgement on the file.
        failed = True
        print(f"{pathlib.Path(path).name} FAILED {type(error).__name__}: {error}")
sys.exit(failed)
