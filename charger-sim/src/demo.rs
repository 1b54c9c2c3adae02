//! `charger-sim demo`: an RA, a bridge and stations in one process, and what they say to each other.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use cmp_message::{crypto::KeyAlgorithm, mac::Secret};
use csms_bridge::{Bridge, Listeners, MemoryStore};
use lab_ra::{Pki, PollAfter, Ra, RaConfig, Store};
use ocpp_rpc::Version;
use serde_json::{Map, Value};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    Failure,
    decode::text::printable,
    link,
    report::Report,
    station::{self, Operations, Print},
};

/// What the demo is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object in place of text.
    #[arg(long)]
    json: bool,
}

/// One station of the demo.
struct Scene {
    title: &'static str,
    id: &'static str,
    version: Version,
    unit: u32,
    route: &'static str,
    secret: Option<&'static str>,
    acts: &'static [Act],
    /// A text of the error where it is to be refused.
    refused: Option<&'static str>,
}

enum Act {
    /// The station does this.
    Station(&'static str),
    /// The CA makes a new root.
    NewRoot,
}

const SCENES: &[Scene] = &[
    Scene {
        title: "OCPP 1.6: enrolment with the manufacturer certificate, then an update",
        id: "CP-16",
        version: Version::V1_6,
        unit: 3_500,
        route: "default",
        secret: None,
        acts: &[Act::Station("enroll,update")],
        refused: None,
    },
    Scene {
        title: "OCPP 2.0.1, frames of 4,096 bytes: enrolment with a shared secret, then an update",
        id: "CP-201",
        version: Version::V2_0_1,
        unit: 4_096,
        route: "default",
        secret: Some("installer:correct horse battery staple"),
        acts: &[Act::Station("enroll,update")],
        refused: None,
    },
    Scene {
        title: "OCPP 2.1: an RA that needs time",
        id: "CP-21",
        version: Version::V2_1,
        unit: 3_500,
        route: "slow",
        secret: None,
        acts: &[Act::Station("enroll,update")],
        refused: None,
    },
    Scene {
        title: "OCPP 2.0.1: a station with a wrong secret is refused",
        id: "CP-WRONG",
        version: Version::V2_0_1,
        unit: 3_500,
        route: "default",
        secret: Some("installer:wrong"),
        acts: &[Act::Station("enroll")],
        refused: Some("badMessageCheck"),
    },
    Scene {
        title: "OCPP 2.1: the life of a certificate, with a new root in between",
        id: "CP-LIFE",
        version: Version::V2_1,
        unit: 3_500,
        route: "default",
        secret: None,
        acts: &[
            Act::Station("template,enroll,ca-certs"),
            Act::NewRoot,
            Act::Station("root-update,update,revoke,crl"),
        ],
        refused: None,
    },
];

/// The subcommand.
///
/// # Errors
/// [`Failure::Operation`] where a scene did not end as it should.
pub fn run(args: &Args) -> Result<(), Failure> {
    let print: Print = if args.json {
        Arc::new(|_| ())
    } else {
        Arc::new(|line| println!("{}", printable(line)))
    };
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::operation)?;
    let report = runtime.block_on(play(&print)).map_err(Failure::Operation)?;
    if args.json {
        println!("{}", report.to_json());
    }
    if report.ok {
        Ok(())
    } else {
        Err(Failure::Operation(anyhow::anyhow!(
            "the demo did not end as it should"
        )))
    }
}

async fn play(print: &Print) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("charger-sim-demo-").tempdir()?;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let pki = Pki::generate(KeyAlgorithm::P256, now_s)?;
    let ca = folder.path().join("ca");
    pki.save(&ca)?;
    pki.issue_idevid("SN-0001", now_s)?
        .save(&folder.path().join("device"))?;
    let (stop, stopped) = watch::channel(false);
    let store = Store::open(&ca.join("state.sqlite"))?;
    let prompt = serve_ra(&ca, store, None, stopped.clone()).await?;
    let slow = serve_ra(
        &ca,
        Store::in_memory()?,
        Some(PollAfter {
            polls: 1,
            check_after_s: 1,
        }),
        stopped.clone(),
    )
    .await?;
    let bridge = serve_bridge(prompt, slow, stopped).await?;
    print(&format!(
        "lab-ra on {prompt}, a slow one on {slow}, csms-bridge on {bridge}"
    ));
    let mut report = Report::default();
    for scene in SCENES {
        print("");
        print(scene.title);
        let started = Instant::now();
        let (ok, detail) = scene.play(bridge, folder.path(), print).await?;
        report.push(scene.title, ok, started.elapsed(), detail);
    }
    stop.send_replace(true);
    let verdict = if report.ok {
        "all as it should be"
    } else {
        "something is wrong"
    };
    print("");
    print(&format!("{} scenes, {verdict}", SCENES.len()));
    Ok(report)
}

