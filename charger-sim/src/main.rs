//! The program `charger-sim`.

use std::{io::IsTerminal as _, process::ExitCode};

use charger_sim::{
    Failure, bench,
    decode::{self, text::printable},
    demo, fleet, station, tunnel,
};
use clap::{ArgAction, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// A charging station to try CMP over OCPP with.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    /// Say more on stderr; twice for details. `RUST_LOG` goes before it.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes:\n  0  done\n  1  carried out, and it did not succeed\n  2  wrong command line, or input that cannot be used";

#[derive(Subcommand)]
enum Command {
    /// Shows the main job: an RA, a bridge and stations in one process.
    Demo(demo::Args),
    /// Measures CPU time of whole transactions in this process.
    Bench(bench::Args),
    /// Takes CMP over HTTP from any client and carries it through OCPP.
    Tunnel(tunnel::Args),
    /// Prints OCPP frames, CMP messages or certificates as text.
    Decode(decode::Args),
    /// Is a station: asks for certificates, renews, revokes, and keeps what it got.
    Station(station::Args),
    /// Is thousands of stations: loads a CSMS, and says how long each thing took.
    Fleet(fleet::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What the demo's parts and the stations of a fleet have to say, those tell themselves.
    let quiet = matches!(cli.command, Command::Demo(_) | Command::Fleet(_));
    log_to_stderr(cli.verbose, if quiet { "off" } else { "warn" });
    let done = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Tunnel(args) => block_on(tunnel::run(&args)),
        Command::Decode(args) => decode::run(&args),
        Command::Station(args) => station::run(&args),
        Command::Fleet(args) => block_on(fleet::run(&args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("charger-sim: {}", printable(&failure.to_string()));
            failure.exit_code()
        }
    }
}

fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::operation)?
        .block_on(command)
}

fn log_to_stderr(verbose: u8, default: &str) {
    let level = match verbose {
        0 => default,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
