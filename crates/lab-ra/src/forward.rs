//! `lab-ra serve --role ra`: an RA in front of another CMP server.

use clap::{Args, ValueEnum};
use cmp_http::{BadUrl, Limits, Tls, Url};
use lab_ra::{
    Batch, CrlFiles, Forward, ForwardConfig, Forwarder, HttpUpstream, RaConfig, RaIdentity, RaService, Spool,
    Store, Upstream, WithoutCrl, read_certificates,
};
use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use crate::Failure;

const DAY_S: u64 = 86_400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Answer requests, with a CA.
    Ca,
    /// Check requests, and pass them on to the server behind.
    Ra,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Only with --role ra")]
pub(crate) struct ForwardArgs {
    /// The server behind: http[s]://HOST[:PORT][/PATH], or spool:DIR for a folder whose files somebody carries. Requests
    /// are then in DIR/outbox, answers are expected in DIR/inbox, and end entities are told to poll meanwhile. Files of no
    /// use go to DIR/rejected, each with its reason. Profiles of the configuration have paths /p/PROFILE behind a URL that
    /// ends in /.well-known/cmp.
    #[arg(long, value_name = "URL|spool:DIR", required_if_eq("role", "ra"))]
    upstream: Option<UpstreamArg>,
    /// PEM with the trust anchors for https; it needs them, and nothing else is trusted.
    #[arg(long, value_name = "FILE")]
    upstream_trust: Option<PathBuf>,
    /// PEM with a certificate for https, if the server behind wants one, and what leads from it to a root.
    #[arg(long, value_name = "FILE", requires = "upstream_key")]
    upstream_cert: Option<PathBuf>,
    /// PEM with its private key.
    #[arg(long, value_name = "FILE", requires = "upstream_cert")]
    upstream_key: Option<PathBuf>,
    /// How messages are passed on. A kur and a request for a key that is to be made are never replaced: with `replaced` and
    /// `ra-verified` they go nested. [default: unchanged]
    #[arg(long, value_enum, value_name = "HOW")]
    forward: Option<ForwardArg>,
    /// Send up to N messages of different transactions together, in one nested message; the first one waits at most
    /// SECONDS for others. Only with --forward nested.
    #[arg(long, value_name = "N,SECONDS", value_parser = batch)]
    batch: Option<Batch>,
    /// Set the organization (O) in the subject of each ir and cr, instead of what they ask for. Only with --forward
    /// ra-verified.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// PEM with whoever protects answers, beside the RA's own CA: its certificate or a CA's. A root that the RA's own
    /// certificate leads to also goes to end entities with a MAC, in caPubs. May be given several times.
    #[arg(long, value_name = "FILE")]
    upstream_signer: Vec<PathBuf>,
    /// A CRL in PEM or DER; it is read again when the file changes. What a revoked certificate has signed does not pass.
    /// May be given several times, once for each CA.
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// What becomes of a request whose signer's CA has no good CRL, or one that is over. [default: refuse]
    #[arg(long, value_enum, value_name = "WHAT", requires = "crl")]
    without_crl: Option<WithoutCrlArg>,
    /// How long an answer over HTTP is waited for. [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    upstream_timeout: Option<u64>,
    /// checkAfter for end entities while an answer is to come as a file, or a person has to decide. [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=31_536_000))]
    check_after: Option<u32>,
    /// How long answers and decisions are waited for and kept, and rejected files are kept. [default: 30]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3_650))]
    keep: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ForwardArg {
    /// Byte for byte, requests and answers (RFC 9483 §5.2.1).
    Unchanged,
    /// With the RA's protection around requests; answers byte for byte (§5.2.2).
    Nested,
    /// With the RA's protection instead of the end entity's, and for answers the other way round: a signature, or the MAC
    /// of the end entity's secret (§5.2.3.1).
    Replaced,
    /// Like `replaced`, and the RA vouches for the proof of possession of ir and cr (§5.2.3.2).
    RaVerified,
}

impl ForwardArg {
    fn forward(self) -> Forward {
        match self {
            Self::Unchanged => Forward::Unchanged,
            Self::Nested => Forward::Nested,
            Self::Replaced => Forward::Replaced,
            Self::RaVerified => Forward::RaVerified,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WithoutCrlArg {
    /// It does not pass: each CA needs a CRL, manufacturers' too.
    Refuse,
    /// It does not pass if that CA is the RA's own.
    RefuseOwn,
    /// It passes.
    Accept,
}

impl WithoutCrlArg {
    fn rule(self) -> WithoutCrl {
        match self {
            Self::Refuse => WithoutCrl::Refuse,
            Self::RefuseOwn => WithoutCrl::RefuseOwn,
            Self::Accept => WithoutCrl::Accept,
        }
    }
}

#[derive(Clone, Debug)]
enum UpstreamArg {
    Url(Url),
    Spool(PathBuf),
}

impl FromStr for UpstreamArg {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("spool:") {
            Some("") | None => text.parse().map(Self::Url),
            Some(folder) => Ok(Self::Spool(folder.into())),
        }
    }
}

fn batch(text: &str) -> Result<Batch, &'static str> {
    let numbers = text.split_once(',').and_then(|(messages, wait_s)| {
        Some(Batch {
            messages: messages.parse().ok().filter(|n| (2..=100).contains(n))?,
            wait_s: wait_s.parse().ok().filter(|s| (1..=3_600).contains(s))?,
        })
    });
    numbers.ok_or("a batch is written N,SECONDS, with N from 2 to 100 and SECONDS from 1 to 3600")
}

impl ForwardArgs {
    /// The first option that is given and says something.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let all = [
            ("--upstream", self.upstream.is_some()),
            ("--upstream-trust", self.upstream_trust.is_some()),
            ("--upstream-cert", self.upstream_cert.is_some()),
            ("--upstream-key", self.upstream_key.is_some()),
            ("--forward", self.forward.is_some()),
            ("--batch", self.batch.is_some()),
            ("--organization", self.organization.is_some()),
            ("--upstream-signer", !self.upstream_signer.is_empty()),
            ("--crl", !self.crl.is_empty()),
            ("--without-crl", self.without_crl.is_some()),
            ("--upstream-timeout", self.upstream_timeout.is_some()),
            ("--check-after", self.check_after.is_some()),
            ("--keep", self.keep.is_some()),
        ];
        all.into_iter()
            .find_map(|(name, is_given)| is_given.then_some(name))
    }