impl Scene {
    /// Whether it ended as it should, and what came out.
    async fn play(
        &self,
        bridge: SocketAddr,
        folder: &Path,
        print: &Print,
    ) -> anyhow::Result<(bool, Map<String, Value>)> {
        let (mut ok, mut steps) = (true, Vec::new());
        for act in self.acts {
            let Act::Station(operations) = act else {
                print("the CA makes a new root, and an RA under it");
                roll_over(&folder.join("ca"))?;
                continue;
            };
            let args = self.args(operations, bridge, folder)?;
            let inner = station::run_until(&args, Arc::clone(print), std::future::pending());
            let inner = inner.await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
            let mut errors = inner
                .steps
                .iter()
                .filter_map(|step| step.detail.get("error")?.as_str());
            ok &= match self.refused {
                None => inner.ok,
                Some(text) => errors.any(|error| error.contains(text)),
            };
            steps.extend(inner.steps);
        }
        let mut detail = Map::new();
        detail.insert("steps".into(), serde_json::to_value(steps)?);
        let refused = self.refused.map_or(Value::Null, Value::from);
        detail.insert("expected_refusal".into(), refused);
        Ok((ok, detail))
    }

    fn args(&self, operations: &str, bridge: SocketAddr, folder: &Path) -> anyhow::Result<station::Args> {
        let device = folder.join("device");
        let with_device = |name: &str| self.secret.is_none().then(|| device.join(name));
        Ok(station::Args {
            key_type: None,
            keygen: station::Keygen::Local,
            csms: format!("ws://{bridge}/ocpp"),
            id: self.id.into(),
            ocpp: Some(self.version),
            state: folder.join(self.id),
            cert: with_device("cert.pem"),
            key: with_device("key.pem"),
            chain: with_device("chain.pem"),
            secret: self.secret.and_then(|secret| secret.parse().ok()),
            trust: Some(folder.join("ca").join("root.pem")),
            signer_usage: station::SignerUsage::default(),
            anchor_signer: None,
            recipient: None,
            subject: None,
            unit: self.unit,
            route: self.route.parse().unwrap_or_default(),
            implicit_confirm: false,
            timeout: 60,
            report: None,
            san: Vec::new(),
            profile: None,
            reason: None,
            root: None,
            crl_issuer: None,
            security: link::SecurityArgs::default(),
            operations: Operations::parse([operations]).map_err(anyhow::Error::msg)?,
        })
    }
}

/// As `lab-ra rollover` does.
fn roll_over(ca: &Path) -> anyhow::Result<()> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut pki = Pki::load(ca)?;
    pki.roll_over(now_s)?;
    pki.save_generation(ca)?;
    Store::open(&ca.join("state.sqlite"))?.announce_generation(pki.generation(), now_s)?;
    Ok(())
}

async fn serve_ra(
    ca: &Path,
    store: Store,
    poll_after: Option<PollAfter>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<SocketAddr> {
    let mut config = RaConfig::default();
    config.poll_after = poll_after;
    let secret = Secret::new(b"correct horse battery staple".to_vec());
    config.secrets.insert(b"installer".to_vec(), secret);
    let ra = Ra::new(Pki::load(ca)?, config, store)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(lab_ra::http::serve(
        listener,
        Arc::new(Mutex::new(ra)),
        async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        },
    ));
    Ok(address)
}

async fn serve_bridge(
    prompt: SocketAddr,
    slow: SocketAddr,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<SocketAddr> {
    let mut config = csms_bridge::Config {
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..csms_bridge::Config::default()
    };
    config.add_route(&format!("default=http://{prompt}/.well-known/cmp"))?;
    config.add_route(&format!("slow=http://{slow}/.well-known/cmp"))?;
    config.check()?;
    let store = MemoryStore::new(config.max_stations);
    let listeners = Listeners::bind(&config).await?;
    let address = listeners.addresses()?.first().map(|(_, address)| *address);
    let bridge = Bridge::new(config, Arc::new(store)).await?;
    tokio::spawn(async move { bridge.serve(listeners, stopped).await });
    address.context("a bridge without a listener")
}
