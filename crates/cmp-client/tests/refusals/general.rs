//! Revocation responses and general responses (RFC 9483 §4.2, §4.3).

use cmp_message::{
    AttributeTypeAndValue, CertId, CertTemplate, InfoTypeAndValue, PkiBody, PkiStatus, Raw, RevRepContent,
    general::{
        CA_CERTS, CERT_REQ_TEMPLATE, CRLS, CertReqTemplateContent, REG_CTRL_RSA_KEY_LEN, ROOT_CA_KEY_UPDATE,
        RootCaKeyUpdateContent,
    },
};
use der::asn1::{Int, Null, ObjectIdentifier};
use x509_cert::{
    ext::pkix::{KeyUsage, KeyUsages, name::GeneralName},
    time::Time,
};

use super::{How::Operation, check, row};
use crate::ra::{CrlDraft, NOW_S, Ra, Succession, extension, key, name, stranger};
use cmp_client::Config;

type Change = fn(&mut Ra, &mut Config);

fn rp(body: PkiBody, change: impl FnOnce(&mut RevRepContent)) -> PkiBody {
    let PkiBody::Rp(mut content) = body else { panic!() };
    change(&mut content);
    PkiBody::Rp(content)
}

fn cert_id(issuer: &str, serial: u8) -> CertId {
    CertId {
        issuer: GeneralName::DirectoryName(name(issuer)),
        serial_number: Int::new(&[serial]).unwrap(),
    }
}

#[test]
fn an_rp_that_does_not_fit_is_refused_with_its_own_error() {
    let rr = |how: Change| Operation("rr", how);
    check(&[
        row(
            "rp for another certificate",
            rr(|ra, _| ra.body = Some(|body| rp(body, |c| c.rev_certs = Some(vec![cert_id("CN=Root", 6)])))),
            "OtherCertificate",
        ),
        row(
            "rp for a certificate of another issuer",
            rr(|ra, _| {
                ra.body = Some(|body| rp(body, |c| c.rev_certs = Some(vec![cert_id("CN=Stranger", 5)])))
            }),
            "OtherCertificate",
        ),
        row(
            "rp for two certificates",
            rr(|ra, _| {
                ra.body = Some(|body| rp(body, |c| c.rev_certs = Some(vec![cert_id("CN=Root", 5); 2])))
            }),
            "ResponseCount(2)",
        ),
        row(
            "rp with two status values",
            rr(|ra, _| ra.body = Some(|body| rp(body, |c| c.status.push(PkiStatus::ACCEPTED.into())))),
            "ResponseCount(2)",
        ),
        row(
            "rp with an unknown status value",
            rr(|ra, _| ra.status = PkiStatus(7)),
            "UnexpectedStatus",
        ),
        row(
            "rp that only warns",
            rr(|ra, _| ra.status = PkiStatus::REVOCATION_WARNING),
            "UnexpectedStatus",
        ),
        row(
            "rp that waits",
            rr(|ra, _| ra.status = PkiStatus::WAITING),
            "UnexpectedStatus",
        ),
    ]);
}

/// A genp that says this.
fn genp(info_type: ObjectIdentifier, value: &[u8]) -> PkiBody {
    PkiBody::Genp(vec![InfoTypeAndValue {
        info_type,
        info_value: Some(Raw::new(value).unwrap()),
    }])
}

#[test]
fn a_genp_that_does_not_fit_is_refused_with_its_own_error() {
    let ca_certs = |how: Change| Operation("genm caCerts", how);
    check(&[
        row(
            "unknown infoType",
            ca_certs(|ra, _| ra.body = Some(|_| genp(ObjectIdentifier::new_unwrap("1.2.3"), &[5, 0]))),
            "UnexpectedInfoType",
        ),
        row(
            "infoType of another question",
            ca_certs(|ra, _| ra.body = Some(|_| genp(CRLS, &[0x30, 0]))),
            "UnexpectedInfoType",
        ),
        row(
            "infoType of the question where the answer has another",
            Operation("genm rootCaCert", |ra, _| {
                ra.body = Some(|_| {
                    PkiBody::Genp(vec![InfoTypeAndValue::absent(cmp_message::general::ROOT_CA_CERT)])
                });
            }),
            "UnexpectedInfoType",
        ),
        row(
            "empty genp",
            ca_certs(|ra, _| ra.body = Some(|_| PkiBody::Genp(Vec::new()))),
            "ResponseCount(0)",
        ),
        row(
            "genp with two values",
            ca_certs(|ra, _| ra.body = Some(|_| PkiBody::Genp(vec![InfoTypeAndValue::absent(CA_CERTS); 2]))),
            "ResponseCount(2)",
        ),
        row(
            "bad caCerts",
            ca_certs(|ra, _| ra.body = Some(|_| genp(CA_CERTS, &[5, 0]))),
            "InfoValue",
        ),
        row(
            "caCerts with something that is no certificate",
            ca_certs(|ra, _| ra.ca_certs = Some(vec![Raw::new([0x30, 0]).unwrap()])),
            "CaCertificate(Malformed",
        ),
        row(
            "more caCerts than anybody needs",
            ca_certs(|ra, _| ra.ca_certs = Some(vec![Raw::new([0x30, 0]).unwrap(); 65])),
            "CaCertificateCount(65)",
        ),
        row(
            "bad rootCaKeyUpdate",
            Operation("genm rootCaCert", |ra, _| {
                ra.body = Some(|_| genp(ROOT_CA_KEY_UPDATE, &[5, 0]))
            }),
            "InfoValue",
        ),
        row(
            "bad certReqTemplate",
            Operation("genm certReqTemplate", |ra, _| {
                ra.body = Some(|_| genp(CERT_REQ_TEMPLATE, &[5, 0]))
            }),
            "InfoValue",
        ),
        row(
            "bad crls",
            Operation("genm crlStatusList", |ra, _| {
                ra.body = Some(|_| genp(CRLS, &[5, 0]))
            }),
            "InfoValue",
        ),
    ]);
}

