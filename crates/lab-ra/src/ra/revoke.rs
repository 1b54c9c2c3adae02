//! rr and rp (RFC 9483 §4.2, §5.3.2).

use cmp_message::{
    CertId, CertTemplate, PkiFailure, PkiMessage, PkiStatus, PkiStatusInfo, RevDetails, RevReqContent,
    certificate::{Certificate, names_match},
};
use const_oid::db::rfc5280::ID_CE_CRL_REASONS;
use der::{Decode, Encode, Tag, Tagged, asn1::AnyRef};
use x509_cert::ext::Extension;

use super::{Failure, Ra, Refusal, answer::Reply};
use crate::{
    CertificateRecord, CertificateStatus, PkiError, RevocationReason, RevokeError,
    store::{Peer, Transaction, hex},
};

const SECTION: &str = "4.2";

/// A revocation, or with removeFromCRL the end of a suspension, that is to be done.
pub(super) struct Revocation {
    serial: Vec<u8>,
    reason: RevocationReason,
    cert_id: CertId,
}

impl Ra {
    /// Checks who asks, what for, and whether the certificate is in a state for it.
    pub(super) fn check_revocation(
        &self,
        now_s: u64,
        message: &PkiMessage,
        transaction: &Transaction,
        content: &RevReqContent,
    ) -> Result<Revocation, Failure> {
        let Peer::Signer(signer) = &transaction.peer else {
            let text = "a revocation is asked for under a signature";
            return Err(Refusal::new(PkiFailure::WrongIntegrity, SECTION, text).into());
        };
        let [details] = content.as_slice() else {
            let text = "there must be exactly one RevDetails";
            return Err(Refusal::new(PkiFailure::BadRequest, SECTION, text).into());
        };
        let reason = reason(details)?;
        let record = self.certificate_of(&details.cert_details)?;
        let is_itself = signer.as_der() == record.certificate;
        if !is_itself {
            if !self.is_ra(now_s, message, &transaction.peer) {
                let text = "a certificate is revoked by its holder or by an RA";
                return Err(Refusal::new(PkiFailure::NotAuthorized, "5.3.2", text).into());
            }
            self.check_signer_status(signer)?;
        }
        if is_itself && record.status == CertificateStatus::Issued {
            let text = "the signer's certificate was never confirmed";
            return Err(Refusal::new(PkiFailure::NotAuthorized, "3.5", text).into());
        }
        record.check_revocable(reason).map_err(not_revocable)?;
        let certificate = parse(&record)?;
        Ok(Revocation {
            reason,
            cert_id: CertId {
                issuer: x509_cert::ext::pkix::name::GeneralName::DirectoryName(Decode::from_der(
                    certificate.issuer(),
                )?),
                serial_number: der::asn1::Int::new(&record.serial)?,
            },
            serial: record.serial,
        })
    }

    /// The certificate that a template names by issuer and serial number; whatever else it says must be so.
    fn certificate_of(&self, template: &CertTemplate) -> Result<CertificateRecord, Failure> {
        let (Some(issuer), Some(serial)) = (&template.issuer, &template.serial_number) else {
            let text = "issuer or serialNumber is missing";
            return Err(Refusal::new(PkiFailure::AddInfoNotAvailable, SECTION, text).into());
        };
        if template.version.is_some_and(|version| version != 2) {
            let text = "version must be 2, which is version 3";
            return Err(Refusal::new(PkiFailure::BadRequest, SECTION, text).into());
        }
        let unknown = || Refusal::new(PkiFailure::BadCertId, SECTION, "there is no such certificate");
        let record = self.store.certificate(serial.as_bytes())?.ok_or_else(unknown)?;
        let certificate = parse(&record)?;
        let is_it =
            names_match(&issuer.to_der()?, certificate.issuer()) && describes(template, &certificate)?;
        match is_it {
            true => Ok(record),
            false => Err(unknown().because("a certificate of another description").into()),
        }
    }

    /// Revokes, or ends a suspension.
    pub(super) fn revoke(&mut self, now_s: u64, revocation: &Revocation) -> Result<Reply, Failure> {
        self.store
            .set_reason(&revocation.serial, revocation.reason, now_s)?;
        tracing::info!(
            serial = hex(&revocation.serial),
            reason = revocation.reason.name(),
            "certificate revoked"
        );
        let text = match revocation.reason {
            RevocationReason::RemoveFromCrl => "the certificate is revived",
            RevocationReason::CertificateHold => "the certificate is revoked for the time being",
            _ => "the certificate is revoked",
        };
        let status = PkiStatusInfo {
            status_string: Some(vec![text.into()]),
            ..PkiStatus::ACCEPTED.into()
        };
        let rev_certs = Some(vec![revocation.cert_id.clone()]);
        Ok(Reply::revocation_response(status, rev_certs))
    }
}

/// The one reasonCode; widespread clients send none where it is unspecified.
fn reason(details: &RevDetails) -> Result<RevocationReason, Refusal> {
    let mut found = None;
    for extension in details.crl_entry_details.iter().flatten() {
        if extension.extn_id == ID_CE_CRL_REASONS {
            if found.is_some() {
                let text = "there is more than one reasonCode";
                return Err(Refusal::new(PkiFailure::BadRequest, SECTION, text));
            }
            found = Some(reason_code(extension)?);
        } else if extension.critical {
            let text = "a critical extension of the CRL entry is not supported";
            let refusal = Refusal::new(PkiFailure::UnacceptedExtension, SECTION, text);
            return Err(refusal.because(extension.extn_id));
        }
    }
    Ok(found.unwrap_or(RevocationReason::Unspecified))
}

fn reason_code(extension: &Extension) -> Result<RevocationReason, Refusal> {
    let value = AnyRef::from_der(extension.extn_value.as_bytes()).ok();
    let code = match value.map(|value| (value.tag(), value.value())) {
        Some((Tag::Enumerated, [code])) => RevocationReason::from_code(*code),
        _ => None,
    };
    code.ok_or_else(|| {
        let text = "the reasonCode is none of a CRLReason";
        Refusal::new(PkiFailure::BadDataFormat, SECTION, text)
    })
}

fn not_revocable(error: RevokeError) -> Refusal {
    let failure = match error {
        RevokeError::AlreadyRevoked => PkiFailure::CertRevoked,
        _ => PkiFailure::BadCertId,
    };
    Refusal::new(failure, SECTION, error.to_string())
}

/// Whether what a template says beyond issuer and serial number is so.
fn describes(template: &CertTemplate, certificate: &Certificate) -> Result<bool, Failure> {
    if let Some(subject) = &template.subject
        && !names_match(&subject.to_der()?, certificate.subject())
    {
        return Ok(false);
    }
    if let Some(public_key) = &template.public_key
        && public_key.to_der()? != certificate.public_key()
    {
        return Ok(false);
    }
    let has =
        |wanted: &Extension| certificate.extension(wanted.extn_id) == Some(wanted.extn_value.as_bytes());
    Ok(template.extensions.iter().flatten().all(has))
}

fn parse(record: &CertificateRecord) -> Result<Certificate, PkiError> {
    Certificate::from_der(record.certificate.as_slice())
        .map_err(|_| PkiError::Damaged("a certificate in the database".into()))
}
