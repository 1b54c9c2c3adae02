//! Certificates: what is read, and what is not a certificate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]
#![allow(dead_code)]
#![cfg(feature = "rustcrypto")]

mod pki;

use cmp_message::certificate::{Certificate, CertificateError, names_match};
use cmp_message::crypto::{RustCrypto, SignatureAlgorithm, SigningKey};
use pki::{
    DIGITAL_SIGNATURE, Spec, VERSION_1, basic_constraints, extension, key, key_usage, name, names, tlv,
};

fn parse(spec: &Spec) -> Result<Certificate, CertificateError> {
    Certificate::from_der(spec.der(&key(2), &key(1)))
}

#[test]
fn every_field_is_the_bytes_received() {
    let spec = Spec::ca("Root", "Issuing", Some(3))
        .with(extension(14, false, &tlv(0x04, b"own key")))
        .with(extension(35, false, &tlv(0x30, &tlv(0x80, b"their key"))))
        .with(extension(17, false, &tlv(0x30, &tlv(0x82, b"example.test"))));
    let der = spec.der(&key(2), &key(1));
    let certificate = Certificate::from_der(der.clone()).unwrap();
    assert_eq!(certificate.as_der(), der);
    assert_eq!(certificate.issuer(), name("Root"));
    assert_eq!(certificate.subject(), name("Issuing"));
    assert_eq!(certificate.serial_number(), [1]);
    assert_eq!(certificate.public_key(), key(2).public_key());
    assert_eq!(
        (certificate.not_before(), certificate.not_after()),
        (1_767_225_600, 1_798_761_599)
    );
    assert_eq!(
        certificate.signature_algorithm(),
        Ok(SignatureAlgorithm::EcdsaSha256)
    );
    assert_eq!(
        certificate.verify_signature(&RustCrypto, key(1).public_key()),
        Ok(())
    );
    assert_eq!(
        certificate.basic_constraints().unwrap().path_len_constraint,
        Some(3)
    );
    assert!(certificate.key_usage().unwrap().key_cert_sign());
    assert_eq!(certificate.ext_key_usage(), None);
    assert_eq!(certificate.subject_key_identifier(), Some(&b"own key"[..]));
    assert_eq!(certificate.authority_key_identifier(), Some(&b"their key"[..]));
    assert_eq!(
        certificate.subject_alt_name(),
        Some(&tlv(0x30, &tlv(0x82, b"example.test"))[..])
    );
    assert_eq!(certificate.unprocessed_critical_extensions().count(), 0);
    assert!(!certificate.is_self_issued());
    // The TBSCertificate starts behind the outer header, of four bytes here.
    assert!(der[4..].starts_with(certificate.tbs()));
}

#[test]
fn it_prints_subject_and_serial_in_one_line() {
    let mut spec = Spec::new("Root", "Leaf");
    spec.serial = vec![0x0a, 0xff];
    let certificate = parse(&spec).unwrap();
    assert_eq!(certificate.to_string(), "CN=Leaf, serial 0aff");
    assert_eq!(format!("{certificate:?}"), "Certificate(CN=Leaf, serial 0aff)");
}

#[test]
fn a_subject_cannot_break_a_log_line() {
    let subject = parse(&Spec::new("Root", "a\nforged line\u{1b}[2J"))
        .unwrap()
        .subject_string();
    assert!(!subject.contains(char::is_control), "{subject:?}");
    assert!(subject.contains("forged line"), "{subject:?}");
}

#[test]
fn every_cut_and_every_trailing_byte_is_malformed() {
    let der = Spec::ca("Root", "Issuing", Some(0)).der(&key(2), &key(1));
    for at in 0..der.len() {
        assert!(
            matches!(
                Certificate::from_der(&der[..at]),
                Err(CertificateError::Malformed(_))
            ),
            "cut at {at}"
        );
    }
    let trailing = Certificate::from_der([&der[..], &[0]].concat());
    assert!(matches!(trailing, Err(CertificateError::Malformed(_))));
}

#[test]
fn no_flipped_byte_makes_it_panic_or_verify() {
    let der = Spec::ca("Root", "Issuing", Some(0)).der(&key(2), &key(1));
    let root = key(1);
    for at in 0..der.len() {
        let mut flipped = der.clone();
        flipped[at] ^= 0x01;
        if let Ok(certificate) = Certificate::from_der(flipped) {
            let _ = certificate.to_string();
            assert!(
                certificate
                    .verify_signature(&RustCrypto, root.public_key())
                    .is_err(),
                "byte {at}"
            );
        }
    }
}

#[test]
fn two_different_signature_algorithms_are_refused() {
    let mut spec = Spec::new("Root", "Leaf");
    *spec.inner_algorithm.last_mut().unwrap() = 3;
    assert_eq!(parse(&spec), Err(CertificateError::AlgorithmMismatch));
}

