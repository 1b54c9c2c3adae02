use hyper::Uri;
use std::{fmt, str::FromStr};

/// A URL of a CMP server: `http://HOST[:PORT][/PATH]`, or the same with `https`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(Uri);

/// Why a text is no URL of a CMP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUrl {
    /// It has another form.
    #[error("the URL of a CMP server is written http[s]://HOST[:PORT][/PATH]")]
    Form,
    /// It has a user name, which would be sent to nobody.
    #[error("the URL of a CMP server has no user name")]
    UserInfo,
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let uri = Uri::from_str(text).map_err(|_| BadUrl::Form)?;
        let authority = uri.authority().ok_or(BadUrl::Form)?;
        // `http://host:` and `http://host:70000` parse as if they had no port.
        let has_port = authority
            .as_str()
            .rsplit(']')
            .next()
            .is_some_and(|rest| rest.contains(':'));
        match uri.scheme_str() {
            _ if authority.as_str().contains('@') => Err(BadUrl::UserInfo),
            Some("http" | "https") if !authority.host().is_empty() && has_port == uri.port().is_some() => {
                Ok(Self(uri))
            }
            _ => Err(BadUrl::Form),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Url {
    /// Whether the way there is TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> u16 {
        let default = if self.is_https() { 443 } else { 80 };
        self.0.port_u16().unwrap_or(default)
    }

    /// Host and port as they are written.
    pub(crate) fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        self.0.path_and_query().map_or("/", |target| target.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_and_https_with_a_host_are_taken() {
        for text in [
            "http://127.0.0.1:8080/pkix/",
            "http://[::1]",
            "http://[::1]:80/x?y=z",
            "https://ca.example",
            "HTTPS://ca.example:8443/.well-known/cmp",
        ] {
            assert!(text.parse::<Url>().is_ok(), "{text}");
        }
        for text in [
            "",
            "ca.example",
            "http://",
            "http:///path",
            "ftp://x/",
            "spool:x",
            "http://x:/",
            "http://x:70000/",
        ] {
            assert_eq!(text.parse::<Url>(), Err(BadUrl::Form), "{text}");
        }
        assert_eq!("http://user@ca.example/".parse::<Url>(), Err(BadUrl::UserInfo));
    }

    #[test]
    fn each_scheme_has_its_port_and_an_empty_path_is_the_root() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        assert_eq!(url("http://x").port(), 80);
        assert_eq!(url("https://x").port(), 443);
        assert_eq!(url("https://x:7").port(), 7);
        assert_eq!(url("https://[::1]:7").host(), "::1");
        assert_eq!(url("https://x").target(), "/");
        assert_eq!(url("https://x/p?q#f").target(), "/p?q");
    }
}
