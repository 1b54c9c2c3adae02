//! Where stations connect, and how they prove who they are there.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use super::ConfigError;

/// The name of the listener that `listen`, `security_profile` and `[tls]` make.
pub const DEFAULT_LISTENER: &str = "default";

/// A listener: `[listeners.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How stations prove who they are. Without it the bridge does not ask.
    pub security_profile: Option<SecurityProfile>,
    /// TLS; without it the listener is plain.
    pub tls: Option<TlsConfig>,
}

/// A security profile of OCPP (2.x: part 2, section A.1.3; 1.6: the security whitepaper, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub enum SecurityProfile {
    /// 1: a password, without TLS or with TLS that ends in front of the bridge.
    Basic,
    /// 2: a password, and TLS.
    TlsWithBasic,
    /// 3: TLS with a certificate of the station.
    TlsWithClientCertificate,
}

impl TryFrom<u8> for SecurityProfile {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            1 => Ok(Self::Basic),
            2 => Ok(Self::TlsWithBasic),
            3 => Ok(Self::TlsWithClientCertificate),
            _ => Err("security_profile is 1, 2 or 3"),
        }
    }
}

/// TLS of a listener. All files are read again on SIGHUP.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate and those between it and its root (PEM), its own first.
    pub cert: PathBuf,
    /// Its private key (PEM, not encrypted).
    pub key: PathBuf,
    /// Whether stations are asked for a certificate. Default: `required` with security profile 3, else `none`.
    pub client_auth: Option<ClientAuth>,
    /// The CAs of the operator's station certificates (PEM).
    #[serde(default)]
    pub client_cas: Vec<PathBuf>,
    /// The CAs of manufacturer certificates (PEM): who has one gets in for CMP only.
    #[serde(default)]
    pub manufacturer_cas: Vec<PathBuf>,
    /// CRLs (PEM or DER). With any, each CA below `client_cas` needs one.
    #[serde(default)]
    pub crls: Vec<PathBuf>,
    /// What a CRL past its nextUpdate means. Default: `refuse`.
    #[serde(default)]
    pub expired_crls: ExpiredCrls,
}

/// Whether stations are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// No.
    None,
    /// Yes; one who shows none gives a password.
    Optional,
    /// Yes, and none gets in without.
    Required,
}

/// What a CRL past its nextUpdate means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpiredCrls {
    /// Nobody whose CA it is of gets in.
    #[default]
    Refuse,
    /// It is used as it is.
    Accept,
}

impl ListenerConfig {
    /// Whether stations are asked for a certificate.
    #[must_use]
    pub fn client_auth(&self) -> ClientAuth {
        let by_profile = match self.security_profile {
            Some(SecurityProfile::TlsWithClientCertificate) => ClientAuth::Required,
            _ => ClientAuth::None,
        };
        let tls = self.tls.as_ref();
        tls.map_or(ClientAuth::None, |tls| tls.client_auth.unwrap_or(by_profile))
    }

    /// Whether a station without a certificate has to give a password.
    #[must_use]
    pub fn wants_password(&self) -> bool {
        use SecurityProfile::{Basic, TlsWithBasic};
        matches!(self.security_profile, Some(Basic | TlsWithBasic))
    }

    /// Whether profile, TLS and CAs fit together.
    pub(super) fn check(&self, name: &str) -> Result<(), ConfigError> {
        let auth = self.client_auth();
        let cas = |tls: &TlsConfig| !tls.client_cas.is_empty() || !tls.manufacturer_cas.is_empty();
        let reason = match (self.security_profile, &self.tls) {
            (Some(SecurityProfile::Basic), Some(_)) => {
                "security profile 1 is without TLS: make it 2, or take the tls table away"
            }
            (Some(SecurityProfile::TlsWithBasic | SecurityProfile::TlsWithClientCertificate), None) => {
                "security profiles 2 and 3 need TLS: give cert and key (--tls-cert, --tls-key)"
            }
            (Some(SecurityProfile::TlsWithClientCertificate), _) if auth != ClientAuth::Required => {
                "security profile 3 needs client_auth = \"required\"; with \"optional\" it is profile 2"
            }
            (_, Some(tls)) if tls.cert.as_os_str().is_empty() || tls.key.as_os_str().is_empty() => {
                "TLS needs both cert and key (--tls-cert, --tls-key)"
            }
            (_, Some(tls)) if auth == ClientAuth::None && (cas(tls) || !tls.crls.is_empty()) => {
                "client_cas, manufacturer_cas and crls are for client_auth = \"optional\" or \"required\""
            }
            (_, Some(tls)) if auth != ClientAuth::None && !cas(tls) => {
                "certificates of stations need client_cas or manufacturer_cas (--tls-client-ca, --tls-manufacturer-ca)"
            }
            _ => return Ok(()),
        };
        Err(ConfigError::Listener {
            name: name.into(),
            reason,
        })
    }
}

/// Whether it can be a listener's name: 1 to 32 of a-z, 0-9 and `-`.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(allowed)
}
