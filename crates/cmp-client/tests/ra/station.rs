//! What a station of the tests has and asks for.

use cmp_client::{
    CertificateRequest, Config, GeneralRequest, KeyId, NewKey, Operation, Outcome, Pkcs10Request, Protection,
    Request, RevocationRequest, Time, Transaction,
};
use cmp_message::{
    certificate::Certificate,
    crypto::{RustCrypto, SigningKey, rustcrypto::SoftKey},
    mac::Secret,
};
use core::time::Duration;
use der::Decode;
use x509_cert::{ext::pkix::CrlReason, name::Name};

use super::{
    REFERENCE, Ra, SECRET,
    pki::{Draft, NOW_S, csr, key, name, root},
};

pub fn now() -> Time {
    Time {
        monotonic: Duration::ZERO,
        utc_s: Some(NOW_S),
    }
}

/// The keys by their KeyId: the manufacturer's, a new one, and one after that.
pub fn station_keys() -> Vec<SoftKey> {
    vec![key(3), key(4), key(5)]
}

/// Protected with the manufacturer's certificate.
pub fn config() -> Config {
    let protection = Protection::Signature {
        key: KeyId(0),
        algorithm: key(3).algorithm(),
        certificate: Draft::new("CN=Device", 3, 3).issue(),
        chain: Vec::new(),
    };
    Config::new(&RustCrypto, name("CN=RA"), protection, vec![root()])
}

pub fn mac_config(pbmac1: bool) -> Config {
    let (reference, secret) = (REFERENCE.to_vec(), Secret::new(SECRET.to_vec()));
    let protection = if pbmac1 {
        Protection::Pbmac1 { reference, secret }
    } else {
        Protection::PasswordBasedMac { reference, secret }
    };
    Config {
        protection,
        ..config()
    }
}

/// Protected with a certificate of the PKI that belongs to key 1.
pub fn config_of(certificate: &Certificate) -> Config {
    let protection = Protection::Signature {
        key: KeyId(1),
        algorithm: key(4).algorithm(),
        certificate: certificate.clone(),
        chain: Vec::new(),
    };
    Config {
        protection,
        ..config()
    }
}

/// A certificate that the station has had for some time.
pub fn old_certificate() -> Certificate {
    Draft::new("CN=Station 7,O=Operator", 5, 4).issue()
}

fn new_key(id: u32) -> NewKey {
    let key = &station_keys()[id as usize];
    NewKey::Own {
        key: KeyId(id),
        public_key: key.public_key().to_vec(),
        algorithm: key.algorithm(),
    }
}

/// An ir.
pub fn request() -> CertificateRequest {
    CertificateRequest::new(
        Operation::Initialization,
        name("CN=Station 7,O=Operator"),
        new_key(1),
    )
}

pub fn update_request(old: &Certificate) -> (Config, CertificateRequest) {
    let subject = Name::from_der(old.subject()).unwrap();
    let request = CertificateRequest::new(Operation::Update(old.clone()), subject, new_key(2));
    (config_of(old), request)
}

pub fn revocation() -> (Config, RevocationRequest) {
    let certificate = old_certificate();
    let reason = CrlReason::Superseded;
    (config_of(&certificate), RevocationRequest { certificate, reason })
}

/// Every operation of RFC 9483 §4, each with a configuration that it works with.
pub fn operations() -> Vec<(&'static str, Config, Request)> {
    let (update_config, update) = update_request(&old_certificate());
    let (revocation_config, revocation) = revocation();
    let certification = CertificateRequest {
        operation: Operation::Certification,
        ..request()
    };
    let p10cr = Pkcs10Request {
        csr: csr("CN=Station 7,O=Operator", 4),
        key: KeyId(1),
        cert_profile: None,
    };
    let genm = |request: GeneralRequest| (config(), Request::from(request));
    let ca_certs = genm(GeneralRequest::CaCerts);
    let root_update = genm(GeneralRequest::RootCaUpdate { root: root() });
    let template = genm(GeneralRequest::CertReqTemplate { cert_profile: None });
    let crl = genm(GeneralRequest::CrlUpdate(
        cmp_client::CrlUpdate::of_issuer(root(), Some(NOW_S - 5000)).unwrap(),
    ));
    vec![
        ("ir", config(), request().into()),
        ("ir by MAC", mac_config(false), request().into()),
        ("cr", config_of(&old_certificate()), certification.into()),
        ("p10cr", config(), p10cr.into()),
        ("kur", update_config, update.into()),
        ("rr", revocation_config, revocation.into()),
        ("genm caCerts", ca_certs.0, ca_certs.1),
        ("genm rootCaCert", root_update.0, root_update.1),
        ("genm certReqTemplate", template.0, template.1),
        ("genm crlStatusList", crl.0, crl.1),
    ]
}

pub fn start(config: Config, request: impl Into<Request>) -> Transaction {
    Transaction::new(config, request, [42; 32], now())
}

/// Runs a transaction against the RA to its end.
pub fn finish(ra: &mut Ra, transaction: &mut Transaction) -> Result<Outcome, cmp_client::Failure> {
    let keys = station_keys();
    let find = |id: KeyId| keys.get(id.0 as usize).map(|key| key as &dyn SigningKey);
    cmp_client::drive::drive(transaction, now(), find, |now, message| ra.answer(now, message))
}

pub fn run(ra: &mut Ra, config: Config, request: impl Into<Request>) -> Result<Outcome, cmp_client::Failure> {
    finish(ra, &mut start(config, request))
}
