//! Whether an issued certificate is the one that was asked for.

use alloc::vec::Vec;
use core::fmt;

use cmp_message::{
    CertRequest, PkiFailure, PkiStatusInfo, Raw,
    certificate::{Certificate, names_match},
    path::{self, PathError, PathFailure, PathRequest},
};
use der::Encode;

use crate::{Config, Modifications, Report};

/// What is wrong with an issued certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It cannot be read.
    Malformed,
    /// It is for another key.
    OtherKey,
    /// Its subject is not the one that was asked for, and the RA did not say so.
    OtherSubject,
    /// The RA changed something, and that is not wanted.
    Modified,
    /// It does not chain to an anchor.
    Path(PathError),
    /// The reason was found before a restart, and only what the RA is told was kept.
    Earlier(PkiStatusInfo),
}

impl Refusal {
    /// What the RA is told in certConf.
    pub(crate) fn status(&self) -> PkiStatusInfo {
        let (failure, text) = match self {
            Self::Malformed => (PkiFailure::BadDataFormat, "the certificate cannot be read"),
            Self::OtherKey => (PkiFailure::IncorrectData, "the certificate is for another key"),
            Self::OtherSubject => (PkiFailure::IncorrectData, "the subject is not the one requested"),
            Self::Modified => (PkiFailure::IncorrectData, "modifications are not accepted"),
            Self::Path(_) => (
                PkiFailure::IncorrectData,
                "the certificate does not chain to a trust anchor",
            ),
            Self::Earlier(status) => return status.clone(),
        };
        PkiStatusInfo::rejection(failure, text)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it cannot be read"),
            Self::OtherKey => f.write_str("its public key is not the one of the request"),
            Self::OtherSubject => f.write_str("its subject is not the one of the request"),
            Self::Modified => f.write_str("the RA changed what was asked for"),
            Self::Path(error) => write!(f, "it does not chain to a trust anchor: {error}"),
            Self::Earlier(status) => status.fmt(f),
        }
    }
}

impl core::error::Error for Refusal {}

/// What was issued.
pub(crate) struct Issued<'a> {
    pub(crate) der: &'a [u8],
    /// The RA said `grantedWithMods`.
    pub(crate) modified: bool,
    /// extraCerts and caPubs.
    pub(crate) others: &'a [Raw],
}

/// Holds the certificate against the request and the anchors.
pub(crate) fn check(
    config: &Config,
    request: &CertRequest,
    issued: &Issued<'_>,
    now_s: Option<u64>,
    reports: &mut Vec<Report>,
) -> Result<Certificate, Refusal> {
    let certificate = Certificate::from_der(issued.der).map_err(|_| Refusal::Malformed)?;
    let template = &request.cert_template;
    let public_key = template.public_key.as_ref().and_then(|key| key.to_der().ok());
    if public_key.as_deref() != Some(certificate.public_key()) {
        return Err(Refusal::OtherKey);
    }
    let subject = template
        .subject
        .as_ref()
        .and_then(|name| name.to_der().ok())
        .unwrap_or_default();
    if !names_match(&subject, certificate.subject()) {
        match (issued.modified, config.modifications) {
            (false, _) => return Err(Refusal::OtherSubject),
            (true, Modifications::Refuse) => return Err(Refusal::Modified),
            (true, Modifications::Accept) => reports.push(Report::Modified),
        }
    }
    check_path(config, &certificate, issued.others, now_s, reports)?;
    Ok(certificate)
}

fn check_path(
    config: &Config,
    certificate: &Certificate,
    others: &[Raw],
    now_s: Option<u64>,
    reports: &mut Vec<Report>,
) -> Result<(), Refusal> {
    let received = others
        .iter()
        .filter_map(|der| Certificate::from_der(der.as_bytes()).ok());
    let untrusted: Vec<_> = config
        .intermediates
        .iter()
        .cloned()
        .chain(received)
        .take(path::MAX_UNTRUSTED_CERTIFICATES)
        .collect();
    let anchors = config.issued_anchors.as_ref().unwrap_or(&config.anchors);
    let mut request = PathRequest::new(certificate, anchors, now_s.into());
    request.untrusted = &untrusted;
    match request.validate(config.crypto) {
        Ok(_) => Ok(()),
        Err(PathError {
            failure: PathFailure::UnknownIssuer,
            ..
        }) if config.issued_anchors.is_none() => {
            reports.push(Report::IncompleteChain);
            Ok(())
        }
        Err(error) => Err(Refusal::Path(error)),
    }
}
