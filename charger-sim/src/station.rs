//! `charger-sim station`: a station with every operation of RFC 9483 §4 over OCPP, which keeps what it got.

mod credentials;
mod cure;
mod keep;
mod notes;
mod operation;
mod request;
mod san;
mod shown;
mod signer_usage;
mod task;
mod template;

use std::{
    fmt,
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use charger_agent::shell::write_atomically;
use cmp_binding::station;
use cmp_message::{PkiMessage, crypto::KeyAlgorithm};
use ocpp_rpc::Version;
use serde_json::json;

use crate::{
    Failure,
    decode::text::printable,
    link::{self, Clock, Event, Link, SecurityArgs},
    report::Report,
    transcript::ExchangeTraffic,
};
pub use credentials::Secret;
pub(crate) use credentials::common_name;
pub use operation::{Operation, Operations, Reason};
pub use san::AltName;
pub use signer_usage::SignerUsage;
use task::Task;

/// What the station is given.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = operation::AFTER_HELP)]
pub struct Args {
    /// Where the CSMS is, without the identity: ws://HOST:PORT/PATH, or wss:// with --tls-trust.
    #[arg(long, value_name = "URL")]
    pub csms: String,
    /// The station's OCPP identity.
    #[arg(long)]
    pub id: String,
    /// The OCPP version to speak. Default: all are offered, the newest first.
    #[arg(long, value_name = "1.6|2.0.1|2.1", value_parser = parse_version)]
    pub ocpp: Option<Version>,
    /// Directory for credentials and unfinished work; files have mode 0600. A station started again goes on there.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Manufacturer certificate (PEM) that protects what no certificate in use can.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "secret")]
    pub cert: Option<PathBuf>,
    /// Its private key (PEM, PKCS #8 or SEC 1, not encrypted).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Certificates between it and its root (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub chain: Option<PathBuf>,
    /// Shared secret that protects it instead: its reference, a colon, the secret.
    #[arg(long, value_name = "REF:VALUE")]
    pub secret: Option<Secret>,
    /// The first trust anchors, for the RA and for issued certificates (PEM). Those that came later are in STATE: what
    /// root-update has brought, and roots in caPubs under --secret or from one of --anchor-signer. May be left out where there
    /// are some, and in an enrolment with --secret, which brings the first.
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// What the certificate that signs for the RA must be for, its extended key usage: any, cmc-ca, cmc-ra, cm-kga, or an OID.
    /// Set it where devices have certificates under the same anchors, for with `any` each of them could speak for the RA; leave
    /// it where the RA's certificate has no such usage.
    #[arg(long, value_name = "USAGE", default_value_t)]
    pub signer_usage: SignerUsage,
    /// Certificates (PEM) of RAs, or of CAs above them, whose signature lets roots in caPubs be trusted from then on. Default:
    /// no signature does.
    #[arg(long, value_name = "FILE")]
    pub anchor_signer: Option<PathBuf>,
    /// Name of the RA or CA, as in `CN=My RA,O=Operator`. Default: empty.
    #[arg(long, value_name = "DN")]
    pub recipient: Option<String>,
    /// Subject of the certificate. Default: of the one in use, in an enrolment `CN=` and the identity.
    #[arg(long, value_name = "DN")]
    pub subject: Option<String>,
    /// The type of the keys that it makes: p256, p384, p521, ed25519, ml-dsa-44, ml-dsa-65 or ml-dsa-87. Default: the first
    /// of these that the template that is kept accepts.
    #[arg(long, value_name = "TYPE")]
    pub key_type: Option<KeyAlgorithm>,
    /// Who makes the key of a certificate: the station, or the RA, which delivers it encrypted. OCPP wants the station to.
    #[arg(long, value_enum, value_name = "WHO", default_value_t = Keygen::Local)]
    pub keygen: Keygen,
    /// Names for subjectAltName, separated by commas: DNS:NAME, IP:ADDRESS, URI:URI, email:ADDRESS. Default: none, in an
    /// update those of the old certificate.
    #[arg(long, value_name = "KIND:NAME", value_delimiter = ',')]
    pub san: Vec<AltName>,
    /// Name of the certificate profile to ask the RA for. Default: that of the template that is kept, else none.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Why revoke: unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation,
    /// certificateHold, privilegeWithdrawn or aACompromise. Default: unspecified.
    #[arg(long, value_name = "REASON")]
    pub reason: Option<Reason>,
    /// Trust anchor (PEM) whose successor root-update asks for. Default: the newest.
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// Certificate (PEM) of the CA whose CRL crl asks for; it is trusted. Default: the issuer of the certificate in use.
    #[arg(long, value_name = "FILE")]
    pub crl_issuer: Option<PathBuf>,
    /// Largest OCPP-J frame, in bytes, that this station takes and sends; at least 512.
    #[arg(long, value_name = "BYTES", default_value_t = 3_500, value_parser = clap::value_parser!(u32).range(512..))]
    pub unit: u32,
    /// The RA to ask for at the CSMS.
    #[arg(long, default_value_t)]
    pub route: RouteName,
    /// Ask the RA to do without a certConf.
    #[arg(long)]
    pub implicit_confirm: bool,
    /// Give an operation up after this many seconds, waiting for the RA included.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
    /// Write what came out as JSON to this file; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// What the station proves itself with at the CSMS.
    #[command(flatten)]
    pub security: SecurityArgs,
    /// What to do.
    #[command(flatten)]
    pub operations: Operations,
}

impl Args {
    /// A flag that no operation looks at is a mistake.
    fn check(&self) -> anyhow::Result<()> {
        let is_tls = self.csms.starts_with("wss:");
        anyhow::ensure!(
            is_tls == self.security.tls_trust.is_some(),
            "--csms wss://… and --tls-trust go together"
        );
        let certificates = &["enroll", "certify", "update"][..];
        let profiles = &["enroll", "certify", "csr", "update", "template"][..];
        for (given, flag, of) in [
            (!self.san.is_empty(), "--san", certificates),
            (self.profile.is_some(), "--profile", profiles),
            (self.reason.is_some(), "--reason", &["revoke"][..]),
            (self.root.is_some(), "--root", &["root-update"][..]),
            (self.crl_issuer.is_some(), "--crl-issuer", &["crl"][..]),
        ] {
            let used = self
                .operations
                .0
                .iter()
                .any(|operation| of.contains(&operation.name()));
            anyhow::ensure!(!given || used, "{flag} is only for {}", of.join(", "));
        }
        Ok(())
    }
}

/// A route's name.
#[derive(Clone, Debug, Default)]
pub struct RouteName(pub cmp_binding::Route);

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for RouteName {
    type Err = cmp_binding::InvalidRoute;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        name.parse().map(Self)
    }
}

