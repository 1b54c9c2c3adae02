//! Delivered private keys as OpenSSL and Python's `cryptography` make them, and as we make them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]
#![cfg(all(
    feature = "rustcrypto",
    feature = "aws-lc",
    feature = "envelope",
    feature = "full"
))]

#[allow(dead_code)]
mod pki;

use std::fs;
use std::path::PathBuf;

use cmp_message::certificate::Certificate;
use cmp_message::crypto::{AwsLc, Crypto, CryptoError, KeyAlgorithm, RustCrypto, aws_lc, rustcrypto};
use cmp_message::envelope::{
    DeliveredKey, EncryptedPrivateKey, EnvelopeError, KeyGenerationAuthority, KeyTransport, KgaTrust,
    Recipient, RecipientKey, RecipientOperation, RecipientSecret, RsaRecipientKey, SealError, seal,
};
use cmp_message::mac::Secret;
use cmp_message::path::PathFailure;
use cmp_message::{PkiFailure, Raw};
use der::pem;

const PROVIDERS: [&dyn Crypto; 2] = [&RustCrypto, &AwsLc];

fn file(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/envelope");
    fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn certificate(name: &str) -> Certificate {
    let (_, der) = pem::decode_vec(&file(&format!("{name}.crt"))).unwrap();
    Certificate::from_der(der).unwrap()
}

fn key(name: &str) -> Vec<u8> {
    file(&format!("{name}.pk8"))
}

fn soft_keys(name: &str) -> [Box<dyn RecipientKey>; 2] {
    [
        Box::new(rustcrypto::SoftKey::from_der(&key(name)).unwrap()),
        Box::new(aws_lc::SoftKey::from_der(&key(name)).unwrap()),
    ]
}

fn password() -> Secret {
    Secret::new(b"hunter2".to_vec())
}

/// What a key is held against; the certificates of the fixtures are valid for ten years.
struct Trust {
    certificate: Certificate,
    anchors: Vec<Certificate>,
    untrusted: Vec<Certificate>,
    now_s: u64,
}

impl Trust {
    fn new() -> Self {
        let certificate = certificate("new");
        Self {
            now_s: certificate.not_before() + 1,
            certificate,
            anchors: vec![self::certificate("root")],
            untrusted: Vec::new(),
        }
    }

    fn get(&self) -> KgaTrust<'_> {
        KgaTrust {
            certificate: &self.certificate,
            anchors: &self.anchors,
            untrusted: &self.untrusted,
            now_s: Some(self.now_s),
        }
    }
}

fn open_by_password(crypto: &dyn Crypto, der: &[u8], trust: &Trust) -> Result<DeliveredKey, EnvelopeError> {
    let encrypted = EncryptedPrivateKey::from_der(der)?;
    assert_eq!(encrypted.operation(None, &[])?, RecipientOperation::Password);
    encrypted.open(crypto, &RecipientSecret::Password(&password()), &trust.get())
}

fn open_by_key(
    crypto: &dyn Crypto,
    der: &[u8],
    recipient: &str,
    key: &dyn RecipientKey,
) -> Result<DeliveredKey, EnvelopeError> {
    let encrypted = EncryptedPrivateKey::from_der(der)?;
    let operation = encrypted.operation(Some(&certificate(recipient)), &[certificate("kga")])?;
    let result = operation.perform(key)?;
    let secret = operation.secret(&result).expect("an operation with a key");
    encrypted.open(crypto, &secret, &Trust::new().get())
}

/// It is the key that was delivered: same public key.
#[track_caller]
fn is_new_key(opened: Result<DeliveredKey, EnvelopeError>) {
    let opened = opened.unwrap();
    let public_key = RustCrypto.public_key_of(opened.as_pkcs8()).unwrap();
    assert_eq!(public_key, certificate("new").public_key());
    assert_eq!(*opened.into_pkcs8(), key("new"));
}

