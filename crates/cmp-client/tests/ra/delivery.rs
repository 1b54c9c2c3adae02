//! Keys that the RA makes and delivers (RFC 9483 §4.1.6).

use std::sync::LazyLock;

use cmp_client::{CertificateRequest, Config, KeyId, NewKey, Operation, Request};
use cmp_message::{
    CertRepMessage, PkiBody, Raw,
    certificate::Certificate,
    crypto::{AwsLc, KeyAlgorithm, SigningKey},
    envelope::{ID_KP_CM_KGA, KeyGenerationAuthority, Recipient, seal},
    mac::Secret,
};
use der::asn1::OctetString;

use super::{Draft, SECRET, config, extension, key, mac_config, request};

/// The key that the RA makes for whoever wants one.
pub const MADE: u8 = 6;
pub const MADE_ID: KeyId = KeyId(77);

pub fn central(operation: Operation, algorithm: Option<KeyAlgorithm>) -> CertificateRequest {
    let key = NewKey::Central {
        key: MADE_ID,
        algorithm,
    };
    CertificateRequest {
        operation,
        key,
        ..request()
    }
}

pub fn initialization() -> CertificateRequest {
    central(Operation::Initialization, Some(KeyAlgorithm::P256))
}

/// What the RA delivers.
pub struct Delivery {
    pub kga: Draft,
    pub kga_key: u8,
    pub for_key: Option<Certificate>,
    pub secret: &'static [u8],
    /// The private key, and the public key beside it.
    pub key: (u8, u8),
}

impl Delivery {
    pub fn for_certificate(certificate: &Certificate) -> Self {
        let usage = x509_cert::ext::pkix::ExtendedKeyUsage(vec![ID_KP_CM_KGA]);
        let identifier = OctetString::new([7; 20]).unwrap();
        Self {
            kga: Draft {
                extensions: vec![
                    extension("2.5.29.37", false, &usage),
                    extension("2.5.29.14", false, &identifier),
                ],
                ..Draft::new("CN=KGA", 7, 7)
            },
            kga_key: 7,
            for_key: Some(certificate.clone()),
            secret: SECRET,
            key: (MADE, MADE),
        }
    }

    pub fn for_device() -> Self {
        Self::for_certificate(&Draft::new("CN=Device", 3, 3).issue())
    }

    pub fn by_secret() -> Self {
        Self {
            for_key: None,
            ..Self::for_device()
        }
    }

    /// The response with the key.
    pub fn put(&self, body: PkiBody) -> PkiBody {
        with_key(body, Some(self.sealed()))
    }

    pub fn sealed(&self) -> Raw {
        let (certificate, secret) = (self.kga.issue(), Secret::new(self.secret.to_vec()));
        let signer = key(self.kga_key);
        let kga = KeyGenerationAuthority {
            key: &signer,
            certificate: &certificate,
            chain: &[],
        };
        let recipient = match &self.for_key {
            Some(certificate) => Recipient::Certificate(certificate),
            None => Recipient::Password(&secret),
        };
        let (private, public) = (key(self.key.0), key(self.key.1));
        let pkcs8 = private.to_pkcs8().unwrap();
        seal(&AwsLc, &pkcs8, public.public_key(), &kga, recipient).unwrap()
    }
}

pub fn with_key(body: PkiBody, private_key: Option<Raw>) -> PkiBody {
    let put = |mut content: CertRepMessage| {
        if let Some(pair) = &mut content.response[0].certified_key_pair {
            pair.private_key = private_key;
        }
        content
    };
    match body {
        PkiBody::Ip(content) => PkiBody::Ip(put(content)),
        PkiBody::Cp(content) => PkiBody::Cp(put(content)),
        PkiBody::Kup(content) => PkiBody::Kup(put(content)),
        other => other,
    }
}

/// What an RA makes of its answers.
pub type Change = fn(PkiBody) -> PkiBody;

/// Operations whose key the RA makes, by key agreement and by password, and how it delivers it.
pub fn central_operations() -> [(Config, Request, Change); 2] {
    static FOR_DEVICE: LazyLock<Raw> = LazyLock::new(|| Delivery::for_device().sealed());
    static BY_SECRET: LazyLock<Raw> = LazyLock::new(|| Delivery::by_secret().sealed());
    let by_agreement: Change = |body| with_key(body, Some(FOR_DEVICE.clone()));
    let by_password: Change = |body| with_key(body, Some(BY_SECRET.clone()));
    [
        (config(), initialization().into(), by_agreement),
        (mac_config(false), initialization().into(), by_password),
    ]
}
