//! Validation of certification paths (RFC 5280 §6) up to given trust anchors.
//!
//! No kept library fits: `rustls-webpki` is made for TLS (it does not look at keyUsage, refuses a CA's certificate as
//! target and always wants a time), `certval` is a pre-release with a cryptography and a policy engine of its own, and
//! `x509-verify` checks signatures only.
//!
//! What is checked on the way from the target to an anchor: names chain, signatures verify, each certificate is valid at
//! the given time, each issuer is a CA (basicConstraints, keyCertSign) and within its pathLenConstraint, no critical
//! extension is left unprocessed. nameConstraints and the policy extensions are not processed, so a path through a
//! certificate with a critical one of them is refused. Revocation is not checked.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use const_oid::ObjectIdentifier;

use crate::certificate::{Certificate, names_match};
use crate::crypto::{Crypto, CryptoError};

/// The longest path, target and anchor included.
pub const MAX_PATH_CERTIFICATES: usize = 8;

/// The most untrusted certificates that are taken: a peer chooses how many it sends.
pub const MAX_UNTRUSTED_CERTIFICATES: usize = 16;

/// The most signatures verified in one search: a peer's certificates may cross-certify each other in any pattern.
pub const MAX_SIGNATURE_CHECKS: usize = 32;

/// The question: is there a valid path from `target` to one of `anchors`?
#[derive(Clone, Copy, Debug)]
pub struct PathRequest<'a> {
    /// The certificate whose key shall be trusted.
    pub target: &'a Certificate,
    /// Certificates that a path may lead through: the peer's extraCerts, in any order, with or without the target.
    pub untrusted: &'a [Certificate],
    /// Trusted because they are given, normally self-signed; their own signatures are not verified. What an anchor's
    /// certificate says of itself is respected: validity, basicConstraints and keyUsage if present, critical
    /// extensions. A target is accepted as its own anchor only if it is given here itself.
    pub anchors: &'a [Certificate],
    /// When the certificates have to be valid.
    pub time: PathTime,
    /// Whether `time` also applies to the anchor. RFC 5280 §6.1 leaves that to the application.
    pub check_anchor_validity: bool,
    /// An extended key usage that the target must have, such as id-kp-cmcRA. anyExtendedKeyUsage does not stand for
    /// it: it authorises nobody in particular.
    pub ext_key_usage: Option<ObjectIdentifier>,
}

impl<'a> PathRequest<'a> {
    /// A request without intermediates and extended key usage, which also checks the validity of the anchor.
    #[must_use]
    pub fn new(target: &'a Certificate, anchors: &'a [Certificate], time: PathTime) -> Self {
        Self {
            target,
            untrusted: &[],
            anchors,
            time,
            check_anchor_validity: true,
            ext_key_usage: None,
        }
    }

    /// Looks for the path, with the target's key used for digital signatures: a keyUsage extension must allow it.
    ///
    /// # Errors
    /// If there is no valid path, the failure that came closest to one.
    pub fn validate(&self, crypto: &dyn Crypto) -> Result<ValidPath, PathError> {
        if self.untrusted.len() > MAX_UNTRUSTED_CERTIFICATES {
            return Err(self.error(PathSource::Target, PathFailure::TooManyCertificates));
        }
        let own_anchor = self.anchors.iter().position(|anchor| anchor == self.target);
        let target = match own_anchor {
            Some(index) => PathSource::Anchor(index),
            None => PathSource::Target,
        };
        self.check_target(own_anchor.is_some())
            .map_err(|failure| self.error(target, failure))?;
        let mut search = Search {
            crypto,
            request: self,
            chain: Vec::from([target]),
            signature_checks: 0,
            closest: None,
        };
        if own_anchor.is_some() || search.reaches_anchor() {
            return Ok(ValidPath { chain: search.chain });
        }
        let (_, source, failure) = search
            .closest
            .unwrap_or(((0, 0), target, PathFailure::UnknownIssuer));
        Err(self.error(source, failure))
    }

