//! Requests made after a template of the RA (RFC 9483 §4.3.3).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod ra;

use cmp_client::{
    CertReqTemplate, CertificateRequest, GeneralRequest, KeyId, KeySpec, NewKey, Outcome, TemplateError,
};
use cmp_message::{
    AttributeTypeAndValue, CertTemplate, PkiBody, PkiMessage, Raw,
    crypto::{KeyAlgorithm, SigningKey},
    general::{CertReqTemplateContent, REG_CTRL_ALG_ID, REG_CTRL_RSA_KEY_LEN},
};
use der::{
    Encode, Sequence,
    asn1::{BitString, Ia5String, Null, ObjectIdentifier, OctetString, Uint},
};
use ra::{Ra, config, extension, key, key384, name, request, run};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::{ext::Extension, ext::pkix::name::GeneralName, name::Name};

const CN: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SAN: &str = "2.5.29.17";
const EKU: &str = "2.5.29.37";
const EC: &str = "1.2.840.10045.2.1";
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

fn template(subject: Option<Name>, extensions: Vec<Extension>) -> CertReqTemplate {
    CertReqTemplate {
        subject,
        extensions,
        key_specs: Vec::new(),
    }
}

/// A name whose attributes of the second list have no value.
fn open_name(valued: &[(&str, &str)], open: &[&str]) -> Name {
    use der::asn1::{Any, SetOfVec, Utf8StringRef};
    use x509_cert::name::{RdnSequence, RelativeDistinguishedName};
    let open = open.iter().map(|oid| (*oid, ""));
    let mut rdns = RdnSequence::default();
    for (oid, value) in open.chain(valued.iter().copied()) {
        let attribute = x509_cert::attr::AttributeTypeAndValue {
            oid: oid.parse().unwrap(),
            value: Any::from(Utf8StringRef::new(value).unwrap()),
        };
        rdns.push(RelativeDistinguishedName::from(
            SetOfVec::try_from(vec![attribute]).unwrap(),
        ));
    }
    der::Decode::from_der(&rdns.to_der().unwrap()).unwrap()
}

fn dns(name: &str) -> GeneralName {
    GeneralName::DnsName(Ia5String::new(name).unwrap())
}

fn empty(oid: &str) -> Extension {
    Extension {
        extn_value: OctetString::new([]).unwrap(),
        ..extension(oid, false, &Null)
    }
}

fn names(request: &CertificateRequest) -> Vec<GeneralName> {
    let san = request
        .extensions
        .iter()
        .find(|e| e.extn_id.to_string() == SAN)
        .unwrap();
    der::Decode::from_der(san.extn_value.as_bytes()).unwrap()
}

#[test]
fn a_template_without_demands_changes_nothing() {
    for subject in [None, Some(Name::default())] {
        let applied = template(subject, Vec::new()).apply(request()).unwrap();
        assert_eq!(applied.subject, request().subject);
        assert!(applied.extensions.is_empty());
    }
}

#[test]
fn values_of_the_template_are_taken_over_and_open_ones_filled_from_the_request() {
    let wanted = open_name(&[("2.5.4.10", "Operator of the RA")], &["2.5.4.3"]);
    let applied = template(Some(wanted), Vec::new()).apply(request()).unwrap();
    let subject = applied.subject;
    assert_eq!(subject.len(), 2);
    assert_eq!(subject.common_name().unwrap().unwrap().value(), "Station 7");
    assert_eq!(
        subject.organization().unwrap().unwrap().value(),
        "Operator of the RA"
    );
}

#[test]
fn an_attribute_that_the_request_has_not_is_missing() {
    let wanted = template(Some(open_name(&[], &["2.5.4.3", "2.5.4.5"])), Vec::new());
    let error = wanted.apply(request()).unwrap_err();
    assert_eq!(error, TemplateError::MissingAttribute("2.5.4.5".parse().unwrap()));
    let nameless = CertificateRequest {
        subject: Name::default(),
        ..request()
    };
    let error = template(Some(open_name(&[], &["2.5.4.3"])), Vec::new())
        .apply(nameless.clone())
        .unwrap_err();
    assert_eq!(error, TemplateError::MissingAttribute(CN));
    let error = template(None, Vec::new()).apply(nameless).unwrap_err();
    assert_eq!(error, TemplateError::MissingSubject);
}

