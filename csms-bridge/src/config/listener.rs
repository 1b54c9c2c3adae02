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

#[cfg(test)]
mod tests {
    use crate::Config;

    /// What is wrong with these settings; empty if nothing is.
    fn wrong(settings: &str) -> String {
        let text = format!("{settings}\n[routes.default]\nurls = ['http://ra/']\n");
        let config = toml::from_str::<Config>(&text).map_err(|error| error.to_string());
        match config.map(|config| config.check()) {
            Ok(Ok(())) => String::new(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error,
        }
    }

    #[test]
    fn a_profile_that_its_listener_cannot_keep_is_refused_with_a_cure() {
        let tls = "[tls]\ncert = 'c'\nkey = 'k'";
        let list = "[access]\nstations = 's'\norganizations = []";
        for (settings, says) in [
            (format!("security_profile = 4\n{tls}"), "1, 2 or 3"),
            (format!("security_profile = 1\n{tls}\n{list}"), "make it 2"),
            (format!("security_profile = 2\n{list}"), "--tls-cert"),
            (format!("security_profile = 3\n{list}"), "--tls-cert"),
            (format!("security_profile = 3\n{tls}\n{list}"), "--tls-client-ca"),
            (
                format!("security_profile = 3\n{tls}\nclient_auth = 'optional'\nclient_cas = ['a']\n{list}"),
                "it is profile 2",
            ),
            (format!("{tls}\nclient_cas = ['a']"), "client_auth"),
            (format!("{tls}\ncrls = ['a']"), "client_auth"),
            ("[tls]\ncert = 'c'\nkey = ''".into(), "--tls-key"),
            ("security_profile = 1".into(), "--stations"),
            (
                format!("security_profile = 3\n{tls}\nclient_cas = ['a']"),
                "--organization",
            ),
            ("[access]\nprotection_serials = 'log'".into(), "--stations"),
            ("[access]\nmax_password_checks = 0".into(), "at least 1"),
            (
                "[access]\noperations = ['enroll']".into(),
                "no kind of CMP message",
            ),
            (
                "[listeners.default]\nlisten = '[::1]:1'".into(),
                "listener default",
            ),
            ("[listeners.Feld]\nlisten = '[::1]:1'".into(), "a-z"),
            (
                "security_profile = 1\n[access]\nstations = 's'\n[listeners.field]\nlisten = '[::1]:1'"
                    .into(),
                "put them into [listeners.NAME]",
            ),
        ] {
            let said = wrong(&settings);
            assert!(said.contains(says), "{settings}\n→ {said}");
        }
        for settings in [
            format!("security_profile = 2\n{tls}\n{list}"),
            format!("security_profile = 3\n{tls}\nmanufacturer_cas = ['a']\n{list}"),
            tls.to_owned(),
            "[listeners.field]\nlisten = '[::1]:1'".into(),
        ] {
            assert_eq!(wrong(&settings), "", "{settings}");
        }
    }

    #[test]
    fn named_listeners_take_the_place_of_the_simple_one_unless_that_is_given() {
        let named = "[listeners.a]\nlisten = '[::1]:1'\n[listeners.b]\nlisten = '[::1]:2'";
        for (settings, names) in [
            (String::new(), &["default"][..]),
            (named.into(), &["a", "b"]),
            (format!("listen = '[::1]:3'\n{named}"), &["default", "a", "b"]),
        ] {
            let config: Config = toml::from_str(&settings).unwrap();
            let found = config.each_listener();
            let found: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(found, names);
        }
    }
}
