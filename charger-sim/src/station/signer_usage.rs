//! What the certificate that signs for the RA must be for.

use std::{fmt, str::FromStr};

use const_oid::ObjectIdentifier;

/// Names of extended key usages of a PKI's own (RFC 6402 §2.10, RFC 9810 §4.5), below id-kp.
const NAMES: [(&str, ObjectIdentifier); 3] = [
    ("cmc-ca", ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.27")),
    ("cmc-ra", ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.28")),
    ("cm-kga", ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.32")),
];

/// An extended key usage that a signer must have; `None` where any will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignerUsage(pub Option<ObjectIdentifier>);

impl FromStr for SignerUsage {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "any" {
            return Ok(Self(None));
        }
        let known = NAMES.iter().find(|(name, _)| *name == text);
        let oid = known.map_or_else(|| ObjectIdentifier::new(text), |(_, oid)| Ok(*oid));
        oid.map(|oid| Self(Some(oid)))
            .map_err(|_| "one of any, cmc-ca, cmc-ra and cm-kga, or an OID such as 1.3.6.1.5.5.7.3.28")
    }
}

impl fmt::Display for SignerUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(usage) = self.0 else {
            return f.write_str("any");
        };
        match NAMES.iter().find(|(_, oid)| *oid == usage) {
            Some((name, _)) => f.write_str(name),
            None => usage.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_is_a_name_or_an_oid_and_nothing_else() {
        for text in ["any", "cmc-ca", "cmc-ra", "cm-kga", "1.2.3.4"] {
            assert_eq!(
                text.parse::<SignerUsage>().map(|usage| usage.to_string()),
                Ok(text.into())
            );
        }
        assert_eq!("1.3.6.1.5.5.7.3.28".parse(), "cmc-ra".parse::<SignerUsage>());
        for text in ["", "cmcRA", "1", "any "] {
            assert!(text.parse::<SignerUsage>().is_err(), "{text}");
        }
    }
}