#[test]
fn extensions_are_taken_over_replaced_filled_or_missed() {
    let usage = extension(
        EKU,
        false,
        &vec![ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2")],
    );
    let own_usage = extension(
        EKU,
        true,
        &vec![ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1")],
    );
    let other = extension("1.2.3", false, &Null);
    let own = CertificateRequest {
        extensions: vec![other.clone(), own_usage.clone()],
        ..request()
    };
    let applied = template(None, vec![usage.clone()]).apply(request()).unwrap();
    assert_eq!(applied.extensions, vec![usage.clone()]);
    let applied = template(None, vec![usage.clone()]).apply(own.clone()).unwrap();
    assert_eq!(applied.extensions, [other.clone(), usage]);
    let applied = template(None, vec![empty(EKU)]).apply(own).unwrap();
    assert_eq!(applied.extensions, [other, own_usage]);
    let error = template(None, vec![empty(EKU)]).apply(request()).unwrap_err();
    assert_eq!(error, TemplateError::MissingExtension(EKU.parse().unwrap()));
}

#[test]
fn open_alternative_names_are_filled_by_kind() {
    let address = |bytes: &[u8]| GeneralName::IpAddress(OctetString::new(bytes).unwrap());
    let fixed = dns("fixed.example");
    let wanted = template(
        None,
        vec![extension(SAN, false, &vec![fixed.clone(), dns(""), address(&[])])],
    );
    let own = |names: Vec<GeneralName>| CertificateRequest {
        extensions: vec![extension(SAN, true, &names)],
        ..request()
    };
    let (a, b, ip) = (dns("a.example"), dns("b.example"), address(&[10, 0, 0, 1]));
    let applied = wanted.apply(own(vec![a.clone(), ip.clone(), b.clone()])).unwrap();
    assert_eq!(names(&applied), [fixed, a.clone(), b, ip]);
    let missing = TemplateError::MissingExtension(SAN.parse().unwrap());
    assert_eq!(wanted.apply(own(vec![a])).unwrap_err(), missing);
    assert_eq!(wanted.apply(request()).unwrap_err(), missing);
    let broken = template(None, vec![extension(SAN, false, &Null)]);
    assert_eq!(broken.apply(request()).unwrap_err(), TemplateError::Malformed);
}

fn content(controls: Vec<(ObjectIdentifier, Raw)>) -> CertReqTemplateContent {
    let control = |(attr_type, value)| AttributeTypeAndValue { attr_type, value };
    CertReqTemplateContent {
        cert_template: CertTemplate::default(),
        key_spec: (!controls.is_empty()).then(|| controls.into_iter().map(control).collect()),
    }
}

fn algorithm(oid: &str, curve: Option<ObjectIdentifier>) -> Raw {
    let id = AlgorithmIdentifierOwned {
        oid: oid.parse().unwrap(),
        parameters: curve.map(|curve| der::Any::encode_from(&curve).unwrap()),
    };
    Raw::encode(&id).unwrap()
}

/// SubjectPublicKeyInfo of an RSA key with a modulus of this many bits.
fn rsa(bits: usize) -> Vec<u8> {
    #[derive(Sequence)]
    struct Key {
        modulus: Uint,
        exponent: Uint,
    }
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= modulus.len() * 8 - bits;
    let key = Key {
        modulus: Uint::new(&modulus).unwrap(),
        exponent: Uint::new(&[1, 0, 1]).unwrap(),
    };
    let info = SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: "1.2.840.113549.1.1.1".parse().unwrap(),
            parameters: Some(der::Any::null()),
        },
        subject_public_key: BitString::from_bytes(&key.to_der().unwrap()).unwrap(),
    };
    info.to_der().unwrap()
}

