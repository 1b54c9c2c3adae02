//! What a station asks for, for each operation.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use charger_agent::{
    client::{
        CertificateRequest, Config, CrlUpdate, GeneralRequest, KeyId, NewKey, Operation as Kind,
        Pkcs10Request, Request, RevocationRequest,
    },
    shell::{
        SoftKeys, StateDir, StoredCredential, StoredTemplate, read_certificate, read_certification_request,
    },
};
use cmp_message::{
    certificate::Certificate,
    crypto::{KeyAlgorithm, RustCrypto, SigningKey},
    general::CrlSource,
    path::{PathRequest, PathSource},
};
use const_oid::db::rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS;
use der::Decode;
use x509_cert::{ext::pkix::CrlDistributionPoints, name::Name, request::CertReq};

use super::{Args, Keygen, Operation, credentials, san, template};
use crate::decode;

/// The name of a key that is not here, or is yet to come: nothing is ever done with it under that name.
const FOREIGN_KEY: KeyId = KeyId(u32::MAX);

/// Everything that one operation needs.
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) keys: SoftKeys,
    pub(super) request: Request,
    /// What is asked for, in words; may be empty.
    pub(super) what: String,
    /// Something that its user should know.
    pub(super) note: Option<String>,
}

/// Prepares an operation. With `resume` the key that is kept for it is used, else a new one is made and kept.
pub(super) fn prepare(
    args: &Args,
    operation: &Operation,
    state: &StateDir,
    given: &[Certificate],
    resume: bool,
) -> anyhow::Result<Prepared> {
    let identity = credentials::identity(args, operation, state)?;
    let config = credentials::config(args, identity.protection, state, given)?;
    let mut desk = Desk {
        args,
        state,
        current: identity.current,
        keys: identity.keys,
        note: None,
    };
    let (request, what) = match operation {
        Operation::Enroll => desk.certificate(Kind::Initialization, resume)?,
        Operation::Certify => desk.certificate(Kind::Certification, resume)?,
        Operation::Update => {
            let old = desk.current()?.certificate.clone();
            desk.certificate(Kind::Update(old), resume)?
        }
        Operation::Csr(file) => desk.certification_request(file)?,
        Operation::Revoke => desk.revocation()?,
        Operation::CaCerts => (GeneralRequest::CaCerts.into(), String::new()),
        Operation::RootUpdate => desk.root_update(&config)?,
        Operation::Template => desk.template(),
        Operation::Crl => desk.crl(&config)?,
    };
    Ok(Prepared {
        config,
        keys: desk.keys,
        request,
        what,
        note: desk.note,
    })
}

/// Where a request is made.
struct Desk<'a> {
    args: &'a Args,
    state: &'a StateDir,
    current: Option<StoredCredential>,
    keys: SoftKeys,
    note: Option<String>,
}

