//! What a station proves itself with, and whom it trusts.

use std::{path::Path, str::FromStr};

use anyhow::{Context, bail};
use charger_agent::{
    client::{Config, KeyId, Protection},
    shell::{SoftKeys, StateDir, StoredCredential, read_certificate, read_certificates, read_key},
};
use cmp_message::{
    Raw,
    certificate::{Certificate, names_match},
    crypto::{RustCrypto, SigningKey},
    mac,
    path::MAX_UNTRUSTED_CERTIFICATES,
};
use x509_cert::name::Name;

use super::{Args, Operation};
use crate::decode::text::hex;

/// A shared secret and its reference, `REF:VALUE`. The value is never shown.
#[derive(Clone, Debug)]
pub struct Secret {
    reference: Vec<u8>,
    value: mac::Secret,
}

impl Secret {
    /// Protection of messages with it.
    pub(crate) fn protection(&self) -> Protection {
        Protection::PasswordBasedMac {
            reference: self.reference.clone(),
            secret: self.value.clone(),
        }
    }
}

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((reference, value)) if !reference.is_empty() && !value.is_empty() => Ok(Self {
                reference: reference.into(),
                value: mac::Secret::new(value.into()),
            }),
            _ => Err("not REF:VALUE"),
        }
    }
}

/// The trust anchors that the arguments name.
pub(super) fn anchors(args: &Args) -> anyhow::Result<Vec<Certificate>> {
    certificates_of("--trust", args.trust.as_deref())
}

fn certificates_of(flag: &'static str, file: Option<&Path>) -> anyhow::Result<Vec<Certificate>> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let certificates = read_certificates(file).context(flag)?;
    anyhow::ensure!(
        !certificates.is_empty(),
        "{flag} {}: there is no certificate in it",
        file.display()
    );
    Ok(certificates)
}

/// Who signs.
pub(super) struct Identity {
    pub(super) protection: Protection,
    pub(super) keys: SoftKeys,
    /// The credential in use, whether it signs or not.
    pub(super) current: Option<StoredCredential>,
}

/// With what an operation is protected: a first certificate with what the arguments name, all else with the credential in
/// use, and only where there is none that is any good, and it is not about that one, with what the arguments name.
pub(super) fn identity(args: &Args, operation: &Operation, state: &StateDir) -> anyhow::Result<Identity> {
    let current = state.current()?;
    let mut keys = SoftKeys::default();
    let is_about_current = matches!(operation, Operation::Update | Operation::Revoke);
    let good = current.as_ref().filter(|current| current.revoked.is_none());
    let protection = match (operation, good, &current) {
        (Operation::Enroll, ..) => first_protection(args, operation, &mut keys)?,
        (_, Some(good), _) => {
            let key = keys.import(&good.key).context("the key in use")?;
            signature(&keys, key, good.certificate.clone(), &good.chain)?
        }
        (_, None, None) if is_about_current => {
            bail!("there is no certificate to {operation}: enroll first")
        }
        (_, None, Some(revoked)) if is_about_current => bail!(is_revoked(revoked)),
        (_, None, Some(revoked)) => {
            first_protection(args, operation, &mut keys).with_context(|| is_revoked(revoked))?
        }
        (_, None, None) => first_protection(args, operation, &mut keys)?,
    };
    Ok(Identity {
        protection,
        keys,
        current,
    })
}

fn is_revoked(credential: &StoredCredential) -> String {
    format!(
        "the certificate in use (serial {}) is revoked, {}: enroll again",
        hex(credential.certificate.serial_number()),
        credential.revoked.as_deref().unwrap_or_default()
    )
}

/// The configuration of a transaction, with what the state directory knows of the PKI.
pub(super) fn config(
    args: &Args,
    protection: Protection,
    state: &StateDir,
    given: &[Certificate],
) -> anyhow::Result<Config> {
    let recipient = args
        .recipient
        .as_deref()
        .map_or(Ok(Name::default()), name)
        .context("--recipient")?;
    let anchors = state.anchors(given)?;
    let by_signature = matches!(protection, Protection::Signature { .. });
    if by_signature && anchors.trusted.is_empty() {
        bail!(
            "there is no trust anchor: give --trust, or enroll with --secret first, which brings the RA's root"
        );
    }
    let mut config = Config::new(&RustCrypto, recipient, protection, anchors.trusted);
    config.signer_usage = args.signer_usage.0;
    config.anchor_signers = certificates_of("--anchor-signer", args.anchor_signer.as_deref())?;
    config.intermediates = anchors.links;
    config.intermediates.extend(state.ca_certs()?);
    // What the RA sends of its own path must have room beside them.
    config.intermediates.truncate(MAX_UNTRUSTED_CERTIFICATES / 2);
    config.implicit_confirm = args.implicit_confirm;
    config.max_total_wait = Some(std::time::Duration::from_secs(args.timeout));
    Ok(config)
}

fn first_protection(args: &Args, operation: &Operation, keys: &mut SoftKeys) -> anyhow::Result<Protection> {
    if let Some(secret) = &args.secret {
        return Ok(secret.protection());
    }
    let (Some(cert), Some(key)) = (&args.cert, &args.key) else {
        bail!("{} needs --cert and --key, or --secret", operation.name());
    };
    let certificate = read_certificate(cert).context("--cert")?;
    let chain = args
        .chain
        .as_deref()
        .map_or(Ok(Vec::new()), read_certificates)
        .context("--chain")?;
    let der = read_key(key).context("--key")?;
    let key = keys.import(&der).context("--key")?;
    signature(keys, key, certificate, &chain)
}

fn signature(
    keys: &SoftKeys,
    key: KeyId,
    certificate: Certificate,
    chain: &[Certificate],
) -> anyhow::Result<Protection> {
    let signer = keys.key(key).context("the signing key")?;
    if signer.public_key() != certificate.public_key() {
        bail!("the private key is not the one of the certificate {certificate}");
    }
    let chain = chain.iter().map(|certificate| Raw::new(certificate.as_der()));
    Ok(Protection::Signature {
        key,
        algorithm: signer.algorithm(),
        certificate,
        chain: chain.collect::<Result<_, _>>()?,
    })
}

/// A distinguished name of the command line.
pub(super) fn name(text: &str) -> anyhow::Result<Name> {
    // What the parser says about it would help nobody.
    Name::from_str(text)
        .map_err(|_| anyhow::anyhow!("{text:?} is no distinguished name such as CN=CP-1,O=Operator"))
}

/// `CN=` and a text, whatever characters it has (RFC 4514 §2.4).
pub(crate) fn common_name(value: &str) -> anyhow::Result<Name> {
    let mut escaped = String::from("CN=");
    for c in value.chars() {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '#' | ' ') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    name(&escaped)
}

/// The issuers of `certificate` among `pool`, the nearest first, without a root.
pub(super) fn chain_of(certificate: &Certificate, pool: &[Certificate]) -> Vec<Certificate> {
    let mut chain: Vec<Certificate> = Vec::new();
    let mut last = certificate;
    let issued = |issuer: &Certificate, certificate: &Certificate| {
        names_match(issuer.subject(), certificate.issuer())
            && certificate
                .verify_signature(&RustCrypto, issuer.public_key())
                .is_ok()
    };
    while let Some(issuer) = pool.iter().find(|c| !c.is_self_issued() && issued(c, last)) {
        if chain.len() >= 8 || chain.contains(issuer) {
            break;
        }
        chain.push(issuer.clone());
        last = issuer;
    }
    chain
}
