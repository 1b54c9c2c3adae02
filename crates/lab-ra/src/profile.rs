use cmp_message::crypto::KeyAlgorithm;
use const_oid::{
    ObjectIdentifier,
    db::{DB, rfc3280},
};
use der::{Decode, Tag, Tagged, asn1::Any};
use std::str::FromStr;
use x509_cert::name::Name;

use crate::x509;

const DAY_S: u64 = 86_400;

/// The rules for certificates of one kind, which a request may name as its certProfile (RFC 9483 §3.1).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Profile {
    /// How long a certificate is valid, if the request does not ask for less.
    pub certificate_lifetime_s: u64,
    /// Which keys are certified.
    pub key_algorithms: Vec<KeyAlgorithm>,
    /// extKeyUsage of each certificate. If empty, it is what the request asks for.
    pub ext_key_usages: Vec<ObjectIdentifier>,
    /// Which attributes a subject has. If empty, any.
    pub subject: Vec<SubjectAttribute>,
}

impl Default for Profile {
    /// A year, every type of key that is good enough, any subject.
    fn default() -> Self {
        let mut key_algorithms = KeyAlgorithm::GENERATED.to_vec();
        key_algorithms.push(KeyAlgorithm::Rsa);
        Self {
            certificate_lifetime_s: 365 * DAY_S,
            key_algorithms,
            ext_key_usages: Vec::new(),
            subject: Vec::new(),
        }
    }
}

impl Profile {
    /// Whether a subject obeys the rules; if not, what is wrong with it.
    pub(crate) fn check_subject(&self, subject: &Name) -> Result<(), &'static str> {
        if self.subject.is_empty() {
            return Ok(());
        }
        let attributes: Vec<_> = subject.iter().collect();
        for attribute in &attributes {
            let mut rules = self.subject.iter().filter(|rule| rule.oid == attribute.oid);
            let rule = rules
                .next()
                .ok_or("the subject has an attribute that the profile does not have")?;
            if rule.value.is_some() && rule.value.as_deref() != text(&attribute.value) {
                return Err("an attribute of the subject has not the value that the profile wants");
            }
        }
        let is_there = |rule: &SubjectAttribute| attributes.iter().any(|attribute| attribute.oid == rule.oid);
        match self.subject.iter().all(|rule| rule.is_optional || is_there(rule)) {
            true => Ok(()),
            false => Err("the subject lacks an attribute that the profile wants"),
        }
    }

    /// The subject to fill in (RFC 9483 §4.3.3): fixed values, and empty ones where the requester chooses.
    pub(crate) fn subject_template(&self) -> der::Result<Option<Name>> {
        if self.subject.is_empty() {
            return Ok(None);
        }
        let attributes = self.subject.iter();
        let attributes = attributes.map(|rule| (rule.oid, rule.value.as_deref().unwrap_or_default()));
        Name::from_der(&x509::name(&attributes.collect::<Vec<_>>())?).map(Some)
    }
}

/// A rule for one attribute of a subject: `CN` for any value, `O=Operator` for one, `OU?` for what may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectAttribute {
    oid: ObjectIdentifier,
    value: Option<String>,
    is_optional: bool,
}

/// A rule for an attribute that is none, or for an attribute that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rule for the subject is written CN, CN=VALUE or CN?, with the short name of an attribute")]
pub struct BadSubjectRule;

impl FromStr for SubjectAttribute {
    type Err = BadSubjectRule;

    fn from_str(text: &str) -> Result<Self, BadSubjectRule> {
        let (name, value, is_optional) = match (text.split_once('='), text.strip_suffix('?')) {
            (Some((name, value)), _) => (name, Some(value.to_owned()), false),
            (None, Some(name)) => (name, None, true),
            (None, None) => (text, None, false),
        };
        if value.as_deref() == Some("") {
            return Err(BadSubjectRule);
        }
        Ok(Self {
            oid: *DB
                .by_name(name)
                .filter(|oid| is_attribute(oid))
                .ok_or(BadSubjectRule)?,
            value,
            is_optional,
        })
    }
}

/// The arcs of X.520 and of RFC 4524, and emailAddress.
fn is_attribute(oid: &ObjectIdentifier) -> bool {
    oid.starts_with(ObjectIdentifier::new_unwrap("2.5.4"))
        || oid.starts_with(ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1"))
        || *oid == rfc3280::EMAIL_ADDRESS
}

pub(crate) fn text(value: &Any) -> Option<&str> {
    match value.tag() {
        Tag::PrintableString | Tag::Utf8String | Tag::Ia5String => std::str::from_utf8(value.value()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(rules: &[&str]) -> Profile {
        Profile {
            subject: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
            ..Profile::default()
        }
    }

    #[test]
    fn a_subject_has_what_is_wanted_with_the_value_that_is_wanted_and_nothing_else() {
        let profile = profile(&["CN", "O=Operator", "OU?"]);
        let check = |subject: &str| profile.check_subject(&subject.parse().unwrap()).is_ok();
        assert!(check("CN=CS-1,O=Operator") && check("OU=North,CN=CS-1,O=Operator"));
        assert!(!check("CN=CS-1"));
        assert!(!check("CN=CS-1,O=Other"));
        assert!(!check("CN=CS-1,O=Operator,C=DE"));
        assert!(!check("O=Operator"));
    }

    #[test]
    fn without_rules_any_subject_will_do_and_there_is_nothing_to_fill_in() {
        let profile = profile(&[]);
        assert!(profile.check_subject(&"C=DE,L=Berlin".parse().unwrap()).is_ok());
        assert_eq!(profile.subject_template().unwrap(), None);
    }

    #[test]
    fn a_template_has_fixed_values_and_empty_ones() {
        let template = profile(&["CN", "O=Operator"])
            .subject_template()
            .unwrap()
            .unwrap();
        let values = template.iter().map(|attribute| text(&attribute.value).unwrap());
        assert_eq!(values.collect::<Vec<_>>(), ["", "Operator"]);
    }

    #[test]
    fn a_rule_names_an_attribute() {
        for bad in ["", "?", "=x", "nonsense", "CN=", "C N", "id-ce-keyUsage"] {
            assert_eq!(bad.parse::<SubjectAttribute>(), Err(BadSubjectRule), "{bad}");
        }
    }
}
