//! Path validation: what is accepted, and one certificate for each reason to refuse.
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

use std::cell::Cell;

use cmp_message::certificate::Certificate;
use cmp_message::crypto::{Crypto, CryptoError, Digest, HashAlgorithm, RustCrypto, SignatureAlgorithm};
use cmp_message::path::{
    MAX_PATH_CERTIFICATES, MAX_SIGNATURE_CHECKS, MAX_UNTRUSTED_CERTIFICATES, PathError, PathFailure,
    PathRequest, PathSource, PathTime, ValidPath,
};
use const_oid::ObjectIdentifier;
use pki::{
    CMC_RA, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, NOW, Spec, VERSION_1, basic_constraints, ext_key_usage,
    extension, key, key_usage, names,
};

const ROOT: u8 = 1;
const ISSUING: u8 = 2;
const LEAF: u8 = 3;
const OTHER: u8 = 4;

/// Root → Issuing → Leaf, with any one of them replaced.
struct Chain {
    root: Certificate,
    issuing: Certificate,
    leaf: Certificate,
}

impl Chain {
    fn new() -> Self {
        Self::of(
            &Spec::ca("Root", "Root", None),
            &Spec::ca("Root", "Issuing", Some(0)),
            &Spec::end_entity("Issuing", "Leaf"),
        )
    }

    fn of(root: &Spec, issuing: &Spec, leaf: &Spec) -> Self {
        Self {
            root: root.sign(&key(ROOT), &key(ROOT)),
            issuing: issuing.sign(&key(ISSUING), &key(ROOT)),
            leaf: leaf.sign(&key(LEAF), &key(ISSUING)),
        }
    }

    fn with_root(root: &Spec) -> Self {
        Self {
            root: root.sign(&key(ROOT), &key(ROOT)),
            ..Self::new()
        }
    }

    fn with_issuing(issuing: &Spec) -> Self {
        Self {
            issuing: issuing.sign(&key(ISSUING), &key(ROOT)),
            ..Self::new()
        }
    }

    fn with_leaf(leaf: &Spec) -> Self {
        Self {
            leaf: leaf.sign(&key(LEAF), &key(ISSUING)),
            ..Self::new()
        }
    }

    fn validate(&self) -> Result<ValidPath, PathError> {
        self.validate_as(|_| {})
    }

