//! Who a station says it is: the path of the URL and Basic authentication.

use std::fmt;
use std::string::String;
use std::vec::Vec;

use base64ct::{Base64, Encoding as _};
use zeroize::Zeroizing;

use crate::Version;

/// The longest identity, in characters.
pub const IDENTITY_MAX_CHARS: usize = 48;

/// The path of a station's URL, taken apart: everything before the last segment, and the last segment.
///
/// Together with the listener it names the station.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StationPath {
    prefix: String,
    identity: String,
}

impl StationPath {
    /// Takes apart a request path such as `/ocpp/CS%2D1`; a query is left out.
    ///
    /// # Errors
    /// Where a segment is not UTF-8 in valid percent-encoding, is `.` or `..` or holds control characters, where
    /// the prefix holds an encoded `/`, or where the identity is empty or longer than 48 characters.
    pub fn parse(path: &str) -> Result<Self, InvalidStationPath> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let (prefix, last) = path.rsplit_once('/').ok_or(InvalidStationPath)?;
        let identity = decode(last)?;
        if identity.is_empty() || identity.chars().count() > IDENTITY_MAX_CHARS {
            return Err(InvalidStationPath);
        }
        let mut decoded = String::new();
        for segment in prefix.split('/').skip(1) {
            let segment = decode(segment)?;
            if segment.contains('/') {
                return Err(InvalidStationPath);
            }
            decoded.push('/');
            decoded.push_str(&segment);
        }
        Ok(Self {
            prefix: decoded,
            identity,
        })
    }

    /// What comes before the identity, decoded, without the last `/`; empty for `/CS1`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The identity of the station, decoded, 1 to 48 characters.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether `version` allows the identity: 2.x does not allow ":" (Part 4, section 3.1.1).
    #[must_use]
    pub fn is_valid_in(&self, version: Version) -> bool {
        version == Version::V1_6 || !self.identity.contains(':')
    }
}

/// A path that names no station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidStationPath;

impl fmt::Display for InvalidStationPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the last path segment is no identity of 1 to 48 characters")
    }
}

impl std::error::Error for InvalidStationPath {}

/// The credentials of an `Authorization: Basic` header.
pub struct BasicAuth {
    /// The user name, which OCPP wants to be the identity.
    pub user: String,
    /// The password; any bytes (1.6 has binary ones).
    pub password: Zeroizing<Vec<u8>>,
}

impl BasicAuth {
    /// Reads the value of an `Authorization` header; `None` if it is no valid Basic one.
    ///
    /// As an identity of 1.6 may hold ":", a user name that is `identity` is looked for first.
    #[must_use]
    pub fn parse(header: &[u8], identity: &str) -> Option<Self> {
        let header = std::str::from_utf8(header).ok()?;
        let (scheme, encoded) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(Base64::decode_vec(encoded.trim()).ok()?);
        let own = decoded
            .strip_prefix(identity.as_bytes())
            .and_then(|rest| rest.strip_prefix(b":"));
        if let Some(password) = own {
            return Some(Self {
                user: identity.into(),
                password: Zeroizing::new(password.to_vec()),
            });
        }
        let colon = decoded.iter().position(|&byte| byte == b':')?;
        let user = std::str::from_utf8(decoded.get(..colon)?).ok()?;
        Some(Self {
            user: user.into(),
            password: Zeroizing::new(decoded.get(colon + 1..)?.to_vec()),
        })
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// The value of an `Authorization` header for `user` and `password`.
#[must_use]
pub fn basic_auth_header(user: &str, password: &[u8]) -> Zeroizing<String> {
    let mut credentials = Zeroizing::new(Vec::with_capacity(user.len() + 1 + password.len()));
    credentials.extend_from_slice(user.as_bytes());
    credentials.push(b':');
    credentials.extend_from_slice(password);
    let encoded = Zeroizing::new(Base64::encode_string(&credentials));
    let mut header = Zeroizing::new(String::with_capacity(6 + encoded.len()));
    header.push_str("Basic ");
    header.push_str(&encoded);
    header
}

/// `text` with all but RFC 3986's unreserved characters percent-encoded, such as an identity as a segment of a URL path.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A path segment without its percent-encoding.
fn decode(segment: &str) -> Result<String, InvalidStationPath> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(InvalidStationPath);
        };
        out.push(u8::try_from(high * 16 + low).map_err(|_| InvalidStationPath)?);
    }
    let text = String::from_utf8(out).map_err(|_| InvalidStationPath)?;
    if text == "." || text == ".." || text.chars().any(char::is_control) {
        return Err(InvalidStationPath);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn the_last_segment_is_the_identity_and_the_rest_is_kept() {
        let path = StationPath::parse("/ocpp/a%20b/RDAM%7C123?x=/y").unwrap();
        assert_eq!((path.prefix(), path.identity()), ("/ocpp/a b", "RDAM|123"));
        let path = StationPath::parse("/CS%2F1").unwrap();
        assert_eq!((path.prefix(), path.identity()), ("", "CS/1"));
        assert_ne!(StationPath::parse("/CS/1").unwrap(), path);
    }

    #[test]
    fn paths_that_name_no_station_are_refused() {
        for path in [
            "", "/", "x", "/a/", "/%", "/%4", "/%zz", "/%ff", "/a/..", "/../a", "/a%2fb/c", "/a%0Ab",
        ] {
            assert_eq!(StationPath::parse(path), Err(InvalidStationPath), "{path}");
        }
        assert!(StationPath::parse(&format!("/{}", "ä".repeat(48))).is_ok());
        assert!(StationPath::parse(&format!("/{}", "a".repeat(49))).is_err());
    }

    #[test]
    fn a_colon_is_for_1_6_only() {
        let path = StationPath::parse("/a%3Ab").unwrap();
        assert!(path.is_valid_in(Version::V1_6));
        assert!(!path.is_valid_in(Version::V2_0_1) && !path.is_valid_in(Version::V2_1));
    }

    #[test]
    fn credentials_survive_binary_passwords_and_colons() {
        for (user, password) in [("CS1", &b"\x00\xff:\x01"[..]), ("a:b", b"p:w"), ("a", b"")] {
            let header = basic_auth_header(user, password);
            let auth = BasicAuth::parse(header.as_bytes(), user).unwrap();
            assert_eq!((&*auth.user, &**auth.password), (user, password));
        }
        let other = BasicAuth::parse(basic_auth_header("x", b"secret").as_bytes(), "y").unwrap();
        assert_eq!(other.user, "x");
        assert!(!format!("{other:?}").contains("secret"));
        assert!(BasicAuth::parse(b"Bearer abc", "y").is_none());
        assert!(BasicAuth::parse(b"Basic !!", "y").is_none());
    }

    #[test]
    fn an_encoded_identity_is_decoded_to_itself() {
        for identity in ["CS-1", "a/b c|d", "ä:%"] {
            let path = format!("/p/{}", percent_encode(identity));
            assert_eq!(StationPath::parse(&path).unwrap().identity(), identity);
        }
    }
}
