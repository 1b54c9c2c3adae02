//! Which stations are let in, and what they may do.

use std::path::PathBuf;

use cmp_binding::Route;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::ConfigError;
use crate::header::BodyType;

/// Who is let in and what they may do: `[access]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    /// The stations, a TOML file with a table for each; read again on SIGHUP.
    pub stations: Option<PathBuf>,
    /// What becomes of a station that has no table. Default: `refuse` with a `stations` file, else `allow`.
    pub unlisted: Option<Unlisted>,
    /// What O of a station's certificate may be. Empty: anything, or none.
    pub organizations: Option<Vec<String>>,
    /// What becomes of a listed station whose certificate has expired. Default: `pending`.
    pub expired_certificates: ExpiredCertificates,
    /// What the certificate that protects a message is compared with the station's `certificate_serials` for.
    pub protection_serials: ProtectionSerials,
    /// The routes that a station may use whose table has none. Without it: all.
    pub routes: Option<Vec<Route>>,
    /// The kinds of messages that a station may send whose table has none. Without it: all.
    pub operations: Option<Operations>,
    /// Passwords that are checked at a time; each keeps a processor busy. Default 1.
    pub max_password_checks: usize,
    /// Wrong passwords for a station from an address in a minute; beyond it they are refused unchecked. Default 5.
    pub max_wrong_passwords_per_minute: u32,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self {
            stations: None,
            unlisted: None,
            organizations: None,
            expired_certificates: ExpiredCertificates::Pending,
            protection_serials: ProtectionSerials::Off,
            routes: None,
            operations: None,
            max_password_checks: 1,
            max_wrong_passwords_per_minute: 5,
        }
    }
}

/// What becomes of a station that has no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unlisted {
    /// It is refused with 404.
    Refuse,
    /// It gets in as its listener asks.
    Allow,
}

/// What becomes of a listed station whose certificate has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpiredCertificates {
    /// It gets in as Pending, for CMP only.
    Pending,
    /// It is refused.
    Refuse,
}

/// What is done about a message protected by another certificate than the station's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProtectionSerials {
    /// Nothing; it is not looked at.
    Off,
    /// It is logged and goes on.
    Log,
    /// It is refused.
    Enforce,
}

/// Kinds of CMP messages, by the names of RFC 9810: `ir`, `kur`, …
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operations(Vec<BodyType>);

impl Operations {
    /// Whether a message of this kind may be sent. What goes on with a transaction always may.
    #[must_use]
    pub fn allow(&self, kind: BodyType) -> bool {
        kind.carries_on() || self.0.contains(&kind)
    }
}

impl<'de> Deserialize<'de> for Operations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let kinds = names.iter().map(|name| {
            BodyType::from_name(name).ok_or_else(|| {
                D::Error::custom(format_args!(
                    "{name:?} is no kind of CMP message: ir, cr, kur, p10cr, rr, genm and nested are"
                ))
            })
        });
        kinds.collect::<Result<_, _>>().map(Self)
    }
}

impl AccessConfig {
    /// What becomes of a station that has no table.
    #[must_use]
    pub fn unlisted(&self) -> Unlisted {
        let by_file = match self.stations {
            Some(_) => Unlisted::Refuse,
            None => Unlisted::Allow,
        };
        self.unlisted.unwrap_or(by_file)
    }

    /// Whether it can serve listeners that ask for these credentials.
    pub(super) fn check(&self, passwords: bool, certificates: bool) -> Result<(), ConfigError> {
        let reason = if passwords && self.stations.is_none() {
            "security profiles 1 and 2 need the stations' passwords: give [access] stations (--stations)"
        } else if certificates && self.organizations.is_none() {
            "certificates of stations need [access] organizations (--organization), what their O is to be; [] is anything"
        } else if self.protection_serials != ProtectionSerials::Off && self.stations.is_none() {
            "protection_serials needs the stations' certificate_serials: give [access] stations (--stations)"
        } else if self.max_password_checks == 0 || self.max_wrong_passwords_per_minute == 0 {
            "max_password_checks and max_wrong_passwords_per_minute are at least 1"
        } else {
            return Ok(());
        };
        Err(ConfigError::Access(reason))
    }
}