    fn check_target(&self, is_anchor: bool) -> Result<(), PathFailure> {
        let target = self.target;
        self.check_any(target, is_anchor)?;
        if target.key_usage().is_some_and(|usage| !usage.digital_signature()) {
            return Err(PathFailure::NoDigitalSignature);
        }
        match self.ext_key_usage {
            Some(wanted)
                if !target
                    .ext_key_usage()
                    .is_some_and(|usages| usages.contains(&wanted)) =>
            {
                Err(PathFailure::NoExtKeyUsage(wanted))
            }
            _ => Ok(()),
        }
    }

    /// The checks on every certificate (RFC 5280 §6.1.3 (a) (2), §6.1.4 (o)).
    fn check_any(&self, certificate: &Certificate, is_anchor: bool) -> Result<(), PathFailure> {
        if let Some(oid) = certificate.unprocessed_critical_extensions().next() {
            return Err(PathFailure::UnprocessedCriticalExtension(oid));
        }
        match self.time {
            PathTime::At(_) if is_anchor && !self.check_anchor_validity => Ok(()),
            PathTime::At(now_s) if now_s < certificate.not_before() => Err(PathFailure::NotYetValid),
            PathTime::At(now_s) if now_s > certificate.not_after() => Err(PathFailure::Expired),
            PathTime::At(_) | PathTime::Unknown => Ok(()),
        }
    }

    fn certificate(&self, source: PathSource) -> &'a Certificate {
        let found = match source {
            PathSource::Target => None,
            PathSource::Untrusted(index) => self.untrusted.get(index),
            PathSource::Anchor(index) => self.anchors.get(index),
        };
        found.unwrap_or(self.target)
    }

    fn error(&self, source: PathSource, failure: PathFailure) -> PathError {
        PathError {
            failure,
            source,
            subject: self.certificate(source).subject_string().into(),
            issuer: self.certificate(source).issuer_string().into(),
        }
    }
}

/// When the certificates of a path have to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathTime {
    /// At this time, in seconds since 1970.
    At(u64),
    /// There is no clock yet: validity periods are not checked. To be allowed by the caller's policy only.
    Unknown,
}

impl From<Option<u64>> for PathTime {
    fn from(now_s: Option<u64>) -> Self {
        now_s.map_or(Self::Unknown, Self::At)
    }
}

/// Where a certificate of a path came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathSource {
    /// It is the target.
    Target,
    /// Index into [`PathRequest::untrusted`].
    Untrusted(usize),
    /// Index into [`PathRequest::anchors`].
    Anchor(usize),
}

/// A path that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidPath {
    chain: Vec<PathSource>,
}

impl ValidPath {
    /// The certificates from the target to the anchor; one [`PathSource::Anchor`] alone if the target is an anchor.
    #[must_use]
    pub fn chain(&self) -> &[PathSource] {
        &self.chain
    }

    /// The indexes of the intermediates in [`PathRequest::untrusted`], the target's issuer first.
    pub fn intermediates(&self) -> impl Iterator<Item = usize> + '_ {
        self.chain.iter().filter_map(|source| match source {
            PathSource::Untrusted(index) => Some(*index),
            _ => None,
        })
    }

    /// The index of the anchor in [`PathRequest::anchors`].
    #[must_use]
    pub fn anchor(&self) -> Option<usize> {
        match self.chain.last() {
            Some(PathSource::Anchor(index)) => Some(*index),
            _ => None,
        }
    }
}

/// Why there is no valid path, and on which certificate it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// The check that failed.
    pub failure: PathFailure,
    /// The certificate it failed on.
    pub source: PathSource,
    /// That certificate's subject, in the notation of RFC 4514.
    pub subject: Box<str>,
    /// Its issuer, likewise.
    pub issuer: Box<str>,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate \"{}\": {}", self.subject, self.failure)?;
        match self.failure {
            PathFailure::UnknownIssuer | PathFailure::Signature(_) => write!(f, ": \"{}\"", self.issuer),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for PathError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.failure.source()
    }
}

