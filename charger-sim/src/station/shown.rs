//! What came out of an operation, for a person and for a report.

use std::{path::Path, time::Duration};

use charger_agent::client::{CertReqTemplate, Enrolled};
use cmp_message::{certificate::Certificate, crl::Crl};
use der::{DateTime, Decode as _};
use serde_json::{Map, Value, json};
use x509_cert::name::Name;

use super::template;
use crate::decode::{self, text::hex};

/// Lines of a name and a text, and the same as members of a step's `detail`.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) lines: Vec<(String, String)>,
    pub(super) detail: Map<String, Value>,
}

impl Shown {
    pub(super) fn line(&mut self, name: &str, text: impl Into<String>) {
        self.lines.push((name.into(), text.into()));
    }

    pub(super) fn member(&mut self, name: &str, value: impl Into<Value>) {
        self.detail.insert(name.into(), value.into());
    }

    /// A line and a member of the same text.
    pub(super) fn both(&mut self, name: &str, text: impl Into<String>) {
        let text = text.into();
        self.line(name, text.clone());
        self.member(name, text);
    }

    fn members(&mut self, object: Value) {
        if let Value::Object(members) = object {
            self.detail.extend(members);
        }
    }

    /// A certificate and where it is.
    pub(super) fn certificate(&mut self, certificate: &Certificate, file: &Path) {
        self.both("subject", certificate.subject_string());
        self.both("issuer", name(certificate.issuer()));
        self.both("serial", hex(certificate.serial_number()));
        self.line("until", time(certificate.not_after()));
        self.line("file", file.display().to_string());
        self.members(json!({
            "certificate": file,
            "not_before_s": certificate.not_before(),
            "not_after_s": certificate.not_after(),
        }));
    }

    /// How the certificate was got.
    pub(super) fn enrolment(&mut self, enrolled: &Enrolled) {
        self.member("transaction_id", hex(&enrolled.transaction_id));
        self.member("implicit_confirm", enrolled.implicit);
    }

    /// Certificates of CAs and where they are.
    pub(super) fn ca_certs<'a>(&mut self, certificates: impl Iterator<Item = (&'a Certificate, &'a Path)>) {
        let mut all = Vec::new();
        for (certificate, file) in certificates {
            let kind = if certificate.is_self_issued() {
                "root"
            } else {
                "CA"
            };
            let subject = certificate.subject_string();
            self.line(
                kind,
                format!("{subject}, until {}", time(certificate.not_after())),
            );
            all.push(json!({
                "subject": subject,
                "issuer": name(certificate.issuer()),
                "serial": hex(certificate.serial_number()),
                "not_after_s": certificate.not_after(),
                "file": file,
            }));
        }
        self.member("certificates", all);
    }

    pub(super) fn template(&mut self, template: &CertReqTemplate) {
        let demands = template::describe(template);
        let members: Map<String, Value> = demands
            .iter()
            .map(|(name, text)| (name.clone(), text.clone().into()))
            .collect();
        self.lines.extend(demands);
        self.member("demands", members);
    }

    /// A CRL, where it is, and whether a certificate of the same issuer is on it.
    pub(super) fn crl(&mut self, crl: &Crl, file: &Path, own: Option<&Certificate>) {
        let entries = crl.serial_numbers().count();
        let revoked = own.map(|own| crl.contains(own.serial_number()));
        self.both("issuer", name(crl.issuer()));
        if let Some(number) = crl.number() {
            self.both("number", decimal(number));
        }
        let until = crl
            .next_update()
            .map_or(String::new(), |s| format!(", the next at {}", time(s)));
        self.line("issued", format!("{}{until}", time(crl.this_update())));
        self.line("entries", entries.to_string());
        match revoked {
            Some(true) => self.line("ours", "is on it: revoked"),
            Some(false) => self.line("ours", "is not on it"),
            None => {}
        }
        self.line("file", file.display().to_string());
        self.members(json!({
            "this_update_s": crl.this_update(),
            "next_update_s": crl.next_update(),
            "entries": entries,
            "revoked": revoked,
            "file": file,
        }));
    }
}

/// A Name, DER, as text.
pub(super) fn name(der: &[u8]) -> String {
    Name::from_der(der).map_or_else(|_| "unreadable".into(), |name| decode::name(&name))
}

/// A time in seconds since 1970, in the notation of RFC 3339.
pub(super) fn time(s: u64) -> String {
    let time = DateTime::from_unix_duration(Duration::from_secs(s));
    time.map_or_else(|_| format!("{s} s after 1970"), |time| time.to_string())
}

/// A positive INTEGER in decimal as far as 128 bits go, else in hexadecimal.
fn decimal(bytes: &[u8]) -> String {
    let significant = bytes
        .iter()
        .position(|byte| *byte != 0)
        .map_or(&[][..], |at| bytes.split_at(at).1);
    if significant.len() > 16 {
        return format!("0x{}", hex(significant));
    }
    let value = significant
        .iter()
        .fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crl_numbers_are_decimal_as_far_as_they_go() {
        assert_eq!(decimal(&[0]), "0");
        assert_eq!(decimal(&[0, 0x80]), "128");
        assert_eq!(decimal(&[0xff; 16]), u128::MAX.to_string());
        assert_eq!(decimal(&[1; 17]), format!("0x{}", "01".repeat(17)));
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        assert_eq!(time(1_800_000_000), "2027-01-15T08:00:00Z");
        assert_eq!(time(u64::MAX), format!("{} s after 1970", u64::MAX));
    }
}