#[test]
fn only_keys_of_the_key_spec_are_accepted() {
    let (p256, p384) = (key(4).public_key().to_vec(), key384().public_key().to_vec());
    let accepts = |controls: Vec<(ObjectIdentifier, Raw)>| {
        let template = CertReqTemplate::from_content(&content(controls)).unwrap();
        [&p256, &p384, &rsa(2048), &rsa(2047)].map(|key| template.accepts(key))
    };
    let rsa_len = |bits: u32| (REG_CTRL_RSA_KEY_LEN, Raw::encode(&bits).unwrap());
    assert_eq!(accepts(vec![]), [true; 4]);
    assert_eq!(
        accepts(vec![(REG_CTRL_ALG_ID, algorithm(EC, Some(P256)))]),
        [true, false, false, false]
    );
    assert_eq!(
        accepts(vec![(REG_CTRL_ALG_ID, algorithm(EC, None))]),
        [true, true, false, false]
    );
    assert_eq!(accepts(vec![rsa_len(2048)]), [false, false, true, false]);
    assert_eq!(
        accepts(vec![(REG_CTRL_ALG_ID, algorithm(EC, Some(P256))), rsa_len(2047)]),
        [true, false, false, true]
    );
    assert_eq!(
        accepts(vec![(CN, Raw::encode(&Null).unwrap())]),
        [false; 4],
        "a demand that nobody knows"
    );
}

#[test]
fn the_types_of_keys_to_choose_from_are_told() {
    let accepted = |controls: Vec<(ObjectIdentifier, Raw)>| {
        let template = CertReqTemplate::from_content(&content(controls)).unwrap();
        template.accepted_keys().collect::<Vec<_>>()
    };
    assert_eq!(accepted(vec![]), KeyAlgorithm::GENERATED);
    assert_eq!(
        accepted(vec![(REG_CTRL_ALG_ID, algorithm(EC, Some(P256)))]),
        [KeyAlgorithm::P256]
    );
    let ed25519 = (REG_CTRL_ALG_ID, algorithm("1.3.101.112", None));
    assert_eq!(
        accepted(vec![ed25519, (REG_CTRL_ALG_ID, algorithm(EC, None))]),
        [
            KeyAlgorithm::P256,
            KeyAlgorithm::P384,
            KeyAlgorithm::P521,
            KeyAlgorithm::Ed25519
        ]
    );
    let rsa = (REG_CTRL_RSA_KEY_LEN, Raw::encode(&3072u32).unwrap());
    assert!(accepted(vec![rsa]).is_empty(), "no RSA keys are made here");
}

#[test]
fn a_template_that_no_key_here_can_meet_is_refused_by_name() {
    let template = CertReqTemplate {
        key_specs: vec![KeySpec::RsaKeyLen(3072)],
        ..template(None, Vec::new())
    };
    assert_eq!(
        template.apply(request()).unwrap_err(),
        TemplateError::KeyNotAccepted
    );
    let garbage = CertificateRequest {
        key: NewKey::Own {
            key: KeyId(1),
            public_key: vec![1, 2, 3],
            algorithm: key(4).algorithm(),
        },
        ..request()
    };
    assert_eq!(
        template.apply(garbage).unwrap_err(),
        TemplateError::KeyNotAccepted
    );
}

#[test]
fn a_template_of_the_ra_is_applied_to_the_next_request() {
    let mut ra = Ra::new();
    let cert_template = CertTemplate {
        subject: Some(open_name(&[("2.5.4.10", "RA")], &["2.5.4.3"])),
        ..CertTemplate::default()
    };
    ra.template = Some(CertReqTemplateContent {
        cert_template,
        ..content(vec![(REG_CTRL_ALG_ID, algorithm(EC, Some(P256)))])
    });
    let genm = GeneralRequest::CertReqTemplate { cert_profile: None };
    let Ok(Outcome::CertReqTemplate(Some(template))) = run(&mut ra, config(), genm) else {
        panic!()
    };
    let request = template.apply(request()).unwrap();
    run(&mut ra, config(), request).unwrap();
    let PkiBody::Ir(sent) = PkiMessage::from_bytes(&ra.messages[1]).unwrap().body.into_value() else {
        panic!()
    };
    let subject = sent[0].cert_req.cert_template.subject.as_ref().unwrap();
    assert_eq!(
        subject.to_der().unwrap(),
        name("O=RA,CN=Station 7").to_der().unwrap()
    );
}
