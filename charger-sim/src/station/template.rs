//! Certificate request templates in words.

use charger_agent::client::{CertReqTemplate, KeySpec, TemplateError};
use cmp_message::crypto::KeyAlgorithm;
use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
use der::Encode as _;
use x509_cert::ext::Extension;

use crate::decode;

/// What is left open is the station's to fill.
const OPEN: &str = "(the station's to fill)";

/// The demands, each with its name.
pub(super) fn describe(template: &CertReqTemplate) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    if let Some(subject) = template.subject.as_ref().filter(|subject| !subject.is_empty()) {
        lines.push(("subject".into(), decode::name(subject)));
    }
    let extensions = template.extensions.iter();
    lines.extend(extensions.map(|extension| (decode::oid(&extension.extn_id), value(extension))));
    if !template.key_specs.is_empty() {
        lines.push(("key".into(), keys(template)));
    }
    lines
}

fn value(extension: &Extension) -> String {
    if extension.extn_value.is_empty() {
        OPEN.into()
    } else {
        decode::extension_text(extension)
    }
}

/// The keys that are accepted.
pub(super) fn keys(template: &CertReqTemplate) -> String {
    let specs: Vec<_> = template.key_specs.iter().map(key).collect();
    specs.join(" or ")
}

fn key(spec: &KeySpec) -> String {
    match spec {
        KeySpec::Algorithm(algorithm) => {
            let der = algorithm.to_der();
            let mut known = KeyAlgorithm::GENERATED.into_iter();
            let known = known.find(|known| known.algorithm_identifier().to_der() == der);
            known.map_or_else(|| decode::algorithm(algorithm), |known| known.to_string())
        }
        KeySpec::RsaKeyLen(bits) => format!("RSA of {bits} bits"),
        KeySpec::Unknown(oid) => decode::oid(oid),
        _ => "something unknown".into(),
    }
}

/// Why a request cannot be made as the template wants it, and what its user can do.
pub(super) fn explain(error: TemplateError, template: &CertReqTemplate) -> anyhow::Error {
    match error {
        TemplateError::MissingAttribute(oid) => anyhow::anyhow!(
            "the template demands {} in the subject: give --subject with it",
            // As it is written in a distinguished name.
            decode::oid(&oid).to_uppercase()
        ),
        TemplateError::MissingExtension(ID_CE_SUBJECT_ALT_NAME) => {
            let mut wanted = template.extensions.iter();
            let wanted = wanted.find(|extension| extension.extn_id == ID_CE_SUBJECT_ALT_NAME);
            let names = wanted.map_or_else(String::new, value);
            anyhow::anyhow!("the template demands subjectAltName {names}: give --san")
        }
        TemplateError::MissingExtension(oid) => anyhow::anyhow!(
            "the template demands a value of {}, which this station has not",
            decode::oid(&oid)
        ),
        TemplateError::KeyNotAccepted => {
            anyhow::anyhow!("the template accepts only {} for a key", keys(template))
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use const_oid::db::rfc5912;
    use der::asn1::OctetString;

    fn template() -> CertReqTemplate {
        let extension = |oid, value: &[u8]| Extension {
            extn_id: oid,
            critical: false,
            extn_value: OctetString::new(value).unwrap(),
        };
        let p384 = KeyAlgorithm::P384.algorithm_identifier();
        CertReqTemplate {
            subject: Some("CN=,O=Operator".parse().unwrap()),
            extensions: vec![
                // dNSName, empty.
                extension(ID_CE_SUBJECT_ALT_NAME, &[0x30, 2, 0x82, 0]),
                extension(const_oid::db::rfc5280::ID_CE_KEY_USAGE, &[]),
            ],
            key_specs: vec![
                KeySpec::Algorithm(der::referenced::RefToOwned::ref_to_owned(&p384)),
                KeySpec::RsaKeyLen(3072),
                KeySpec::Unknown(rfc5912::ID_EC_PUBLIC_KEY),
            ],
        }
    }

    #[test]
    fn every_demand_is_named_and_what_is_open_is_called_so() {
        let lines = describe(&template());
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, text)| format!("{name}: {text}"))
            .collect();
        assert_eq!(
            lines,
            [
                "subject: CN=,O=Operator",
                "subjectAltName: DNS:",
                "keyUsage: (the station's to fill)",
                "key: p384 or RSA of 3072 bits or ecPublicKey",
            ]
        );
        let none = CertReqTemplate {
            subject: None,
            extensions: Vec::new(),
            key_specs: Vec::new(),
        };
        assert_eq!(describe(&none), []);
    }

    #[test]
    fn what_a_request_lacks_is_told_with_the_flag_that_gives_it() {
        let explained = |error| format!("{:#}", explain(error, &template()));
        let organization = TemplateError::MissingAttribute("2.5.4.10".parse().unwrap());
        assert_eq!(
            explained(organization),
            "the template demands O in the subject: give --subject with it"
        );
        assert_eq!(
            explained(TemplateError::MissingExtension(ID_CE_SUBJECT_ALT_NAME)),
            "the template demands subjectAltName DNS:: give --san"
        );
        let usage = const_oid::db::rfc5280::ID_CE_KEY_USAGE;
        assert_eq!(
            explained(TemplateError::MissingExtension(usage)),
            "the template demands a value of keyUsage, which this station has not"
        );
        assert!(explained(TemplateError::KeyNotAccepted).contains("only p384 or RSA of 3072 bits"));
    }
}
