//! CMP over HTTP in, OCPP out: any CMP client reaches the RA through the station's connection without knowing it.
//!
//! One HTTP request is one exchange of the binding, its response the exchange's response, byte for byte.

mod carrier;
mod http;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cmp_binding::{Route, station};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::info;

pub use carrier::Refused;
use carrier::Tunnel;

use crate::Failure;
use crate::link::{self, BootStatus, Clock, Event, Link, LinkArgs, envelope};
use crate::transcript::Traffic;

/// HTTP requests that wait at a time; one more is answered 503.
pub const MAX_WAITING: usize = 16;
/// How long HTTP connections may take to end.
const LINGER: Duration = Duration::from_secs(3);

/// The arguments of `tunnel`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    link: LinkArgs,
    /// The route that the CSMS side is to take.
    #[arg(long, default_value_t)]
    route: Route,
    /// Where to listen for CMP over HTTP; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// How long an exchange may stand still before it is given up with 504.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u32,
}

/// What a tunnel is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The station's connection.
    pub link: link::Config,
    /// The route that the CSMS side is to take.
    pub route: Route,
    /// The station's role of the binding.
    pub station: station::Config,
}

impl Options {
    /// A tunnel with this unit, and 2 minutes of patience.
    #[must_use]
    pub fn new(link: link::Config, route: Route, unit: usize) -> Self {
        let station = station::Config {
            unit,
            envelope: envelope(&link.vendor_id),
            patience: Duration::from_secs(120),
            ..station::Config::default()
        };
        Self { link, route, station }
    }
}

/// Runs until SIGINT or SIGTERM. Prints `listening on ADDRESS` as soon as a client may be started.
///
/// # Errors
/// If it cannot listen, or the CSMS does not take the station.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let mut options = Options::new(args.link.config(), args.route.clone(), args.link.unit());
    options.station.patience = Duration::from_secs(args.patience.max(1).into());
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::operation)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::operation)?;
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::Operation(anyhow::Error::new(error).context(format!("cannot listen on {}", args.listen)))
    })?;
    let ready = |address| {
        println!("listening on {address}");
        // Whoever waits for the line reads a pipe.
        let _ = std::io::stdout().flush();
    };
    let traffic = serve(options, listener, ready, stop)
        .await
        .map_err(|error| match error {
            link::Error::Url(_) => Failure::input(error),
            error => Failure::operation(error),
        })?;
    let total = traffic.total;
    info!(
        frames = total.sent.frames + total.received.frames,
        bytes = total.sent.bytes + total.received.bytes,
        overhead = total.overhead(),
        "carried"
    );
    Ok(())
}

/// Runs a tunnel until `stop` ends. `ready` is called once, when HTTP requests are taken and the CSMS has answered the
/// station's BootNotification with Accepted, or with Pending: then the CSMS pulls the requests.
///
/// # Errors
/// Those of the link.
pub async fn serve(
    options: Options,
    listener: TcpListener,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()> + Send,
) -> Result<Traffic, link::Error> {
    let wake = Arc::new(Notify::new());
    let (jobs, jobs_in) = mpsc::channel(MAX_WAITING);
    let (booted, boot) = oneshot::channel();
    let (ended, end) = oneshot::channel::<()>();
    let max = options.station.max;
    let carrier = Tunnel::new(options.station, options.route, jobs_in, wake.clone());
    let mut booted = Some(booted);
    let observer = move |event: &Event<'_>| {
        if let Event::Booted {
            status: BootStatus::Accepted | BootStatus::Pending,
        } = event
            && let Some(booted) = booted.take()
        {
            let _ = booted.send(());
        }
    };
    let mut link = Link::new(options.link, Clock::start(), carrier, observer);
    let carrying = async move {
        let result = link.run(stop).await;
        // Drops the carrier: requests that wait are answered 503 now.
        let (_, _, traffic) = link.into_parts();
        let _ = ended.send(());
        result.map(|()| traffic)
    };
    let listening = async move {
        let Ok(address) = listener.local_addr() else {
            return;
        };
        if boot.await.is_err() {
            return;
        }
        ready(address);
        http::serve(listener, http::router(jobs, wake, max), end, LINGER).await;
    };
    let (result, ()) = tokio::join!(carrying, listening);
    result
}
