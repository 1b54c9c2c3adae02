//! Which certificates are given out: what a template may ask for, and what is added to it.

use cmp_message::{
    CertTemplate, PkiFailure,
    crypto::{KeyAlgorithm, SigningKey, UnacceptableKey},
};
use const_oid::{ObjectIdentifier, db::rfc5280};
use der::{Decode, Encode, referenced::OwnedToRef};
use x509_cert::ext::{
    Extension,
    pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName},
};

use crate::{
    Authority, KeyGeneration, PkiError, Profile,
    pki::BACKDATE_S,
    ra::Refusal,
    x509::{self, Content},
};

/// `id-kp-cmcCA`, `id-kp-cmcRA`, `id-kp-cmcArchive`, `id-kp-cmKGA`: who has one of them speaks for the PKI.
const PKI_USAGES: [ObjectIdentifier; 4] = [
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.27"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.28"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.29"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.32"),
];
const SECTION: &str = "4.1.1";
const EMPTY_NAME: &[u8] = &[0x30, 0];

/// A certificate that will be given out: the request after all checks of the template.
#[derive(Debug)]
pub(crate) struct Order {
    subject: Vec<u8>,
    subject_text: String,
    key: OrderedKey,
    /// DER of the extensions that come from the request.
    extensions: Vec<Vec<u8>>,
    lifetime_s: u64,
    not_before_s: Option<u64>,
    not_after_s: Option<u64>,
    modified: bool,
}

/// The key of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrderedKey {
    /// The requester has it: DER of the SubjectPublicKeyInfo.
    Given(KeyAlgorithm, Vec<u8>),
    /// It will be made for the requester.
    ToBeMade(KeyAlgorithm),
}

impl OrderedKey {
    fn algorithm(&self) -> KeyAlgorithm {
        match self {
            Self::Given(algorithm, _) | Self::ToBeMade(algorithm) => *algorithm,
        }
    }
}

/// A certificate that was made.
pub(crate) struct Issued {
    pub(crate) serial: [u8; 16],
    pub(crate) certificate: Vec<u8>,
    pub(crate) not_after_s: u64,
    /// Something that was asked for is not in it.
    pub(crate) modified: bool,
}

impl Order {
    /// Takes what the template asks for, or refuses it.
    pub(crate) fn new(
        template: &CertTemplate,
        profile: &Profile,
        key_generation: KeyGeneration,
        now_s: u64,
    ) -> Result<Self, Refusal> {
        check_fields(template)?;
        let subject = template
            .subject
            .as_ref()
            .ok_or_else(|| bad_template("there is no subject"))?;
        profile.check_subject(subject).map_err(bad_template)?;
        let mut order = Self {
            subject_text: subject.to_string(),
            subject: subject.to_der().map_err(cannot_encode)?,
            key: ordered_key(template, profile, key_generation)?,
            extensions: Vec::new(),
            lifetime_s: profile.certificate_lifetime_s,
            not_before_s: None,
            not_after_s: None,
            modified: false,
        };
        order.take_validity(template, now_s)?;
        let asked = template.extensions.as_deref().unwrap_or_default();
        order.take_extensions(asked, profile, key_generation)?;
        Ok(order)
    }

    pub(crate) fn subject_text(&self) -> &str {
        &self.subject_text
    }

    /// DER of the Name.
    pub(crate) fn subject(&self) -> &[u8] {
        &self.subject
    }

    pub(crate) fn key(&self) -> &OrderedKey {
        &self.key
    }

