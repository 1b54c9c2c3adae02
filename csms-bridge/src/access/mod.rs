//! Who is let in and as what, and what they may then send through the bridge.
//!
//! A station proves who it is by a certificate that its listener has checked, or by a password; then its identity is
//! compared with what it proved, and with the list of stations. What it sends is looked at before it goes to an RA: is
//! the route its own, the kind of message one that it may send, the certificate that protects it its own?

mod password;
mod stations;

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

use cmp_binding::Route;
use ocpp_rpc::ws::{BasicAuth, Refusal};
use tracing::{info, warn};

pub use password::{ITERATIONS, InvalidVerifier, PasswordVerifier, parse_authorization_key};
pub use stations::StationsError;

use crate::{
    StationKey,
    config::{AccessConfig, ExpiredCertificates, ProtectionSerials, Unlisted},
    header,
    listen::{ClientCertificate, Issuer},
};
use password::{PasswordChecks, Verdict};
use stations::{Station, Stations};

/// Decides who is let in and what may be sent.
pub(crate) struct Access {
    config: AccessConfig,
    stations: RwLock<Arc<Stations>>,
    passwords: PasswordChecks,
}

/// Why there is no deciding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The list of stations cannot be used.
    #[error(transparent)]
    Stations(#[from] StationsError),
    /// No randomness could be had.
    #[error("no random numbers from the system")]
    Random(#[from] getrandom::Error),
}

/// A station that is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    /// How it proved who it is.
    pub(crate) proof: Proof,
    /// It is to be held in Pending, and gets nothing but CMP.
    pub(crate) cmp_only: bool,
}

/// How a station proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Not at all: the bridge did not ask.
    None,
    Password,
    Certificate,
}

/// Why a station is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("no such station in the list of stations")]
    Unknown,
    #[error("no password")]
    NoPassword,
    #[error("the user name is not the identity")]
    OtherUser,
    #[error("the list of stations has no password for it")]
    NoVerifier,
    #[error("wrong password")]
    WrongPassword,
    #[error("too many wrong passwords; not looked at")]
    Throttled,
    #[error("too many passwords wait to be checked")]
    Busy,
    #[error(
        "the certificate names another station: CN (of a manufacturer: serialNumber) is not its identity or serial number"
    )]
    OtherStation,
    #[error("O of the certificate is none of access.organizations")]
    OtherOrganization,
    #[error("the certificate has expired")]
    Expired,
}

impl Denied {
    /// How it is answered: 404 for who is not known, 401 for what does not prove it (OCPP-J 1.6 §3.3, 2.x part 4 §3.2).
    pub(crate) const fn refusal(self) -> Refusal {
        match self {
            Self::Unknown => Refusal::NotFound,
            Self::Throttled => Refusal::TooManyRequests,
            Self::Busy => Refusal::Unavailable,
            _ => Refusal::Unauthorized,
        }
    }
}

/// Why a message does not go to the RA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forbidden {
    #[error("the station may not use this route")]
    Route,
    #[error("the station may not send this kind of message")]
    Operation,
    #[error("the message is protected by another certificate than the station's")]
    Serial,
}

/// What a station shows.
pub(crate) struct Shown<'a> {
    /// What counts as its address.
    pub(crate) address: IpAddr,
    pub(crate) identity: &'a str,
    pub(crate) certificate: Option<&'a ClientCertificate>,
    pub(crate) basic: Option<BasicAuth>,
    /// Its listener wants a password of who has no certificate.
    pub(crate) wants_password: bool,
}

impl Access {
    /// Reads the list of stations.
    ///
    /// # Errors
    /// [`AccessError`].
    pub(crate) fn load(config: &AccessConfig) -> Result<Self, AccessError> {
        let max_wrong = config.max_wrong_passwords_per_minute;
        Ok(Self {
            stations: RwLock::new(Arc::new(stations(config)?)),
            passwords: PasswordChecks::new(config.max_password_checks, max_wrong)?,
            config: config.clone(),
        })
    }

    /// Reads the list of stations again; if it cannot be used, nothing changes.
    ///
    /// # Errors
    /// [`StationsError`].
    pub(crate) fn reload(&self) -> Result<(), StationsError> {
        let stations = Arc::new(stations(&self.config)?);
        if self.config.stations.is_some() {
            info!(stations = stations.len(), "list of stations read");
        }
        *self.stations.write().unwrap_or_else(PoisonError::into_inner) = stations;
        Ok(())
    }

