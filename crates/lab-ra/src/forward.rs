//! `lab-ra serve --role ra`: an RA in front of another CMP server; and `lab-ra spool`, which answers its files.

use clap::{Args, ValueEnum};
use lab_ra::{
    Batch, Forward, ForwardConfig, Forwarder, HttpUpstream, Ra, RaConfig, RaIdentity, RaService, Spool,
    Store, Tray, Upstream, UpstreamUrl, http::unix_now_s, read_certificates,
};
use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use crate::Failure;

/// How long a connection to the server behind may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const DAY_S: u64 = 86_400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Answer requests, with a CA.
    Ca,
    /// Check requests, and pass them on to the server behind.
    Ra,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "With --role ra")]
pub(crate) struct ForwardArgs {
    /// The server behind: http://HOST[:PORT][/PATH], or spool:DIR for a folder whose files somebody carries. Requests are
    /// then in DIR/outbox, answers are expected in DIR/inbox, and end entities are told to poll meanwhile. Files of no use
    /// go to DIR/rejected, each with its reason.
    #[arg(long, value_name = "URL|spool:DIR", required_if_eq("role", "ra"))]
    upstream: Option<UpstreamArg>,
    /// How messages are passed on. A kur and a request for a key that is to be made are never replaced: with `replaced` and
    /// `ra-verified` they go nested.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = ForwardArg::Unchanged)]
    forward: ForwardArg,
    /// Send up to N messages of different transactions together, in one nested message; the first one waits at most
    /// SECONDS for others. Only with --forward nested.
    #[arg(long, value_name = "N,SECONDS", value_parser = batch)]
    batch: Option<Batch>,
    /// Set the organization (O) in the subject of each ir and cr, instead of what they ask for. Only with --forward
    /// ra-verified.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// PEM with CAs whose certificates protect requests, beside the RA's own CA: of manufacturers, for example. May be given
    /// several times.
    #[arg(long, value_name = "FILE")]
    trusted: Vec<PathBuf>,
    /// PEM with whoever protects answers, beside the RA's own CA: its certificate or a CA's. A root that the RA's own
    /// certificate leads to also goes to end entities with a MAC, in caPubs. May be given several times.
    #[arg(long, value_name = "FILE")]
    upstream_trusted: Vec<PathBuf>,
    /// How long an answer over HTTP is waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    upstream_timeout: u64,
    /// checkAfter for end entities while an answer is to come as a file.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    check_after: u32,
    /// How long answers are waited for and kept, and rejected files are kept.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    keep: u64,
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

#[derive(Clone, Debug)]
enum UpstreamArg {
    Url(UpstreamUrl),
    Spool(PathBuf),
}

impl FromStr for UpstreamArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("spool:") {
            Some("") => Err("a folder is written spool:DIR"),
            Some(folder) => Ok(Self::Spool(folder.into())),
            None => text.parse().map(Self::Url),
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
    /// The RA of this state folder, with its way to the server behind.
    pub(crate) fn service(&self, state: &Path, mut config: RaConfig) -> Result<RaService, Failure> {
        if self.batch.is_some() && self.forward != ForwardArg::Nested {
            return Err(Failure::Arguments("--batch needs --forward nested"));
        }
        if self.organization.is_some() && self.forward != ForwardArg::RaVerified {
            return Err(Failure::Arguments("--organization needs --forward ra-verified"));
        }
        let (upstream, is_slow) = match &self.upstream {
            None => return Err(Failure::Arguments("--role ra needs --upstream")),
            Some(UpstreamArg::Spool(folder)) => (Upstream::Spool(Spool::open(folder)?), true),
            Some(UpstreamArg::Url(url)) => {
                let http = HttpUpstream {
                    url: url.clone(),
                    connect_timeout: CONNECT_TIMEOUT,
                    response_timeout: Duration::from_secs(self.upstream_timeout),
                };
                (Upstream::Http(http), false)
            }
        };
        for file in &self.trusted {
            config.manufacturers.extend(read_certificates(file)?);
        }
        let mut forward = ForwardConfig::default();
        for file in &self.upstream_trusted {
            forward.upstream_anchors.extend(read_certificates(file)?);
        }
        forward.forward = self.forward.forward();
        forward.delayed_check_after_s = is_slow.then_some(self.check_after);
        forward.batch = self.batch;
        forward.organization.clone_from(&self.organization);
        forward.keep_s = self.keep.saturating_mul(DAY_S);
        let identity = RaIdentity::load(state)?;
        let store = Store::open(&state.join("state.sqlite"))?;
        let forwarder = Forwarder::new(identity, config, forward, store)?;
        Ok(RaService::new(forwarder, upstream))
    }
}

/// Answers every message in the outbox of a spool folder into its inbox; how many.
pub(crate) fn answer_spool(ra: &mut Ra, folder: &Path) -> Result<usize, Failure> {
    let spool = Spool::open(folder)?;
    let mut count = 0;
    for found in spool.find(Tray::Outbox)? {
        match found.message {
            Ok(message) => {
                let answer = ra.handle(unix_now_s(), &message);
                spool.put(Tray::Inbox, &found.name, &answer)?;
                spool.remove(Tray::Outbox, &found.name)?;
                count += 1;
            }
            Err(reason) => spool.reject(Tray::Outbox, &found.name, &reason)?,
        }
    }
    Ok(count)
}