    /// Makes the certificate for a public key, the DER of its SubjectPublicKeyInfo. It lasts as long as its profile
    /// says, or less if that was asked for, and not beyond its CA.
    pub(crate) fn certify(
        &self,
        public_key: &[u8],
        ca: &Authority,
        crl_distribution_point: Option<&str>,
        now_s: u64,
    ) -> Result<Issued, PkiError> {
        let earliest_s = now_s.saturating_sub(BACKDATE_S);
        let asked = self
            .not_before_s
            .filter(|asked| (earliest_s..=now_s).contains(asked));
        let longest = now_s.saturating_add(self.lifetime_s).min(ca.not_after_s());
        let not_after_s = self.not_after_s.map_or(longest, |asked| asked.min(longest));
        let mut extensions = vec![
            x509::subject_key_identifier(&x509::key_identifier(public_key)?)?,
            x509::authority_key_identifier(ca.key_identifier())?,
            x509::basic_constraints(None)?,
        ];
        extensions.extend(self.extensions.iter().cloned());
        if let Some(url) = crl_distribution_point {
            extensions.push(x509::crl_distribution_point(url)?);
        }
        let serial = x509::random_serial()?;
        let content = Content {
            serial,
            issuer: ca.subject(),
            not_before_s: asked.unwrap_or(earliest_s),
            not_after_s,
            subject: &self.subject,
            public_key,
            extensions: &extensions,
        };
        Ok(Issued {
            serial,
            certificate: content.sign(ca.key() as &dyn SigningKey)?,
            not_after_s,
            modified: self.modified
                || asked != self.not_before_s
                || self.not_after_s.is_some_and(|asked| asked > longest),
        })
    }

    /// An earlier end is granted, and a beginning a little before now.
    fn take_validity(&mut self, template: &CertTemplate, now_s: u64) -> Result<(), Refusal> {
        let Some(validity) = &template.validity else {
            return Ok(());
        };
        self.not_before_s = validity.not_before.map(|time| time.to_unix_duration().as_secs());
        self.not_after_s = validity.not_after.map(|time| time.to_unix_duration().as_secs());
        match self.not_after_s {
            Some(asked) if asked <= now_s => Err(bad_template("notAfter is in the past")),
            _ => Ok(()),
        }
    }

    fn take_extensions(
        &mut self,
        asked: &[Extension],
        profile: &Profile,
        key_generation: KeyGeneration,
    ) -> Result<(), Refusal> {
        let mut seen = Vec::new();
        for extension in asked {
            if seen.contains(&extension.extn_id) {
                return Err(bad_template("an extension is there twice"));
            }
            seen.push(extension.extn_id);
            self.take_extension(extension, profile)?;
        }
        if !seen.contains(&rfc5280::ID_CE_KEY_USAGE) {
            let usage = match key_generation {
                KeyGeneration::Refuse => x509::KEY_USAGE_DIGITAL_SIGNATURE,
                KeyGeneration::Allow => x509::usage_for_recipient(self.key.algorithm()),
            };
            self.extensions
                .push(x509::key_usage(usage).map_err(cannot_encode)?);
        }
        if !profile.ext_key_usages.is_empty() {
            let usages = x509::ext_key_usage(&profile.ext_key_usages).map_err(cannot_encode)?;
            self.extensions.push(usages);
        }
        if self.subject == EMPTY_NAME && !seen.contains(&rfc5280::ID_CE_SUBJECT_ALT_NAME) {
            return Err(bad_template(
                "the subject is empty and there is no subjectAltName",
            ));
        }
        Ok(())
    }

    fn take_extension(&mut self, extension: &Extension, profile: &Profile) -> Result<(), Refusal> {
        let value = extension.extn_value.as_bytes();
        let mut critical = extension.critical;
        match extension.extn_id {
            rfc5280::ID_CE_SUBJECT_ALT_NAME => {
                let names = SubjectAltName::from_der(value).map_err(|e| malformed("subjectAltName", e))?;
                if names.0.is_empty() {
                    return Err(bad_template("the subjectAltName is empty"));
                }
                // RFC 5280 §4.2.1.6: critical where it is the only name.
                critical |= self.subject == EMPTY_NAME;
            }
            rfc5280::ID_CE_KEY_USAGE => {
                let usage = KeyUsage::from_der(value).map_err(|e| malformed("keyUsage", e))?;
                if usage.key_cert_sign() || usage.crl_sign() {
                    return Err(bad_template("an end entity gets no keyCertSign and no cRLSign"));
                }
                critical = true;
            }
            rfc5280::ID_CE_EXT_KEY_USAGE => {
                let usages = ExtendedKeyUsage::from_der(value).map_err(|e| malformed("extKeyUsage", e))?;
                if usages.0.iter().any(|usage| PKI_USAGES.contains(usage)) {
                    return Err(bad_template("an end entity gets no extKeyUsage of the PKI's own"));
                }
                if !profile.ext_key_usages.is_empty() {
                    self.modified |= usages
                        .0
                        .iter()
                        .any(|usage| !profile.ext_key_usages.contains(usage));
                    return Ok(());
                }
            }
            rfc5280::ID_CE_BASIC_CONSTRAINTS => {
                let constraints = BasicConstraints::from_der(value);
                let constraints = constraints.map_err(|e| malformed("basicConstraints", e))?;
                return match constraints.ca {
                    true => Err(bad_template("an end entity does not become a CA")),
                    false => Ok(()),
                };
            }
            // Ours are added anyway.
            rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER | rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER => return Ok(()),
            unknown if extension.critical => {
                let text = "a critical extension of the template is not supported";
                let refusal = Refusal::new(PkiFailure::UnacceptedExtension, SECTION, text);
                return Err(refusal.because(format!("extension {unknown}")));
            }
            _ => {
                self.modified = true;
                return Ok(());
            }
        }
        self.extensions
            .push(x509::extension(extension.extn_id, critical, value).map_err(cannot_encode)?);
        Ok(())
    }
}

