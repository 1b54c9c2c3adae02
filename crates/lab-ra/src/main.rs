//! `lab-ra`: an RA and CA for labs.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use cmp_message::mac::Secret;
use lab_ra::{
    ImplicitConfirm, Pki, PkiError, PollAfter, Ra, RaConfig, Store, StoreError,
    http::{self, unix_now_s},
};
use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command, ImplicitConfirmArg, ServeArgs};

/// What ended the program.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Pki(#[from] PkiError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: io::Error },
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Failure {
    /// The exit codes that `--help` names.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Pki(PkiError::SerialNumber) => 2,
            Self::Pki(
                PkiError::Exists
                | PkiError::Io { .. }
                | PkiError::Damaged(_)
                | PkiError::WrongKey(_)
                | PkiError::Store(_),
            )
            | Self::Store(_) => 3,
            Self::Listen { .. } => 4,
            _ => 1,
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = failure.exit_code();
            // With stderr gone there is nobody left to tell.
            let _ = writeln!(io::stderr(), "lab-ra: {failure}");
            ExitCode::from(code)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Init { state, profile } => {
            Pki::generate(profile, unix_now_s())?.save(&state)?;
            Ok(writeln!(
                io::stdout(),
                "trust anchor: {}",
                state.join("root.pem").display()
            )?)
        }
        Command::IssueIdevid { state, serial, out } => {
            Pki::load(&state)?
                .issue_idevid(&serial, unix_now_s())?
                .save(&out)?;
            Ok(writeln!(
                io::stdout(),
                "manufacturer certificate: {}",
                out.join("cert.pem").display()
            )?)
        }
        Command::Serve(args) => serve(args),
        Command::Certificates { state } => certificates(&state),
    }
}

fn certificates(state: &Path) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    for one in open_store(state)?.certificates()? {
        let serial = one.serial.iter().map(|byte| format!("{byte:02x}"));
        let subject = one.subject.replace(char::is_control, " ");
        writeln!(
            stdout,
            "{:9} {} {subject}",
            one.status.name(),
            serial.collect::<String>()
        )?;
    }
    Ok(())
}

fn serve(args: ServeArgs) -> Result<(), Failure> {
    let ra = Ra::new(Pki::load(&args.state)?, config(&args), open_store(&args.state)?)?;
    Runtime::new()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let listener = TcpListener::bind(&args.listen)
            .await
            .map_err(|error| Failure::Listen {
                address: args.listen.clone(),
                error,
            })?;
        let mut stdout = io::stdout();
        writeln!(stdout, "listening on {}", listener.local_addr()?)?;
        stdout.flush()?;
        let stop = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        Ok(http::serve(listener, Arc::new(Mutex::new(ra)), stop).await?)
    })
}

fn open_store(state: &Path) -> Result<Store, StoreError> {
    Store::open(&state.join("state.sqlite"))
}

fn config(args: &ServeArgs) -> RaConfig {
    let mut config = RaConfig::default();
    config.implicit_confirm = match args.implicit_confirm {
        ImplicitConfirmArg::Grant => ImplicitConfirm::Grant,
        ImplicitConfirmArg::Ignore => ImplicitConfirm::Ignore,
    };
    config.poll_after = args
        .poll_after
        .map(|(polls, check_after_s)| PollAfter { polls, check_after_s });
    config.confirm_wait_s = args.confirm_wait;
    config.certificate_lifetime_s = u64::from(args.days) * 86_400;
    config.max_clock_skew_s = args.max_clock_skew;
    for secret in &args.secret {
        let value = Secret::new(secret.value.as_bytes().to_vec());
        config
            .secrets
            .insert(secret.reference.clone().into_bytes(), value);
    }
    config
}