/// The check that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathFailure {
    /// Neither an anchor nor an untrusted certificate has the name of its issuer.
    UnknownIssuer,
    /// Its signature does not verify under any certificate with the name of its issuer.
    Signature(CryptoError),
    /// The time is after its notAfter.
    Expired,
    /// The time is before its notBefore.
    NotYetValid,
    /// It issued a certificate without being a CA: basicConstraints lacks cA.
    NotCa,
    /// It issued a certificate, and its keyUsage lacks keyCertSign.
    NoKeyCertSign,
    /// More intermediates follow it than its pathLenConstraint allows.
    PathLenExceeded,
    /// It has a critical extension that is not processed here.
    UnprocessedCriticalExtension(ObjectIdentifier),
    /// The target's keyUsage lacks digitalSignature.
    NoDigitalSignature,
    /// The target lacks the extended key usage asked for.
    NoExtKeyUsage(ObjectIdentifier),
    /// The path has [`MAX_PATH_CERTIFICATES`] and no anchor yet.
    PathTooLong,
    /// There are more than [`MAX_UNTRUSTED_CERTIFICATES`].
    TooManyCertificates,
    /// [`MAX_SIGNATURE_CHECKS`] were made without finding a path. Said of the target: no one certificate is to blame.
    SearchTooLong,
}

impl fmt::Display for PathFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => f.write_str("its issuer is not known"),
            Self::Signature(_) => f.write_str("no certificate of its issuer verifies its signature"),
            Self::Expired => f.write_str("it has expired"),
            Self::NotYetValid => f.write_str("it is not valid yet"),
            Self::NotCa => f.write_str("it is not a CA's certificate"),
            Self::NoKeyCertSign => f.write_str("its key usage does not allow to sign certificates"),
            Self::PathLenExceeded => f.write_str("its path length constraint is exceeded"),
            Self::UnprocessedCriticalExtension(oid) => {
                write!(f, "its critical extension {oid} is not supported")
            }
            Self::NoDigitalSignature => f.write_str("its key usage does not allow digital signatures"),
            Self::NoExtKeyUsage(oid) => write!(f, "it lacks the extended key usage {oid}"),
            Self::PathTooLong => f.write_str("the path to a trust anchor is too long"),
            Self::TooManyCertificates => f.write_str("too many certificates came with it"),
            Self::SearchTooLong => f.write_str("the search for a path was given up"),
        }
    }
}

impl core::error::Error for PathFailure {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Signature(error) => Some(error),
            _ => None,
        }
    }
}

/// Depth first from the target upwards, the likeliest issuers first.
struct Search<'a> {
    crypto: &'a dyn Crypto,
    request: &'a PathRequest<'a>,
    /// From the target on; all checked.
    chain: Vec<PathSource>,
    signature_checks: usize,
    /// The failure to report, with its rank.
    closest: Option<((u8, usize), PathSource, PathFailure)>,
}

