"""A CMP client that has its key made by the RA (RFC 9483 4.1.6): central_key.py URL ROOT SUBJECT PROOF...

PROOF is a certificate, its key (PEM) and its chain, or `password:REFERENCE:SECRET`. ROOT is the RA's trust anchor. Sends an ir
for a key of the RA's making, opens what comes with open_envelope.py, uses the key, confirms, and prints the certificate's
subject and what the key is. Made of `cryptography` and pyasn1-alt-modules; nothing of it knows lab-ra.
"""

import hashlib
import hmac
import os
import pathlib
import sys
import urllib.request

import open_envelope
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import tag, univ
from pyasn1_alt_modules import rfc4210, rfc4211, rfc5280, rfc5958, rfc9480, rfc9810

ECDSA_SHA256 = univ.ObjectIdentifier("1.2.840.10045.4.3.2")
PASSWORD_BASED_MAC = univ.ObjectIdentifier("1.2.840.113533.7.66.13")
SHA256 = univ.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
HMAC_SHA256 = univ.ObjectIdentifier("1.2.840.113549.2.9")
ITERATIONS = 10_000


def decoded(der, spec):
    value, rest = decoder.decode(der, asn1Spec=spec)
    assert not rest, f"{len(rest)} bytes left over"
    return value


def protected_part(message):
    part = rfc9810.ProtectedPart()
    part["header"], part["body"] = message["header"], message["body"]
    return encoder.encode(part)


class Signer:
    """Proves itself with a certificate."""

    def __init__(self, certificate, key, chain):
        pem = pathlib.Path(certificate).read_bytes()
        self.certificates = x509.load_pem_x509_certificates(pem + pathlib.Path(chain).read_bytes())
        self.key = serialization.load_pem_private_key(pathlib.Path(key).read_bytes(), None)
        self.name = self.certificates[0].subject
        self.secret = self.key

    def describe(self, header):
        header["protectionAlg"]["algorithm"] = ECDSA_SHA256
        kid = self.certificates[0].extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        header["senderKID"] = rfc5280.KeyIdentifier(kid).subtype(
            explicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatSimple, 2)
        )

    def protect(self, part):
        return self.key.sign(part, ec.ECDSA(hashes.SHA256()))

    def check(self, message, root):
        certificates = [
            x509.load_der_x509_certificate(encoder.encode(certificate)) for certificate in message["extraCerts"]
        ]
        assert message["header"]["protectionAlg"]["algorithm"] == ECDSA_SHA256
        signature = message["protection"].asOctets()
        certificates[0].public_key().verify(signature, protected_part(message), ec.ECDSA(hashes.SHA256()))
        check_chain(certificates, root)


def check_chain(certificates, root):
    """The first of the certificates leads to the root, by way of others of them."""
    last = certificates[0]
    for _ in certificates:
        if last.issuer == root.subject:
            last.verify_directly_issued_by(root)
            return
        last_issuer = next(c for c in certificates if c.subject == last.issuer)
        last.verify_directly_issued_by(last_issuer)
        last = last_issuer
    raise ValueError("no chain to the root")


class Password:
    """Proves itself with a shared secret."""

    certificates = ()

    def __init__(self, reference, secret):
        self.reference, self.secret = reference.encode(), secret.encode()
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, reference)])

    def describe(self, header):
        parameters = rfc4210.PBMParameter()
        parameters["salt"], parameters["iterationCount"] = os.urandom(16), ITERATIONS
        parameters["owf"]["algorithm"], parameters["mac"]["algorithm"] = SHA256, HMAC_SHA256
        self.parameters = parameters
        header["protectionAlg"]["algorithm"] = PASSWORD_BASED_MAC
        header["protectionAlg"]["parameters"] = univ.Any(encoder.encode(parameters))
        header["senderKID"] = rfc5280.KeyIdentifier(self.reference).subtype(
            explicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatSimple, 2)
        )

    def mac(self, parameters, part):
        assert parameters["owf"]["algorithm"] == SHA256 and parameters["mac"]["algorithm"] == HMAC_SHA256
        key = self.secret + parameters["salt"].asOctets()
        for _ in range(int(parameters["iterationCount"])):
            key = hashlib.sha256(key).digest()
        return hmac.digest(key, part, "sha256")

    def protect(self, part):
        return self.mac(self.parameters, part)

    def check(self, message, _root):
        algorithm = message["header"]["protectionAlg"]
        assert algorithm["algorithm"] == PASSWORD_BASED_MAC
        parameters = decoded(algorithm["parameters"].asOctets(), rfc4210.PBMParameter())
        ours = self.mac(parameters, protected_part(message))
        assert hmac.compare_digest(ours, message["protection"].asOctets()), "the MAC is wrong"


def directory_name(name, spec):
    general = spec.clone() if spec is not None else rfc5280.GeneralName()
    general["directoryName"]["rdnSequence"] = decoded(name.public_bytes(), rfc5280.Name())["rdnSequence"]
    return general


def context(value, number):
    return value.subtype(explicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatSimple, number))