#[test]
fn a_key_that_openssl_delivers_by_key_agreement_is_opened_by_either_provider() {
    let all = [
        ("openssl-kari-p256", "p256"),
        ("openssl-kari-p384", "p384"),
        ("openssl-kari-p521", "p521"),
        ("openssl-kari-serial", "noid"),
    ];
    for (name, recipient) in all {
        for crypto in PROVIDERS {
            for key in soft_keys(recipient) {
                is_new_key(open_by_key(
                    crypto,
                    &file(&format!("{name}.der")),
                    recipient,
                    &*key,
                ));
            }
        }
    }
}

#[test]
fn a_key_that_openssl_delivers_by_key_transport_is_opened() {
    let rsa = RsaRecipientKey::from_pkcs8(&key("rsa")).unwrap();
    for name in ["openssl-ktri-oaep", "openssl-ktri-pkcs1"] {
        for crypto in PROVIDERS {
            is_new_key(open_by_key(crypto, &file(&format!("{name}.der")), "rsa", &rsa));
        }
    }
}

#[test]
fn a_key_that_python_delivers_by_password_is_opened_with_either_key_length() {
    for name in ["python-pwri-128.der", "python-pwri-256.der"] {
        for crypto in PROVIDERS {
            is_new_key(open_by_password(crypto, &file(name), &Trust::new()));
        }
    }
}

#[test]
fn a_static_key_of_the_originator_is_found_by_its_certificate() {
    let der = file("python-kari-static.der");
    for key in soft_keys("p256") {
        is_new_key(open_by_key(&RustCrypto, &der, "p256", &*key));
    }
    let encrypted = EncryptedPrivateKey::from_der(&der).unwrap();
    let recipient = certificate("p256");
    let error = encrypted.operation(Some(&recipient), &[certificate("issuing")]);
    assert_eq!(error, Err(EnvelopeError::UnknownOriginator));
}

#[test]
fn an_rsa_signature_whose_hash_is_only_the_digests_is_verified() {
    let trust = Trust::new();
    for crypto in PROVIDERS {
        let signed_data = file("openssl-rsa-signed-data.der");
        is_new_key(trust.get().verify(crypto, &signed_data));
        let mut changed = signed_data;
        *changed.last_mut().unwrap() ^= 1;
        let error = trust.get().verify(crypto, &changed).unwrap_err();
        assert_eq!(error, EnvelopeError::WrongSignature);
    }
}

#[test]
fn what_is_weak_or_costly_is_refused_before_anything_is_computed() {
    let weak = EncryptedPrivateKey::from_der(&file("openssl-kari-sha1.der")).unwrap_err();
    assert!(matches!(weak, EnvelopeError::WeakAlgorithm(oid) if oid.to_string() == "1.3.133.16.840.63.0.2"));
    let weak = EncryptedPrivateKey::from_der(&file("python-pwri-sha1.der")).unwrap_err();
    assert!(matches!(weak, EnvelopeError::WeakAlgorithm(oid) if oid.to_string() == "1.2.840.113549.2.7"));
    let costly = EncryptedPrivateKey::from_der(&file("python-pwri-costly.der")).unwrap_err();
    assert_eq!(costly, EnvelopeError::TooCostly);
}

#[test]
fn a_signer_that_is_neither_marked_nor_the_issuer_is_not_authorised() {
    let error = open_by_password(&RustCrypto, &file("python-kga-plain.der"), &Trust::new());
    let error = error.unwrap_err();
    assert_eq!(error, EnvelopeError::KgaNotAuthorized);
    assert_eq!(error.fail_info(), PkiFailure::NotAuthorized);
}

fn seal_for(recipient: Recipient<'_>) -> Result<Raw, SealError> {
    let kga_key = aws_lc::SoftKey::from_der(&key("kga")).unwrap();
    let (kga, chain) = (certificate("kga"), [certificate("issuing")]);
    let kga = KeyGenerationAuthority {
        key: &kga_key,
        certificate: &kga,
        chain: &chain,
    };
    let certificate = certificate("new");
    seal(&AwsLc, &key("new"), certificate.public_key(), &kga, recipient)
}

