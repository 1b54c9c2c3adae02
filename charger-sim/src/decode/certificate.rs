//! Certificates, certificate templates and certification requests.

use cmp_message::CertTemplate;
use der::Decode as _;
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::request::CertReq;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::names;
use super::text::{Text, hex};

/// A certificate under a heading; one that cannot be read is named as such.
pub(super) fn write(text: &mut Text, heading: &str, der: &[u8]) {
    text.heading(format_args!("{heading}, {} bytes", der.len()));
    text.indented(|text| match Certificate::from_der(der) {
        Ok(certificate) => fields(text, &certificate),
        Err(error) => text.line("unreadable", error),
    });
}

fn fields(text: &mut Text, certificate: &Certificate) {
    let tbs = certificate.tbs_certificate();
    text.line("subject", name(tbs.subject()));
    text.line("issuer", name(tbs.issuer()));
    text.line("serialNumber", hex(tbs.serial_number().as_bytes()));
    let validity = tbs.validity();
    text.line(
        "validity",
        format_args!("{} to {}", validity.not_before, validity.not_after),
    );
    public_key(text, tbs.subject_public_key_info());
    text.line("signature", names::algorithm(certificate.signature_algorithm()));
    extensions(text, tbs.extensions().map_or(&[], Vec::as_slice));
}

/// The fields of a certificate that somebody wants, or names.
pub(super) fn write_template(text: &mut Text, template: &CertTemplate) {
    text.heading("certTemplate");
    text.indented(|text| {
        text.maybe("version", template.version.map(|version| u16::from(version) + 1));
        let serial_number = template.serial_number.as_ref();
        text.maybe("serialNumber", serial_number.map(|serial| hex(serial.as_bytes())));
        text.maybe("signingAlg", template.signing_alg.as_ref().map(names::algorithm));
        text.maybe("issuer", template.issuer.as_ref().map(name));
        if let Some(validity) = &template.validity {
            text.maybe("notBefore", validity.not_before);
            text.maybe("notAfter", validity.not_after);
        }
        text.maybe("subject", template.subject.as_ref().map(name));
        if let Some(key) = &template.public_key {
            public_key(text, key);
        }
        extensions(text, template.extensions.as_deref().unwrap_or_default());
    });
}

/// A PKCS #10 request.
pub(super) fn write_request(text: &mut Text, der: &[u8]) -> der::Result<()> {
    let request = CertReq::from_der(der)?;
    text.heading(format_args!(
        "certification request (PKCS #10), {} bytes",
        der.len()
    ));
    text.indented(|text| {
        text.line("subject", name(&request.info.subject));
        public_key(text, &request.info.public_key);
        for attribute in request.info.attributes.iter() {
            text.line("attribute", names::oid(&attribute.oid));
            if attribute.oid == const_oid::db::rfc5912::ID_EXTENSION_REQ {
                for value in attribute.values.iter() {
                    if let Ok(list) = value.decode_as::<Vec<Extension>>() {
                        text.indented(|text| extensions(text, &list));
                    }
                }
            }
        }
        text.line("signature", names::algorithm(&request.algorithm));
    });
    Ok(())
}

/// A name; one without anything in it is called so.
pub(crate) fn name(name: &Name) -> String {
    if name.is_empty() {
        "NULL-DN".into()
    } else {
        name.to_string()
    }
}

fn public_key(text: &mut Text, key: &SubjectPublicKeyInfoOwned) {
    let bits = key.subject_public_key.raw_bytes().len();
    let algorithm = names::algorithm(&key.algorithm);
    text.line("publicKey", format_args!("{algorithm}, {bits} bytes"));
}

/// Extensions, those that matter to CMP in words, the others by name and size.
pub(super) fn extensions(text: &mut Text, extensions: &[Extension]) {
    for extension in extensions {
        text.line(&names::oid(&extension.extn_id), extension_text(extension));
    }
}

/// The value of an extension.
pub(crate) fn extension_text(extension: &Extension) -> String {
    let critical = if extension.critical { " (critical)" } else { "" };
    let value = extension_value(extension)
        .unwrap_or_else(|| format!("{} bytes", extension.extn_value.as_bytes().len()));
    format!("{value}{critical}")
}

fn extension_value(extension: &Extension) -> Option<String> {
    use const_oid::db::rfc5280 as ids;
    let der = extension.extn_value.as_bytes();
    Some(match extension.extn_id {
        ids::ID_CE_SUBJECT_ALT_NAME => {
            let names = SubjectAltName::from_der(der).ok()?.0;
            list(names.iter().map(names::general_name))
        }
        ids::ID_CE_KEY_USAGE => {
            let usage = KeyUsage::from_der(der).ok()?;
            list(usage.0.into_iter().map(|usage| format!("{usage:?}")))
        }
        ids::ID_CE_EXT_KEY_USAGE => {
            let usages = ExtendedKeyUsage::from_der(der).ok()?;
            list(usages.0.iter().map(names::oid))
        }
        ids::ID_CE_BASIC_CONSTRAINTS => {
            let constraints = BasicConstraints::from_der(der).ok()?;
            let path = constraints.path_len_constraint;
            match (constraints.ca, path) {
                (false, _) => "no CA".into(),
                (true, None) => "CA".into(),
                (true, Some(path)) => format!("CA, path length {path}"),
            }
        }
        ids::ID_CE_SUBJECT_KEY_IDENTIFIER => hex(SubjectKeyIdentifier::from_der(der).ok()?.0.as_bytes()),
        ids::ID_CE_AUTHORITY_KEY_IDENTIFIER => {
            let identifier = AuthorityKeyIdentifier::from_der(der).ok()?;
            hex(identifier.key_identifier?.as_bytes())
        }
        // A CRL entry's: ENUMERATED.
        ids::ID_CE_CRL_REASONS => match der {
            [0x0a, 1, reason] => crl_reason(*reason).into(),
            _ => return None,
        },
        _ => return None,
    })
}

/// The name of a CRLReason (RFC 5280 §5.3.1).
pub(crate) const fn crl_reason(reason: u8) -> &'static str {
    match reason {
        0 => "unspecified",
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        8 => "removeFromCRL",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        _ => "unknown reason",
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