#[test]
fn extensions_need_version_3_and_no_other_version_exists() {
    let plain = Spec::new("Root", "Leaf");
    assert!(
        parse(&Spec {
            version: VERSION_1,
            ..plain.clone()
        })
        .is_ok()
    );
    assert!(
        parse(&Spec {
            version: Some(1),
            ..plain.clone()
        })
        .is_ok()
    );
    let extended = plain.with(key_usage(DIGITAL_SIGNATURE));
    for version in [VERSION_1, Some(1), Some(0), Some(3)] {
        let spec = Spec {
            version,
            ..extended.clone()
        };
        assert_eq!(parse(&spec), Err(CertificateError::Version), "{version:?}");
    }
}

#[test]
fn a_repeated_extension_is_refused() {
    let spec = Spec::new("Root", "Leaf")
        .with(basic_constraints(false, None))
        .with(basic_constraints(true, None));
    let oid = "2.5.29.19".parse().unwrap();
    assert_eq!(parse(&spec), Err(CertificateError::DuplicateExtension(oid)));
}

#[test]
fn a_malformed_extension_that_is_checked_makes_the_certificate_malformed() {
    for id_ce in [14, 15, 19, 35, 37] {
        let spec = Spec::new("Root", "Leaf").with(extension(id_ce, false, &[0x05, 0]));
        assert!(
            matches!(parse(&spec), Err(CertificateError::Malformed(_))),
            "2.5.29.{id_ce}"
        );
    }
}

#[test]
fn the_number_of_extensions_is_limited() {
    let mut spec = Spec::new("Root", "Leaf");
    for id_ce in 50..50 + 64 {
        spec = spec.with(extension(id_ce, false, &[]));
    }
    assert!(parse(&spec).is_ok());
    assert_eq!(
        parse(&spec.with(extension(49, false, &[]))),
        Err(CertificateError::ExtensionCount)
    );
}

#[test]
fn an_empty_issuer_is_refused_and_an_empty_subject_is_not() {
    let empty = tlv(0x30, &[]);
    let mut spec = Spec::new("Root", "Leaf");
    spec.subject = empty.clone();
    assert_eq!(parse(&spec).unwrap().subject_string(), "");
    spec.issuer = empty;
    assert_eq!(parse(&spec), Err(CertificateError::EmptyIssuer));
}

#[test]
fn a_serial_number_has_1_to_21_bytes() {
    let mut spec = Spec::new("Root", "Leaf");
    for (len, ok) in [(0, false), (1, true), (21, true), (22, false)] {
        spec.serial = vec![1; len];
        assert_eq!(parse(&spec).is_ok(), ok, "{len} bytes");
    }
}

#[test]
fn a_certificate_above_the_limit_is_not_looked_at() {
    let long = vec![0; Certificate::MAX_BYTES + 1];
    assert_eq!(Certificate::from_der(long), Err(CertificateError::TooLong));
}

#[test]
fn names_match_as_rfc_5280_compares_them() {
    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const TELETEX: u8 = 0x14;
    let base = names(&[(UTF8, "Issuing CA"), (UTF8, "Two")]);
    let same = [
        names(&[(PRINTABLE, "Issuing CA"), (UTF8, "Two")]),
        names(&[(UTF8, "issuing ca"), (PRINTABLE, "TWO")]),
        names(&[(UTF8, "  Issuing   CA "), (UTF8, "Two")]),
    ];
    for other in &same {
        assert!(names_match(&base, other) && names_match(other, &base));
    }
    let different = [
        names(&[(UTF8, "IssuingCA"), (UTF8, "Two")]),
        names(&[(UTF8, "Issuing CA")]),
        names(&[(UTF8, "Two"), (UTF8, "Issuing CA")]),
        names(&[(UTF8, "Issuing CA"), (UTF8, "Two"), (UTF8, "Three")]),
        names(&[(TELETEX, "Issuing CA"), (UTF8, "Two")]),
        tlv(0x30, &[]),
        b"not a name".to_vec(),
    ];
    for other in &different {
        assert!(!names_match(&base, other) && !names_match(other, &base));
    }
}

#[test]
fn the_order_within_one_rdn_does_not_matter_but_its_members_do() {
    let attribute = |id: u8, text: &str| {
        tlv(
            0x30,
            &[vec![0x06, 3, 0x55, 4, id], tlv(0x0c, text.as_bytes())].concat(),
        )
    };
    let rdn = |members: &[Vec<u8>]| tlv(0x30, &tlv(0x31, &members.concat()));
    let (x, y, z) = (attribute(3, "x"), attribute(10, "y"), attribute(11, "y"));
    assert!(names_match(
        &rdn(&[x.clone(), y.clone()]),
        &rdn(&[y.clone(), x.clone()])
    ));
    assert!(!names_match(&rdn(&[x.clone(), y.clone()]), &rdn(&[x.clone(), z])));
    assert!(!names_match(&rdn(&[x.clone(), x.clone()]), &rdn(&[x, y])));
}