    /// Whether a station is let in, and as what.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) async fn admit(&self, shown: Shown<'_>) -> Result<Admission, Denied> {
        let stations = self.stations();
        let station = stations.of(shown.identity);
        if station.is_none() && self.config.unlisted() == Unlisted::Refuse {
            return Err(Denied::Unknown);
        }
        if let Some(certificate) = shown.certificate {
            return self.by_certificate(shown.identity, station, certificate);
        }
        if shown.wants_password {
            return self.by_password(&shown, station).await;
        }
        Ok(Admission {
            proof: Proof::None,
            cmp_only: false,
        })
    }

    fn by_certificate(
        &self,
        identity: &str,
        station: Option<&Station>,
        certificate: &ClientCertificate,
    ) -> Result<Admission, Denied> {
        let expected = station
            .and_then(|station| station.serial_number.as_deref())
            .unwrap_or(identity);
        // IEEE 802.1AR puts the serial number into an attribute of that name, and what it likes into CN.
        let name = match (certificate.issuer, &certificate.subject_serial_number) {
            (Issuer::Manufacturer, Some(serial_number)) => Some(serial_number),
            _ => certificate.common_name.as_ref(),
        };
        let named = name.is_some_and(|name| name == expected);
        if !named {
            return Err(Denied::OtherStation);
        }
        if certificate.issuer == Issuer::Operator
            && !self.is_organization(certificate.organization.as_deref())
        {
            return Err(Denied::OtherOrganization);
        }
        if certificate.expired
            && (station.is_none() || self.config.expired_certificates == ExpiredCertificates::Refuse)
        {
            return Err(Denied::Expired);
        }
        Ok(Admission {
            proof: Proof::Certificate,
            cmp_only: certificate.expired || certificate.issuer == Issuer::Manufacturer,
        })
    }

    fn is_organization(&self, organization: Option<&str>) -> bool {
        let allowed = self.config.organizations.as_deref().unwrap_or_default();
        allowed.is_empty() || allowed.iter().any(|name| Some(name.as_str()) == organization)
    }

    async fn by_password(&self, shown: &Shown<'_>, station: Option<&Station>) -> Result<Admission, Denied> {
        let basic = shown.basic.as_ref().ok_or(Denied::NoPassword)?;
        if basic.user != shown.identity {
            return Err(Denied::OtherUser);
        }
        let verifier = station.and_then(|station| station.password.as_ref());
        let verifier = verifier.ok_or(Denied::NoVerifier)?;
        let check = self
            .passwords
            .check(shown.address, shown.identity, verifier, &basic.password);
        match check.await {
            Verdict::Right => Ok(Admission {
                proof: Proof::Password,
                cmp_only: false,
            }),
            Verdict::Wrong => Err(Denied::WrongPassword),
            Verdict::Throttled => Err(Denied::Throttled),
            Verdict::Busy => Err(Denied::Busy),
        }
    }

    /// Whether a message of a station may go to the RA of a route. What cannot be read is refused only where a list says
    /// what may be sent.
    ///
    /// # Errors
    /// [`Forbidden`].
    pub(crate) fn permit(&self, key: &StationKey, route: &Route, message: &[u8]) -> Result<(), Forbidden> {
        let stations = self.stations();
        let station = stations.of(&key.identity);
        let of_station = |routes: &Vec<Route>| routes.contains(route);
        let routes = station.and_then(|station| station.routes.as_ref());
        if !routes.or(self.config.routes.as_ref()).is_none_or(of_station) {
            return Err(Forbidden::Route);
        }
        let kind = header::body_type(message);
        let operations = station.and_then(|station| station.operations.as_ref());
        if let Some(allowed) = operations.or(self.config.operations.as_ref())
            && !kind.is_some_and(|kind| allowed.allow(kind))
        {
            return Err(Forbidden::Operation);
        }
        if self.config.protection_serials == ProtectionSerials::Off {
            return Ok(());
        }
        match station.map(|station| station.has_serial_of(message)) {
            Some(false) if self.config.protection_serials == ProtectionSerials::Enforce => {
                Err(Forbidden::Serial)
            }
            Some(false) => {
                warn!(station = %key, "the message is protected by a certificate that is not in the list");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn stations(&self) -> Arc<Stations> {
        Arc::clone(&self.stations.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Station {
    /// Whether the first certificate in extraCerts is one of the station's, if its table has any. A message that goes on
    /// with a transaction need not repeat it (RFC 9483 §3.3).
    fn has_serial_of(&self, message: &[u8]) -> bool {
        if self.certificate_serials.is_empty() {
            return true;
        }
        match header::protection_serial(message) {
            Some(serial) => self.certificate_serials.iter().any(|known| known.0 == serial),
            None => header::body_type(message).is_some_and(header::BodyType::carries_on),
        }
    }
}

fn stations(config: &AccessConfig) -> Result<Stations, StationsError> {
    let path = config.stations.as_deref();
    path.map_or_else(|| Ok(Stations::default()), Stations::load)
}
