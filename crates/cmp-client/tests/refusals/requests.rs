//! Requests that cannot be made so: nothing is signed, and nothing sent.

use cmp_client::{
    Action, CertificateRequest, Config, Failure, GeneralRequest, NewKey, Pkcs10Request, Request,
    RequestError, RevocationRequest, Transaction,
};
use x509_cert::{ext::pkix::CrlReason, name::Name};

use crate::ra::{config, config_of, mac_config, now, old_certificate, request, stranger, update_request};

fn refused(config: Config, request: impl Into<Request>) -> RequestError {
    let mut transaction = Transaction::new(config, request, [9; 32], now());
    let Some(Action::Done(Err(Failure::Request(error)))) = transaction.poll_action() else {
        panic!()
    };
    assert!(transaction.poll_action().is_none());
    error
}

#[test]
fn a_request_without_subject_or_with_a_key_that_is_none_is_refused() {
    let no_subject = CertificateRequest {
        subject: Name::default(),
        ..request()
    };
    assert_eq!(refused(config(), no_subject), RequestError::EmptySubject);
    let mut no_key = request();
    let NewKey::Own { public_key, .. } = &mut no_key.key else {
        panic!()
    };
    public_key.clear();
    assert_eq!(refused(config(), no_key), RequestError::PublicKey);
}

#[test]
fn a_csr_that_is_none_is_refused() {
    let whole = crate::ra::csr("CN=Station 7", 4);
    for csr in [
        &[][..],
        &[0x30, 0],
        &whole[..whole.len() - 1],
        &[&whole[..], &[0]].concat(),
    ] {
        let request = Pkcs10Request {
            csr: csr.to_vec(),
            key: cmp_client::KeyId(1),
            cert_profile: None,
        };
        assert_eq!(refused(config(), request), RequestError::Pkcs10);
    }
}

#[test]
fn a_kur_and_an_rr_under_another_certificate_or_under_a_mac_are_refused() {
    let (_, update) = update_request(&old_certificate());
    let revocation = RevocationRequest {
        certificate: old_certificate(),
        reason: CrlReason::Unspecified,
    };
    for config in [
        config(),
        mac_config(false),
        mac_config(true),
        config_of(&stranger()),
    ] {
        assert_eq!(
            refused(config.clone(), update.clone()),
            RequestError::UpdateProtection
        );
        assert_eq!(
            refused(config, revocation.clone()),
            RequestError::RevocationProtection
        );
    }
}

#[test]
fn the_update_of_a_root_that_is_not_trusted_is_refused() {
    let request = GeneralRequest::RootCaUpdate { root: stranger() };
    assert_eq!(refused(config(), request.clone()), RequestError::UnknownRoot);
    let trusting = Config {
        issued_anchors: Some(vec![stranger()]),
        ..config()
    };
    let mut transaction = Transaction::new(trusting, request, [9; 32], now());
    assert!(matches!(transaction.poll_action(), Some(Action::Sign { .. })));
}