/// The fields that a requester has no say in (RFC 4211 §5).
fn check_fields(template: &CertTemplate) -> Result<(), Refusal> {
    if template.version.is_some_and(|version| version != 2) {
        return Err(bad_template("version must be 2, which is version 3"));
    }
    if template.serial_number.is_some()
        || template.signing_alg.is_some()
        || template.issuer_uid.is_some()
        || template.subject_uid.is_some()
    {
        let text = "serialNumber, signingAlg and unique identifiers are not for the requester to choose";
        return Err(bad_template(text));
    }
    Ok(())
}

/// The key that the template has, or one that is to be made where it has none, or only an algorithm (RFC 9483 §4.1.6).
fn ordered_key(
    template: &CertTemplate,
    profile: &Profile,
    key_generation: KeyGeneration,
) -> Result<OrderedKey, Refusal> {
    let given = template.public_key.as_ref();
    if let Some(key) = given.filter(|key| !key.subject_public_key.raw_bytes().is_empty()) {
        let key = key.to_der().map_err(cannot_encode)?;
        let algorithm = KeyAlgorithm::of_public_key(&key);
        let algorithm = acceptable(profile, algorithm)?;
        return Ok(OrderedKey::Given(algorithm, key));
    }
    if key_generation == KeyGeneration::Refuse {
        return Err(bad_template("there is no publicKey, and keys are not made here"));
    }
    let is_made = |algorithm: &KeyAlgorithm| KeyAlgorithm::GENERATED.contains(algorithm);
    let algorithm = match given {
        Some(key) => {
            let algorithm = KeyAlgorithm::from_algorithm_identifier(&key.algorithm.owned_to_ref());
            Some(acceptable(profile, algorithm)?).filter(is_made)
        }
        None => profile.key_algorithms.iter().copied().find(is_made),
    };
    let text = "keys of this type are not made here";
    algorithm
        .map(OrderedKey::ToBeMade)
        .ok_or_else(|| bad_template(text))
}

/// Only keys that are good enough, and of a type that the profile wants, get a certificate.
fn acceptable(
    profile: &Profile,
    algorithm: Result<KeyAlgorithm, UnacceptableKey>,
) -> Result<KeyAlgorithm, Refusal> {
    match algorithm {
        Ok(algorithm) if profile.key_algorithms.contains(&algorithm) => Ok(algorithm),
        Ok(algorithm) => {
            Err(bad_template("the publicKey is of a type that gets no certificate here").because(algorithm))
        }
        Err(reason) => Err(bad_template("the publicKey is not acceptable").because(reason)),
    }
}

fn bad_template(text: &'static str) -> Refusal {
    Refusal::new(PkiFailure::BadCertTemplate, SECTION, text)
}

fn cannot_encode(error: der::Error) -> Refusal {
    bad_template("the template cannot be encoded again").because(error)
}

fn malformed(extension: &str, error: der::Error) -> Refusal {
    bad_template("an extension of the template is malformed").because(format!("{extension}: {error}"))
}