impl Desk<'_> {
    fn current(&self) -> anyhow::Result<&StoredCredential> {
        self.current.as_ref().context("there is no certificate in use")
    }

    fn certificate(&mut self, kind: Kind, resume: bool) -> anyhow::Result<(Request, String)> {
        let template = self.applicable_template()?;
        let new = self.new_key(template.as_ref(), resume)?;
        // A first certificate owes nothing to one that may be there.
        let before = match kind {
            Kind::Initialization => None,
            _ => self.current.as_ref().map(|current| &current.certificate),
        };
        let subject = match (&self.args.subject, before) {
            (Some(subject), _) => credentials::name(subject).context("--subject")?,
            (None, Some(before)) => Name::from_der(before.subject()).context("the certificate in use")?,
            (None, None) => credentials::common_name(&self.args.id).context("--id")?,
        };
        let alt_names = match (san::extension(&self.args.san)?, &kind) {
            (None, Kind::Update(old)) => old.subject_alt_name().map(san::of_value).transpose()?,
            (given, _) => given,
        };
        let mut request = CertificateRequest::new(kind, subject, new);
        request.extensions.extend(alt_names);
        request.cert_profile.clone_from(&self.args.profile);
        if let Some(stored) = &template {
            request.cert_profile.clone_from(&stored.cert_profile);
            request = stored
                .template
                .apply(request)
                .map_err(|error| template::explain(error, &stored.template))?;
        }
        let what = decode::name(&request.subject);
        Ok((request.into(), what))
    }

    /// The template that is kept, if it is for requests of this profile.
    fn applicable_template(&mut self) -> anyhow::Result<Option<StoredTemplate>> {
        let Some(stored) = self.state.template()? else {
            return Ok(None);
        };
        if self.args.profile.is_none() || self.args.profile == stored.cert_profile {
            self.note = Some("made as the template wants it that is kept".into());
            return Ok(Some(stored));
        }
        let of = stored
            .cert_profile
            .map_or("no profile".into(), |p| format!("the profile {p}"));
        self.note = Some(format!("the template that is kept is for {of}: not applied"));
        Ok(None)
    }

    /// One that the RA makes, or the one that is kept for the request that is taken up again, or a new one, kept.
    fn new_key(&mut self, template: Option<&StoredTemplate>, resume: bool) -> anyhow::Result<NewKey> {
        if self.args.keygen == Keygen::Central {
            return Ok(NewKey::Central {
                key: FOREIGN_KEY,
                algorithm: Some(self.key_type(template)?),
            });
        }
        let kept = if resume { self.state.pending_key()? } else { None };
        let key = match kept {
            Some(kept) => self
                .keys
                .import(&kept)
                .context("the key of the request under way")?,
            None => {
                let key_type = self.key_type(template)?;
                let (key, pkcs8) = self.keys.generate(key_type).context("making a key")?;
                self.state.store_pending_key(&pkcs8)?;
                key
            }
        };
        let new = self.keys.key(key).context("the new key")?;
        Ok(NewKey::Own {
            key,
            public_key: new.public_key().to_vec(),
            algorithm: new.algorithm(),
        })
    }

    /// The type that the arguments name, else the first that the template accepts.
    fn key_type(&self, template: Option<&StoredTemplate>) -> anyhow::Result<KeyAlgorithm> {
        let mut types: Vec<_> = match template {
            Some(stored) => stored.template.accepted_keys().collect(),
            None => KeyAlgorithm::GENERATED.into(),
        };
        let wanted = self.args.key_type;
        types.retain(|key_type| wanted.is_none_or(|wanted| wanted == *key_type));
        types.first().copied().with_context(|| {
            let accepted = template.map_or_else(String::new, |stored| template::keys(&stored.template));
            let ours = wanted.map_or_else(|| "none of them".into(), |wanted| format!("only {wanted}"));
            format!("the template accepts only {accepted} for a key, and this station makes {ours}")
        })
    }

    fn certification_request(&self, file: &Path) -> anyhow::Result<(Request, String)> {
        let csr = read_certification_request(file)?;
        let parsed = CertReq::from_der(&csr);
        let parsed = parsed.with_context(|| format!("{}: not a certification request", file.display()))?;
        let what = format!("{}, {}", file.display(), decode::name(&parsed.info.subject));
        let request = Pkcs10Request {
            csr,
            key: FOREIGN_KEY,
            cert_profile: self.args.profile.clone(),
        };
        Ok((request.into(), what))
    }

    fn revocation(&self) -> anyhow::Result<(Request, String)> {
        let certificate = self.current()?.certificate.clone();
        let reason = self.args.reason.unwrap_or_default();
        let what = format!("{certificate}, {reason}");
        let request = RevocationRequest {
            certificate,
            reason: reason.0,
        };
        Ok((request.into(), what))
    }

    fn root_update(&self, config: &Config) -> anyhow::Result<(Request, String)> {
        let root = match &self.args.root {
            Some(file) => {
                let root = read_certificate(file).context("--root")?;
                anyhow::ensure!(
                    config.anchors.contains(&root),
                    "--root: {root} is no trust anchor of this station"
                );
                root
            }
            None => {
                let newest = config.anchors.iter().max_by_key(|root| root.not_before());
                newest.cloned().context("there is no trust anchor")?
            }
        };
        let what = format!("a successor of {root}");
        Ok((GeneralRequest::RootCaUpdate { root }.into(), what))
    }

    fn template(&self) -> (Request, String) {
        let cert_profile = self.args.profile.clone();
        let what = cert_profile
            .as_ref()
            .map(|profile| format!("for the profile {profile}"));
        let request = GeneralRequest::CertReqTemplate { cert_profile };
        (request.into(), what.unwrap_or_default())
    }

    fn crl(&self, config: &Config) -> anyhow::Result<(Request, String)> {
        let (issuer, source) = match &self.args.crl_issuer {
            Some(file) => (read_certificate(file).context("--crl-issuer")?, None),
            None => self.own_issuer(config)?,
        };
        let known = self
            .state
            .crl(issuer.subject())?
            .map(|(crl, _)| crl.this_update());
        let what = match known {
            Some(known_s) => format!("of {issuer}, newer than {}", super::shown::time(known_s)),
            None => format!("of {issuer}"),
        };
        let mut update = CrlUpdate::of_issuer(issuer, known)?;
        if let Some(source) = source {
            update.source = source;
        }
        Ok((GeneralRequest::CrlUpdate(update).into(), what))
    }

    /// Who issued the certificate in use, proven by a path to an anchor, and where that certificate says its CRL is.
    fn own_issuer(&self, config: &Config) -> anyhow::Result<(Certificate, Option<CrlSource>)> {
        let Some(current) = &self.current else {
            anyhow::bail!("without a certificate in use, name the issuer of the CRL with --crl-issuer");
        };
        let untrusted: Vec<_> = current
            .chain
            .iter()
            .chain(&config.intermediates)
            .cloned()
            .collect();
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .map(|now| now.as_secs());
        let mut path = PathRequest::new(&current.certificate, &config.anchors, now_s.into());
        path.untrusted = &untrusted;
        let path = path
            .validate(&RustCrypto)
            .context("the issuer of the certificate in use is not proven; name it with --crl-issuer")?;
        let issuer = match path.chain().get(1) {
            Some(PathSource::Untrusted(index)) => untrusted.get(*index),
            Some(PathSource::Anchor(index)) => config.anchors.get(*index),
            _ => None,
        };
        let issuer = issuer
            .context("the certificate in use is a trust anchor")?
            .clone();
        Ok((issuer, distribution_point(&current.certificate)))
    }
}

fn distribution_point(certificate: &Certificate) -> Option<CrlSource> {
    let points = certificate.extension(ID_CE_CRL_DISTRIBUTION_POINTS)?;
    let points = CrlDistributionPoints::from_der(points).ok()?;
    let name = points.0.into_iter().find_map(|point| point.distribution_point)?;
    Some(CrlSource::DistributionPoint(name))
}
