"""Opens a delivered private key with `cryptography` and pyasn1-alt-modules: open_envelope.py FILE WITH

FILE is the DER of an EncryptedKey; WITH is the recipient's key in PKCS#8 DER, or a password after `password:`. Checks what
RFC 9483 4.1.6 says of the structures, and the signature. Prints the private key as hexadecimal PKCS#8 of version 2.
"""

import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, keywrap, padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import univ
from pyasn1_alt_modules import rfc3565, rfc4055, rfc5280, rfc5652, rfc5753, rfc5958, rfc8018, rfc9480

AGREEMENT_HASHES = {
    rfc5753.dhSinglePass_stdDH_sha256kdf_scheme: hashes.SHA256(),
    rfc5753.dhSinglePass_stdDH_sha384kdf_scheme: hashes.SHA384(),
    rfc5753.dhSinglePass_stdDH_sha512kdf_scheme: hashes.SHA512(),
}


def decode(der, spec):
    value, rest = decoder.decode(der, asn1Spec=spec)
    assert not rest, f"{len(rest)} bytes left over"
    return value


def by_password(pwri, password):
    assert pwri["version"] == 0
    assert pwri["keyEncryptionAlgorithm"]["algorithm"] == rfc3565.id_aes256_wrap
    assert not pwri["keyEncryptionAlgorithm"]["parameters"].isValue
    derivation = pwri["keyDerivationAlgorithm"]
    assert derivation["algorithm"] == rfc8018.id_PBKDF2
    parameters = decode(derivation["parameters"], rfc8018.PBKDF2_params())
    assert parameters["prf"]["algorithm"] == univ.ObjectIdentifier("1.2.840.113549.2.9")
    salt, iterations = parameters["salt"]["specified"].asOctets(), int(parameters["iterationCount"])
    kek = PBKDF2HMAC(hashes.SHA256(), 32, salt, iterations).derive(password)
    return keywrap.aes_key_unwrap(kek, pwri["encryptedKey"].asOctets())


def by_agreement(kari, key):
    assert kari["version"] == 3
    originator = rfc5280.SubjectPublicKeyInfo()
    originator["algorithm"] = kari["originator"]["originatorKey"]["algorithm"]
    originator["subjectPublicKey"] = univ.BitString(kari["originator"]["originatorKey"]["publicKey"])
    public_key = serialization.load_der_public_key(encoder.encode(originator))
    algorithm = kari["keyEncryptionAlgorithm"]
    wrap = decode(algorithm["parameters"], rfc5280.AlgorithmIdentifier())
    assert wrap["algorithm"] == rfc3565.id_aes256_wrap
    info = rfc5753.ECC_CMS_SharedInfo()
    info["keyInfo"] = wrap
    info["entityUInfo"] = kari["ukm"].asOctets()
    info["suppPubInfo"] = (256).to_bytes(4, "big")
    shared = key.exchange(ec.ECDH(), public_key)
    kek = X963KDF(AGREEMENT_HASHES[algorithm["algorithm"]], 32, encoder.encode(info)).derive(shared)
    (for_us,) = kari["recipientEncryptedKeys"]
    assert for_us["rid"].getName() == "rKeyId"
    return keywrap.aes_key_unwrap(kek, for_us["encryptedKey"].asOctets())


def by_transport(ktri, key):
    assert ktri["version"] == 2
    assert ktri["rid"].getName() == "subjectKeyIdentifier"
    assert ktri["keyEncryptionAlgorithm"]["algorithm"] == rfc4055.id_RSAES_OAEP
    sha256 = hashes.SHA256()
    oaep = rsa_padding.OAEP(rsa_padding.MGF1(sha256), sha256, None)
    return key.decrypt(ktri["encryptedKey"].asOctets(), oaep)


def decrypt(enveloped, secret):
    (recipient,) = enveloped["recipientInfos"]
    kind = recipient.getName()
    assert enveloped["version"] == {"pwri": 0, "kari": 2, "ktri": 2}[kind]
    open_key = {"pwri": by_password, "kari": by_agreement, "ktri": by_transport}[kind]
    cek = open_key(recipient[kind], secret)
    info = enveloped["encryptedContentInfo"]
    assert info["contentType"] == rfc5652.id_signedData
    assert info["contentEncryptionAlgorithm"]["algorithm"] == rfc3565.id_aes256_CBC
    iv = decode(info["contentEncryptionAlgorithm"]["parameters"], univ.OctetString()).asOctets()
    cipher = Cipher(algorithms.AES(cek), modes.CBC(iv)).decryptor()
    pad = padding.PKCS7(128).unpadder()
    return pad.update(cipher.update(info["encryptedContent"].asOctets()) + cipher.finalize()) + pad.finalize()


def verify(signed):
    """The content, signed by the first of the certificates."""
    assert signed["version"] == 3
    content = signed["encapContentInfo"]
    assert content["eContentType"] == rfc5958.id_ct_KP_aKeyPackage
    (signer,), (digest_algorithm,) = signed["signerInfos"], signed["digestAlgorithms"]
    assert signer["version"] == 3 and signer["digestAlgorithm"] == digest_algorithm
    kga = x509.load_der_x509_certificate(encoder.encode(signed["certificates"][0]["certificate"]))
    identifier = kga.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert signer["sid"]["subjectKeyIdentifier"].asOctets() == identifier
    attributes = univ.SetOf(componentType=rfc5652.Attribute())
    values = {}
    for attribute in signer["signedAttrs"]:
        attributes.append(attribute)
        (values[attribute["attrType"]],) = attribute["attrValues"]
    digest = hashes.Hash(hashes.SHA256())
    digest.update(content["eContent"].asOctets())
    assert values[rfc5652.id_messageDigest] == encoder.encode(univ.OctetString(digest.finalize()))
    assert values[rfc5652.id_contentType] == encoder.encode(rfc5958.id_ct_KP_aKeyPackage)
    kga.public_key().verify(signer["signature"].asOctets(), encoder.encode(attributes), ec.ECDSA(hashes.SHA256()))
    return content["eContent"].asOctets()


def open_key(encrypted, secret):
    """The DER of the OneAsymmetricKey in an EncryptedKey; `secret` is a private key or a password in bytes."""
    signed = decode(decrypt(encrypted["envelopedData"], secret), rfc5652.SignedData())
    (key,) = decode(verify(signed), rfc5958.AsymmetricKeyPackage())
    assert key["version"] == 1 and key["publicKey"].isValue
    return encoder.encode(key)


def main(path, secret):
    if secret.startswith("password:"):
        secret = secret.removeprefix("password:").encode()
    else:
        secret = serialization.load_der_private_key(pathlib.Path(secret).read_bytes(), None)
    encrypted = decode(pathlib.Path(path).read_bytes(), rfc9480.EncryptedKey())
    print(open_key(encrypted, secret).hex())


if __name__ == "__main__":
    main(*sys.argv[1:])
