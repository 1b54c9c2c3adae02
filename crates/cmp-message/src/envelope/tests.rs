//! One wrong structure for each check. What is right comes from `seal`, is taken apart, changed and put together again.

extern crate std;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use std::fs;
use std::path::PathBuf;

use const_oid::ObjectIdentifier;
use const_oid::db::{rfc5280, rfc5911, rfc5912};
use der::asn1::{AnyRef, ContextSpecificRef, OctetStringRef};
use der::{Decode, Encode, TagMode, TagNumber};
use spki::AlgorithmIdentifierRef;

use super::cms::{
    EnvelopedData, KeyAgreeRecipientIdentifier, Originator, RecipientEncryptedKey, RecipientInfo, SequenceOf,
    SetOf, SignedData, SignerInfo,
};
use super::seal::{attribute, encrypt_by_password, sign, signed_attributes};
use super::*;
use crate::certificate::Certificate;
use crate::crypto::rustcrypto::SoftKey;
use crate::crypto::{AwsLc, CryptoError, RustCrypto, SigningKey};
use crate::mac::{MAX_ITERATIONS, Secret};
use crate::path::PathFailure;

const CEK: [u8; 32] = [0x5a; 32];
const IV: [u8; 16] = [0xa5; 16];

fn file(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/envelope");
    fs::read(folder.join(name)).unwrap()
}

fn certificate(name: &str) -> Certificate {
    let (_, der) = der::pem::decode_vec(&file(&alloc::format!("{name}.crt"))).unwrap();
    Certificate::from_der(der).unwrap()
}

fn pkcs8(name: &str) -> Vec<u8> {
    file(&alloc::format!("{name}.pk8"))
}

fn soft_key(name: &str) -> SoftKey {
    SoftKey::from_der(&pkcs8(name)).unwrap()
}

fn password() -> Secret {
    Secret::new(b"hunter2".to_vec())
}

fn leak(bytes: Vec<u8>) -> &'static [u8] {
    Box::leak(bytes.into_boxed_slice())
}

fn octets(bytes: &'static [u8]) -> &'static OctetStringRef {
    OctetStringRef::new(bytes).unwrap()
}

/// The package with the key of `new`.
fn package() -> Vec<u8> {
    key_package::package(&pkcs8("new"), certificate("new").public_key())
        .unwrap()
        .to_vec()
}

fn signed_by(signer: &str, package: &[u8]) -> SignedData<'static> {
    let (key, certificate, chain) = (soft_key(signer), certificate(signer), [certificate("issuing")]);
    let kga = KeyGenerationAuthority {
        key: &key,
        certificate: &certificate,
        chain: &chain,
    };
    let der = sign(&AwsLc, package, &kga).unwrap().to_vec();
    SignedData::from_der(leak(der)).unwrap()
}

fn signed() -> SignedData<'static> {
    signed_by("kga", &package())
}

/// The KGA's signature over other attributes.
fn signed_over(attributes: Vec<u8>) -> SignedData<'static> {
    let attributes = SetOf(leak(attributes));
    let signature = soft_key("kga").sign(&attributes.to_der().unwrap()).unwrap();
    with_signer(|signer| {
        signer.signed_attrs = Some(attributes);
        signer.signature = octets(leak(signature));
    })
}