/// What the RA gives instead of a proper successor of the root.
fn succession(change: impl FnOnce(&mut Succession)) -> Option<RootCaKeyUpdateContent> {
    let mut succession = Succession::new();
    change(&mut succession);
    Some(succession.content())
}

fn content(change: impl FnOnce(&mut RootCaKeyUpdateContent)) -> Option<RootCaKeyUpdateContent> {
    let mut content = Succession::new().content();
    change(&mut content);
    Some(content)
}

#[test]
fn a_new_root_that_the_old_one_does_not_vouch_for_is_refused() {
    let genm = |how: Change| Operation("genm rootCaCert", how);
    check(&[
        row(
            "newWithOld missing",
            genm(|ra, _| ra.root_update = content(|c| c.new_with_old = None)),
            "RootUpdate(MissingLink)",
        ),
        row(
            "newWithNew that is no certificate",
            genm(|ra, _| ra.root_update = content(|c| c.new_with_new = Raw::new([0x30, 0]).unwrap())),
            "RootUpdate(Malformed(NewWithNew",
        ),
        row(
            "newWithOld signed by a stranger",
            genm(|ra, _| ra.root_update = succession(|s| s.new_with_old.issuer_key = 9)),
            "RootUpdate(Signature(NewWithOld, BadSignature)",
        ),
        row(
            "newWithOld of another old root",
            genm(|ra, _| ra.root_update = succession(|s| s.new_with_old.issuer = "CN=Stranger")),
            "RootUpdate(Name(NewWithOld)",
        ),
        row(
            "newWithOld for another key",
            genm(|ra, _| {
                ra.root_update = succession(|s| {
                    s.new_with_old.public_key = cmp_message::crypto::SigningKey::public_key(&key(9)).to_vec();
                });
            }),
            "RootUpdate(OtherKey(NewWithOld)",
        ),
        row(
            "newWithNew not signed by itself",
            genm(|ra, _| ra.root_update = succession(|s| s.new_with_new.issuer_key = 9)),
            "RootUpdate(Signature(NewWithNew, BadSignature)",
        ),
        row(
            "newWithNew of another issuer",
            genm(|ra, _| ra.root_update = succession(|s| s.new_with_new.issuer = "CN=Stranger")),
            "RootUpdate(Name(NewWithNew)",
        ),
        row(
            "newWithNew that is no CA's",
            genm(|ra, _| ra.root_update = succession(|s| s.new_with_new.extensions.clear())),
            "RootUpdate(NotCa(NewWithNew)",
        ),
        row(
            "newWithOld that may not sign certificates",
            genm(|ra, _| {
                ra.root_update = succession(|s| {
                    s.new_with_old.extensions[1] =
                        extension("2.5.29.15", true, &KeyUsage(KeyUsages::CRLSign.into()));
                });
            }),
            "RootUpdate(NotCa(NewWithOld)",
        ),
        row(
            "newWithNew with an unknown critical extension",
            genm(|ra, _| {
                ra.root_update =
                    succession(|s| s.new_with_new.extensions.push(extension("1.2.3", true, &Null)));
            }),
            "RootUpdate(CriticalExtension(NewWithNew",
        ),
        row(
            "newWithNew expired",
            genm(|ra, _| ra.root_update = succession(|s| s.new_with_new.not_after_s = NOW_S - 1)),
            "RootUpdate(Expired(NewWithNew)",
        ),
        row(
            "newWithOld not yet valid",
            genm(|ra, _| ra.root_update = succession(|s| s.new_with_old.not_before_s = NOW_S + 1)),
            "RootUpdate(NotYetValid(NewWithOld)",
        ),
        row(
            "oldWithNew signed by a stranger",
            genm(|ra, _| ra.root_update = succession(|s| s.old_with_new.issuer_key = 9)),
            "RootUpdate(Signature(OldWithNew, BadSignature)",
        ),
        row(
            "oldWithNew for another old root",
            genm(|ra, _| {
                ra.root_update = succession(|s| {
                    s.old_with_new.public_key = cmp_message::crypto::SigningKey::public_key(&key(9)).to_vec();
                });
            }),
            "RootUpdate(OtherKey(OldWithNew)",
        ),
        row(
            "a root of before, brought back",
            genm(|ra, _| {
                ra.root_update = succession(|s| {
                    (s.new_with_new.not_before_s, s.new_with_old.not_before_s) = (NOW_S - 2000, NOW_S - 2000);
                });
            }),
            "RootUpdate(NotNewer)",
        ),
    ]);
}

