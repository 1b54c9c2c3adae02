//! CMP messages, certificates and CRLs.

use cmp_message::{
    Exact, InfoTypeAndValue, PkiBody, PkiMessage, Raw,
    certificate::{Certificate, names_match},
    crl::Crl,
    crypto::RustCrypto,
    general::{self, CertReqTemplateContent, CrlStatusList, RootCaKeyUpdateContent},
    mac::Secret,
    path::PathRequest,
    validate::{Accept, Authenticated, Context, Stage, validate},
};
use x509_cert::der::{Decode as _, DecodePem as _, Encode as _};

/// A CMP message: what decodes is written again as it came in, and its fields make a message of their own.
pub fn pki_message(data: &[u8]) {
    let peeked = PkiMessage::peek_header(data);
    let Ok(message) = PkiMessage::from_bytes(data) else {
        return;
    };
    assert_eq!(message.to_bytes().expect("encodes again"), data, "re-encoding");
    assert_eq!(
        peeked.expect("the header of a message that decodes"),
        *message.header,
        "peeked header"
    );
    message
        .protected_part()
        .expect("the protected part of what decodes");
    let (header, body) = (message.header.into_value(), message.body.into_value());
    let again = PkiMessage::new(header, body).expect("a message of the same fields");
    let bytes = again.to_bytes().expect("encodes");
    let reread = PkiMessage::from_bytes(&bytes).expect("what we encode decodes");
    assert_eq!(
        reread.to_bytes().expect("encodes again"),
        bytes,
        "stable encoding"
    );
}

/// A body alone, of any of the 27 kinds: what decodes is written again as it came in, and what is in it can be read and
/// shown.
pub fn pki_body(data: &[u8]) {
    let Ok(body) = Exact::<PkiBody>::from_der(data) else {
        return;
    };
    assert_eq!(body.to_der().expect("encodes again"), data, "re-encoding");
    match &*body {
        PkiBody::Ir(requests) | PkiBody::Cr(requests) | PkiBody::Kur(requests) => {
            for request in requests {
                let _ = request.public_key_der();
                let _ = request.cert_req.old_cert_id();
                let _ = request.popo_input();
            }
        }
        PkiBody::P10cr(request) => {
            let _ = request.parse::<x509_cert::request::CertReq>();
        }
        PkiBody::Ip(content) | PkiBody::Cp(content) | PkiBody::Kup(content) => {
            for response in &content.response {
                let _ = response.status.to_string();
            }
        }
        PkiBody::Error(error) => drop(error.pki_status_info.to_string()),
        PkiBody::Genm(content) | PkiBody::Genp(content) => content.iter().for_each(general_value),
        PkiBody::Nested(messages) => {
            let _ = messages.parse::<Vec<PkiMessage>>();
        }
        _ => {}
    }
}

/// The value of a general message, under its own type and under every other.
fn general_value(info: &InfoTypeAndValue) {
    let _ = general::info_type_name(&info.info_type);
    let Some(value) = &info.info_value else {
        return;
    };
    let _ = value.parse::<Vec<Raw>>();
    let _ = value.parse::<RootCaKeyUpdateContent>();
    let _ = value.parse::<CertReqTemplateContent>();
    let _ = value.parse::<CrlStatusList>();
}

/// A message as a server takes it: the whole validation of RFC 9483 §3.5, with an anchor and a secret. Nothing that is
/// made up passes it.
pub fn validation(data: &[u8]) {
    let Ok(message) = PkiMessage::from_bytes(data) else {
        return;
    };
    let pem = include_str!("../../tests/fixtures/openssl-3.0/pki/mfrroot.crt");
    let pem = &pem[pem.find("-----BEGIN").expect("PEM")..];
    let anchor = x509_cert::Certificate::from_pem(pem).expect("a certificate");
    let anchors = [Certificate::from_der(anchor.to_der().expect("DER")).expect("a certificate")];
    let secret = Secret::new(b"hunter2".to_vec());
    let lookup = |reference: Option<&[u8]>| (reference == Some(b"4711")).then_some(&secret);
    let context = Context {
        crypto: &RustCrypto,
        now_s: None,
        stage: Stage::First,
        accept: Accept::Any,
        anchors: &anchors,
        intermediates: &[],
        signer_usage: None,
        known_signer: None,
        secret: &lookup,
        unprotected_errors: true,
        max_clock_skew_s: Some(300),
    };
    match validate(&message, &context) {
        Ok(Authenticated::Unprotected) => assert!(message.protection.is_none()),
        Ok(_) => assert!(message.protection.is_some(), "protection that was checked"),
        Err(error) => {
            let _ = (error.to_string(), error.fail_info());
        }
    }
}

/// A certificate, as it stands in `extraCerts`, and the path from it to itself and to an anchor.
pub fn certificate(data: &[u8]) {
    let Ok(certificate) = Certificate::from_der(data) else {
        return;
    };
    assert_eq!(certificate.as_der(), data, "the bytes are kept");
    let _ = (certificate.to_string(), certificate.subject_string());
    assert!(names_match(certificate.subject(), certificate.subject()));
    let anchors = [certificate.clone()];
    let others = [certificate.clone()];
    let mut path = PathRequest::new(&certificate, &anchors, Some(0).into());
    path.untrusted = &others;
    let _ = path.validate(&RustCrypto);
    path.anchors = &[];
    path.validate(&RustCrypto).expect_err("no path without an anchor");
}

/// A CRL, as it comes in a genp: the only ones that its CA has signed are the seeds.
pub fn crl(data: &[u8]) {
    let Ok(crl) = Crl::from_der(data) else {
        return;
    };
    assert_eq!(crl.as_der(), data, "the bytes are kept");
    assert!(crl.serial_numbers().all(|serial| crl.contains(serial)));
    let ca = Certificate::from_der(crate::seeds::CRL_CA).expect("the CA of the seeds");
    let verified = crl.verify(&RustCrypto, &ca, Some(crl.this_update()));
    assert!(
        verified.is_err() || crate::seeds::CRLS.contains(&data),
        "whose is that?"
    );
}
