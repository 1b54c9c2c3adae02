//! Certificate responses (RFC 9483 §4.1).

use cmp_client::Modifications;
use cmp_message::{CertOrEncCert, CertRepMessage, PkiBody, PkiStatus, Raw};

use super::{
    How::{Ir, Operation},
    check, refused, row,
};
use crate::ra::stranger;

/// Changes the content of a certificate response.
fn content(body: PkiBody, change: impl FnOnce(&mut CertRepMessage)) -> PkiBody {
    match body {
        PkiBody::Ip(mut content) => {
            change(&mut content);
            PkiBody::Ip(content)
        }
        PkiBody::Cp(mut content) => {
            change(&mut content);
            PkiBody::Cp(content)
        }
        other => other,
    }
}

fn granted(body: PkiBody, certificate: CertOrEncCert) -> PkiBody {
    content(body, |content| {
        content.response[0]
            .certified_key_pair
            .as_mut()
            .unwrap()
            .cert_or_enc_cert = certificate;
    })
}

#[test]
fn a_certificate_that_is_not_the_one_asked_for_is_refused_in_cert_conf() {
    check(&[
        refused(
            "certificate for another key",
            Ir(|ra, _| ra.issue_other_key = true),
            "refused OtherKey",
        ),
        refused(
            "certificate for another key than the CSR's",
            Operation("p10cr", |ra, _| ra.issue_other_key = true),
            "refused OtherKey",
        ),
        refused(
            "the same in a kup",
            Operation("kur", |ra, _| ra.issue_other_key = true),
            "refused OtherKey",
        ),
        refused(
            "the same in a cp",
            Operation("cr", |ra, _| ra.issue_other_key = true),
            "refused OtherKey",
        ),
        refused(
            "the same under a MAC",
            Operation("ir by MAC", |ra, _| ra.issue_other_key = true),
            "refused OtherKey",
        ),
        refused(
            "subject not as asked and not granted with mods",
            Ir(|ra, _| ra.issue_other_subject = true),
            "refused OtherSubject",
        ),
        refused(
            "subject not as in the CSR",
            Operation("p10cr", |ra, _| ra.issue_other_subject = true),
            "refused OtherSubject",
        ),
        refused(
            "granted with mods that are not wanted",
            Ir(|ra, config| {
                (ra.issue_other_subject, ra.status) = (true, PkiStatus::GRANTED_WITH_MODS);
                config.modifications = Modifications::Refuse;
            }),
            "refused Modified",
        ),
        refused(
            "certificate that cannot be read",
            Ir(|ra, _| {
                ra.body = Some(|body| granted(body, CertOrEncCert::Certificate(Raw::new([0x30, 0]).unwrap())))
            }),
            "refused Malformed",
        ),
        refused(
            "certificate that does not chain to an anchor",
            Ir(|_, config| config.issued_anchors = Some(vec![stranger()])),
            "refused Path(PathError { failure: UnknownIssuer",
        ),
    ]);
}

#[test]
fn a_certificate_that_is_already_confirmed_and_wrong_is_unusable_and_the_ra_hears_nothing() {
    check(&[row(
        "certificate for another key, confirmed implicitly",
        Ir(|ra, config| {
            (ra.grant_implicit, ra.issue_other_key, config.implicit_confirm) = (true, true, true);
        }),
        "unusable OtherKey",
    )]);
}

#[test]
fn a_certificate_response_that_does_not_fit_is_refused_with_its_own_error() {
    check(&[
        row(
            "two responses",
            Ir(|ra, _| ra.body = Some(|body| content(body, |c| c.response.push(c.response[0].clone())))),
            "ResponseCount(2)",
        ),
        row(
            "no response",
            Ir(|ra, _| ra.body = Some(|body| content(body, |c| c.response.clear()))),
            "ResponseCount(0)",
        ),
        row(
            "certReqId 1",
            Ir(|ra, _| ra.body = Some(|body| content(body, |c| c.response[0].cert_req_id = 1))),
            "CertReqId(1)",
        ),
        row(
            "certReqId 0 for a p10cr",
            Operation("p10cr", |ra, _| {
                ra.body = Some(|body| content(body, |c| c.response[0].cert_req_id = 0))
            }),
            "CertReqId(0)",
        ),
        row(
            "unknown status value",
            Ir(|ra, _| ra.status = PkiStatus(9)),
            "UnexpectedStatus(PkiStatusInfo { status: PkiStatus(9)",
        ),
        row(
            "status keyUpdateWarning",
            Operation("kur", |ra, _| ra.status = PkiStatus::KEY_UPDATE_WARNING),
            "UnexpectedStatus",
        ),
        row(
            "granted without a certificate",
            Ir(|ra, _| ra.body = Some(|body| content(body, |c| c.response[0].certified_key_pair = None))),
            "MissingCertificate",
        ),
        row(
            "encrypted certificate that was not asked for",
            Ir(|ra, _| {
                ra.body =
                    Some(|body| granted(body, CertOrEncCert::EncryptedCert(Raw::new([0x30, 0]).unwrap())))
            }),
            "EncryptedCertificate",
        ),
        row(
            "private key of somebody else's making",
            Ir(|ra, _| {
                ra.body = Some(|body| {
                    content(body, |c| {
                        let key = Raw::new([0x30, 0]).unwrap();
                        c.response[0].certified_key_pair.as_mut().unwrap().private_key = Some(key);
                    })
                })
            }),
            "UnexpectedPrivateKey",
        ),
    ]);
}