fn crl(change: impl FnOnce(&mut CrlDraft)) -> Option<Vec<Raw>> {
    let mut draft = CrlDraft::new();
    change(&mut draft);
    Some(vec![draft.issue()])
}

#[test]
fn a_crl_that_is_not_a_newer_one_of_its_issuer_is_refused() {
    let genm = |how: Change| Operation("genm crlStatusList", how);
    check(&[
        row(
            "wrong CRL issuer",
            genm(|ra, _| ra.crls = crl(|c| c.issuer = "CN=Stranger")),
            "Crl(WrongIssuer)",
        ),
        row(
            "CRL signed by a stranger",
            genm(|ra, _| ra.crls = crl(|c| c.key = 9)),
            "Crl(Signature(BadSignature))",
        ),
        row(
            "expired CRL",
            genm(|ra, _| ra.crls = crl(|c| c.next_update_s = NOW_S - 1)),
            "Crl(Expired)",
        ),
        row(
            "CRL of the future",
            genm(|ra, _| ra.crls = crl(|c| c.this_update_s = NOW_S + 1)),
            "Crl(NotYetValid)",
        ),
        row(
            "CRL that is there already",
            genm(|ra, _| ra.crls = crl(|c| c.this_update_s = NOW_S - 5000)),
            "Crl(NotNewer)",
        ),
        row(
            "older CRL",
            genm(|ra, _| ra.crls = crl(|c| c.this_update_s = NOW_S - 5001)),
            "Crl(NotNewer)",
        ),
        row(
            "delta CRL",
            genm(|ra, _| ra.crls = crl(|c| c.extensions.push(extension("2.5.29.27", true, &1u8)))),
            "Crl(CriticalExtension",
        ),
        row(
            "no CRL",
            genm(|ra, _| ra.crls = Some(vec![Raw::new([0x30, 0]).unwrap()])),
            "Crl(Malformed)",
        ),
        row(
            "two CRLs",
            genm(|ra, _| ra.crls = Some(vec![CrlDraft::new().issue(); 2])),
            "ResponseCount(2)",
        ),
        row(
            "empty list of CRLs",
            genm(|ra, _| ra.crls = Some(Vec::new())),
            "ResponseCount(0)",
        ),
    ]);
}

fn template(change: impl FnOnce(&mut CertTemplate)) -> Option<CertReqTemplateContent> {
    let mut cert_template = CertTemplate::default();
    change(&mut cert_template);
    Some(CertReqTemplateContent {
        cert_template,
        key_spec: None,
    })
}

fn rsa_key_len(value: &[u8]) -> Option<CertReqTemplateContent> {
    let control = AttributeTypeAndValue {
        attr_type: REG_CTRL_RSA_KEY_LEN,
        value: Raw::new(value).unwrap(),
    };
    template(|_| ()).map(|content| CertReqTemplateContent {
        key_spec: Some(vec![control]),
        ..content
    })
}

#[test]
fn a_template_that_no_request_can_follow_is_refused() {
    let genm = |how: Change| Operation("genm certReqTemplate", how);
    check(&[
        row(
            "template with a public key",
            genm(|ra, _| {
                ra.template = template(|t| {
                    let key = stranger().public_key().to_vec();
                    t.public_key = Some(der::Decode::from_der(&key).unwrap());
                });
            }),
            "Template(ForbiddenField)",
        ),
        row(
            "template with a serial number",
            genm(|ra, _| ra.template = template(|t| t.serial_number = Some(Int::new(&[1]).unwrap()))),
            "Template(ForbiddenField)",
        ),
        row(
            "template of version 1",
            genm(|ra, _| ra.template = template(|t| t.version = Some(0))),
            "Template(ForbiddenField)",
        ),
        row(
            "RSA key of no bits",
            genm(|ra, _| ra.template = rsa_key_len(&[2, 1, 0])),
            "Template(KeySpec)",
        ),
        row(
            "RSA key length that is no number",
            genm(|ra, _| ra.template = rsa_key_len(&[5, 0])),
            "Template(KeySpec)",
        ),
    ]);
    // Validity and issuer are the CA's own.
    let mut ra = Ra::new();
    ra.template = template(|t| {
        t.issuer = Some(name("CN=Root"));
        let not_after =
            der::asn1::GeneralizedTime::from_unix_duration(core::time::Duration::from_secs(NOW_S));
        t.validity = Some(cmp_message::OptionalValidity {
            not_before: None,
            not_after: Some(Time::GeneralTime(not_after.unwrap())),
        });
    });
    let (_, config, request) = crate::ra::operations()
        .into_iter()
        .find(|(name, ..)| *name == "genm certReqTemplate")
        .unwrap();
    assert!(crate::ra::run(&mut ra, config, request).is_ok());
}
