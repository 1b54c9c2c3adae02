//! What a station is given to prove itself with, and what it has got.

use std::{path::Path, str::FromStr};

use anyhow::{Context, bail};
use charger_agent::{
    client::{CertificateRequest, Config, KeyId, NewKey, Operation as Kind, Protection},
    shell::{SoftKeys, StateDir, read_certificates, read_key},
};
use cmp_message::{
    Raw,
    certificate::{Certificate, names_match},
    crypto::{RustCrypto, SigningKey},
    mac,
};
use der::Decode;
use x509_cert::name::Name;

use super::{Args, Keygen, Operation};

/// The name of a key that is yet to come; nothing is ever done with it under that name.
const DELIVERED: KeyId = KeyId(u32::MAX);

/// A shared secret and its reference, `REF:VALUE`. The value is never shown.
#[derive(Clone, Debug)]
pub struct Secret {
    reference: Vec<u8>,
    value: mac::Secret,
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

/// Everything that one operation needs.
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) keys: SoftKeys,
    pub(super) request: CertificateRequest,
}

/// Reads the files that the arguments name, so that a wrong one is found before anything is sent.
pub(super) fn anchors(args: &Args) -> anyhow::Result<Vec<Certificate>> {
    let anchors = certificates(&args.trust).context("--trust")?;
    if anchors.is_empty() {
        bail!("--trust {}: there is no certificate in it", args.trust.display());
    }
    Ok(anchors)
}

/// Prepares an operation. With `resume` the key that is kept for it is used, else a new one is made and kept.
pub(super) fn prepare(
    args: &Args,
    operation: Operation,
    state: &StateDir,
    anchors: &[Certificate],
    resume: bool,
) -> anyhow::Result<Prepared> {
    let mut keys = SoftKeys::default();
    let (protection, kind) = match operation {
        Operation::Enroll => (first_protection(args, &mut keys)?, Kind::Initialization),
        Operation::Update => {
            let current = state
                .current()?
                .context("there is no certificate to update: enroll first")?;
            let certificate = Certificate::from_der(current.certificate).context("the certificate in use")?;
            let chain = current
                .chain
                .into_iter()
                .map(Raw::new)
                .collect::<Result<_, _>>()?;
            let key = keys.import(&current.key).context("the key in use")?;
            (
                signature(&keys, key, certificate.clone(), chain)?,
                Kind::Update(certificate),
            )
        }
    };
    let new = match args.keygen {
        Keygen::Local => own_key(args, &mut keys, state, resume)?,
        Keygen::Central => NewKey::Central {
            key: DELIVERED,
            algorithm: Some(args.key_type),
        },
    };
    let subject = match (&args.subject, &kind) {
        (Some(subject), _) => name(subject).context("--subject")?,
        (None, Kind::Update(old)) => Name::from_der(old.subject()).context("the old certificate")?,
        (None, _) => name(&format!("CN={}", escape(&args.id))).context("--id")?,
    };
    let request = CertificateRequest::new(kind, subject, new);
    let recipient = args
        .recipient
        .as_deref()
        .map_or(Ok(Name::default()), name)
        .context("--recipient")?;
    let mut config = Config::new(&RustCrypto, recipient, protection, anchors.to_vec());
    config.implicit_confirm = args.implicit_confirm;
    config.max_total_wait = Some(std::time::Duration::from_secs(args.timeout));
    Ok(Prepared {
        config,
        keys,
        request,
    })
}

/// A key of the station: a new one, or the one that is kept for the request under way.
fn own_key(args: &Args, keys: &mut SoftKeys, state: &StateDir, resume: bool) -> anyhow::Result<NewKey> {
    let kept = if resume { state.pending_key()? } else { None };
    let key = match kept {
        Some(der) => keys.import(&der).context("the key of the request under way")?,
        None => {
            let (key, pkcs8) = keys.generate(args.key_type).context("making a key")?;
            state.store_pending_key(&pkcs8)?;
            key
        }
    };
    let new = keys.key(key).context("the new key")?;
    Ok(NewKey::Own {
        key,
        public_key: new.public_key().to_vec(),
        algorithm: new.algorithm(),
    })
}

fn first_protection(args: &Args, keys: &mut SoftKeys) -> anyhow::Result<Protection> {
    if let Some(secret) = &args.secret {
        let (reference, secret) = (secret.reference.clone(), secret.value.clone());
        return Ok(Protection::PasswordBasedMac { reference, secret });
    }
    let (Some(cert), Some(key)) = (&args.cert, &args.key) else {
        bail!("enroll needs --cert and --key, or --secret");
    };
    let certificate = certificates(cert).context("--cert")?.into_iter().next();
    let certificate =
        certificate.with_context(|| format!("--cert {}: no certificate in it", cert.display()))?;
    let chain = args
        .chain
        .as_deref()
        .map_or(Ok(Vec::new()), certificates)
        .context("--chain")?;
    let chain = chain
        .iter()
        .map(|c| Raw::new(c.as_der()))
        .collect::<Result<_, _>>()?;
    let der = read_key(key).context("--key")?;
    let key = keys.import(&der).context("--key")?;
    signature(keys, key, certificate, chain)
}

fn signature(
    keys: &SoftKeys,
    key: KeyId,
    certificate: Certificate,
    chain: Vec<Raw>,
) -> anyhow::Result<Protection> {
    let signer = keys.key(key).context("the signing key")?;
    if signer.public_key() != certificate.public_key() {
        bail!("the private key is not the one of the certificate {certificate}");
    }
    Ok(Protection::Signature {
        key,
        algorithm: signer.algorithm(),
        certificate,
        chain,
    })
}

fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let ders = read_certificates(path)?;
    let parse = |der: Vec<u8>| Certificate::from_der(der).with_context(|| path.display().to_string());
    ders.into_iter().map(parse).collect()
}

fn name(text: &str) -> anyhow::Result<Name> {
    Name::from_str(text)
        .with_context(|| format!("{text:?} is no distinguished name such as CN=CP-1,O=Operator"))
}

/// A value inside a distinguished name (RFC 4514 §2.4).
fn escape(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '#' | ' ') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The issuers of `certificate` among `others`, the nearest first, without a root.
pub(super) fn chain_of(certificate: &Certificate, others: &[Raw]) -> Vec<Vec<u8>> {
    let pool: Vec<Certificate> = others
        .iter()
        .filter_map(|der| Certificate::from_der(der.as_bytes()).ok())
        .collect();
    let mut chain: Vec<Vec<u8>> = Vec::new();
    let mut last = certificate;
    while let Some(issuer) = pool
        .iter()
        .find(|c| names_match(c.subject(), last.issuer()) && !c.is_self_issued())
    {
        if chain.len() >= 8 || chain.iter().any(|der| der == issuer.as_der()) {
            break;
        }
        chain.push(issuer.as_der().to_vec());
        last = issuer;
    }
    chain
}
