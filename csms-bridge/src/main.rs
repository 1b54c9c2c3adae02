//! `csms-bridge`: see `csms-bridge --help`.
#![forbid(unsafe_code)]

mod cli;

use std::{
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use cli::{
    access::AccessFlags,
    ask::{Audit, Notify, Stations},
    check::Check,
    hash_password::HashPassword,
    proxy::ProxyFlags,
    servers::ServerFlags,
};
use csms_bridge::{
    Admin, AdminError, Bridge, Config, ConfigError, ListenError, Listeners, Reload, StartError, config::Mode,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::EnvFilter;

/// Carries CMP between charging stations (OCPP DataTransfer) and an RA (HTTP).
///
/// Stations enrol and renew certificates over the OCPP connection that they have; the bridge passes each CMP message on
/// byte for byte, to the RA behind the route that the station names. It cannot read or change what it carries.
///
/// Exit codes: 0 ended by a signal, 1 it could not serve, 2 the command line or the configuration is wrong.
#[derive(Parser)]
#[command(name = "csms-bridge", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve stations. Prints `listening on ADDRESS` for each listener when ready; logs go to standard error.
    Serve(Box<Serve>),
    /// Say all that is wrong with a configuration file and the files that it names: line, what, and what to do.
    ///
    /// Exit codes: 0 nothing was found, 2 it cannot be used.
    Check(Check),
    /// Ask a connected station to do something, and wait for what it says.
    ///
    /// Exit codes: 0 it will, 1 it refuses, is not connected, or the bridge cannot be asked, 2 the command line is wrong.
    Notify(Notify),
    /// List the stations that a running bridge knows, one JSON object a line.
    Stations(Stations),
    /// Print the audit trail of a running bridge, the newest first, one JSON object a line.
    Audit(Audit),
    /// Print what the list of stations keeps of a password that is read from standard input.
    HashPassword(HashPassword),
}

#[derive(Args)]
struct Serve {
    /// Configuration file (TOML); csms-bridge.sample.toml explains every key. Flags go over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to stand next to a CSMS.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Where stations connect, or in mode sidecar the CSMS; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// An RA: NAME=URL, several URLs separated by commas, or NAME=spool:DIR, a folder whose files somebody carries.
    /// Repeatable; the name for stations that name none is `default`. https needs `trust` in the configuration file.
    #[arg(long = "route", value_name = "NAME=URL|spool:DIR")]
    routes: Vec<String>,
    /// Hold each station in boot state Pending, and pull, until it has been served.
    #[arg(long)]
    hold_pending: bool,
    /// Seconds after which a Pending station sends its next BootNotification.
    #[arg(long, value_name = "SECONDS")]
    pending_interval: Option<u64>,
    /// Where to keep what must outlive the bridge: a file, or `memory`. Default: csms-bridge.sqlite here.
    #[arg(long, value_name = "FILE|memory")]
    store: Option<PathBuf>,
    #[command(flatten)]
    servers: ServerFlags,
    #[command(flatten)]
    access: AccessFlags,
    #[command(flatten)]
    proxy: ProxyFlags,
    /// How to log: what happens is at `info`; the environment variable RUST_LOG says more exactly.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Serve {
    fn config(&self) -> Result<Config, ConfigError> {
        let mut config = self
            .config
            .as_deref()
            .map_or(Ok(Config::default()), Config::from_file)?;
        config.mode = self.mode.unwrap_or(config.mode);
        config.listen = self.listen.or(config.listen);
        self.access.apply(&mut config);
        self.proxy.apply(&mut config.proxy);
        config.hold_pending |= self.hold_pending;
        config.pending_interval_s = self.pending_interval.unwrap_or(config.pending_interval_s);
        config.store.file = self.store.clone().unwrap_or(config.store.file);
        self.servers.apply(&mut config);
        self.routes.iter().try_for_each(|route| config.add_route(route))?;
        config.check()?;
        Ok(config)
    }
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(arguments) => run_serve(&arguments),
        Command::Check(arguments) => arguments.run(),
        Command::Notify(arguments) => arguments.run(),
        Command::Stations(arguments) => arguments.run(),
        Command::Audit(arguments) => arguments.run(),
        Command::HashPassword(arguments) => match arguments.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("csms-bridge: {error:#}");
                ExitCode::from(2)
            }
        },
    }
}

fn run_serve(arguments: &Serve) -> ExitCode {
    start_log(arguments.log_format);
    let config = match arguments.config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("csms-bridge: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Runtime::new().context("starting");
    match runtime.and_then(|runtime| runtime.block_on(serve(config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("csms-bridge: {error:#}");
            match is_config(&error) {
                true => ExitCode::from(2),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// Whether a file that the configuration names is to blame.
fn is_config(error: &anyhow::Error) -> bool {
    let listeners = error.downcast_ref::<ListenError>();
    let admin = error.downcast_ref::<AdminError>();
    let bridge = error.downcast_ref::<StartError>();
    listeners.is_some_and(ListenError::is_config)
        || bridge.is_some_and(StartError::is_config)
        || matches!(admin, Some(AdminError::Token(_)))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let store = config
        .store
        .open(config.max_stations)
        .context("opening the store")?;
    let listeners = Listeners::bind(&config).await?;
    let admin = Admin::bind(&config.admin).await?;
    let drain_notice = config.drain_notice();
    let bridge = Bridge::new(config, store).await?;
    let (drain, draining) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let (end, ended) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Nobody has to read it: a closed standard output is no reason to end.
    let mut stdout = std::io::stdout();
    for (_, address) in listeners.addresses()? {
        let _ = writeln!(stdout, "listening on {address}").and_then(|()| stdout.flush());
    }
    let admin = match admin {
        Some(admin) => {
            let address = admin.address()?;
            let _ = writeln!(stdout, "admin on http://{address}/").and_then(|()| stdout.flush());
            Some(tokio::spawn(admin.serve(bridge.clone(), draining, ended)))
        }
        None => None,
    };
    tokio::spawn(reload_on_hangup(
        bridge.reload(&listeners),
        signal(SignalKind::hangup())?,
    ));
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Whoever distributes connections is told first.
        drain.send_replace(true);
        tokio::time::sleep(drain_notice).await;
        stop.send_replace(true);
    });
    bridge.serve(listeners, stopped).await;
    end.send_replace(true);
    if let Some(admin) = admin {
        // It does not panic.
        let _ = admin.await;
    }
    Ok(())
}

async fn reload_on_hangup(reload: Reload, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        let reload = reload.clone();
        // It reads files.
        let _ = tokio::task::spawn_blocking(move || reload.run()).await;
    }
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
