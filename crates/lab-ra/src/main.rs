//! `lab-ra`: an RA and CA for labs.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod forward;

use clap::Parser;
use cmp_http::TlsError;
use lab_ra::{AnswerError, ConfigError, PkiError, RevokeError, SpoolError, StoreError};
use std::{
    io::{self, Write},
    process::ExitCode,
};
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};

/// What ended the program.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Pki(#[from] PkiError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Revoke(#[from] RevokeError),
    #[error("{0}")]
    Spool(#[from] SpoolError),
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("{0} means nothing with --role {1}")]
    WrongRole(&'static str, &'static str),
    #[error("{0}")]
    Arguments(&'static str),
    #[error("no such request waits")]
    NotPending,
    #[error("there is no generation {0}")]
    NoGeneration(u32),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: io::Error },
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<AnswerError> for Failure {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Spool(error) => Self::Spool(error),
            AnswerError::Ra(error) => Self::Pki(error),
            other => Self::Io(io::Error::other(other)),
        }
    }
}

impl Failure {
    /// The exit codes that `--help` names.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Pki(PkiError::SerialNumber)
            | Self::Config(_)
            | Self::Arguments(_)
            | Self::Tls(_)
            | Self::WrongRole(..) => 2,
            Self::Pki(
                PkiError::Exists
                | PkiError::Io { .. }
                | PkiError::Damaged(_)
                | PkiError::WrongKey(_)
                | PkiError::Store(_),
            )
            | Self::Store(_)
            | Self::Spool(_)
            | Self::Revoke(RevokeError::Store(_)) => 3,
            Self::Listen { .. } => 4,
            Self::Revoke(_) | Self::NotPending | Self::NoGeneration(_) => 5,
            _ => 1,
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_writer(io::stderr)
        .init();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = failure.exit_code();
            // With stderr gone there is nobody left to tell.
            let _ = writeln!(io::stderr(), "lab-ra: {failure}");
            ExitCode::from(code)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init { state, profile } => commands::init(&state, profile),
        Command::IssueIdevid { state, serial, out } => commands::issue_idevid(&state, &serial, &out),
        Command::Issue {
            state,
            subject,
            out,
            ra,
        } => commands::issue(&state, &subject, &out, ra),
        Command::Serve(args) => commands::serve(args),
        Command::Spool(args) => commands::spool(&args),
        Command::Certificates { state } => commands::certificates(&state),
        Command::Revoke {
            state,
            serial,
            reason,
        } => commands::revoke(&state, &serial.0, reason),
        Command::Crl {
            state,
            out,
            generation,
        } => commands::crl(&state, &out, generation),
        Command::Rollover { state } => commands::roll_over(&state),
        Command::Pending { state } => commands::pending(&state),
        Command::Approve { state, number } => commands::approve(&state, number),
        Command::Deny { state, number, why } => commands::deny(&state, number, &why),
    }
}