#[test]
fn what_is_sealed_for_a_certificate_or_a_password_is_opened_by_either_provider() {
    for recipient in ["p256", "p384", "p521", "noid"] {
        let sealed = seal_for(Recipient::Certificate(&certificate(recipient))).unwrap();
        for crypto in PROVIDERS {
            for key in soft_keys(recipient) {
                is_new_key(open_by_key(crypto, sealed.as_bytes(), recipient, &*key));
            }
        }
    }
    let rsa = RsaRecipientKey::from_pkcs8(&key("rsa")).unwrap();
    let sealed = seal_for(Recipient::Certificate(&certificate("rsa"))).unwrap();
    is_new_key(open_by_key(&AwsLc, sealed.as_bytes(), "rsa", &rsa));
    let sealed = seal_for(Recipient::Password(&password())).unwrap();
    is_new_key(open_by_password(&RustCrypto, sealed.as_bytes(), &Trust::new()));
}

#[test]
fn two_keys_sealed_for_the_same_recipient_share_neither_ephemeral_key_nor_block_of_content() {
    let recipient = certificate("p256");
    let sealed = || seal_for(Recipient::Certificate(&recipient)).unwrap();
    let (one, two) = (sealed(), sealed());
    let operation = |sealed: &Raw| {
        let encrypted = EncryptedPrivateKey::from_der(sealed.as_bytes()).unwrap();
        encrypted.operation(Some(&recipient), &[]).unwrap()
    };
    assert_ne!(operation(&one), operation(&two));
    // The content is at the end, a multiple of the block, and longer than this.
    let blocks = |sealed: &Raw| -> Vec<Vec<u8>> {
        let content = &sealed.as_bytes()[sealed.as_bytes().len() - 1_024..];
        content.chunks(16).map(Into::into).collect()
    };
    let others = blocks(&two);
    assert!(blocks(&one).iter().all(|block| !others.contains(block)));
}

#[test]
fn another_private_key_than_the_recipients_does_not_open() {
    let sealed = seal_for(Recipient::Certificate(&certificate("p256"))).unwrap();
    for key in soft_keys("noid") {
        let error = open_by_key(&RustCrypto, sealed.as_bytes(), "p256", &*key).unwrap_err();
        assert_eq!(error, EnvelopeError::WrongKey);
    }
    for key in soft_keys("p384") {
        let error = open_by_key(&RustCrypto, sealed.as_bytes(), "p256", &*key).unwrap_err();
        assert_eq!(error, EnvelopeError::Recipient(CryptoError::UnsupportedKey));
    }
    let rsa = RsaRecipientKey::from_pkcs8(&key("rsa")).unwrap();
    let error = open_by_key(&RustCrypto, sealed.as_bytes(), "p256", &rsa).unwrap_err();
    assert_eq!(error, EnvelopeError::Recipient(CryptoError::UnsupportedKey));
}

#[test]
fn a_content_key_that_rsa_cannot_decrypt_is_a_wrong_key_in_either_padding() {
    let rsa = RsaRecipientKey::from_pkcs8(&key("rsa")).unwrap();
    for name in ["openssl-ktri-oaep.der", "openssl-ktri-pkcs1.der"] {
        let der = file(name);
        let encrypted = EncryptedPrivateKey::from_der(&der).unwrap();
        let operation = encrypted.operation(Some(&certificate("rsa")), &[]).unwrap();
        let RecipientOperation::Decrypt {
            algorithm,
            mut encrypted_key,
        } = operation
        else {
            panic!("{name} is for RSA");
        };
        encrypted_key[17] ^= 1;
        let changed = RecipientOperation::Decrypt {
            algorithm,
            encrypted_key,
        };
        assert_eq!(changed.perform(&rsa), Err(EnvelopeError::WrongKey), "{name}");
        let other = &soft_keys("p256")[0];
        let unsupported = EnvelopeError::Recipient(CryptoError::UnsupportedKey);
        assert_eq!(changed.perform(&**other), Err(unsupported), "{name}");
    }
    assert_eq!(
        RecipientOperation::Password.perform(&rsa),
        Err(EnvelopeError::WrongRecipient)
    );
}

