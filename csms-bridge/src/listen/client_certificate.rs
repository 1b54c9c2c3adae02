//! Certificates of stations: which CA vouches for them, and what they say of the station.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use x509_cert::{
    Certificate,
    der::{
        Decode, Tagged,
        asn1::{Any, BmpString, ObjectIdentifier},
        oid::db::rfc4519::{CN, ORGANIZATION_NAME, SERIAL_NUMBER},
    },
    name::Name,
};

/// A certificate that a station has shown and that one of the CAs vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    pub(crate) issuer: Issuer,
    /// It would be accepted but for its notAfter.
    pub(crate) expired: bool,
    /// CN of the subject, if there is exactly one.
    pub(crate) common_name: Option<String>,
    /// O of the subject, if there is exactly one.
    pub(crate) organization: Option<String>,
    /// serialNumber of the subject, which manufacturer certificates have, if there is exactly one.
    pub(crate) subject_serial_number: Option<String>,
    /// As it was shown.
    pub(crate) der: CertificateDer<'static>,
}

/// Whose CA vouches for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Issuer {
    Operator,
    Manufacturer,
}

/// Checks certificates against the CAs of the operator, then against those of manufacturers; one that has expired passes
/// where that is allowed, and is marked.
#[derive(Debug)]
pub(super) struct StationVerifier {
    pub(super) operator: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) manufacturer: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) mandatory: bool,
    pub(super) accepts_expired: bool,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl StationVerifier {
    /// Checks path, revocation and validity.
    ///
    /// # Errors
    /// Those of the operator's CAs, unless only the manufacturers' know the issuer.
    pub(super) fn check(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertificate, Error> {
        let certificate = Certificate::from_der(own)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let not_after = certificate
            .tbs_certificate()
            .validity()
            .not_after
            .to_unix_duration();
        // At its end it was still valid: what is wrong with it then is not its age.
        let expired = self.accepts_expired && now.as_secs() > not_after.as_secs();
        let at = match expired {
            true => UnixTime::since_unix_epoch(not_after),
            false => now,
        };
        let issuer = self.issuer(own, others, at)?;
        let subject = certificate.tbs_certificate().subject();
        Ok(ClientCertificate {
            issuer,
            expired,
            common_name: only(subject, CN),
            organization: only(subject, ORGANIZATION_NAME),
            subject_serial_number: only(subject, SERIAL_NUMBER),
            der: own.clone().into_owned(),
        })
    }

    fn issuer(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        at: UnixTime,
    ) -> Result<Issuer, Error> {
        let verify = |verifier: &Option<Arc<dyn ClientCertVerifier>>| match verifier {
            Some(verifier) => verifier.verify_client_cert(own, others, at).map(drop),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        };
        let Err(error) = verify(&self.operator) else {
            return Ok(Issuer::Operator);
        };
        match verify(&self.manufacturer) {
            Ok(()) => Ok(Issuer::Manufacturer),
            Err(second) if error == Error::InvalidCertificate(CertificateError::UnknownIssuer) => Err(second),
            Err(_) => Err(error),
        }
    }
}

impl ClientCertVerifier for StationVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Many station stacks ignore the names, and a long list only makes each handshake longer.
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(own, others, now)
            .map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, own, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, own, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The value of the attribute `kind`, unless there are several: whose identity would that be?
fn only(name: &Name, kind: ObjectIdentifier) -> Option<String> {
    let mut values = name.iter().filter(|attribute| attribute.oid == kind);
    let value = values.next()?;
    values.next().is_none().then(|| text(&value.value))?
}

/// A DirectoryString, as X.509 has them, as text.
fn text(value: &Any) -> Option<String> {
    use x509_cert::der::Tag;
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
            std::str::from_utf8(value.value()).ok().map(Into::into)
        }
        Tag::BmpString => value.decode_as::<BmpString>().ok().map(|text| text.to_string()),
        _ => None,
    }
}
