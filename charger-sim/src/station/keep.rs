//! What becomes of a result: it is kept in the state directory, and shown.

use anyhow::{Context, bail};
use charger_agent::{
    client::{Enrolled, Outcome, RootCaKeyUpdate},
    shell::{StateDir, StoredTemplate, read_certificate},
};
use cmp_message::{
    Raw,
    certificate::{Certificate, names_match},
    crl::Crl,
    crypto::RustCrypto,
};

use super::{Args, Operation, credentials, shown::Shown};

/// Keeps a result. What was kept before a restart may come again, and is the same then.
pub(super) fn keep(
    args: &Args,
    operation: &Operation,
    state: &StateDir,
    outcome: Outcome,
) -> anyhow::Result<Shown> {
    match outcome {
        Outcome::Enrolled(enrolled) => enrolled_certificate(operation, state, &enrolled),
        Outcome::Revoked(revoked) => {
            state.store_revoked(&args.reason.unwrap_or_default().to_string())?;
            let mut shown = revoked_certificate(state)?;
            shown.member(
                "transaction_id",
                crate::decode::text::hex(&revoked.transaction_id),
            );
            if revoked.earlier {
                shown.line("note", "the RA says that it was revoked before");
            }
            shown.member("earlier", revoked.earlier);
            Ok(shown)
        }
        Outcome::CaCerts(certificates) => ca_certs(state, &certificates),
        Outcome::RootCaUpdate(update) => root_update(state, update.as_ref()),
        Outcome::CertReqTemplate(template) => {
            let stored = template.map(|template| StoredTemplate {
                template,
                cert_profile: args.profile.clone(),
            });
            template_shown(state, stored)
        }
        Outcome::Crl(crl) => newer_crl(args, state, crl),
        _ => bail!("a result that is not known here"),
    }
}

/// What an operation gave whose result was kept before a restart, where it is there already.
pub(super) fn kept_before(operation: &Operation, state: &StateDir) -> anyhow::Result<Option<Shown>> {
    let Some(current) = state.current()? else {
        return Ok(None);
    };
    if operation.makes_key()
        && state
            .pending_key()?
            .is_some_and(|pending| *pending == *current.key)
    {
        let mut shown = Shown::default();
        shown.certificate(&current.certificate, &state.certificate_path());
        return Ok(Some(shown));
    }
    if *operation == Operation::Revoke && current.revoked.is_some() {
        return revoked_certificate(state).map(Some);
    }
    Ok(None)
}

fn enrolled_certificate(
    operation: &Operation,
    state: &StateDir,
    enrolled: &Enrolled,
) -> anyhow::Result<Shown> {
    let certificate = &enrolled.certificate;
    let mut pool: Vec<_> = certificates(&enrolled.chain).collect();
    pool.extend(state.ca_certs()?);
    let chain = credentials::chain_of(certificate, &pool);
    let mut shown = Shown::default();
    // Before the certificate: after a loss of power in between, one that is in use counts as all that was to be kept.
    let trusted = new_anchors(state, &enrolled.new_anchors)?;
    if let Operation::Csr(csr) = operation {
        let stem = csr.file_stem().and_then(|stem| stem.to_str()).unwrap_or("csr");
        let file = state.store_issued(stem, certificate, &chain)?;
        shown.certificate(certificate, &file);
        shown.member("csr", csr.display().to_string());
    } else {
        if let Some(key) = &enrolled.private_key {
            state.store_pending_key(key.as_pkcs8())?;
        }
        state.install(certificate, &chain)?;
        shown.certificate(certificate, &state.certificate_path());
    }
    shown.enrolment(enrolled);
    shown.lines.extend(trusted);
    Ok(shown)
}

/// Keeps the roots among caPubs that may be trusted, for the RA knew the shared secret or is authorised to hand them out.
fn new_anchors(state: &StateDir, ca_pubs: &[Raw]) -> anyhow::Result<Vec<(String, String)>> {
    let mut lines = Vec::new();
    let known = state.anchors(&[])?.trusted;
    for root in certificates(ca_pubs).filter(is_root) {
        if known.contains(&root) {
            continue;
        }
        let (name, text) = match state.add_anchor(&root)? {
            Some(_) => ("trusted", "it came in caPubs, and --trust is not needed any more"),
            None => ("not trusted", "too many have come in caPubs"),
        };
        lines.push((name.into(), format!("{root}: {text}")));
    }
    Ok(lines)
}

