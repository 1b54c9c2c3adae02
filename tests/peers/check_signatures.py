"""Checks an enrolment with `cryptography` and pyasn1-alt-modules:

check_signatures.py ROOT.pem CHAIN.pem CERT.pem KEY.pem MESSAGE.der...

CERT chains to ROOT over CHAIN, and KEY (PKCS#8) is its key. Each message, in the order of a transaction, encodes again to
the same bytes, is signed with the first of its extraCerts, proves possession where it is a request, and confirms by the
right hash where it is a certConf. Prints for each message its body and its signature algorithm.
"""

import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pyasn1.codec.der import decoder, encoder
from pyasn1_alt_modules import rfc5280, rfc9810

SHA_512 = "2.16.840.1.101.3.4.2.3"
ECDSA = {
    "1.2.840.10045.4.3.2": hashes.SHA256(),
    "1.2.840.10045.4.3.3": hashes.SHA384(),
    "1.2.840.10045.4.3.4": hashes.SHA512(),
}
OTHERS = {
    "1.3.101.112": "ed25519",
    "2.16.840.1.101.3.4.3.17": "ml-dsa-44",
    "2.16.840.1.101.3.4.3.18": "ml-dsa-65",
    "2.16.840.1.101.3.4.3.19": "ml-dsa-87",
}


def verify(public_key, algorithm, signature, data):
    """Raises InvalidSignature. The name of the algorithm."""
    assert not algorithm["parameters"].isValue, "the algorithm has parameters"
    oid = str(algorithm["algorithm"])
    if oid in ECDSA:
        public_key.verify(signature, data, ec.ECDSA(ECDSA[oid]))
        return f"ecdsa-{ECDSA[oid].name}"
    public_key.verify(signature, data)
    return OTHERS[oid]


def check_certificate(root, chain, certificate, key):
    issuers = [*chain, root]
    for subject, issuer in zip([certificate, *chain], issuers):
        subject.verify_directly_issued_by(issuer)
    assert key.public_key() == certificate.public_key(), "the key is not the one of the certificate"


def check_possession(requests):
    (request,) = requests
    spki = request["certReq"]["certTemplate"]["publicKey"]
    # Its tag is implicit: SEQUENCE again.
    der = encoder.encode(spki)
    public_key = serialization.load_der_public_key(b"\x30" + der[1:])
    proof = request["popo"]["signature"]
    verify(public_key, proof["algorithmIdentifier"], proof["signature"].asOctets(), encoder.encode(request["certReq"]))


def check_confirmation(pvno, content, certificate):
    (status,) = content
    if OTHERS.get(certificate.signature_algorithm_oid.dotted_string, "").startswith("ml-dsa"):
        assert pvno == 3, "hashAlg needs version 3"
        assert str(status["hashAlg"]["algorithm"]) == SHA_512
    else:
        assert not status["hashAlg"].isValue, "the hash is implied"
    digest = hashes.Hash(certificate.signature_hash_algorithm or hashes.SHA512())
    digest.update(certificate.public_bytes(serialization.Encoding.DER))
    assert status["certHash"].asOctets() == digest.finalize(), "certHash is another"


def check_message(path, issued):
    """The name of the body and of the algorithm, and the certificate that was issued last."""
    der = pathlib.Path(path).read_bytes()
    message, rest = decoder.decode(der, asn1Spec=rfc9810.PKIMessage())
    assert not rest and encoder.encode(message) == der, "encodes to other bytes"
    protected = rfc9810.ProtectedPart()
    protected["header"] = message["header"]
    protected["body"] = message["body"]
    signer = x509.load_der_x509_certificate(encoder.encode(message["extraCerts"][0]))
    name = verify(
        signer.public_key(),
        message["header"]["protectionAlg"],
        message["protection"].asOctets(),
        encoder.encode(protected),
    )
    body = message["body"].getName()
    content = message["body"].getComponent()
    if body in ("ir", "kur"):
        check_possession(content)
    elif body in ("ip", "kup"):
        pair = content["response"][0]["certifiedKeyPair"]
        # Without the tag [0] that it has there.
        certificate = rfc5280.Certificate()
        for field in certificate:
            certificate[field] = pair["certOrEncCert"]["certificate"][field]
        issued = x509.load_der_x509_certificate(encoder.encode(certificate))
    elif body == "certConf":
        check_confirmation(message["header"]["pvno"], content, issued)
    return body, name, issued


def main():
    root, chain, certificate, key = (pathlib.Path(path).read_bytes() for path in sys.argv[1:5])
    (root,) = x509.load_pem_x509_certificates(root)
    certificate = x509.load_pem_x509_certificate(certificate)
    key = serialization.load_pem_private_key(key, password=None)
    check_certificate(root, x509.load_pem_x509_certificates(chain), certificate, key)
    issued = None
    for path in sys.argv[5:]:
        body, name, issued = check_message(path, issued)
        print(body, name)
    assert issued == certificate, "the certificate is not the one that was issued last"


main()
