//! `charger-sim fleet`: thousands of stations from one process, with a summary of how long each thing took.

mod member;
mod summary;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use charger_agent::{
    client::{KeyId, Protection},
    shell::{read_certificate, read_certificates, read_key, write_atomically},
};
use clap::ValueEnum;
use cmp_message::{
    Raw,
    certificate::Certificate,
    crypto::{SigningKey as _, aws_lc::SoftKey},
};
use indicatif::{ProgressBar, ProgressStyle};
use lab_ra::Authority;
use ocpp_rpc::{Version, ws};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    Failure,
    link::{self, Clock, Event, Link},
    station::{RouteName, Secret, parse_version},
};
use member::{Member, Plan};
use summary::{Note, Summary};

/// What the fleet is given.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("proof").args(["secret", "maker_ca"]))]
pub struct Args {
    /// Where the CSMS is, without the identities: ws://HOST:PORT/PATH.
    #[arg(long, value_name = "URL")]
    csms: String,
    /// How many stations.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Trust anchors for the RA and for issued certificates (PEM).
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Shared secret of all stations: its reference, a colon, the secret.
    #[arg(long, value_name = "REF:VALUE")]
    secret: Option<Secret>,
    /// The manufacturer's CA (PEM): each station gets a certificate of it for its identity, made when the fleet starts.
    #[arg(long, value_name = "CERT,KEY")]
    maker_ca: Option<MakerCa>,
    /// The OCPP version to speak: 1.6, 2.0.1 or 2.1. Default: all are offered, the newest first.
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    ocpp: Option<Version>,
    /// Identities are this and a number from 1 on.
    #[arg(long, value_name = "TEXT", default_value = "CP-")]
    id_prefix: String,
    /// Seconds over which the first connections are spread.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    ramp: f64,
    /// What each station does.
    #[arg(long, value_enum, default_value = "enroll")]
    scenario: Scenario,
    /// Seconds that all stay connected after the last one is done.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    hold: f64,
    /// The RA to ask for at the CSMS.
    #[arg(long, default_value_t)]
    route: RouteName,
    /// Largest OCPP-J frame, in bytes, that a station takes and sends; at least 512.
    #[arg(long, value_name = "BYTES", default_value_t = 3_500, value_parser = clap::value_parser!(u32).range(512..))]
    unit: u32,
    /// A station gives up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0, value_parser = seconds)]
    timeout: f64,
    /// Write the summary as JSON to this file; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// The files of a CA's certificate and key, `CERT,KEY`.
#[derive(Clone, Debug)]
struct MakerCa {
    certificate: PathBuf,
    key: PathBuf,
}

impl MakerCa {
    fn load(&self) -> anyhow::Result<Authority> {
        let certificate = read_certificate(&self.certificate)?;
        let key = read_key(&self.key)?;
        Ok(Authority::from_der(certificate.as_der(), &key)?)
    }
}

impl FromStr for MakerCa {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (certificate, key) = text.split_once(',').ok_or("not CERT,KEY")?;
        Ok(Self {
            certificate: certificate.into(),
            key: key.into(),
        })
    }
}

/// What each station of a fleet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Connects, boots and sends heartbeats.
    Idle,
    /// Gets its first certificate.
    Enroll,
    /// Gets its first certificate, then a new one in its place.
    Renew,
}

fn seconds(text: &str) -> Result<f64, &'static str> {
    let value: f64 = text.parse().map_err(|_| "not a number")?;
    match (0.0..=1e6).contains(&value) {
        true => Ok(value),
        false => Err("not between 0 and 1,000,000"),
    }
}

/// The subcommand.
///
/// # Errors
/// [`Failure::Input`] for arguments and files, [`Failure::Operation`] where a station did not do what it should.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let plans = Plans::new(args).map_err(Failure::Input)?;
    let summary = run_fleet(args, plans).await.map_err(Failure::Operation)?;
    let json = || summary.to_json().to_string();
    match args.report.as_deref() {
        Some(path) if path.as_os_str() == "-" => println!("{}", json()),
        report => {
            print!("{summary}");
            if let Some(path) = report {
                write_atomically(path, json().as_bytes())
                    .context("--report")
                    .map_err(Failure::input)?;
            }
        }
    }
    match summary.failed() {
        0 => Ok(()),
        failed => Err(Failure::Operation(anyhow::anyhow!(
            "{failed} of {} stations did not do what they should",
            args.count
        ))),
    }
}

async fn run_fleet(args: &Args, mut plans: Plans) -> anyhow::Result<Summary> {
    let clock = Clock::start();
    let (notes, mut noted) = mpsc::unbounded_channel();
    let (release, released) = watch::channel(false);
    let mut stations = JoinSet::new();
    let ramp = Duration::from_secs_f64(args.ramp);
    for number in 0..args.count {
        let mut plan = plans.of(number)?;
        plan.start_at = ramp.mul_f64(f64::from(number) / f64::from(args.count));
        let station = Station {
            config: plans.link(number),
            plan,
            notes: notes.clone(),
            released: released.clone(),
        };
        stations.spawn(station.run(clock));
    }
    drop(notes);
    let bar = progress(args.count);
    let mut summary = Summary::new(args.count);
    let mut stop = std::pin::pin!(crate::signals::stopped());
    loop {
        tokio::select! {
            note = noted.recv() => match note {
                Some(note) => summary.add(note),
                None => break,
            },
            () = &mut stop => {
                summary.interrupt();
                break;
            }
        }
        bar.set_position(summary.settled().into());
        bar.set_message(summary.line());
        if summary.settled() == args.count {
            break;
        }
    }
    bar.finish_and_clear();
    summary.finish(clock.now());
    if summary.settled() == args.count && args.hold > 0.0 {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs_f64(args.hold)) => {}
            () = &mut stop => {}
        }
        // Who was lost meanwhile has said so.
        while let Ok(note) = noted.try_recv() {
            summary.add(note);
        }
    }
    release.send_replace(true);
    while stations.join_next().await.is_some() {}
    Ok(summary)
}

