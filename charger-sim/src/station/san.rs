//! subjectAltName as it is given on a command line.

use std::{fmt, net::IpAddr, str::FromStr};

use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
use der::{
    Encode,
    asn1::{Ia5String, OctetString},
};
use x509_cert::ext::{Extension, pkix::name::GeneralName};

use crate::decode::general_name;

/// One name: `DNS:cp-1.example`, `IP:192.0.2.7`, `URI:urn:cp-1` or `email:cp-1@example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AltName(pub GeneralName);

impl FromStr for AltName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = text
            .split_once(':')
            .filter(|(_, value)| !value.is_empty())
            .ok_or("not KIND:VALUE, as in DNS:cp-1.example")?;
        let ia5 = |value: &str| Ia5String::new(value).map_err(|_| format!("{value:?} is not ASCII"));
        Ok(Self(match kind.to_ascii_lowercase().as_str() {
            "dns" => GeneralName::DnsName(ia5(value)?),
            "uri" => GeneralName::UniformResourceIdentifier(ia5(value)?),
            "email" => GeneralName::Rfc822Name(ia5(value)?),
            "ip" => GeneralName::IpAddress(ip_address(value)?),
            _ => return Err(format!("{kind:?} is none of DNS, IP, URI and email")),
        }))
    }
}

impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&general_name(&self.0))
    }
}

fn ip_address(text: &str) -> Result<OctetString, String> {
    let bytes = match text.parse() {
        Ok(IpAddr::V4(address)) => address.octets().to_vec(),
        Ok(IpAddr::V6(address)) => address.octets().to_vec(),
        Err(_) => return Err(format!("{text:?} is no IP address")),
    };
    OctetString::new(bytes).map_err(|error| error.to_string())
}

/// The extension with these names; `None` where there are none.
pub(super) fn extension(names: &[AltName]) -> der::Result<Option<Extension>> {
    if names.is_empty() {
        return Ok(None);
    }
    let names: Vec<_> = names.iter().map(|name| name.0.clone()).collect();
    of_value(&names.to_der()?).map(Some)
}

/// The extension with this value, DER of GeneralNames.
pub(super) fn of_value(value: &[u8]) -> der::Result<Extension> {
    Ok(Extension {
        extn_id: ID_CE_SUBJECT_ALT_NAME,
        critical: false,
        extn_value: OctetString::new(value)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_printed() {
        for name in [
            "DNS:cp-1.example",
            "IP:192.0.2.7",
            "IP:2001:db8::7",
            "URI:urn:dev:cp:1",
            "email:cp@example.org",
        ] {
            assert_eq!(AltName::from_str(name).unwrap().to_string(), name);
        }
        assert_eq!(AltName::from_str("dns:a").unwrap().to_string(), "DNS:a");
    }

    #[test]
    fn what_is_no_name_says_why() {
        for (name, why) in [
            ("cp-1.example", "KIND:VALUE"),
            ("DNS:", "KIND:VALUE"),
            ("DNS:ä", "not ASCII"),
            ("IP:300.1.1.1", "no IP address"),
            ("dir:CN=a", "none of"),
        ] {
            let error = AltName::from_str(name).unwrap_err();
            assert!(error.contains(why), "{name}: {error}");
        }
    }
}