impl<'a> Search<'a> {
    /// Extends the chain to an anchor, or leaves it as it was. Recurses at most [`MAX_PATH_CERTIFICATES`] deep.
    fn reaches_anchor(&mut self) -> bool {
        let source = self.chain.last().copied().unwrap_or(PathSource::Target);
        let subject = self.request.certificate(source);
        if self.chain.len() == MAX_PATH_CERTIFICATES {
            self.failed(RANK_CHECK, source, PathFailure::PathTooLong);
            return false;
        }
        let issuers = self.issuers_of(subject);
        if issuers.is_empty() {
            self.failed(RANK_CHAIN, source, PathFailure::UnknownIssuer);
        }
        for issuer_source in issuers {
            let issuer = self.request.certificate(issuer_source);
            if self.signature_checks == MAX_SIGNATURE_CHECKS {
                self.failed(RANK_LIMIT, PathSource::Target, PathFailure::SearchTooLong);
                return false;
            }
            self.signature_checks += 1;
            if let Err(error) = subject.verify_signature(self.crypto, issuer.public_key()) {
                self.failed(RANK_CHAIN, source, PathFailure::Signature(error));
                continue;
            }
            let is_anchor = matches!(issuer_source, PathSource::Anchor(_));
            if let Err(failure) = self.check_issuer(issuer, is_anchor) {
                self.failed(RANK_CHECK, issuer_source, failure);
                continue;
            }
            self.chain.push(issuer_source);
            if is_anchor || self.reaches_anchor() {
                return true;
            }
            self.chain.pop();
        }
        false
    }

    /// The certificates with the name of the issuer: anchors before others, and among each those first whose key
    /// identifier does not speak against it. Identifiers only order the search (RFC 5280 §4.2.1.1).
    fn issuers_of(&self, subject: &Certificate) -> Vec<PathSource> {
        let anchors = (0..self.request.anchors.len()).map(PathSource::Anchor);
        let untrusted = (0..self.request.untrusted.len()).map(PathSource::Untrusted);
        let mut issuers: Vec<_> = anchors
            .chain(untrusted)
            .filter(|&source| {
                let issuer = self.request.certificate(source);
                names_match(subject.issuer(), issuer.subject()) && !self.has_in_chain(issuer)
            })
            .collect();
        // Stable, so that anchors stay ahead.
        issuers.sort_by_key(|&source| {
            let issuer = self.request.certificate(source);
            match (
                subject.authority_key_identifier(),
                issuer.subject_key_identifier(),
            ) {
                (Some(wanted), Some(identifier)) => wanted != identifier,
                _ => false,
            }
        });
        issuers
    }

    /// The same name with the same key again is a loop, also through another certificate (RFC 4158 §5.2).
    fn has_in_chain(&self, certificate: &Certificate) -> bool {
        self.chain.iter().any(|&source| {
            let before = self.request.certificate(source);
            before.public_key() == certificate.public_key()
                && names_match(before.subject(), certificate.subject())
        })
    }

    /// The checks on a certificate that issued the last one of the chain (RFC 5280 §6.1.4 (k) to (n)).
    fn check_issuer(&self, issuer: &Certificate, is_anchor: bool) -> Result<(), PathFailure> {
        self.request.check_any(issuer, is_anchor)?;
        match issuer.basic_constraints() {
            Some(constraints) if !constraints.ca => return Err(PathFailure::NotCa),
            // An anchor may be of version 1, which has no extensions.
            None if !is_anchor => return Err(PathFailure::NotCa),
            _ => {}
        }
        if issuer.key_usage().is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(PathFailure::NoKeyCertSign);
        }
        let path_len = issuer
            .basic_constraints()
            .and_then(|constraints| constraints.path_len_constraint);
        let follow = self.chain.iter().skip(1).filter(|&&source| {
            let intermediate = self.request.certificate(source);
            !intermediate.is_self_issued()
        });
        match path_len {
            Some(path_len) if follow.count() > usize::from(path_len) => Err(PathFailure::PathLenExceeded),
            _ => Ok(()),
        }
    }

    /// Keeps the failure that says most: a limit reached, then a failed check on a true issuer, then the broken chain
    /// that came furthest.
    fn failed(&mut self, rank: u8, source: PathSource, failure: PathFailure) {
        let rank = (rank, self.chain.len());
        if self.closest.as_ref().is_none_or(|(closest, ..)| rank > *closest) {
            self.closest = Some((rank, source, failure));
        }
    }
}

const RANK_CHAIN: u8 = 0;
const RANK_CHECK: u8 = 1;
const RANK_LIMIT: u8 = 2;