fn progress(count: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed} [{bar:30}] {pos}/{len} {msg}");
    let bar = ProgressBar::new(count.into());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// One station before it starts.
struct Station {
    config: link::Config,
    plan: Plan,
    notes: mpsc::UnboundedSender<Note>,
    released: watch::Receiver<bool>,
}

impl Station {
    async fn run(self, clock: Clock) {
        let Self {
            config,
            plan,
            notes,
            released,
        } = self;
        tokio::time::sleep(plan.start_at.saturating_sub(clock.now())).await;
        let told = notes.clone();
        let observer = move |event: &Event<'_>| {
            // Whoever took the notes may be gone.
            if let Event::Disconnected { reason } = event {
                let _ = told.send(Note::Disconnected((*reason).to_owned()));
            }
        };
        let member = Member::new(plan, clock, notes.clone(), released.clone());
        let mut link = Link::new(config, clock, member, observer);
        let mut released = released;
        let stop = async move {
            let _ = released.wait_for(|released| *released).await;
        };
        if let Err(error) = link.run(stop).await {
            link.carrier().fail(&format!("{:#}", anyhow::Error::from(error)));
        }
    }
}

/// What the plans of all stations are made from.
struct Plans {
    args: Args,
    anchors: Vec<Certificate>,
    maker: Option<Authority>,
    spread: bool,
    now_s: u64,
}

impl Plans {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let anchors = match &args.trust {
            Some(path) => read_certificates(path).context("--trust")?,
            None => Vec::new(),
        };
        if args.scenario != Scenario::Idle {
            ensure!(!anchors.is_empty(), "--trust is missing: the RA's root, in PEM");
            ensure!(
                args.secret.is_some() || args.maker_ca.is_some(),
                "--secret REF:VALUE or --maker-ca CERT,KEY is missing: with what do the stations prove who they are?"
            );
        }
        let maker = args.maker_ca.as_ref().map(MakerCa::load).transpose();
        let maker = maker.context("--maker-ca")?;
        ws::station_url(&args.csms, &args.id_prefix)
            .parse::<Url>()
            .context("--csms")?;
        Ok(Self {
            spread: is_loopback(&args.csms),
            args: args.clone(),
            anchors,
            maker,
            now_s: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        })
    }

    fn identity(&self, number: u32) -> String {
        format!("{}{}", self.args.id_prefix, number + 1)
    }

    fn link(&self, number: u32) -> link::Config {
        let mut config = link::Config::new(self.args.csms.clone(), self.identity(number));
        config.source = self.spread.then(|| source(number));
        if let Some(version) = self.args.ocpp {
            config.versions = vec![version];
        }
        // A server that is restarted is not run over.
        config.backoff = ocpp_rpc::Backoff::new(4, Duration::from_secs(5), Duration::from_secs(1));
        config
    }

    fn of(&mut self, number: u32) -> anyhow::Result<Plan> {
        let identity = self.identity(number);
        let args = &self.args;
        let operations = match args.scenario {
            Scenario::Idle => 0,
            Scenario::Enroll => 1,
            Scenario::Renew => 2,
        };
        let mut keys = Vec::new();
        let protection = match (&args.secret, &self.maker) {
            (Some(secret), _) => Some(secret.protection()),
            (None, Some(maker)) if operations > 0 => {
                let device = maker.issue_idevid(&identity, self.now_s)?;
                let key = SoftKey::from_der(&device.key)?;
                let algorithm = key.algorithm();
                keys.push(key);
                let chain = device.chain.iter().map(|der| Raw::new(der.as_slice()));
                Some(Protection::Signature {
                    key: KeyId(0),
                    algorithm,
                    certificate: Certificate::from_der(device.certificate.as_slice())?,
                    chain: chain.collect::<Result<_, _>>()?,
                })
            }
            _ => None,
        };
        Ok(Plan {
            identity,
            route: args.route.0.clone(),
            unit: args.unit,
            protection,
            keys,
            anchors: self.anchors.clone(),
            operations,
            start_at: Duration::ZERO,
            timeout: Duration::from_secs_f64(args.timeout),
        })
    }
}

/// A URL that can be parsed, for its error alone.
type Url = axum::http::Uri;

/// Whether many source addresses can be had.
fn is_loopback(csms: &str) -> bool {
    let host = csms
        .parse::<Url>()
        .ok()
        .and_then(|url| url.host().map(ToOwned::to_owned));
    host.is_some_and(|host| {
        host.parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
    })
}

/// Of 127.1.0.0/16: 64 addresses in turn, as one address has fewer ports than a fleet may have stations.
fn source(number: u32) -> IpAddr {
    let host = u8::try_from(number % 64).unwrap_or_default();
    IpAddr::V4(Ipv4Addr::new(127, 1, 0, host + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stations_are_spread_over_addresses_of_the_loopback_only_where_the_csms_is_there() {
        assert!(is_loopback("ws://127.0.0.1:9000/ocpp"));
        assert!(!is_loopback("ws://192.0.2.1:9000/ocpp"));
        assert!(!is_loopback("ws://csms.example/ocpp"));
        assert_eq!(source(0), IpAddr::from([127, 1, 0, 1]));
        assert_eq!(source(130), IpAddr::from([127, 1, 0, 3]));
    }
}
