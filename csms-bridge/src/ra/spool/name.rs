//! The names of files: `NUMBER-TAG.pki`, and `.TAG.part` for what is not to be seen yet.

use std::fmt;

use cmp_binding::ExchangeId;

use crate::{StationKey, digest::sha256};

/// Numbers with more digits are none of ours.
const MAX_DIGITS: usize = 15;

/// Names a request in a folder: a hash of it, of its station and of its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag([u8; 16]);

impl Tag {
    pub(crate) fn of(station: &StationKey, exchange: ExchangeId, request: &[u8]) -> Self {
        let mut bytes = Vec::new();
        for part in [&station.listener, &station.prefix, &station.identity] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes.extend(exchange.as_bytes());
        bytes.extend(sha256(request));
        let mut tag = [0; 16];
        tag.iter_mut()
            .zip(sha256(&bytes))
            .for_each(|(to, from)| *to = from);
        Self(tag)
    }

    /// From 32 hexadecimal digits; file systems may have changed their case.
    fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex.then(|| u128::from_str_radix(text, 16).ok())??;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// `NUMBER-TAG[-ANYTHING].pki`
pub(super) fn tag_of(name: &str) -> Option<Tag> {
    number_of(name)?;
    stem(name)?.split('-').nth(1).and_then(Tag::parse)
}

pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = stem(name)?.split('-').next()?;
    digits.parse().ok().filter(|_| digits.len() <= MAX_DIGITS)
}

pub(super) fn hidden_tag(name: &str) -> Option<Tag> {
    Tag::parse(name.strip_prefix('.')?.strip_suffix(".part")?)
}

pub(super) fn is_message(name: &str) -> bool {
    !name.starts_with('.') && stem(name).is_some()
}

/// Without `.pki`.
fn stem(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    extension.eq_ignore_ascii_case("pki").then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_response_tells_its_request_whatever_a_carrier_made_of_it() {
        let tag = Tag([0xab; 16]);
        let hex = tag.to_string();
        for name in [
            format!("000000000000042-{hex}.pki"),
            format!("42-{}.PKI", hex.to_uppercase()),
            format!("42-{hex}-2.pki"),
        ] {
            assert_eq!((tag_of(&name), number_of(&name)), (Some(tag), Some(42)), "{name}");
            assert!(is_message(&name));
        }
        for name in [
            "42.pki".to_owned(),
            format!("{hex}.pki"),
            format!("x-{hex}.pki"),
            format!("42-{hex}0.pki"),
            format!("42-+{}.pki", &hex[1..]),
            format!("42-{hex}.der"),
            format!("{}-{hex}.pki", u64::MAX),
        ] {
            assert_eq!(tag_of(&name), None, "{name}");
        }
        assert_eq!(hidden_tag(&format!(".{hex}.part")), Some(tag));
        assert!(!is_message(&format!(".42-{hex}.pki")));
    }

    #[test]
    fn requests_of_different_stations_and_exchanges_have_different_tags() {
        let key = |prefix: &str, identity: &str| StationKey {
            prefix: prefix.into(),
            identity: identity.into(),
            ..StationKey::default()
        };
        let id = ExchangeId::from_random;
        let tag = Tag::of(&key("a", "bc"), id([1; 16]), b"x");
        for other in [
            Tag::of(&key("ab", "c"), id([1; 16]), b"x"),
            Tag::of(&key("a", "bc"), id([2; 16]), b"x"),
            Tag::of(&key("a", "bc"), id([1; 16]), b"y"),
        ] {
            assert_ne!(tag, other);
        }
        assert_eq!(tag, Tag::of(&key("a", "bc"), id([1; 16]), b"x"));
    }
}