/// A CA's own certificate, signed by itself: others in caPubs are no anchors.
fn is_root(certificate: &Certificate) -> bool {
    certificate.is_self_issued()
        && certificate
            .basic_constraints()
            .is_some_and(|constraints| constraints.ca)
        && certificate
            .verify_signature(&RustCrypto, certificate.public_key())
            .is_ok()
}

/// Those of extraCerts that can be read.
pub(super) fn certificates(extra_certs: &[Raw]) -> impl Iterator<Item = Certificate> {
    extra_certs
        .iter()
        .filter_map(|der| Certificate::from_der(der.as_bytes()).ok())
}

fn revoked_certificate(state: &StateDir) -> anyhow::Result<Shown> {
    let current = state.current()?.context("there is no certificate in use")?;
    let mut shown = Shown::default();
    shown.certificate(&current.certificate, &state.certificate_path());
    shown.both("reason", current.revoked.unwrap_or_default());
    Ok(shown)
}

fn ca_certs(state: &StateDir, certificates: &[Certificate]) -> anyhow::Result<Shown> {
    let files = state.store_ca_certs(certificates)?;
    let mut shown = Shown::default();
    shown.ca_certs(
        certificates
            .iter()
            .zip(files.iter().map(std::path::PathBuf::as_path)),
    );
    match files.first().and_then(|file| file.parent()) {
        Some(dir) => shown.line("files", dir.display().to_string()),
        None => shown.line("none", "the RA has none"),
    }
    Ok(shown)
}

fn root_update(state: &StateDir, update: Option<&RootCaKeyUpdate>) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    shown.member("updated", update.is_some());
    let Some(update) = update else {
        shown.line("none", "the root has no successor");
        return Ok(shown);
    };
    let file = state.add_root(update)?;
    shown.certificate(&update.new_root, &file);
    shown.line("replaces", update.old_root.to_string());
    shown.line(
        "",
        "the old root stays trusted until the RA has signed under the new one",
    );
    shown.member(
        "replaces",
        crate::decode::text::hex(update.old_root.serial_number()),
    );
    Ok(shown)
}

fn template_shown(state: &StateDir, stored: Option<StoredTemplate>) -> anyhow::Result<Shown> {
    let file = state.store_template(stored.as_ref())?;
    let mut shown = Shown::default();
    let Some(stored) = stored else {
        shown.line("none", "the RA demands nothing");
        shown.member("demands", serde_json::Value::Null);
        return Ok(shown);
    };
    shown.template(&stored.template);
    if let Some(profile) = stored.cert_profile {
        shown.both("profile", profile);
    }
    shown.line("file", file.display().to_string());
    shown.member("file", file.display().to_string());
    Ok(shown)
}

fn newer_crl(args: &Args, state: &StateDir, newer: Option<Crl>) -> anyhow::Result<Shown> {
    let own = state.current()?.map(|current| current.certificate);
    let mut shown = Shown::default();
    let is_newer = newer.is_some();
    shown.member("newer", is_newer);
    let kept = match newer {
        Some(crl) => {
            let file = state.store_crl(&crl)?;
            Some((crl, file))
        }
        None => {
            let issuer = match &args.crl_issuer {
                Some(file) => Some(read_certificate(file)?.subject().to_vec()),
                None => own.as_ref().map(|own| own.issuer().to_vec()),
            };
            issuer.map_or(Ok(None), |issuer| state.crl(&issuer))?
        }
    };
    let Some((crl, file)) = kept else {
        shown.line("none", "the RA has none");
        return Ok(shown);
    };
    if !is_newer {
        shown.line("none", "there is no newer one than the one that is kept");
    }
    let own = own.filter(|own| names_match(own.issuer(), crl.issuer()));
    shown.crl(&crl, &file, own.as_ref());
    Ok(shown)
}
