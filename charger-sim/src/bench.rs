//! `charger-sim bench`: CPU time of whole transactions, both sides in this process.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::json;

use crate::Failure;

mod bridge;
mod enrolment;
mod openssl;

pub use enrolment::{Enrolment, Provider};
use openssl::Openssl;

/// Rounds in which we and a peer take turns.
const ROUNDS: u32 = 5;

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Enrolments protected by signature: ir, ip, certConf, pkiConf with P-256 on both sides, a certificate issued for
    /// each. The station's keys are made beforehand; nothing goes over a network or to disk.
    Enroll(Enroll),
    /// What a bridge between stations and an RA costs: `csms-bridge` as a process of its own, loaded from this one with
    /// exchanges of one frame each way and one HTTP request, or only with stations that stay.
    Bridge(bridge::Args),
}

#[derive(Clone, Debug, clap::Args)]
struct Enroll {
    /// How many.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Who computes for the station; the RA's side is always aws-lc.
    #[arg(long, value_enum, default_value = "aws-lc")]
    provider: Provider,
    /// Take turns with a peer, and say how much CPU time we need of what it needs.
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// Print one JSON object in place of text.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Peer {
    /// Client and mock server of `openssl cmp` in one process; it issues nothing.
    Openssl,
}

/// The subcommand.
///
/// # Errors
/// [`Failure::Operation`] where an enrolment fails or the system does not tell the CPU time.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::Enroll(enroll) => measure(enroll),
        What::Bridge(args) => bridge::run(args),
    }
    .map_err(Failure::Operation)
}

fn measure(args: &Enroll) -> anyhow::Result<()> {
    let mut enrolment = Enrolment::new(args.provider)?;
    let peer = match args.peer {
        Some(Peer::Openssl) => Some(Openssl::new(enrolment.pki(), enrolment.idevid())?),
        None => None,
    };
    (0..args.count.div_ceil(10)).try_for_each(|_| enrolment.run())?;
    let rounds = if peer.is_some() { ROUNDS } else { 1 };
    let count = args.count.div_ceil(rounds);
    let (mut ours, mut wall, mut peers) = (Vec::new(), Duration::ZERO, Vec::new());
    for _ in 0..rounds {
        let (cpu, begun) = (cpu_time()?, Instant::now());
        (0..count).try_for_each(|_| enrolment.run())?;
        ours.push(per_enrolment_us(cpu_time()?.saturating_sub(cpu), count));
        wall += begun.elapsed();
        if let Some(openssl) = &peer {
            peers.push(per_enrolment_us(openssl.cpu_time(count)?, count));
        }
    }
    print(
        args,
        count * rounds,
        median(ours),
        per_enrolment_us(wall, count * rounds),
        (!peers.is_empty()).then(|| median(peers)),
    );
    Ok(())
}

fn print(args: &Enroll, count: u32, cpu_us: f64, wall_us: f64, peer_cpu_us: Option<f64>) {
    let provider = args.provider.to_possible_value();
    let provider = provider.as_ref().map_or("", |value| value.get_name());
    let ratio = peer_cpu_us.map(|peer| cpu_us / peer);
    if args.json {
        let figures = json!({ "count": count, "provider": provider, "cpu_us": cpu_us, "wall_us": wall_us,
            "peer_cpu_us": peer_cpu_us, "ratio": ratio });
        return println!("{figures}");
    }
    println!("{count} enrolments, {provider}: {cpu_us:.0} µs CPU and {wall_us:.0} µs wall each");
    if let (Some(peer), Some(ratio)) = (peer_cpu_us, ratio) {
        println!(
            "openssl, in turns with it: {peer:.0} µs CPU each; ours is {ratio:.2} of that (medians of {ROUNDS} rounds)"
        );
    }
}

fn per_enrolment_us(time: Duration, count: u32) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(count)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The CPU time of this thread so far, as Linux tells it.
fn cpu_time() -> anyhow::Result<Duration> {
    let path = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(path).context(path)?;
    let Some(ns) = text.split_whitespace().next().and_then(|ns| ns.parse().ok()) else {
        bail!("{path} is not as expected");
    };
    Ok(Duration::from_nanos(ns))
}
