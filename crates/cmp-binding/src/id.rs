//! Names on the wire: exchanges, routes, operations, the vendor.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{InvalidId, InvalidRoute};

/// The default `vendorId` of the binding.
pub const VENDOR_ID: &str = "io.github.ocpp-cmp";

/// Whether a DataTransfer with this `vendorId` belongs to a binding configured with `ours`; case does not count.
#[must_use]
pub fn is_vendor_id(ours: &str, vendor_id: &str) -> bool {
    ours.eq_ignore_ascii_case(vendor_id)
}

/// Name of one exchange: 128 random bits drawn by the station, on the wire 22 characters of base64url.
///
/// Scoped to one station. Parsing refuses padding, other lengths and non-canonical last characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId([u8; 16]);

impl ExchangeId {
    /// Names an exchange by 16 bytes from a cryptographic random generator.
    #[must_use]
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes behind the name.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for ExchangeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut bytes = [0; 16];
        match Base64UrlUnpadded::decode(text, &mut bytes) {
            Ok(decoded) if decoded.len() == 16 => Ok(Self(bytes)),
            _ => Err(InvalidId),
        }
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64UrlUnpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ExchangeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExchangeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Name under which the CSMS side knows an RA: 1 to 32 characters of `[a-z0-9-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Route(String);

impl Route {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Route {
    /// The route `default`.
    fn default() -> Self {
        Self(String::from("default"))
    }
}

impl FromStr for Route {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(String::from(text)))
        } else {
            Err(InvalidRoute)
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Route {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The `messageId` of a DataTransfer of the binding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// `CmpHello`, station to CSMS: limits and the state of the slots.
    Hello,
    /// `CmpSend`, station to CSMS: a piece of a request.
    Send,
    /// `CmpFetch`, station to CSMS: where an exchange stands, the next piece of its response, acknowledgements.
    Fetch,
    /// `CmpNotify`, CSMS to station: a response is ready, or something is asked for.
    Notify,
    /// `CmpPull`, CSMS to station: asks for a piece of a request.
    Pull,
    /// `CmpDeliver`, CSMS to station: a piece of a response, or the error that ends an exchange.
    Deliver,
}

impl Operation {
    const ALL: [Self; 6] = [
        Self::Hello,
        Self::Send,
        Self::Fetch,
        Self::Notify,
        Self::Pull,
        Self::Deliver,
    ];

    /// The operation that `message_id` names, whatever its case; `None` for one that is not of the binding.
    #[must_use]
    pub fn parse(message_id: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.as_str().eq_ignore_ascii_case(message_id))
    }

    /// The `messageId` as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "CmpHello",
            Self::Send => "CmpSend",
            Self::Fetch => "CmpFetch",
            Self::Notify => "CmpNotify",
            Self::Pull => "CmpPull",
            Self::Deliver => "CmpDeliver",
        }
    }
}

/// What a CSMS may ask a station to do with a slot (`CmpNotify`, member `do`). None of them destroys anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum DoOperation {
    /// `enroll`: get a first certificate.
    Enroll,
    /// `update`: renew the certificate now.
    Update,
    /// `ca-certs`: fetch CA certificates.
    CaCerts,
    /// `root-update`: fetch a root CA update.
    RootUpdate,
    /// `template`: fetch the certificate request template.
    Template,
    /// `crl`: fetch the CRL.
    Crl,
}

impl DoOperation {
    const ALL: [Self; 6] = [
        Self::Enroll,
        Self::Update,
        Self::CaCerts,
        Self::RootUpdate,
        Self::Template,
        Self::Crl,
    ];

    /// The operation of this name; `None` if there is none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }

    /// The name as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Update => "update",
            Self::CaCerts => "ca-certs",
            Self::RootUpdate => "root-update",
            Self::Template => "template",
            Self::Crl => "crl",
        }
    }
}