class Client:
    def __init__(self, url, root, proof):
        self.url, self.proof = url, proof
        self.root = x509.load_pem_x509_certificate(pathlib.Path(root).read_bytes())
        self.transaction, self.peer_nonce = os.urandom(16), None

    def exchange(self, body):
        message = rfc9810.PKIMessage()
        header = message["header"]
        header["pvno"] = 3
        header["sender"] = directory_name(self.proof.name, None)
        header["recipient"] = directory_name(x509.Name([]), None)
        self.proof.describe(header)
        nonce = os.urandom(16)
        header["transactionID"] = context(univ.OctetString(self.transaction), 4)
        header["senderNonce"] = context(univ.OctetString(nonce), 5)
        if self.peer_nonce:
            header["recipNonce"] = context(univ.OctetString(self.peer_nonce), 6)
        message["body"] = body
        bits = univ.BitString.fromOctetString(self.proof.protect(protected_part(message)))
        message["protection"] = rfc9810.PKIProtection(bits).subtype(
            explicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatSimple, 0)
        )
        for certificate in self.proof.certificates:
            der = certificate.public_bytes(serialization.Encoding.DER)
            message["extraCerts"].append(decoded(der, rfc9810.CMPCertificate()))
        request = urllib.request.Request(
            self.url, encoder.encode(message), {"Content-Type": "application/pkixcmp"}
        )
        with urllib.request.urlopen(request) as response:
            answer = decoded(response.read(), rfc9810.PKIMessage())
        self.proof.check(answer, self.root)
        assert answer["header"]["recipNonce"].asOctets() == nonce
        assert answer["header"]["transactionID"].asOctets() == self.transaction
        self.peer_nonce = answer["header"]["senderNonce"].asOctets()
        return answer


def ir(subject):
    body = rfc9810.PKIBody()
    request = rfc4211.CertReqMsg()
    request["certReq"]["certReqId"] = 0
    template = request["certReq"]["certTemplate"]
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    template["subject"]["rdnSequence"] = decoded(name.public_bytes(), rfc5280.Name())["rdnSequence"]
    body["ir"].append(request)
    return body


def cert_conf(certificate):
    body = rfc9810.PKIBody()
    status = rfc9810.CertStatus()
    status["certHash"] = hashlib.sha256(certificate).digest()
    status["certReqId"] = 0
    body["certConf"].append(status)
    return body


def private_key(key, certificate):
    """The key, checked against its own publicKey and the certificate.

    It comes as version 2 with its publicKey (RFC 5958, RFC 9483 4.1.6). `cryptography` and OpenSSL 3.0 read version 1 only,
    and refuse the example of version 2 in RFC 8410 too: what they are given is the same key without its publicKey.
    """
    assert key["version"] == 1
    plain = rfc5958.OneAsymmetricKey()
    plain["version"] = 0
    plain["privateKeyAlgorithm"], plain["privateKey"] = key["privateKeyAlgorithm"], key["privateKey"]
    loaded = serialization.load_der_private_key(encoder.encode(plain), None)
    certified = decoded(
        certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        rfc5280.SubjectPublicKeyInfo(),
    )
    assert key["publicKey"].asOctets() == certified["subjectPublicKey"].asOctets()
    assert loaded.public_key() == certificate.public_key()
    return loaded


def use(key, certificate):
    """What the key signs verifies with the certificate."""
    public_key = certificate.public_key()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        public_key.verify(key.sign(b"used"), b"used")
        return "Ed25519"
    public_key.verify(key.sign(b"used", ec.ECDSA(hashes.SHA256())), b"used", ec.ECDSA(hashes.SHA256()))
    return key.curve.name


def main(url, root, subject, *proof):
    if proof[0].startswith("password:"):
        proof = Password(*proof[0].split(":", 2)[1:])
    else:
        proof = Signer(*proof)
    client = Client(url, root, proof)
    answer = client.exchange(ir(subject))
    assert answer["body"].getName() == "ip", answer["body"].prettyPrint()
    assert answer["header"]["pvno"] == 3
    (response,) = answer["body"]["ip"]["response"]
    assert response["status"]["status"] == 0, response["status"].prettyPrint()
    pair = response["certifiedKeyPair"]
    der = strip(encoder.encode(pair["certOrEncCert"]))
    certificate = x509.load_der_x509_certificate(der)
    encrypted = decoded(strip(encoder.encode(pair["privateKey"])), rfc9480.EncryptedKey())
    one_asymmetric_key = open_envelope.open_key(encrypted, proof.secret)
    key = private_key(decoded(one_asymmetric_key, rfc5958.OneAsymmetricKey()), certificate)
    kind = use(key, certificate)
    confirmed = client.exchange(cert_conf(der))
    assert confirmed["body"].getName() == "pkiconf", confirmed["body"].prettyPrint()
    print(f"{certificate.subject.rfc4514_string()} with a key of {kind}")


def strip(der):
    """What is in an explicit tag, without it."""
    length = 2 if der[1] < 0x80 else 2 + (der[1] & 0x7F)
    return der[length:]


if __name__ == "__main__":
    main(*sys.argv[1:])
