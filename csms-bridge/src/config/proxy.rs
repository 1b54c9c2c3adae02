//! The CSMS that the bridge stands in front of.

use std::{path::PathBuf, time::Duration};

use hyper::{Uri, header::HeaderName};
use serde::Deserialize;

use super::{ConfigError, range};

/// The CSMS behind the bridge: `[proxy]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// `ws://HOST[:PORT][/PATH]` or `wss://…`; path and query of each station come behind it.
    pub upstream: String,
    /// For `wss://`: the certificates that vouch for the CSMS, a PEM file; no others count.
    pub trust: Option<PathBuf>,
    /// Milliseconds that connecting may take, and TLS, and the handshake. Default 10,000.
    pub connect_timeout_ms: u64,
    /// Seconds that a CALL to a station waits for its answer: one of the CSMS, until the bridge calls beside it, and one of
    /// the bridge, for which calls of the CSMS wait. Default 30.
    pub call_timeout_s: u64,
    /// Seconds that a notify waits for its place between the calls of the CSMS. Default 5.
    pub notify_within_s: u64,
    /// Headers of a station's request that the CSMS gets, beside Authorization. Default: none.
    pub forward_headers: Vec<String>,
    /// The header in which the CSMS gets the certificate of a station whose TLS ends at the bridge; empty: none.
    pub client_certificate_header: String,
    /// How it is written there.
    pub client_certificate_format: CertificateFormat,
    /// While the CSMS cannot be reached, serve CMP alone to stations that the bridge has authenticated. Default: no.
    pub cmp_without_csms: bool,
}

/// How a certificate is written in a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateFormat {
    /// DER in base64 between colons (RFC 9440).
    #[default]
    Rfc9440,
    /// PEM, percent-encoded.
    PemUrlEncoded,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            upstream: String::new(),
            trust: None,
            connect_timeout_ms: 10_000,
            call_timeout_s: 30,
            notify_within_s: 5,
            forward_headers: Vec::new(),
            client_certificate_header: "Client-Cert".into(),
            client_certificate_format: CertificateFormat::default(),
            cmp_without_csms: false,
        }
    }
}

impl ProxyConfig {
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_secs(self.call_timeout_s)
    }

    pub(crate) fn notify_within(&self) -> Duration {
        Duration::from_secs(self.notify_within_s)
    }

    /// Where the CSMS is.
    ///
    /// # Errors
    /// What is wrong with `upstream`.
    pub(crate) fn uri(&self) -> Result<Uri, ConfigError> {
        const LIKE: &str = "it looks like ws://csms.example:8080/ocpp or wss://csms.example/ocpp";
        let parsed: Option<Uri> = self.upstream.trim().parse().ok();
        let scheme = parsed.as_ref().and_then(Uri::scheme_str).unwrap_or_default();
        let authority = parsed.as_ref().and_then(Uri::authority);
        let reason = match (parsed.as_ref(), authority) {
            _ if self.upstream.is_empty() => "the mode proxy needs the CSMS: --upstream ws://HOST:PORT/PATH",
            (Some(_), Some(authority)) if authority.as_str().contains('@') => {
                "a URL with a password is not taken"
            }
            (Some(uri), Some(_)) if uri.query().is_some() => {
                "the query is each station's: leave out the ? and what follows"
            }
            (Some(_), Some(_)) if scheme == "wss" && self.trust.is_none() => {
                "wss needs trust: a PEM file with the certificates that vouch for the CSMS (--upstream-trust)"
            }
            (Some(uri), Some(authority))
                if matches!(scheme, "ws" | "wss") && !authority.host().is_empty() =>
            {
                return Ok(uri.clone());
            }
            _ => LIKE,
        };
        Err(ConfigError::Upstream {
            url: self.upstream.clone(),
            reason,
        })
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let _ = self.uri()?;
        let certificate = &self.client_certificate_header;
        if !certificate.is_empty() {
            check_header("client_certificate_header", certificate, None)?;
        }
        for name in &self.forward_headers {
            check_header("forward_headers", name, Some(certificate))?;
        }
        range(
            "connect_timeout_ms",
            self.connect_timeout_ms,
            1..=60_000,
            "1 to 60,000",
        )?;
        range("call_timeout_s", self.call_timeout_s, 1..=600, "1 to 600")?;
        range("notify_within_s", self.notify_within_s, 0..=600, "0 to 600")
    }
}

/// Whether a header of that name can go on. Some servers take `_` for `-`, so it is taken so here.
fn check_header(key: &'static str, name: &str, certificate: Option<&str>) -> Result<(), ConfigError> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let reason = match plain(name).as_str() {
        _ if HeaderName::try_from(name).is_err() => "not the name of an HTTP header",
        "authorization" => "it goes on in any case",
        "host" | "connection" | "upgrade" | "content-length" | "transfer-encoding" => {
            "it belongs to each connection"
        }
        name if name.starts_with("sec-websocket-") => "it belongs to each connection",
        name if certificate.is_some_and(|certificate| plain(certificate) == name) => {
            "no station may say that itself: it is client_certificate_header"
        }
        _ => return Ok(()),
    };
    Err(ConfigError::Header {
        key,
        name: name.into(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &str) -> String {
        let config: ProxyConfig = toml::from_str(settings).unwrap();
        config
            .check()
            .map_or_else(|error| error.to_string(), |()| "fine".into())
    }

    #[test]
    fn a_csms_that_cannot_be_connected_to_is_said_with_the_cure() {
        for (settings, says) in [
            ("", "--upstream ws://HOST:PORT/PATH"),
            ("upstream = 'http://csms/'", "it looks like ws://"),
            ("upstream = 'csms:80'", "it looks like ws://"),
            ("upstream = 'ws://'", "it looks like ws://"),
            ("upstream = 'ws://user:password@csms/'", "password"),
            ("upstream = 'ws://csms/ocpp?x=1'", "query"),
            ("upstream = 'wss://csms/ocpp'", "--upstream-trust"),
            ("upstream = 'wss://csms/ocpp'\ntrust = 'ca.pem'", "fine"),
            ("upstream = 'ws://[::1]:80'", "fine"),
            ("upstream = 'ws://csms'\ncall_timeout_s = 0", "call_timeout_s = 0"),
        ] {
            let said = check(settings);
            assert!(said.contains(says), "{settings}: {said}");
        }
    }

    #[test]
    fn a_header_that_belongs_to_a_connection_or_vouches_for_a_certificate_does_not_go_on() {
        for (settings, says) in [
            ("forward_headers = ['X-Site', 'User-Agent']", "fine"),
            ("forward_headers = ['x site']", "not the name"),
            ("forward_headers = ['Sec-WebSocket-Protocol']", "each connection"),
            ("forward_headers = ['client_cert']", "client_certificate_header"),
            ("client_certificate_header = 'Connection'", "each connection"),
            ("client_certificate_header = ''", "fine"),
            (
                "forward_headers = ['X-C']\nclient_certificate_header = 'x-c'",
                "client_certificate_header",
            ),
        ] {
            let said = check(&format!("upstream = 'ws://csms'\n{settings}"));
            assert!(said.contains(says), "{settings}: {said}");
        }
    }
}