    /// The RA of this state folder, with its way to the server behind.
    pub(crate) fn service(&self, state: &Path, mut config: RaConfig) -> Result<RaService, Failure> {
        let forward = self.forward.unwrap_or(ForwardArg::Unchanged);
        if self.batch.is_some() && forward != ForwardArg::Nested {
            return Err(Failure::Arguments("--batch needs --forward nested"));
        }
        if self.organization.is_some() && forward != ForwardArg::RaVerified {
            return Err(Failure::Arguments("--organization needs --forward ra-verified"));
        }
        let check_after_s = self.check_after.unwrap_or(30);
        config.approval_check_after_s = check_after_s;
        let mut rules = ForwardConfig::default();
        for file in &self.upstream_signer {
            rules.upstream_anchors.extend(read_certificates(file)?);
        }
        let upstream = self.way(&config)?;
        match &upstream {
            Upstream::Spool(_) => rules.delayed_check_after_s = Some(check_after_s),
            Upstream::Http(http) => rules.profile_paths = http.has_profile_paths() && self.batch.is_none(),
        }
        rules.forward = forward.forward();
        rules.batch = self.batch;
        rules.organization.clone_from(&self.organization);
        rules.keep_s = self.keep.unwrap_or(30).saturating_mul(DAY_S);
        if !self.crl.is_empty() {
            rules.without_crl = self.without_crl.unwrap_or(WithoutCrlArg::Refuse).rule();
        }
        for missing in self.crl.iter().filter(|file| !file.exists()) {
            tracing::warn!(file = %missing.display(), "there is no such CRL yet");
        }
        let identity = RaIdentity::load(state)?;
        let store = Store::open(&state.join("state.sqlite"))?;
        let forwarder = Forwarder::new(identity, config, rules, store)?;
        Ok(RaService::new(
            forwarder,
            upstream,
            CrlFiles::new(self.crl.iter().cloned()),
        ))
    }

    fn way(&self, config: &RaConfig) -> Result<Upstream, Failure> {
        let tls = match (&self.upstream_trust, &self.upstream_cert, &self.upstream_key) {
            (None, None, _) => None,
            (None, Some(_), _) => return Err(Failure::Arguments("--upstream-cert needs --upstream-trust")),
            (Some(anchors), Some(certificate), Some(key)) => {
                Some(Tls::with_anchors(anchors)?.with_client(certificate, key)?)
            }
            (Some(anchors), ..) => Some(Tls::with_anchors(anchors)?),
        };
        match &self.upstream {
            None => Err(Failure::Arguments("--role ra needs --upstream")),
            Some(UpstreamArg::Spool(_)) if tls.is_some() => Err(Failure::Arguments(
                "--upstream-trust needs an upstream with https",
            )),
            Some(UpstreamArg::Spool(_)) if self.upstream_timeout.is_some() => Err(Failure::Arguments(
                "--upstream-timeout is for an upstream with a URL",
            )),
            Some(UpstreamArg::Spool(folder)) => Ok(Upstream::Spool(Spool::open(folder)?)),
            Some(UpstreamArg::Url(url)) => {
                let limits = Limits {
                    response_timeout: Duration::from_secs(self.upstream_timeout.unwrap_or(30)),
                    ..Limits::default()
                };
                let profiles = config.profiles.keys().map(String::as_str);
                Ok(Upstream::Http(HttpUpstream::new(
                    url.clone(),
                    tls,
                    limits,
                    profiles,
                )?))
            }
        }
    }
}
