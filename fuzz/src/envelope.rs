//! Delivered private keys.

use std::sync::OnceLock;

use cmp_message::certificate::Certificate;
use cmp_message::crypto::{Crypto as _, RustCrypto};
use cmp_message::envelope::{EncryptedPrivateKey, KgaTrust, RecipientOperation, RecipientSecret};
use x509_cert::der::{DecodePem as _, Encode as _};

struct Known {
    root: Certificate,
    new: Certificate,
    kga: Certificate,
    recipients: Vec<Certificate>,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let read = |pem: &[u8]| {
            let certificate = x509_cert::Certificate::from_pem(pem).expect("a fixture");
            Certificate::from_der(certificate.to_der().expect("encodes")).expect("a fixture")
        };
        macro_rules! fixture {
            ($name:literal) => {
                read(include_bytes!(concat!(
                    "../../tests/fixtures/envelope/",
                    $name,
                    ".crt"
                )))
            };
        }
        Known {
            root: fixture!("root"),
            new: fixture!("new"),
            kga: fixture!("kga"),
            recipients: vec![
                fixture!("p256"),
                fixture!("p384"),
                fixture!("noid"),
                fixture!("rsa"),
            ],
        }
    })
}

/// An EncryptedKey, and a SignedData as it comes out of one. What is neither for us nor encrypted for us gives no key.
pub fn enveloped_data(data: &[u8]) {
    let known = known();
    let trust = KgaTrust {
        certificate: &known.new,
        anchors: core::slice::from_ref(&known.root),
        untrusted: &[],
        now_s: None,
    };
    if let Ok(key) = trust.verify(&RustCrypto, data) {
        let public_key = RustCrypto.public_key_of(key.as_pkcs8());
        assert_eq!(
            public_key.expect("a key that can be read"),
            known.new.public_key()
        );
    }
    let Ok(encrypted) = EncryptedPrivateKey::from_der(data) else {
        return;
    };
    let originators = core::slice::from_ref(&known.kga);
    let signers = known.recipients.iter().map(Some).chain([None]);
    for signer in signers {
        let secret: RecipientSecret<'_> = match encrypted.operation(signer, originators) {
            Ok(RecipientOperation::Agree { .. }) => RecipientSecret::Agreed(&[0x5a; 32]),
            Ok(RecipientOperation::Decrypt { .. }) => RecipientSecret::Decrypted(&[0x5a; 32]),
            // The iterations are what the input says: correct, and too slow to be of use here.
            Ok(RecipientOperation::Password) | Err(_) => continue,
        };
        assert!(encrypted.open(&RustCrypto, &secret, &trust).is_err());
    }
}