#[test]
fn a_key_for_another_certificate_is_refused() {
    let mut trust = Trust::new();
    trust.certificate = certificate("p256");
    let error = open_by_password(&RustCrypto, &file("python-pwri-256.der"), &trust).unwrap_err();
    assert_eq!(error, EnvelopeError::KeyMismatch);
    assert_eq!(error.fail_info(), PkiFailure::IncorrectData);
}

#[test]
fn a_kga_under_another_anchor_is_not_trusted() {
    let mut trust = Trust::new();
    trust.anchors = vec![certificate("other")];
    let error = open_by_password(&RustCrypto, &file("python-pwri-256.der"), &trust).unwrap_err();
    assert_eq!(error.fail_info(), PkiFailure::SignerNotTrusted);
    let EnvelopeError::KgaNotTrusted(error) = error else {
        panic!("{error}");
    };
    assert_eq!(error.failure, PathFailure::UnknownIssuer);
}

#[test]
fn an_agreement_is_on_one_curve_and_gives_what_the_other_side_gets() {
    for (one, other, len) in [("p256", "noid", 32), ("p384", "p384", 48), ("p521", "p521", 66)] {
        let public = |name: &str| certificate(name).public_key().to_vec();
        for a in soft_keys(one) {
            for b in soft_keys(other) {
                let shared = a.agree(&public(other)).unwrap();
                assert_eq!(*shared, *b.agree(&public(one)).unwrap());
                assert_eq!(shared.len(), len);
            }
        }
    }
    for key in soft_keys("p256") {
        let off_curve = {
            let mut spki = certificate("noid").public_key().to_vec();
            *spki.last_mut().unwrap() ^= 1;
            spki
        };
        assert_eq!(key.agree(&off_curve), Err(CryptoError::MalformedPublicKey));
        let rsa = certificate("rsa").public_key().to_vec();
        assert_eq!(key.agree(&rsa), Err(CryptoError::UnsupportedKey));
        let decrypted = key.decrypt(KeyTransport::RsaesPkcs1V15, &[0; 256]);
        assert_eq!(decrypted, Err(CryptoError::UnsupportedKey));
    }
}

#[test]
fn a_key_of_each_type_is_delivered_and_one_of_each_type_vouches_for_it() {
    let anchor_key = pki::key(1);
    let anchor = pki::Spec::ca("Root", "Root", None).sign(&anchor_key, &anchor_key);
    let made = |algorithm, subject: &str, extension: Vec<u8>| {
        let key = aws_lc::SoftKey::generate(algorithm).unwrap();
        let pkcs8 = key.to_pkcs8().unwrap();
        let same = rustcrypto::SoftKey::from_der(&pkcs8).unwrap();
        let spec = pki::Spec::end_entity("Root", subject).with(extension);
        (key, pkcs8, spec.sign(&same, &anchor_key))
    };
    // DER of the subjectKeyIdentifier 1, 2, 3.
    let identifier = pki::extension(14, false, &[4, 3, 1, 2, 3]);
    for delivered in KeyAlgorithm::GENERATED {
        let (_, pkcs8, certificate) = made(delivered, "New", identifier.clone());
        let (kga_key, _, kga) = made(delivered, "KGA", [identifier.clone(), kga_usage()].concat());
        let kga = KeyGenerationAuthority {
            key: &kga_key,
            certificate: &kga,
            chain: &[],
        };
        let secret = password();
        let recipient = Recipient::Password(&secret);
        let sealed = seal(&AwsLc, &pkcs8, certificate.public_key(), &kga, recipient).unwrap();
        let trust = Trust {
            certificate,
            anchors: vec![anchor.clone()],
            untrusted: Vec::new(),
            now_s: pki::NOW,
        };
        for crypto in PROVIDERS {
            let opened = open_by_password(crypto, sealed.as_bytes(), &trust).unwrap();
            let public_key = crypto.public_key_of(opened.as_pkcs8()).unwrap();
            assert_eq!(public_key, trust.certificate.public_key(), "{delivered}");
        }
    }
}

/// id-kp-cmKGA.
fn kga_usage() -> Vec<u8> {
    pki::ext_key_usage(&[0x2b, 6, 1, 5, 5, 7, 3, 32])
}
