//! The configuration file: TOML, as `lab-ra.toml` of this crate shows and explains it.

use cmp_message::{
    BodyType,
    certificate::Certificate,
    crypto::KeyAlgorithm,
    mac::{PASSWORD_BASED_MAC, PBMAC1, Secret},
};
use const_oid::{ObjectIdentifier, db::DB, db::rfc5280};
use der::pem;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};
use x509_cert::name::Name;
use zeroize::Zeroizing;

use crate::{
    Approval, BadSubjectRule, ImplicitConfirm, KeyGeneration, PollAfter, Profile, RaConfig,
    config::SIGNATURE_ALGORITHMS,
};

const DAY_S: u64 = 86_400;
const YEAR_S: u64 = 365 * DAY_S;
/// `rsa` beside the types that keys are made of.
const RSA: &str = "rsa";

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not TOML, or has a key or a value that is not known.
    #[error("{0}")]
    Toml(#[from] Box<toml::de::Error>),
    /// A name in a list that means nothing.
    #[error("{key}: {name} is not known")]
    Unknown {
        /// Where.
        key: &'static str,
        /// What.
        name: String,
    },
    /// A rule for subjects that is none.
    #[error("subject: {0}")]
    Subject(#[from] BadSubjectRule),
    /// A name of a profile that does not fit into a path.
    #[error("profile: a name has letters, digits, - . _ ~, not {0}")]
    ProfileName(String),
    /// A file is not PEM with certificates.
    #[error("{} has no certificate in PEM, or a damaged one", .0.display())]
    Certificate(PathBuf),
    /// A shared secret or its reference is empty, or the reference is that of another one.
    #[error("secret: reference and value are not empty, and no two references are the same")]
    Secret,
    /// A number that is out of range.
    #[error("{key} is out of range")]
    Range {
        /// Which.
        key: &'static str,
    },
}

/// A configuration file, read and checked.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConfigFile {
    /// What an RA does with it.
    pub ra: RaConfig,
    /// A certificate that is made when the server starts.
    pub initial: Option<InitialCertificate>,
    /// A key that it has and that only a CA can obey: an RA in front of one cannot.
    pub for_ca_alone: Option<&'static str>,
}

/// A certificate with its key for somebody who is to begin with one, as if handed over by an authenticated path.
#[derive(Clone, Debug)]
pub struct InitialCertificate {
    /// Its subject.
    pub subject: Name,
    /// The folder for `cert.pem`, `key.pem` and `chain.pem`; nothing is made if there is a certificate already.
    pub out: PathBuf,
}

