//! `charger-sim bench bridge`: what a bridge costs, in CPU time of its process, in memory, and in time added.

mod load;
mod process;
mod ra;

use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::median;
use load::{Fleet, Latency};
use process::{Bridge, Peer};
use ra::StandIn;

/// Rounds in which we and a peer take turns.
const ROUNDS: u32 = 3;
/// Bytes of the request and of the response of each exchange: an `ir` and an `ip` with a chain, on P-256.
const REQUEST_BYTES: usize = 1_460;
const RESPONSE_BYTES: usize = 1_788;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Exchanges, all told.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Stations that are connected, from many loopback addresses.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    stations: u32,
    /// Exchanges at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    concurrency: u32,
    /// How csms-bridge stands next to a CSMS; in the mode proxy, next to one in this process.
    #[arg(long, value_enum, default_value = "standalone")]
    mode: Mode,
    /// Stations connect to csms-bridge with TLS.
    #[arg(long, conflicts_with = "peer")]
    tls: bool,
    /// Take turns with a peer.
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// The interpreter of the peer `python`; it has websockets and aiohttp.
    #[arg(long, value_name = "FILE", default_value = "tests/.venv/bin/python")]
    python: PathBuf,
    /// Where the bridge keeps what must outlive it: a file, or `memory`.
    #[arg(long, value_name = "FILE|memory", default_value = "memory")]
    store: PathBuf,
    /// Print one JSON object in place of text.
    #[arg(long)]
    json: bool,
}

/// How csms-bridge stands next to a CSMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Alone.
    Standalone,
    /// In front of it.
    Proxy,
}

/// What one round measured.
#[derive(Clone, Copy, Debug)]
struct Round {
    cpu_us: f64,
    latency: Latency,
}

/// One bridge with its stations.
struct Side {
    process: Bridge,
    fleet: Fleet,
    idle_kib: f64,
    rounds: Vec<Round>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(measure(args))
}

async fn measure(args: &Args) -> anyhow::Result<()> {
    let ra = StandIn::start().await?;
    let ours = Bridge::ours(&ra, args).await?;
    let mut sides = vec![Side::new(ours, args.stations).await.context("csms-bridge")?];
    if let Some(peer) = args.peer {
        let process = Bridge::peer(peer, &ra, args).await?;
        sides.push(Side::new(process, args.stations).await.context("the peer")?);
    }
    let count = args.count.div_ceil(ROUNDS);
    for side in &mut sides {
        // Warm.
        side.fleet.exchange(count.div_ceil(10), args.concurrency).await?;
    }
    let mut direct = Vec::new();
    for _ in 0..ROUNDS {
        for side in &mut sides {
            let before = side.process.cpu_time()?;
            let latency = side.fleet.exchange(count, args.concurrency).await?;
            let cpu = side.process.cpu_time()?.saturating_sub(before);
            side.rounds.push(Round {
                cpu_us: cpu.as_secs_f64() * 1e6 / f64::from(count),
                latency,
            });
        }
        direct.push(ra.ask_directly(count, args.concurrency).await?);
    }
    print(args, &sides, &direct);
    Ok(())
}

impl Side {
    async fn new(process: Bridge, stations: u32) -> anyhow::Result<Self> {
        let before = process.memory_kib()?;
        let fleet = Fleet::connect(&process.url, &process.security, stations).await?;
        let after = process.memory_kib()?;
        Ok(Self {
            idle_kib: (after - before) / f64::from(stations),
            process,
            fleet,
            rounds: Vec::new(),
        })
    }

    fn cpu_us(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.cpu_us).collect())
    }

    fn latency(&self) -> Latency {
        Latency::median(self.rounds.iter().map(|round| round.latency))
    }

    fn to_json(&self) -> Value {
        json!({ "name": self.process.name, "cpu_us": self.cpu_us(), "per_cpu_s": 1e6 / self.cpu_us(),
            "kib_per_station": self.idle_kib, "latency": self.latency().to_json() })
    }
}

fn print(args: &Args, sides: &[Side], direct: &[Latency]) {
    let direct = Latency::median(direct.iter().copied());
    let ratio = match sides {
        [ours, peer] => Some(peer.cpu_us() / ours.cpu_us()),
        _ => None,
    };
    if args.json {
        let bridges: Vec<_> = sides.iter().map(Side::to_json).collect();
        let figures = json!({ "count": args.count, "stations": args.stations, "concurrency": args.concurrency,
            "request_bytes": REQUEST_BYTES, "response_bytes": RESPONSE_BYTES,
            "direct": { "latency": direct.to_json() }, "bridges": bridges, "ratio": ratio });
        return println!("{figures}");
    }
    println!(
        "{} exchanges of {} stations, {} at a time, {REQUEST_BYTES} and {RESPONSE_BYTES} bytes; medians of {ROUNDS} rounds",
        args.count, args.stations, args.concurrency
    );
    for side in sides {
        println!(
            "{:<12} {:>7.0} exchanges per CPU second ({:.0} µs each), {:.1} KiB per idle station, {}",
            side.process.name,
            1e6 / side.cpu_us(),
            side.cpu_us(),
            side.idle_kib,
            side.latency()
        );
    }
    println!("{:<12} straight to the RA: {direct}", "no bridge");
    if let Some(ratio) = ratio {
        println!("ours does {ratio:.2} times the exchanges of the peer in the same CPU time");
    }
}

/// One DER SEQUENCE of `len` bytes, all told.
fn message(len: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(len - 4).unwrap_or_default().to_be_bytes();
    let mut der = vec![0x30, 0x82, high, low];
    der.resize(len, 0x05);
    der
}