    fn validate_as(&self, change: impl FnOnce(&mut PathRequest<'_>)) -> Result<ValidPath, PathError> {
        let untrusted = [self.issuing.clone()];
        let anchors = [self.root.clone()];
        let mut request = PathRequest::new(&self.leaf, &anchors, PathTime::At(NOW));
        request.untrusted = &untrusted;
        change(&mut request);
        request.validate(&RustCrypto)
    }
}

/// Validates with the given certificates at [`NOW`].
fn validate(
    target: &Certificate,
    untrusted: &[Certificate],
    anchors: &[Certificate],
) -> Result<ValidPath, PathError> {
    PathRequest {
        untrusted,
        ..PathRequest::new(target, anchors, PathTime::At(NOW))
    }
    .validate(&RustCrypto)
}

#[track_caller]
fn refused(result: Result<ValidPath, PathError>, failure: PathFailure, source: PathSource) {
    let error = result.unwrap_err();
    assert_eq!(
        (error.failure, error.source),
        (failure, source),
        "{}",
        error.subject
    );
}

#[test]
fn a_path_over_an_intermediate_is_found_and_told() {
    let path = Chain::new().validate().unwrap();
    let expected = [
        PathSource::Target,
        PathSource::Untrusted(0),
        PathSource::Anchor(0),
    ];
    assert_eq!(path.chain(), expected);
    assert_eq!(path.intermediates().collect::<Vec<_>>(), [0]);
    assert_eq!(path.anchor(), Some(0));
}

#[test]
fn openssl_made_certificates_validate_up_to_their_own_root_only() {
    let read = |name: &str| {
        let path = format!(
            "{}/../../tests/fixtures/openssl-3.0/pki/{name}.crt",
            env!("CARGO_MANIFEST_DIR")
        );
        pem(&std::fs::read_to_string(path).unwrap())
    };
    let [ra, issuing, root, manufacturer] = ["ra", "issuing", "root", "mfrroot"].map(read);
    let untrusted = [manufacturer.clone(), issuing];
    let anchors = [root];
    let mut request = PathRequest::new(&ra, &anchors, PathTime::At(ra.not_before()));
    request.untrusted = &untrusted;
    request.ext_key_usage = Some(ObjectIdentifier::from_bytes(CMC_RA).unwrap());
    assert_eq!(
        request
            .validate(&RustCrypto)
            .unwrap()
            .intermediates()
            .collect::<Vec<_>>(),
        [1]
    );

    request.anchors = std::slice::from_ref(&manufacturer);
    refused(
        request.validate(&RustCrypto),
        PathFailure::UnknownIssuer,
        PathSource::Untrusted(1),
    );
}

#[test]
fn a_certificate_is_valid_from_its_first_to_its_last_second() {
    let chain = Chain::new();
    let at = |now_s| chain.validate_as(|request| request.time = PathTime::At(now_s));
    let (first, last) = (chain.leaf.not_before(), chain.leaf.not_after());
    assert!(at(first).is_ok());
    assert!(at(last).is_ok());
    refused(at(first - 1), PathFailure::NotYetValid, PathSource::Target);
    refused(at(last + 1), PathFailure::Expired, PathSource::Target);
}

#[test]
fn an_expired_intermediate_is_named() {
    let expired = Spec {
        not_after: "20260601000000Z",
        ..Spec::ca("Root", "Issuing", None)
    };
    let error = Chain::with_issuing(&expired).validate().unwrap_err();
    assert_eq!(error.failure, PathFailure::Expired);
    assert_eq!(error.source, PathSource::Untrusted(0));
    assert_eq!(&*error.subject, "CN=Issuing");
}

#[test]
fn an_intermediate_that_is_not_valid_yet_is_refused() {
    let future = Spec {
        not_before: "20261001000000Z",
        ..Spec::ca("Root", "Issuing", None)
    };
    refused(
        Chain::with_issuing(&future).validate(),
        PathFailure::NotYetValid,
        PathSource::Untrusted(0),
    );
}

#[test]
fn an_expired_anchor_is_refused_unless_the_caller_waives_it() {
    let chain = Chain::with_root(&Spec {
        not_after: "20260601000000Z",
        ..Spec::ca("Root", "Root", None)
    });
    refused(chain.validate(), PathFailure::Expired, PathSource::Anchor(0));
    assert!(
        chain
            .validate_as(|request| request.check_anchor_validity = false)
            .is_ok()
    );
}

#[test]
fn without_a_clock_validity_is_not_checked() {
    let chain = Chain::with_leaf(&Spec {
        not_after: "20260102000000Z",
        ..Spec::end_entity("Issuing", "Leaf")
    });
    refused(chain.validate(), PathFailure::Expired, PathSource::Target);
    assert!(
        chain
            .validate_as(|request| request.time = PathTime::Unknown)
            .is_ok()
    );
}

#[test]
fn an_anchor_with_the_same_name_and_another_key_is_refused() {
    let chain = Chain::new();
    let impostor = Spec::ca("Root", "Root", None).sign(&key(OTHER), &key(OTHER));
    let result = validate(&chain.leaf, &[chain.issuing], &[impostor]);
    refused(
        result,
        PathFailure::Signature(CryptoError::BadSignature),
        PathSource::Untrusted(0),
    );
}

#[test]
fn an_unrelated_anchor_or_none_leaves_the_issuer_unknown() {
    let chain = Chain::new();
    let other = Spec::ca("Other", "Other", None).sign(&key(OTHER), &key(OTHER));
    let untrusted = [chain.issuing];
    refused(
        validate(&chain.leaf, &untrusted, &[other]),
        PathFailure::UnknownIssuer,
        PathSource::Untrusted(0),
    );
    refused(
        validate(&chain.leaf, &untrusted, &[]),
        PathFailure::UnknownIssuer,
        PathSource::Untrusted(0),
    );
}

#[test]
fn a_missing_intermediate_leaves_the_issuer_unknown() {
    let chain = Chain::new();
    refused(
        validate(&chain.leaf, &[], &[chain.root]),
        PathFailure::UnknownIssuer,
        PathSource::Target,
    );
}

#[test]
fn a_self_signed_root_among_the_untrusted_is_not_trusted() {
    let chain = Chain::new();
    let untrusted = [chain.issuing, chain.root];
    refused(
        validate(&chain.leaf, &untrusted, &[]),
        PathFailure::UnknownIssuer,
        PathSource::Untrusted(1),
    );
}

#[test]
fn a_target_without_digital_signature_is_refused() {
    let leaf = Spec::new("Issuing", "Leaf").with(key_usage(KEY_ENCIPHERMENT));
    refused(
        Chain::with_leaf(&leaf).validate(),
        PathFailure::NoDigitalSignature,
        PathSource::Target,
    );
}

#[test]
fn a_target_without_key_usage_may_do_everything() {
    assert!(Chain::with_leaf(&Spec::new("Issuing", "Leaf")).validate().is_ok());
}

#[test]
fn a_missing_extended_key_usage_is_refused_and_any_does_not_replace_it() {
    let wanted = ObjectIdentifier::from_bytes(CMC_RA).unwrap();
    let leaf = Spec::end_entity("Issuing", "Leaf");
    let any = leaf.clone().with(ext_key_usage(&[0x55, 0x1d, 0x25, 0]));
    for spec in [&leaf, &any] {
        let result = Chain::with_leaf(spec).validate_as(|request| request.ext_key_usage = Some(wanted));
        refused(result, PathFailure::NoExtKeyUsage(wanted), PathSource::Target);
    }
    let ra = leaf.with(ext_key_usage(CMC_RA));
    assert!(
        Chain::with_leaf(&ra)
            .validate_as(|request| request.ext_key_usage = Some(wanted))
            .is_ok()
    );
}

#[test]
fn an_issuer_that_is_no_ca_is_refused() {
    let without = Spec::end_entity("Root", "Issuing");
    let denied = Spec::new("Root", "Issuing").with(basic_constraints(false, None));
    let version_1 = Spec {
        version: VERSION_1,
        ..Spec::new("Root", "Issuing")
    };
    for spec in [without, denied, version_1] {
        refused(
            Chain::with_issuing(&spec).validate(),
            PathFailure::NotCa,
            PathSource::Untrusted(0),
        );
    }
}

#[test]
fn an_issuer_that_may_not_sign_certificates_is_refused() {
    let issuing = Spec::new("Root", "Issuing")
        .with(basic_constraints(true, None))
        .with(key_usage(DIGITAL_SIGNATURE));
    refused(
        Chain::with_issuing(&issuing).validate(),
        PathFailure::NoKeyCertSign,
        PathSource::Untrusted(0),
    );
}

#[test]
fn an_anchor_is_held_to_what_its_certificate_says() {
    let denied = Spec::new("Root", "Root").with(basic_constraints(false, None));
    refused(
        Chain::with_root(&denied).validate(),
        PathFailure::NotCa,
        PathSource::Anchor(0),
    );
    let no_sign = Spec::new("Root", "Root").with(key_usage(DIGITAL_SIGNATURE));
    refused(
        Chain::with_root(&no_sign).validate(),
        PathFailure::NoKeyCertSign,
        PathSource::Anchor(0),
    );
    let path_len = Spec::ca("Root", "Root", Some(0));
    refused(
        Chain::with_root(&path_len).validate(),
        PathFailure::PathLenExceeded,
        PathSource::Anchor(0),
    );
}

#[test]
fn an_anchor_of_version_1_is_accepted() {
    let root = Spec {
        version: VERSION_1,
        ..Spec::new("Root", "Root")
    };
    assert!(Chain::with_root(&root).validate().is_ok());
}

#[test]
fn the_path_length_counts_intermediates_that_are_not_self_issued() {
    let root = Spec::ca("Root", "Root", None).sign(&key(ROOT), &key(ROOT));
    let policy = Spec::ca("Root", "Policy", Some(0)).sign(&key(OTHER), &key(ROOT));
    let issuing = Spec::ca("Policy", "Issuing", None).sign(&key(ISSUING), &key(OTHER));
    let leaf = Spec::end_entity("Issuing", "Leaf").sign(&key(LEAF), &key(ISSUING));
    let result = validate(&leaf, &[issuing, policy.clone()], std::slice::from_ref(&root));
    refused(result, PathFailure::PathLenExceeded, PathSource::Untrusted(1));

    // The CA's new key, certified by its old one.
    let rollover = Spec::ca("Policy", "Policy", None).sign(&key(ISSUING), &key(OTHER));
    let leaf = Spec::end_entity("Policy", "Leaf").sign(&key(LEAF), &key(ISSUING));
    let path = validate(&leaf, &[policy, rollover], &[root]).unwrap();
    assert_eq!(path.intermediates().collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn an_unprocessed_critical_extension_is_refused_on_every_certificate() {
    // issuerAltName, nameConstraints, certificatePolicies, policyConstraints.
    for id_ce in [18, 30, 32, 36] {
        let unknown = extension(id_ce, true, &[0x30, 0]);
        let oid = ObjectIdentifier::from_bytes(&[0x55, 0x1d, id_ce]).unwrap();
        let failure = PathFailure::UnprocessedCriticalExtension(oid);
        let leaf = Chain::with_leaf(&Spec::end_entity("Issuing", "Leaf").with(unknown.clone()));
        refused(leaf.validate(), failure, PathSource::Target);
        let issuing = Chain::with_issuing(&Spec::ca("Root", "Issuing", None).with(unknown.clone()));
        refused(issuing.validate(), failure, PathSource::Untrusted(0));
        let root = Chain::with_root(&Spec::ca("Root", "Root", None).with(unknown));
        refused(root.validate(), failure, PathSource::Anchor(0));
        let uncritical = extension(id_ce, false, &[0x30, 0]);
        assert!(
            Chain::with_leaf(&Spec::end_entity("Issuing", "Leaf").with(uncritical))
                .validate()
                .is_ok()
        );
    }
}

#[test]
fn a_tampered_certificate_is_refused() {
    let chain = Chain::new();
    let mut der = chain.leaf.as_der().to_vec();
    let at = der.windows(4).position(|bytes| bytes == b"Leaf").unwrap();
    der[at] = b'l';
    let leaf = Certificate::from_der(der).unwrap();
    let result = validate(&leaf, &[chain.issuing], &[chain.root]);
    refused(
        result,
        PathFailure::Signature(CryptoError::BadSignature),
        PathSource::Target,
    );
}

#[test]
fn the_right_one_of_two_cas_with_the_same_name_is_found() {
    let chain = Chain::new();
    let namesake = Spec::ca("Root", "Issuing", None).sign(&key(OTHER), &key(ROOT));
    for (untrusted, index) in [
        ([namesake.clone(), chain.issuing.clone()], 1),
        ([chain.issuing.clone(), namesake.clone()], 0),
    ] {
        let path = validate(&chain.leaf, &untrusted, std::slice::from_ref(&chain.root)).unwrap();
        assert_eq!(path.intermediates().collect::<Vec<_>>(), [index]);
    }
    let anchors = [
        Spec::ca("Root", "Root", None).sign(&key(OTHER), &key(OTHER)),
        chain.root,
    ];
    assert_eq!(
        validate(&chain.leaf, &[chain.issuing], &anchors)
            .unwrap()
            .anchor(),
        Some(1)
    );
}

#[test]
fn a_failed_check_on_the_true_issuer_is_reported_before_a_namesake() {
    let chain = Chain::with_issuing(&Spec {
        not_after: "20260601000000Z",
        ..Spec::ca("Root", "Issuing", None)
    });
    let namesake = Spec::ca("Root", "Issuing", None).sign(&key(OTHER), &key(ROOT));
    for untrusted in [
        [namesake.clone(), chain.issuing.clone()],
        [chain.issuing.clone(), namesake.clone()],
    ] {
        let index = untrusted
            .iter()
            .position(|certificate| *certificate == chain.issuing)
            .unwrap();
        let result = validate(&chain.leaf, &untrusted, std::slice::from_ref(&chain.root));
        refused(result, PathFailure::Expired, PathSource::Untrusted(index));
    }
}

#[test]
fn the_key_identifiers_lead_to_the_issuer_without_a_detour() {
    let identifier = |id: u8| extension(14, false, &pki::tlv(0x04, &[id; 20]));
    let authority = |id: u8| extension(35, false, &pki::tlv(0x30, &pki::tlv(0x80, &[id; 20])));
    let root = Spec::ca("Root", "Root", None).sign(&key(ROOT), &key(ROOT));
    let mut untrusted: Vec<_> = (10..20)
        .map(|id| {
            Spec::ca("Root", "Issuing", None)
                .with(identifier(id))
                .sign(&key(id), &key(ROOT))
        })
        .collect();
    untrusted.push(
        Spec::ca("Root", "Issuing", None)
            .with(identifier(ISSUING))
            .sign(&key(ISSUING), &key(ROOT)),
    );
    let leaf = Spec::end_entity("Issuing", "Leaf")
        .with(authority(ISSUING))
        .sign(&key(LEAF), &key(ISSUING));
    let counting = Counting(Cell::new(0));
    let anchors = [root];
    let request = PathRequest {
        untrusted: &untrusted,
        ..PathRequest::new(&leaf, &anchors, PathTime::At(NOW))
    };
    assert_eq!(
        request
            .validate(&counting)
            .unwrap()
            .intermediates()
            .collect::<Vec<_>>(),
        [10]
    );
    assert_eq!(counting.0.get(), 2);
}

#[test]
fn a_key_identifier_that_does_not_fit_is_only_a_hint() {
    let other = extension(35, false, &pki::tlv(0x30, &pki::tlv(0x80, &[9; 20])));
    let own = extension(14, false, &pki::tlv(0x04, &[8; 20]));
    let chain = Chain::of(
        &Spec::ca("Root", "Root", None),
        &Spec::ca("Root", "Issuing", None).with(own),
        &Spec::end_entity("Issuing", "Leaf").with(other),
    );
    assert!(chain.validate().is_ok());
}

#[test]
fn names_chain_across_case_spaces_and_string_types() {
    let mut leaf = Spec::end_entity("Issuing", "Leaf");
    leaf.issuer = names(&[(0x13, "  ISSUING ")]);
    assert!(Chain::with_leaf(&leaf).validate().is_ok());
    leaf.issuer = names(&[(0x13, "Is suing")]);
    refused(
        Chain::with_leaf(&leaf).validate(),
        PathFailure::UnknownIssuer,
        PathSource::Target,
    );
}

#[test]
fn a_target_is_its_own_anchor_only_if_it_is_given_as_one() {
    let own = Spec::end_entity("Station", "Station").sign(&key(LEAF), &key(LEAF));
    let path = validate(&own, &[], std::slice::from_ref(&own)).unwrap();
    assert_eq!(path.chain(), [PathSource::Anchor(0)]);
    refused(
        validate(&own, std::slice::from_ref(&own), &[]),
        PathFailure::UnknownIssuer,
        PathSource::Target,
    );

    let no_sign = Spec::new("Station", "Station")
        .with(key_usage(KEY_ENCIPHERMENT))
        .sign(&key(LEAF), &key(LEAF));
    let result = validate(&no_sign, &[], std::slice::from_ref(&no_sign));
    refused(result, PathFailure::NoDigitalSignature, PathSource::Anchor(0));
}

/// CA 0 … CA `count`, each certified by the next; the first is the issuer of the target.
fn ladder(count: u8) -> (Certificate, Vec<Certificate>, Certificate) {
    let ca = |number: u8| format!("CA {number}");
    let target = Spec::end_entity(&ca(0), "Leaf").sign(&key(LEAF), &key(100));
    let steps = (0..count)
        .map(|n| Spec::ca(&ca(n + 1), &ca(n), None).sign(&key(100 + n), &key(101 + n)))
        .collect();
    let anchor = Spec::ca(&ca(count), &ca(count), None).sign(&key(100 + count), &key(100 + count));
    (target, steps, anchor)
}

#[test]
fn a_path_ends_at_its_longest_length() {
    let longest = u8::try_from(MAX_PATH_CERTIFICATES).unwrap() - 2;
    let (target, steps, anchor) = ladder(longest);
    assert_eq!(
        validate(&target, &steps, &[anchor]).unwrap().chain().len(),
        MAX_PATH_CERTIFICATES
    );
    let (target, steps, anchor) = ladder(longest + 1);
    let last = PathSource::Untrusted(usize::from(longest));
    refused(
        validate(&target, &steps, &[anchor]),
        PathFailure::PathTooLong,
        last,
    );
}

#[test]
fn more_untrusted_certificates_than_the_limit_are_refused() {
    let chain = Chain::new();
    let mut untrusted = vec![chain.issuing; MAX_UNTRUSTED_CERTIFICATES];
    assert!(validate(&chain.leaf, &untrusted, std::slice::from_ref(&chain.root)).is_ok());
    untrusted.push(chain.root.clone());
    let result = validate(&chain.leaf, &untrusted, &[chain.root]);
    refused(result, PathFailure::TooManyCertificates, PathSource::Target);
}

#[test]
fn cas_that_all_certify_each_other_end_in_a_bounded_search() {
    let ca = |number: u8| format!("CA {number}");
    let pairs = (0..4)
        .flat_map(|a| (0..4).map(move |b| (a, b)))
        .filter(|(a, b)| a != b);
    let mesh: Vec<_> = pairs
        .map(|(a, b)| Spec::ca(&ca(a), &ca(b), None).sign(&key(100 + b), &key(100 + a)))
        .collect();
    let target = Spec::end_entity(&ca(0), "Leaf").sign(&key(LEAF), &key(100));
    let counting = Counting(Cell::new(0));
    let request = PathRequest {
        untrusted: &mesh,
        ..PathRequest::new(&target, &[], PathTime::At(NOW))
    };
    refused(
        request.validate(&counting),
        PathFailure::SearchTooLong,
        PathSource::Target,
    );
    assert_eq!(counting.0.get(), MAX_SIGNATURE_CHECKS);

    // With an anchor for any of them the path is found.
    for anchored in 0..4 {
        let anchor =
            Spec::ca(&ca(anchored), &ca(anchored), None).sign(&key(100 + anchored), &key(100 + anchored));
        assert!(validate(&target, &mesh, &[anchor]).is_ok(), "CA {anchored}");
    }
}

#[test]
fn many_namesakes_end_in_a_bounded_search() {
    let chain = Chain::new();
    let namesake = Spec::ca("Issuing", "Issuing", None).sign(&key(OTHER), &key(OTHER));
    let anchors = vec![namesake; 2 * MAX_SIGNATURE_CHECKS];
    let counting = Counting(Cell::new(0));
    let request = PathRequest::new(&chain.leaf, &anchors, PathTime::At(NOW));
    refused(
        request.validate(&counting),
        PathFailure::SearchTooLong,
        PathSource::Target,
    );
    assert_eq!(counting.0.get(), MAX_SIGNATURE_CHECKS);
}

#[test]
fn an_unsupported_signature_algorithm_is_told_apart() {
    let chain = Chain::new();
    let mut der = chain.leaf.as_der().to_vec();
    // ecdsa-with-SHA256, both times, becomes ecdsa-with-SHA224.
    let algorithm = pki::ecdsa_with_sha256();
    let places: Vec<_> = (0..der.len())
        .filter(|&at| der[at..].starts_with(&algorithm))
        .collect();
    assert_eq!(places.len(), 2);
    for at in places {
        der[at + algorithm.len() - 1] = 1;
    }
    let leaf = Certificate::from_der(der).unwrap();
    let result = validate(&leaf, &[chain.issuing], &[chain.root]);
    refused(
        result,
        PathFailure::Signature(CryptoError::UnsupportedAlgorithm),
        PathSource::Target,
    );
}

/// Counts verifications.
struct Counting(Cell<usize>);

impl Crypto for Counting {
    fn digest(&self, alg: HashAlgorithm, data: &[u8]) -> Result<Digest, CryptoError> {
        RustCrypto.digest(alg, data)
    }

    fn hmac(&self, alg: HashAlgorithm, key: &[u8], data: &[u8]) -> Result<Digest, CryptoError> {
        RustCrypto.hmac(alg, key, data)
    }

    fn pbkdf2(
        &self,
        prf: HashAlgorithm,
        password: &[u8],
        salt: &[u8],
        iterations: u32,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        RustCrypto.pbkdf2(prf, password, salt, iterations, out)
    }

    fn verify(
        &self,
        alg: SignatureAlgorithm,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.0.set(self.0.get() + 1);
        RustCrypto.verify(alg, public_key, message, signature)
    }

    fn public_key_of(&self, private_key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        RustCrypto.public_key_of(private_key)
    }
}

fn pem(text: &str) -> Certificate {
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut der, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for c in body.trim_end_matches('=').chars() {
        bits = (bits << 6) | u32::try_from(alphabet.find(c).unwrap()).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            der.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    Certificate::from_der(der).unwrap()
}
