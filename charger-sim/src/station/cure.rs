//! What a person can do about a failure, in the words of this program's options.

use charger_agent::client::{Failure, Refusal, ResponseError};
use cmp_message::{
    PkiFailure, PkiStatusInfo,
    path::{PathError, PathFailure},
    validate::ValidationError,
};

const SECRET: &str = "compare --secret, its reference and its value, with what the RA has";

/// What to try first, where there is something that usually helps. `docs/errors.md` has all of it.
pub(super) fn cure(failure: &Failure, has_secret: bool) -> Option<&'static str> {
    match failure {
        Failure::Rejected { status, .. } | Failure::UnprotectedError { status, .. } => {
            of_rejection(status, has_secret)
        }
        Failure::Response { exchange, error } => {
            let claimed = exchange.claim.as_ref().filter(|_| has_secret);
            claimed
                .filter(|claim| claim.contains(PkiFailure::BadMessageCheck))
                .map(|_| SECRET)
                .or_else(|| of_response(error))
        }
        Failure::CertificateRefused { refusal, .. } | Failure::CertificateUnusable { refusal, .. } => {
            of_refusal(refusal)
        }
        Failure::TimedOut(_) => {
            Some("the CSMS may not reach the RA: its log says; for an RA that only needs longer, --timeout")
        }
        Failure::Delivery(_) => {
            Some("look at --route, and at the CSMS for what it allows this station and which RA it asks")
        }
        _ => None,
    }
}

fn of_rejection(status: &PkiStatusInfo, has_secret: bool) -> Option<&'static str> {
    let cures = [
        (
            PkiFailure::SignerNotTrusted,
            "the RA has to trust the CA of the certificate that signs; --chain takes what is between them",
        ),
        (PkiFailure::CertRevoked, "enroll again, with --cert or --secret"),
        (
            PkiFailure::NotAuthorized,
            "the RA's operator has to allow it for this station",
        ),
    ];
    if has_secret && status.contains(PkiFailure::BadMessageCheck) {
        return Some(SECRET);
    }
    let found = cures.into_iter().find(|(failure, _)| status.contains(*failure));
    found.map(|(_, cure)| cure)
}

fn of_response(error: &ResponseError) -> Option<&'static str> {
    match error {
        ResponseError::Validation(ValidationError::SignerNotTrusted(path)) => of_path(path),
        ResponseError::Validation(ValidationError::WrongMac | ValidationError::UnknownSecret) => Some(SECRET),
        ResponseError::Validation(ValidationError::WrongProtectionKind) => {
            Some("the RA protects otherwise than this station: --cert and --key, or --secret, as the RA does")
        }
        ResponseError::Malformed => Some("look at what answers at the CSMS's address of the RA"),
        _ => None,
    }
}

fn of_refusal(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Path(path) => of_path(path),
        Refusal::OtherSubject => Some("ask with --subject for the subject that the RA gives"),
        Refusal::MissingPrivateKey => Some("the RA makes no keys: leave --keygen central out"),
        _ => None,
    }
}

fn of_path(path: &PathError) -> Option<&'static str> {
    match path.failure {
        PathFailure::UnknownIssuer | PathFailure::Signature(_) => {
            Some("if that is the RA, give the root that its certificate leads to with --trust")
        }
        PathFailure::Expired | PathFailure::NotYetValid => {
            Some("look at the clock here, then at that certificate")
        }
        PathFailure::NoExtKeyUsage(_) => Some("--signer-usage says what the RA's certificate must be for"),
        _ => None,
    }
}
