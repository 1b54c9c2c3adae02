//! Commands that ask a bridge that runs, at its admin address.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use csms_bridge::{SecretFile, admin::AdminClient};
use serde_json::Value;

/// Where the bridge is asked.
#[derive(Args)]
pub(crate) struct Address {
    /// The admin address of the bridge.
    #[arg(long = "admin", value_name = "URL", default_value = "http://127.0.0.1:9001")]
    url: String,
    /// A file with the bearer token of the admin address.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// What the certificate of an https admin address is verified with (PEM).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Address {
    fn client(&self) -> anyhow::Result<AdminClient> {
        let token = self.token_file.as_deref().map(SecretFile::load).transpose()?;
        Ok(AdminClient::new(&self.url, token.as_ref(), self.ca.as_deref())?)
    }
}

#[derive(Args)]
pub(crate) struct Notify {
    #[command(flatten)]
    address: Address,
    /// Identity of the station.
    #[arg(long, value_name = "ID")]
    station: String,
    /// What it is to do.
    #[arg(long = "do", value_name = "OPERATION")]
    operation: Operation,
    /// The slot that it is to do it with. Default: ChargingStationCertificate.
    #[arg(long)]
    slot: Option<String>,
}

/// What a station can be asked to do (docs/binding.md, `CmpNotify`).
#[derive(Clone, Copy, ValueEnum)]
enum Operation {
    /// Get a first certificate.
    Enroll,
    /// Renew the certificate now.
    Update,
    /// Fetch CA certificates.
    CaCerts,
    /// Fetch a root CA update.
    RootUpdate,
    /// Fetch the certificate request template.
    Template,
    /// Fetch the CRL.
    Crl,
}

#[derive(Args)]
pub(crate) struct Stations {
    #[command(flatten)]
    address: Address,
    /// Only those in trouble: held in Pending, with an error, or with a certificate that has expired or soon will.
    #[arg(long)]
    trouble: bool,
}

#[derive(Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    address: Address,
    /// Only this identity.
    #[arg(long, value_name = "ID")]
    station: Option<String>,
    /// Only failures.
    #[arg(long)]
    failed: bool,
    /// So many at most, the newest first.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// Entries of one answer of the API.
const PAGE: usize = 1_000;

impl Notify {
    /// 0: the station will; 1: it will not, is not connected, or the bridge is not reached; 2: the command line is wrong.
    pub(crate) fn run(&self) -> ExitCode {
        let operation = self.operation.to_possible_value();
        let operation = operation.as_ref().map_or("", |value| value.get_name());
        let client = match self.address.client() {
            Ok(client) => client,
            Err(error) => return failed(&error, 2),
        };
        let asked = client.notify(&self.station, operation, self.slot.as_deref());
        match wait(asked) {
            Ok(()) => {
                println!("{} will {operation}", self.station.escape_debug());
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error, 1),
        }
    }
}

impl Stations {
    pub(crate) fn run(&self) -> ExitCode {
        let list = || {
            let client = self.address.client()?;
            let mut after = None;
            loop {
                let page = wait(client.stations(self.trouble, after.as_deref()))?;
                print_each(&page.entries)?;
                if page.next.is_none() {
                    return Ok(());
                }
                after = page.next;
            }
        };
        ended(list())
    }
}

impl Audit {
    pub(crate) fn run(&self) -> ExitCode {
        let list = || {
            let client = self.address.client()?;
            let (mut before, mut left) = (None, self.limit);
            while left > 0 {
                let limit = left.min(PAGE);
                let page = wait(client.audit(self.station.as_deref(), self.failed, before, limit))?;
                print_each(&page.entries)?;
                left = left.saturating_sub(page.entries.len());
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            Ok(())
        };
        ended(list())
    }
}

/// One JSON object a line, as other programs like to read it.
fn print_each(list: &[Value]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for entry in list {
        writeln!(out, "{entry}")?;
    }
    Ok(())
}

fn wait<T, E>(future: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    anyhow::Error: From<E>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future)?)
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("csms-bridge: {error:#}");
    ExitCode::from(code)
}