fn with_signer(change: impl FnOnce(&mut SignerInfo<'static>)) -> SignedData<'static> {
    let mut signed = signed();
    let mut signer = signed.signer_infos.only::<SignerInfo<'_>>().unwrap().unwrap();
    change(&mut signer);
    signed.signer_infos = SetOf(leak(signer.to_der().unwrap()));
    signed
}

fn enveloped(content: &[u8]) -> EnvelopedData<'static> {
    let recipient = encrypt_by_password(&AwsLc, &password(), 1_000, &CEK).unwrap();
    EnvelopedData {
        version: 0,
        recipient_infos: SetOf(leak(recipient)),
        encrypted_content_info: cms::EncryptedContentInfo {
            content_type: rfc5911::ID_SIGNED_DATA,
            content_encryption_algorithm: algorithm::AesCbc::identifier_256(octets(&IV)),
            encrypted_content: Some(octets(leak(cipher::cbc_encrypt(&CEK, &IV, content)))),
        },
    }
}

fn encoded(enveloped: &EnvelopedData<'_>) -> Vec<u8> {
    ContextSpecificRef {
        tag_number: TagNumber(0),
        tag_mode: TagMode::Implicit,
        value: enveloped,
    }
    .to_der()
    .unwrap()
}

/// What `seal` makes for the certificate of this name, taken apart.
fn sealed_for(recipient: &str) -> EnvelopedData<'static> {
    let certificate = certificate(recipient);
    let raw = seal_by("kga", Recipient::Certificate(&certificate)).unwrap();
    // The [0] stands where the tag of a SEQUENCE was.
    let mut der = raw.as_bytes().to_vec();
    der[0] = 0x30;
    EnvelopedData::from_der(leak(der)).unwrap()
}

fn seal_by(signer: &str, recipient: Recipient<'_>) -> Result<crate::Raw, SealError> {
    let (key, certificate, chain) = (soft_key(signer), certificate(signer), [certificate("issuing")]);
    let kga = KeyGenerationAuthority {
        key: &key,
        certificate: &certificate,
        chain: &chain,
    };
    let public_key = self::certificate("new").public_key().to_vec();
    seal(&AwsLc, &pkcs8("new"), &public_key, &kga, recipient)
}

