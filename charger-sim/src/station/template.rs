//! Certificate request templates in words.

use charger_agent::client::{CertReqTemplate, KeySpec, TemplateError};
use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
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
        KeySpec::Algorithm(algorithm) => decode::algorithm(algorithm),
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
            decode::oid(&oid)
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
