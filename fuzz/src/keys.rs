//! Keys: what is verified with comes from peers, and a private key may too (RFC 9483 §4.1.6).

use cmp_message::crypto::{
    Crypto as _, CryptoError, KeyAlgorithm, RustCrypto, SignatureAlgorithm, SigningKey as _,
    rustcrypto::SoftKey,
};
use der::{Decode as _, Encode as _, Header};

const MESSAGE: &[u8] = b"what nobody has signed";

/// A SubjectPublicKeyInfo and a signature behind it: the key is acceptable or not, and nobody's signature verifies.
pub fn public_key(data: &[u8]) {
    let Some((key, signature)) = first_element(data) else {
        return;
    };
    let acceptable = KeyAlgorithm::of_public_key(key);
    for oid in SIGNATURES {
        let algorithm = SignatureAlgorithm::from_oid(oid.parse().expect("an OID")).expect("a known one");
        let verified = RustCrypto.verify(algorithm, key, MESSAGE, signature);
        let error = verified.expect_err("a signature that nobody made");
        if acceptable.is_ok_and(|key| !key.makes(algorithm)) {
            assert_eq!(error, CryptoError::UnsupportedKey);
        }
    }
}

/// PKCS#8 or SEC 1: what is taken signs, and is the same key when it is written and read again.
pub fn private_key(data: &[u8]) {
    let Ok(key) = SoftKey::from_der(data) else {
        return;
    };
    let signature = key.sign(MESSAGE).expect("a key that signs");
    RustCrypto
        .verify(key.algorithm(), key.public_key(), MESSAGE, &signature)
        .expect("its own signature");
    let written = key.to_pkcs8().expect("encodes");
    let again = SoftKey::from_der(&written).expect("what we write can be read");
    assert_eq!(again.public_key(), key.public_key());
    let public_key = RustCrypto.public_key_of(data).expect("as above");
    assert_eq!(public_key, key.public_key());
}

const SIGNATURES: [&str; 10] = [
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.2.840.10045.4.3.4",
    "1.3.101.112",
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "2.16.840.1.101.3.4.3.17",
    "2.16.840.1.101.3.4.3.18",
    "2.16.840.1.101.3.4.3.19",
];

/// The first element of DER, and what is behind it.
fn first_element(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = der::SliceReader::new(data).ok()?;
    let header = Header::decode(&mut reader).ok()?;
    let header_len = usize::try_from(header.encoded_len().ok()?).ok()?;
    let len = header_len.checked_add(usize::try_from(header.length()).ok()?)?;
    data.split_at_checked(len)
}