fn open_with(der: &[u8], change: impl FnOnce(&mut KgaTrust<'static>)) -> Result<DeliveredKey, EnvelopeError> {
    let encrypted = EncryptedPrivateKey::from_der(der)?;
    open_as(&encrypted, &RecipientSecret::Password(&password()), change)
}

fn open_as(
    encrypted: &EncryptedPrivateKey<'_>,
    secret: &RecipientSecret<'_>,
    change: impl FnOnce(&mut KgaTrust<'static>),
) -> Result<DeliveredKey, EnvelopeError> {
    let certificate: &'static Certificate = Box::leak(Box::new(certificate("new")));
    let mut trust = KgaTrust {
        certificate,
        anchors: Box::leak(Box::new([self::certificate("root")])),
        untrusted: &[],
        now_s: Some(certificate.not_before() + 1),
    };
    change(&mut trust);
    encrypted.open(&RustCrypto, secret, &trust)
}

fn open(enveloped: &EnvelopedData<'_>) -> Result<DeliveredKey, EnvelopeError> {
    open_with(&encoded(enveloped), |_| {})
}

#[track_caller]
fn refused_outside(enveloped: &EnvelopedData<'_>, expected: EnvelopeError) {
    let der = encoded(enveloped);
    assert_eq!(EncryptedPrivateKey::from_der(&der).unwrap_err(), expected);
}

#[track_caller]
fn refused(signed: &SignedData<'_>, expected: EnvelopeError) {
    assert_eq!(open(&enveloped(&signed.to_der().unwrap())).unwrap_err(), expected);
}

#[track_caller]
fn refused_package(package: &[u8], expected: EnvelopeError) {
    refused(&signed_by("kga", package), expected);
}

#[test]
fn what_is_taken_apart_and_put_together_unchanged_opens() {
    let opened = open(&enveloped(&signed().to_der().unwrap())).unwrap();
    assert_eq!(opened.as_pkcs8(), pkcs8("new"));
}

#[test]
fn the_deprecated_encrypted_value_trailing_bytes_and_too_many_bytes_are_refused() {
    let good = encoded(&enveloped(&signed().to_der().unwrap()));
    let mut encrypted_value = good.clone();
    encrypted_value[0] = 0x30;
    let error = EncryptedPrivateKey::from_der(&encrypted_value).unwrap_err();
    assert_eq!(error, EnvelopeError::EncryptedValue);
    let longer = [good.as_slice(), &[0]].concat();
    assert_eq!(
        EncryptedPrivateKey::from_der(&longer).unwrap_err(),
        EnvelopeError::Malformed
    );
    for cut in 0..good.len() {
        assert_eq!(
            EncryptedPrivateKey::from_der(&good[..cut]).unwrap_err(),
            EnvelopeError::Malformed
        );
    }
    let long = vec![0xa0; MAX_ENCRYPTED_KEY_BYTES + 1];
    assert_eq!(
        EncryptedPrivateKey::from_der(&long).unwrap_err(),
        EnvelopeError::TooLong
    );
}

#[test]
fn there_is_exactly_one_recipient_of_a_kind_that_the_profile_has() {
    let mut two = enveloped(&[0; 32]);
    two.recipient_infos = SetOf(leak([two.recipient_infos.0, two.recipient_infos.0].concat()));
    refused_outside(&two, EnvelopeError::RecipientCount(2));
    let mut none = enveloped(&[0; 32]);
    none.recipient_infos = SetOf(&[]);
    refused_outside(&none, EnvelopeError::RecipientCount(0));
    for kind in [0xa2, 0xa4] {
        let mut other = enveloped(&[0; 32]);
        let mut element = other.recipient_infos.0.to_vec();
        element[0] = kind;
        other.recipient_infos = SetOf(leak(element));
        refused_outside(&other, EnvelopeError::RecipientKind);
    }
}

#[test]
fn each_version_outside_is_the_one_of_its_structure() {
    let version = |structure, version| EnvelopeError::Version(structure, version);
    let mut password = enveloped(&[0; 32]);
    password.version = 2;
    refused_outside(&password, version(Structure::EnvelopedData, 2));
    password.version = 3;
    assert!(EncryptedPrivateKey::from_der(&encoded(&password)).is_ok());
    change_recipient(&mut password, |info| match info {
        RecipientInfo::Password(pwri) => pwri.version = 1,
        _ => panic!("a pwri"),
    });
    refused_outside(&password, version(Structure::PasswordRecipientInfo, 1));

    let mut agreed = sealed_for("p256");
    agreed.version = 3;
    refused_outside(&agreed, version(Structure::EnvelopedData, 3));
    change_recipient(&mut agreed, |info| match info {
        RecipientInfo::KeyAgree(kari) => kari.version = 2,
        _ => panic!("a kari"),
    });
    refused_outside(&agreed, version(Structure::KeyAgreeRecipientInfo, 2));

    let mut transported = sealed_for("rsa");
    transported.version = 4;
    refused_outside(&transported, version(Structure::EnvelopedData, 4));
    change_recipient(&mut transported, |info| match info {
        RecipientInfo::KeyTrans(ktri) => ktri.version = 3,
        _ => panic!("a ktri"),
    });
    refused_outside(&transported, version(Structure::KeyTransRecipientInfo, 3));
}

fn change_recipient(
    enveloped: &mut EnvelopedData<'static>,
    change: impl FnOnce(&mut RecipientInfo<'static>),
) {
    let mut info = enveloped.recipient_infos.only().unwrap().unwrap();
    change(&mut info);
    enveloped.recipient_infos = SetOf(leak(info.to_der().unwrap()));
}

fn with_identifiers(
    change: impl FnOnce(&mut AlgorithmIdentifierRef<'static>, &mut AlgorithmIdentifierRef<'static>),
) -> EnvelopedData<'static> {
    let mut enveloped = enveloped(&[0; 32]);
    change_recipient(&mut enveloped, |info| match info {
        RecipientInfo::Password(pwri) => {
            let derivation = pwri.key_derivation_algorithm.as_mut().unwrap();
            change(derivation, &mut pwri.key_encryption_algorithm);
        }
        _ => panic!("a pwri"),
    });
    enveloped
}

#[test]
fn a_password_is_derived_with_pbkdf2_in_bounds_and_wraps_with_aes() {
    // PWRI-KEK is what RFC 3211 has, and OpenSSL; the profile has AES key wrap.
    let pwri_kek = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.3.9");
    let other = with_identifiers(|_, wrap| wrap.oid = pwri_kek);
    refused_outside(&other, EnvelopeError::UnsupportedAlgorithm(pwri_kek));
    let other = with_identifiers(|_, wrap| wrap.parameters = Some(AnyRef::from(octets(&IV))));
    refused_outside(
        &other,
        EnvelopeError::MalformedAlgorithm(rfc5911::ID_AES_256_WRAP),
    );
    let shorter = with_identifiers(|_, wrap| wrap.oid = rfc5911::ID_AES_128_WRAP);
    refused_outside(&shorter, EnvelopeError::MalformedAlgorithm(rfc5911::ID_PBKDF_2));
    let other = with_identifiers(|derivation, _| derivation.oid = rfc5912::ID_SHA_256);
    refused_outside(&other, EnvelopeError::UnsupportedAlgorithm(rfc5912::ID_SHA_256));
    let bare = with_identifiers(|derivation, _| derivation.parameters = None);
    refused_outside(&bare, EnvelopeError::MalformedAlgorithm(rfc5911::ID_PBKDF_2));
    for (iterations, expected) in [
        (99, EnvelopeError::TooFewIterations),
        (MAX_ITERATIONS + 1, EnvelopeError::TooCostly),
    ] {
        let derived = algorithm::Pbkdf2 {
            prf: crate::crypto::HashAlgorithm::Sha256,
            salt: der::asn1::OctetString::new([1; 16]).unwrap(),
            iterations,
        };
        let parameters = derived.identifier(32).unwrap().parameters.unwrap();
        let parameters = AnyRef::from_der(leak(parameters.to_der().unwrap())).unwrap();
        let other = with_identifiers(|derivation, _| derivation.parameters = Some(parameters));
        refused_outside(&other, expected);
    }
}

#[test]
fn the_content_is_said_to_be_signed_data_and_is_encrypted_with_aes_cbc() {
    let mut other = enveloped(&[0; 32]);
    other.encrypted_content_info.content_type = rfc5911::ID_DATA;
    refused_outside(&other, EnvelopeError::ContentType(rfc5911::ID_DATA));
    let mut absent = enveloped(&[0; 32]);
    absent.encrypted_content_info.encrypted_content = None;
    refused_outside(&absent, EnvelopeError::MissingContent);
    let mut other = enveloped(&[0; 32]);
    other.encrypted_content_info.content_encryption_algorithm.oid = rfc5911::DES_EDE_3_CBC;
    refused_outside(
        &other,
        EnvelopeError::UnsupportedAlgorithm(rfc5911::DES_EDE_3_CBC),
    );
    let mut short = enveloped(&[0; 32]);
    let iv = Some(AnyRef::from(octets(&[0; 12])));
    short
        .encrypted_content_info
        .content_encryption_algorithm
        .parameters = iv;
    refused_outside(&short, EnvelopeError::MalformedAlgorithm(rfc5911::ID_AES_256_CBC));
}

#[test]
fn the_recipient_is_who_protected_the_request_and_by_what() {
    let by_key = encoded(&sealed_for("p256"));
    let by_key = EncryptedPrivateKey::from_der(&by_key).unwrap();
    let by_password = encoded(&enveloped(&[0; 32]));
    let by_password = EncryptedPrivateKey::from_der(&by_password).unwrap();
    let p256 = certificate("p256");
    assert_eq!(
        by_key.operation(None, &[]),
        Err(EnvelopeError::RecipientProtection)
    );
    assert_eq!(
        by_password.operation(Some(&p256), &[]),
        Err(EnvelopeError::RecipientProtection)
    );
    assert_eq!(
        by_key.operation(Some(&certificate("kga")), &[]),
        Err(EnvelopeError::NotForUs)
    );
    let by_rsa = encoded(&sealed_for("rsa"));
    let by_rsa = EncryptedPrivateKey::from_der(&by_rsa).unwrap();
    assert_eq!(by_rsa.operation(Some(&p256), &[]), Err(EnvelopeError::NotForUs));
    let by_serial = encoded(&sealed_for("noid"));
    let by_serial = EncryptedPrivateKey::from_der(&by_serial).unwrap();
    assert_eq!(
        by_serial.operation(Some(&p256), &[]),
        Err(EnvelopeError::NotForUs)
    );
    assert!(by_serial.operation(Some(&certificate("noid")), &[]).is_ok());
}

#[test]
fn one_key_of_the_originator_on_the_curve_of_the_recipient_is_taken() {
    let other_curve = certificate("p384");
    let mut other = sealed_for("p384");
    let p256 = certificate("p256");
    change_recipient(&mut other, |info| match info {
        RecipientInfo::KeyAgree(kari) => {
            let mut key = kari
                .recipient_encrypted_keys
                .only::<RecipientEncryptedKey<'_>>()
                .unwrap()
                .unwrap();
            let identifier = leak(p256.subject_key_identifier().unwrap().to_vec());
            key.rid = KeyAgreeRecipientIdentifier::KeyId(cms::RecipientKeyIdentifier {
                subject_key_identifier: octets(identifier),
            });
            kari.recipient_encrypted_keys = SequenceOf(leak(key.to_der().unwrap()));
        }
        _ => panic!("a kari"),
    });
    let der = encoded(&other);
    let encrypted = EncryptedPrivateKey::from_der(&der).unwrap();
    assert_eq!(
        encrypted.operation(Some(&p256), &[]),
        Err(EnvelopeError::OriginatorKey)
    );

    let mut by_identifier = sealed_for("p256");
    change_recipient(&mut by_identifier, |info| match info {
        RecipientInfo::KeyAgree(kari) => {
            let identifier = leak(other_curve.subject_key_identifier().unwrap().to_vec());
            kari.originator = Originator::SubjectKeyIdentifier(octets(identifier));
        }
        _ => panic!("a kari"),
    });
    let der = encoded(&by_identifier);
    let encrypted = EncryptedPrivateKey::from_der(&der).unwrap();
    let operation = encrypted.operation(Some(&p256), &[other_curve]);
    assert_eq!(operation, Err(EnvelopeError::OriginatorKey));

    let mut twice = sealed_for("p256");
    change_recipient(&mut twice, |info| match info {
        RecipientInfo::KeyAgree(kari) => {
            let one = kari.recipient_encrypted_keys.0;
            kari.recipient_encrypted_keys = SequenceOf(leak([one, one].concat()));
        }
        _ => panic!("a kari"),
    });
    refused_outside(&twice, EnvelopeError::RecipientCount(2));
}

#[test]
fn another_password_another_key_and_a_changed_content_give_nothing_and_look_alike_to_the_peer() {
    let good = enveloped(&signed().to_der().unwrap());
    let der = encoded(&good);
    let encrypted = EncryptedPrivateKey::from_der(&der).unwrap();
    let open = |secret: &RecipientSecret<'_>| open_as(&encrypted, secret, |_| {}).unwrap_err();
    let wrong_key = open(&RecipientSecret::Password(&Secret::new(b"hunter3".to_vec())));
    assert_eq!(wrong_key, EnvelopeError::WrongKey);
    assert_eq!(
        open(&RecipientSecret::Agreed(&[0; 32])),
        EnvelopeError::WrongRecipient
    );
    assert_eq!(
        open(&RecipientSecret::Decrypted(&CEK)),
        EnvelopeError::WrongRecipient
    );

    let mut changed = good;
    let content = changed
        .encrypted_content_info
        .encrypted_content
        .unwrap()
        .as_bytes();
    let mut last = content.to_vec();
    *last.last_mut().unwrap() ^= 1;
    changed.encrypted_content_info.encrypted_content = Some(octets(leak(last)));
    let wrong_content = self::open(&changed).unwrap_err();
    assert_eq!(wrong_content, EnvelopeError::WrongContent);
    let cut = &content[..content.len() - 1];
    changed.encrypted_content_info.encrypted_content = Some(octets(cut));
    assert_eq!(self::open(&changed).unwrap_err(), EnvelopeError::WrongContent);
    assert_eq!(wrong_key.fail_info(), wrong_content.fail_info());
}

#[test]
fn a_content_encryption_key_of_another_length_is_a_wrong_key() {
    let der = encoded(&sealed_for("rsa"));
    let encrypted = EncryptedPrivateKey::from_der(&der).unwrap();
    for len in [0, 16, 31, 33] {
        let key = vec![0; len];
        let opened = open_as(&encrypted, &RecipientSecret::Decrypted(&key), |_| {});
        assert_eq!(opened.unwrap_err(), EnvelopeError::WrongKey, "{len} bytes");
    }
}

#[test]
fn what_is_inside_is_signed_data_of_version_3_with_a_key_package() {
    assert_eq!(
        open(&enveloped(&package())).unwrap_err(),
        EnvelopeError::WrongContent
    );
    let mut other = signed();
    other.version = 1;
    refused(&other, EnvelopeError::Version(Structure::SignedData, 1));
    let mut other = signed();
    other.encap_content_info.content_type = rfc5911::ID_DATA;
    refused(&other, EnvelopeError::SignedContentType(rfc5911::ID_DATA));
    let mut detached = signed();
    detached.encap_content_info.content = None;
    refused(&detached, EnvelopeError::MissingSignedContent);
}

#[test]
fn there_is_one_signer_with_one_digest_and_its_certificate_is_there() {
    let mut none = signed();
    none.signer_infos = SetOf(&[]);
    refused(&none, EnvelopeError::SignerCount(0));
    let mut two = signed();
    two.signer_infos = SetOf(leak([two.signer_infos.0, two.signer_infos.0].concat()));
    refused(&two, EnvelopeError::SignerCount(2));

    for digests in [0, 2] {
        let mut other = signed();
        other.digest_algorithms = SetOf(leak(other.digest_algorithms.0.repeat(digests)));
        refused(&other, EnvelopeError::DigestAlgorithms);
    }
    let sha384 = crate::crypto::HashAlgorithm::Sha384.algorithm_identifier();
    let mut other = signed();
    other.digest_algorithms = SetOf(leak(sha384.to_der().unwrap()));
    refused(&other, EnvelopeError::DigestAlgorithms);

    let version = with_signer(|signer| signer.version = 1);
    refused(&version, EnvelopeError::Version(Structure::SignerInfo, 1));
    let mut without = signed();
    without.certificates = None;
    refused(&without, EnvelopeError::MissingSigner);
    without.certificates = Some(SetOf(leak(certificate("issuing").as_der().to_vec())));
    refused(&without, EnvelopeError::MissingSigner);
    let mut many = signed();
    many.certificates = Some(SetOf(leak(
        certificate("kga").as_der().repeat(MAX_CERTIFICATES + 1),
    )));
    refused(&many, EnvelopeError::TooManyCertificates(MAX_CERTIFICATES + 1));
}

#[test]
fn the_signed_attributes_are_there_once_and_say_what_is_signed() {
    let without = with_signer(|signer| signer.signed_attrs = None);
    refused(&without, EnvelopeError::MissingSignedAttributes);

    let sha256 = crate::crypto::HashAlgorithm::Sha256;
    let digest = crate::crypto::Crypto::digest(&RustCrypto, sha256, &package()).unwrap();
    let digest = OctetStringRef::new(digest.as_bytes()).unwrap().to_der().unwrap();
    let type_of =
        |oid: ObjectIdentifier| attribute(rfc5911::ID_CONTENT_TYPE, &oid.to_der().unwrap()).unwrap();
    let digest_of = |value: &[u8]| attribute(rfc5911::ID_MESSAGE_DIGEST, value).unwrap();
    let (right_type, right_digest) = (type_of(ID_CT_KP_A_KEY_PACKAGE), digest_of(&digest));
    let missing = |oid| EnvelopeError::SignedAttribute(oid);

    refused(
        &signed_over(right_digest.clone()),
        missing(rfc5911::ID_CONTENT_TYPE),
    );
    refused(
        &signed_over(right_type.clone()),
        missing(rfc5911::ID_MESSAGE_DIGEST),
    );
    let twice = [right_type.clone(), right_type.clone(), right_digest.clone()].concat();
    refused(&signed_over(twice), missing(rfc5911::ID_CONTENT_TYPE));
    let two_values = digest_of(&[digest.clone(), digest.clone()].concat());
    refused(
        &signed_over([right_type.clone(), two_values].concat()),
        missing(rfc5911::ID_MESSAGE_DIGEST),
    );
    let data = [type_of(rfc5911::ID_DATA), right_digest.clone()].concat();
    refused(
        &signed_over(data),
        EnvelopeError::WrongContentType(rfc5911::ID_DATA),
    );
    let other_digest = signed_attributes(&[7; 32]).unwrap();
    refused(&signed_over(other_digest), EnvelopeError::WrongMessageDigest);
    let right = signed_over([right_type, right_digest].concat());
    assert!(open(&enveloped(&right.to_der().unwrap())).is_ok());
}

#[test]
fn a_signature_that_is_wrong_or_of_an_unknown_or_weak_algorithm_is_refused() {
    let other = signed_by("plain", &package());
    let other = other.signer_infos.only::<SignerInfo<'_>>().unwrap().unwrap();
    let wrong = with_signer(|signer| signer.signature = other.signature);
    refused(&wrong, EnvelopeError::WrongSignature);
    let unknown = with_signer(|signer| signer.signature_algorithm.oid = rfc5280::ID_CE_KEY_USAGE);
    refused(
        &unknown,
        EnvelopeError::UnsupportedAlgorithm(rfc5280::ID_CE_KEY_USAGE),
    );
    for (oid, expected) in [
        (rfc5912::ID_SHA_1, EnvelopeError::WeakAlgorithm(rfc5912::ID_SHA_1)),
        (
            rfc5280::ID_CE_KEY_USAGE,
            EnvelopeError::UnsupportedAlgorithm(rfc5280::ID_CE_KEY_USAGE),
        ),
    ] {
        let mut digest = with_signer(|signer| signer.digest_algorithm.oid = oid);
        let parameters = None;
        let identifier = AlgorithmIdentifierRef { oid, parameters };
        digest.digest_algorithms = SetOf(leak(identifier.to_der().unwrap()));
        refused(&digest, expected);
    }
}

#[test]
fn the_kga_chains_to_an_anchor_and_is_valid() {
    let good = encoded(&enveloped(&signed().to_der().unwrap()));
    let other = Box::leak(Box::new([certificate("other")]));
    let failure = |result: Result<DeliveredKey, EnvelopeError>| match result.unwrap_err() {
        EnvelopeError::KgaNotTrusted(error) => error.failure,
        error => panic!("{error}"),
    };
    let wrong_anchor = open_with(&good, |trust| trust.anchors = other);
    assert_eq!(failure(wrong_anchor), PathFailure::UnknownIssuer);
    let expired = open_with(&good, |trust| trust.now_s = Some(u64::MAX));
    assert_eq!(failure(expired), PathFailure::Expired);
    assert!(open_with(&good, |trust| trust.now_s = None).is_ok());

    let mut alone = signed();
    alone.certificates = Some(SetOf(leak(certificate("kga").as_der().to_vec())));
    let alone = encoded(&enveloped(&alone.to_der().unwrap()));
    assert_eq!(failure(open_with(&alone, |_| {})), PathFailure::UnknownIssuer);
    let issuing = Box::leak(Box::new([certificate("issuing")]));
    assert!(open_with(&alone, |trust| trust.untrusted = issuing).is_ok());
}

#[test]
fn the_ca_that_issued_the_certificate_is_authorised_and_no_other_is() {
    let by = |signer: &str| open(&enveloped(&signed_by(signer, &package()).to_der().unwrap()));
    assert!(by("issuing").is_ok());
    assert_eq!(by("other").unwrap_err(), EnvelopeError::KgaNotAuthorized);
    assert_eq!(by("plain").unwrap_err(), EnvelopeError::KgaNotAuthorized);
}

#[test]
fn there_is_one_key_with_its_public_key_and_it_is_the_one_of_the_certificate() {
    let one = package();
    let element = SequenceOf::from_der(&one).unwrap().0;
    let list = |elements: &[u8]| SequenceOf(elements).to_der().unwrap();
    refused_package(&list(&[]), EnvelopeError::KeyCount(0));
    refused_package(&list(&[element, element].concat()), EnvelopeError::KeyCount(2));
    refused_package(
        &list(&pkcs8("new")),
        EnvelopeError::Version(Structure::OneAsymmetricKey, 0),
    );
    let mut version_2 = pkcs8("new");
    assert_eq!(version_2[3..6], [0x02, 0x01, 0x00]);
    version_2[5] = 1;
    refused_package(&list(&version_2), EnvelopeError::MissingPublicKey);

    let others = key_package::package(&pkcs8("kga"), certificate("kga").public_key()).unwrap();
    refused_package(&others, EnvelopeError::KeyMismatch);
    // The public key is right, and the private one is not.
    let lie = key_package::package(&pkcs8("noid"), certificate("new").public_key()).unwrap();
    refused_package(&lie, EnvelopeError::KeyMismatch);
    let mut broken = one;
    let sec1_version = broken
        .windows(3)
        .rposition(|window| window == [0x02, 0x01, 0x01])
        .unwrap();
    broken[sec1_version + 2] = 9;
    refused_package(
        &broken,
        EnvelopeError::PrivateKey(CryptoError::MalformedPrivateKey),
    );
}

#[test]
fn nothing_is_sealed_for_a_key_that_cannot_or_must_not_encrypt() {
    let plain = certificate("plain");
    let error = seal_by("kga", Recipient::Certificate(&plain)).unwrap_err();
    assert_eq!(error, SealError::KeyUsage);
    let error = seal_by("noid", Recipient::Password(&password())).unwrap_err();
    assert_eq!(error, SealError::NoKeyIdentifier);
}

#[test]
fn a_changed_byte_anywhere_never_gives_a_key_that_is_not_the_certificates() {
    let good = encoded(&sealed_for("rsa"));
    let rsa = RsaRecipientKey::from_pkcs8(&pkcs8("rsa")).unwrap();
    let recipient = certificate("rsa");
    let open = |der: &[u8]| {
        let encrypted = EncryptedPrivateKey::from_der(der)?;
        let operation = encrypted.operation(Some(&recipient), &[])?;
        let key = operation.perform(&rsa)?;
        open_as(&encrypted, &operation.secret(&key).unwrap(), |_| {})
    };
    assert!(open(&good).is_ok());
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0x01;
        assert!(open(&changed).is_err(), "byte {at} went unseen");
    }
}

#[test]
fn secrets_are_not_shown() {
    let opened = open(&enveloped(&signed().to_der().unwrap())).unwrap();
    assert_eq!(alloc::format!("{opened:?}"), "DeliveredKey(…)");
    assert_eq!(
        alloc::format!("{:?}", RecipientSecret::Agreed(&[1])),
        "RecipientSecret(…)"
    );
    let rsa = RsaRecipientKey::from_pkcs8(&pkcs8("rsa")).unwrap();
    assert_eq!(alloc::format!("{rsa:?}"), "RsaRecipientKey(2048 bits)");
}
