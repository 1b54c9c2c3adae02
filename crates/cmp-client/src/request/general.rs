//! General messages (RFC 9483 §4.3).

use alloc::string::String;
use core::time::Duration;

use cmp_message::{
    InfoTypeAndValue, Raw,
    certificate::Certificate,
    general::{self, CrlSource, CrlStatus},
};
use der::{Decode, asn1::GeneralizedTime};
use x509_cert::{ext::pkix::name::GeneralName, name::Name, time::Time};

/// What is to be known.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GeneralRequest {
    /// Certificates of CAs that lead to certificates of this PKI (RFC 9483 §4.3.1).
    CaCerts,
    /// Whether there is a successor of this root (RFC 9483 §4.3.2).
    RootCaUpdate {
        /// A trust anchor of the configuration.
        root: Certificate,
    },
    /// What a certificate request is to contain (RFC 9483 §4.3.3).
    CertReqTemplate {
        /// For a request with this certificate profile.
        cert_profile: Option<String>,
    },
    /// A CRL, if there is a newer one (RFC 9483 §4.3.4).
    CrlUpdate(CrlUpdate),
}

/// Which CRL is wanted.
#[derive(Clone, Debug)]
pub struct CrlUpdate {
    /// As the RA knows it.
    pub source: CrlSource,
    /// The CA that issues and signs it. Trusted because it is given.
    pub issuer: Certificate,
    /// thisUpdate of the CRL that is here already, in seconds since 1970: only a newer one is wanted and taken.
    pub this_update_s: Option<u64>,
}

impl CrlUpdate {
    /// The CRL of this CA, by its name.
    ///
    /// # Errors
    /// If the CA's name cannot be read.
    pub fn of_issuer(issuer: Certificate, this_update_s: Option<u64>) -> der::Result<Self> {
        let name = GeneralName::DirectoryName(Name::from_der(issuer.subject())?);
        Ok(Self {
            source: CrlSource::Issuer(alloc::vec![name]),
            issuer,
            this_update_s,
        })
    }
}

impl GeneralRequest {
    /// The one entry of the genm.
    pub(crate) fn info(&self) -> der::Result<InfoTypeAndValue> {
        match self {
            Self::CaCerts => Ok(InfoTypeAndValue::absent(general::CA_CERTS)),
            Self::RootCaUpdate { root } => Ok(InfoTypeAndValue {
                info_type: general::ROOT_CA_CERT,
                info_value: Some(Raw::new(root.as_der())?),
            }),
            Self::CertReqTemplate { .. } => Ok(InfoTypeAndValue::absent(general::CERT_REQ_TEMPLATE)),
            Self::CrlUpdate(update) => {
                let status = CrlStatus {
                    source: update.source.clone(),
                    this_update: update.this_update_s.map(time).transpose()?,
                };
                InfoTypeAndValue::with_value(general::CRL_STATUS_LIST, &alloc::vec![status])
            }
        }
    }
}

/// UTCTime up to 2049, GeneralizedTime from then on (RFC 5280 §5.1.2.4).
fn time(utc_s: u64) -> der::Result<Time> {
    let since_1970 = Duration::from_secs(utc_s);
    match der::asn1::UtcTime::from_unix_duration(since_1970) {
        Ok(time) => Ok(Time::UtcTime(time)),
        Err(_) => GeneralizedTime::from_unix_duration(since_1970).map(Time::GeneralTime),
    }
}