impl ConfigFile {
    /// Reads a file. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// Any [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError::Io {
            file: path.into(),
            error,
        })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads a text; paths in it are relative to `folder`.
    ///
    /// # Errors
    /// Any [`ConfigError`].
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let text: Text = toml::from_str(text).map_err(Box::new)?;
        text.check(folder)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Text {
    implicit_confirm: Option<ImplicitConfirmText>,
    confirm_wait_s: Option<u64>,
    poll_grace_s: Option<u64>,
    approval: Option<ApprovalText>,
    key_generation: Option<KeyGenerationText>,
    max_transactions: Option<usize>,
    manufacturers: Vec<PathBuf>,
    registration_authorities: Vec<PathBuf>,
    nested_ra_verified: Option<bool>,
    signature_algorithms: Option<Vec<String>>,
    mac_algorithms: Option<Vec<String>>,
    update_with_same_key: Option<bool>,
    ca_pubs_under_signature: Option<bool>,
    secret: Vec<SecretText>,
    poll: Option<PollText>,
    header: HeaderText,
    crl: CrlText,
    default_profile: ProfileText,
    profile: BTreeMap<String, ProfileText>,
    initial: Option<InitialText>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ImplicitConfirmText {
    Grant,
    Ignore,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ApprovalText {
    Auto,
    Person,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KeyGenerationText {
    Refuse,
    Allow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretText {
    reference: String,
    value: Zeroizing<String>,
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretText({}:…)", self.reference)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PollText {
    polls: u32,
    check_after_s: u32,
    bodies: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HeaderText {
    max_clock_skew_s: Option<u64>,
    message_time: bool,
    sender_kid: bool,
    mac_sender: bool,
    fresh_sender_nonce: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CrlText {
    lifetime_s: Option<u64>,
    distribution_point: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ProfileText {
    days: Option<u32>,
    key_algorithms: Option<Vec<String>>,
    ext_key_usages: Option<Vec<String>>,
    subject: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InitialText {
    subject: String,
    out: PathBuf,
}

impl Text {
    fn check(self, folder: &Path) -> Result<ConfigFile, ConfigError> {
        let for_ca_alone = self.for_ca_alone();
        let mut ra = RaConfig::default();
        self.choose(&mut ra);
        check_range("confirm_wait_s", ra.confirm_wait_s, 0..=YEAR_S)?;
        check_range("poll_grace_s", ra.poll_grace_s, 0..=YEAR_S)?;
        check_range("crl.lifetime_s", ra.crl_lifetime_s, 1..=YEAR_S)?;
        for secret in &self.secret {
            let reference = secret.reference.clone().into_bytes();
            let value = Secret::new(secret.value.as_bytes().to_vec());
            let is_empty = reference.is_empty() || secret.value.is_empty();
            if is_empty || ra.secrets.insert(reference, value).is_some() {
                return Err(ConfigError::Secret);
            }
        }
        if let Some(names) = &self.signature_algorithms {
            ra.signature_algorithms = names
                .iter()
                .map(|name| known("signature_algorithms", name, &SIGNATURE_ALGORITHMS))
                .collect::<Result<_, _>>()?;
        }
        if let Some(names) = &self.mac_algorithms {
            let macs = [("pbm", PASSWORD_BASED_MAC), ("pbmac1", PBMAC1)];
            ra.mac_algorithms = names
                .iter()
                .map(|name| known("mac_algorithms", name, &macs))
                .collect::<Result<_, _>>()?;
        }
        if let Some(poll) = &self.poll {
            poll.choose(&mut ra)?;
        }
        ra.manufacturers = certificates(folder, &self.manufacturers)?;
        ra.registration_authorities = certificates(folder, &self.registration_authorities)?;
        ra.default_profile = self.default_profile.check(&Profile::default())?;
        for (name, profile) in &self.profile {
            let is_safe = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
            if name.is_empty() || !name.chars().all(is_safe) {
                return Err(ConfigError::ProfileName(name.clone()));
            }
            ra.profiles
                .insert(name.clone(), profile.check(&ra.default_profile)?);
        }
        let initial = self.initial.map(|initial| initial.check(folder));
        Ok(ConfigFile {
            ra,
            initial: initial.transpose()?,
            for_ca_alone,
        })
    }

    fn for_ca_alone(&self) -> Option<&'static str> {
        let profiles = [&self.default_profile].into_iter().chain(self.profile.values());
        let has = |what: fn(&ProfileText) -> bool| profiles.clone().any(what);
        let all = [
            ("implicit_confirm", self.implicit_confirm.is_some()),
            ("confirm_wait_s", self.confirm_wait_s.is_some()),
            ("poll_grace_s", self.poll_grace_s.is_some()),
            ("ca_pubs_under_signature", self.ca_pubs_under_signature.is_some()),
            ("poll", self.poll.is_some()),
            (
                "header.fresh_sender_nonce",
                self.header.fresh_sender_nonce.is_some(),
            ),
            ("crl.lifetime_s", self.crl.lifetime_s.is_some()),
            ("crl.distribution_point", self.crl.distribution_point.is_some()),
            ("days", has(|profile| profile.days.is_some())),
            ("ext_key_usages", has(|profile| profile.ext_key_usages.is_some())),
            ("initial", self.initial.is_some()),
        ];
        all.into_iter()
            .find_map(|(name, is_given)| is_given.then_some(name))
    }

    /// What needs no check before it is chosen.
    fn choose(&self, ra: &mut RaConfig) {
        match self.implicit_confirm {
            Some(ImplicitConfirmText::Grant) => ra.implicit_confirm = ImplicitConfirm::Grant,
            Some(ImplicitConfirmText::Ignore) => ra.implicit_confirm = ImplicitConfirm::Ignore,
            None => {}
        }
        match self.approval {
            Some(ApprovalText::Auto) => ra.approval = Approval::Auto,
            Some(ApprovalText::Person) => ra.approval = Approval::Person,
            None => {}
        }
        match self.key_generation {
            Some(KeyGenerationText::Refuse) => ra.key_generation = KeyGeneration::Refuse,
            Some(KeyGenerationText::Allow) => ra.key_generation = KeyGeneration::Allow,
            None => {}
        }
        set(&mut ra.confirm_wait_s, self.confirm_wait_s);
        set(&mut ra.poll_grace_s, self.poll_grace_s);
        set(&mut ra.max_transactions, self.max_transactions);
        set(&mut ra.nested_ra_verified, self.nested_ra_verified);
        set(&mut ra.update_with_same_key, self.update_with_same_key);
        set(&mut ra.ca_pubs_under_signature, self.ca_pubs_under_signature);
        set(&mut ra.crl_lifetime_s, self.crl.lifetime_s);
        ra.crl_distribution_point = self.crl.distribution_point.clone();
        ra.header.max_clock_skew_s = self.header.max_clock_skew_s;
        ra.header.message_time = self.header.message_time;
        ra.header.sender_kid = self.header.sender_kid;
        ra.header.mac_sender = self.header.mac_sender;
        set(&mut ra.header.fresh_sender_nonce, self.header.fresh_sender_nonce);
    }
}

impl InitialText {
    fn check(self, folder: &Path) -> Result<InitialCertificate, ConfigError> {
        let subject = self.subject.parse().map_err(|_| ConfigError::Unknown {
            key: "initial.subject",
            name: self.subject.clone(),
        })?;
        Ok(InitialCertificate {
            subject,
            out: folder.join(self.out),
        })
    }
}

impl PollText {
    fn choose(&self, ra: &mut RaConfig) -> Result<(), ConfigError> {
        check_range("poll.check_after_s", self.check_after_s.into(), 1..=YEAR_S)?;
        ra.poll_after = Some(PollAfter {
            polls: self.polls,
            check_after_s: self.check_after_s,
        });
        if let Some(names) = &self.bodies {
            ra.delayed = names
                .iter()
                .map(|name| body_type(name))
                .collect::<Result<_, _>>()?;
        }
        Ok(())
    }
}

impl ProfileText {
    /// What is not said is as in `base`.
    fn check(&self, base: &Profile) -> Result<Profile, ConfigError> {
        let mut profile = base.clone();
        if let Some(days) = self.days {
            check_range("days", days.into(), 1..=36_500)?;
            profile.certificate_lifetime_s = u64::from(days) * DAY_S;
        }
        if let Some(names) = &self.key_algorithms {
            let keys = names.iter().map(|name| key_algorithm(name));
            profile.key_algorithms = keys.collect::<Result<_, _>>()?;
        }
        if let Some(names) = &self.ext_key_usages {
            let usages = names.iter().map(|name| ext_key_usage(name));
            profile.ext_key_usages = usages.collect::<Result<_, _>>()?;
        }
        if let Some(rules) = &self.subject {
            let rules = rules.iter().map(|rule| rule.parse());
            profile.subject = rules.collect::<Result<_, _>>()?;
        }
        Ok(profile)
    }
}

/// The messages whose answer can be delayed.
const BODIES: [BodyType; 7] = [
    BodyType::Ir,
    BodyType::Cr,
    BodyType::P10cr,
    BodyType::Kur,
    BodyType::Rr,
    BodyType::Genm,
    BodyType::CertConf,
];

/// A message whose answer can be delayed, by the name of its body.
///
/// # Errors
/// [`ConfigError::Unknown`].
pub fn body_type(name: &str) -> Result<BodyType, ConfigError> {
    let body = BODIES.into_iter().find(|body| body.name() == name);
    body.ok_or_else(|| ConfigError::Unknown {
        key: "poll.bodies",
        name: name.into(),
    })
}

fn key_algorithm(name: &str) -> Result<KeyAlgorithm, ConfigError> {
    match name {
        RSA => Ok(KeyAlgorithm::Rsa),
        _ => name.parse().map_err(|_| ConfigError::Unknown {
            key: "key_algorithms",
            name: name.into(),
        }),
    }
}

/// `clientAuth` and its like, or an OID in dots.
fn ext_key_usage(name: &str) -> Result<ObjectIdentifier, ConfigError> {
    let known = DB.by_name(&format!("id-kp-{name}")).copied();
    let oid = known.or_else(|| ObjectIdentifier::new(name).ok());
    oid.filter(|oid| *oid != rfc5280::ANY_EXTENDED_KEY_USAGE)
        .ok_or_else(|| ConfigError::Unknown {
            key: "ext_key_usages",
            name: name.into(),
        })
}

fn known<T: Copy>(key: &'static str, name: &str, all: &[(&str, T)]) -> Result<T, ConfigError> {
    let found = all.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| ConfigError::Unknown {
            key,
            name: name.into(),
        })
}

fn check_range(key: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<(), ConfigError> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(ConfigError::Range { key }),
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

/// Every certificate of these PEM files.
fn certificates(folder: &Path, files: &[PathBuf]) -> Result<Vec<Certificate>, ConfigError> {
    let mut all = Vec::new();
    for file in files {
        all.extend(read_certificates(&folder.join(file))?);
    }
    Ok(all)
}

/// Every certificate of a PEM file, which has at least one.
///
/// # Errors
/// [`ConfigError::Io`] or [`ConfigError::Certificate`].
pub fn read_certificates(file: &Path) -> Result<Vec<Certificate>, ConfigError> {
    let text = fs::read_to_string(file).map_err(|error| ConfigError::Io {
        file: file.into(),
        error,
    })?;
    let damaged = || ConfigError::Certificate(file.into());
    let mut all = Vec::new();
    for block in text.split_inclusive("-----END CERTIFICATE-----") {
        let Some(begin) = block.find("-----BEGIN CERTIFICATE-----") else {
            continue;
        };
        let block = block.get(begin..).unwrap_or_default();
        let der = pem::decode_vec(block.as_bytes()).ok().map(|(_, der)| der);
        let certificate = der.and_then(|der| Certificate::from_der(der).ok());
        all.push(certificate.ok_or_else(damaged)?);
    }
    match all.is_empty() {
        true => Err(damaged()),
        false => Ok(all),
    }
}