/// Who makes a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Keygen {
    /// The station.
    #[default]
    Local,
    /// The RA (RFC 9483 §4.1.6).
    Central,
}

/// What was seen on the wire since it was last taken.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    messages: Vec<serde_json::Value>,
    traffic: ExchangeTraffic,
    trouble: Option<String>,
}

/// Prints a line for a person. What it is given may come from a peer.
pub type Print = Arc<dyn Fn(&str) + Send + Sync>;

/// The subcommand.
///
/// # Errors
/// [`Failure::Input`] for arguments and files, [`Failure::Operation`] where an operation failed.
pub fn run(args: &Args) -> Result<(), Failure> {
    let to_stdout = args.report.as_deref().is_some_and(|path| path.as_os_str() == "-");
    let print: Print = if to_stdout {
        Arc::new(|_| ())
    } else {
        Arc::new(|line| println!("{}", printable(line)))
    };
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::operation)?;
    let report = runtime.block_on(run_until(args, print, crate::signals::stopped()))?;
    if to_stdout {
        println!("{}", report.to_json());
    } else if let Some(path) = &args.report {
        write_atomically(path, report.to_json().as_bytes())
            .context("--report")
            .map_err(Failure::input)?;
    }
    let failed = report.steps.iter().find(|step| !step.ok);
    match failed {
        _ if report.ok => Ok(()),
        Some(step) => {
            let text = |member| step.detail.get(member).and_then(|text| text.as_str());
            let error = text("error").unwrap_or("unknown");
            let cure = text("cure").map_or_else(String::new, |cure| format!("; what may help: {cure}"));
            Err(Failure::Operation(anyhow::anyhow!(
                "{} failed: {error}{cure}",
                step.name
            )))
        }
        None => Err(Failure::Operation(anyhow::anyhow!("nothing was done"))),
    }
}

/// Connects and does what is asked, until it is done or `stop` ends.
///
/// # Errors
/// As [`run`], except for operations that failed: those are in the report.
pub async fn run_until(
    args: &Args,
    print: Print,
    stop: impl Future<Output = ()> + Send,
) -> Result<Report, Failure> {
    args.check().map_err(Failure::Input)?;
    let clock = Clock::start();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let task = Task::new(args, Arc::clone(&seen), Arc::clone(&print), clock).map_err(Failure::Input)?;
    let mut config = link::Config::new(args.csms.clone(), args.id.clone());
    config.security = args.security.read().map_err(Failure::Input)?;
    config.versions = args
        .ocpp
        .map_or_else(|| Version::ALL.to_vec(), |version| vec![version]);
    let observer = move |event: &Event<'_>| observe(event, &seen, &print);
    let mut link = Link::new(config, clock, task, observer);
    let result = link.run(stop).await;
    let (task, ..) = link.into_parts();
    Ok(task.into_report(result.err().map(anyhow::Error::from)))
}

pub(crate) fn binding(unit: u32) -> station::Config {
    station::Config {
        unit: unit as usize,
        envelope: link::envelope(cmp_binding::VENDOR_ID),
        // What is done here is done at once: the acknowledgement need not wait for company.
        ack_delay: std::time::Duration::from_millis(200),
        ..station::Config::default()
    }
}

fn observe(event: &Event<'_>, seen: &Mutex<Seen>, print: &Print) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::Connected { version } => print(&format!("connected, {}", version.subprotocol())),
        Event::Booted { status } => print(&format!("boot {status:?}")),
        Event::Disconnected { reason } => {
            print(&format!("not connected: {reason}"));
            seen.trouble = Some((*reason).to_owned());
        }
        Event::Frame {
            transfer, traffic, ..
        } => {
            seen.traffic = traffic.total;
            let Some(message) = transfer.and_then(|transfer| transfer.message.as_ref()) else {
                return;
            };
            let body = PkiMessage::from_bytes(&message.bytes)
                .map_or("not a CMP message", |message| message.body.body_type().name());
            let arrow = match message.part {
                Some(crate::transcript::Part::Request) => "→",
                _ => "←",
            };
            let plural = if message.frames == 1 { "" } else { "s" };
            let (bytes, frames) = (message.bytes.len(), message.frames);
            print(&format!(
                "  {arrow} {body:<9}{bytes:>6} bytes in {frames} frame{plural}"
            ));
            seen.messages
                .push(json!({ "body": body, "sent": arrow == "→", "bytes": bytes, "frames": frames }));
        }
    }
}

/// The version of a name such as `1.6`.
pub(crate) fn parse_version(name: &str) -> Result<Version, String> {
    Version::from_subprotocol(&format!("ocpp{name}")).ok_or_else(|| "one of 1.6, 2.0.1 and 2.1".into())
}
