//! `charger-sim bench`: CPU time of whole transactions, both sides in this process.

use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use charger_agent::client::{
    CertificateRequest, Config, KeyId, NewKey, Operation, Protection, Time, Transaction, drive::drive,
};
use clap::ValueEnum;
use cmp_message::{
    Raw,
    certificate::Certificate,
    crypto::{AwsLc, Crypto, KeyAlgorithm, RustCrypto, SigningKey, aws_lc, rustcrypto},
};
use lab_ra::{Pki, Ra, RaConfig, Store};
use serde_json::json;

use crate::Failure;

mod openssl;

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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Provider {
    /// Pure Rust, as in a station.
    Rustcrypto,
    /// AWS-LC.
    AwsLc,
}

/// The subcommand.
///
/// # Errors
/// [`Failure::Operation`] where an enrolment fails or the system does not tell the CPU time.
pub fn run(args: &Args) -> Result<(), Failure> {
    let What::Enroll(enroll) = &args.what;
    measure(enroll).map_err(Failure::Operation)
}

fn measure(args: &Enroll) -> anyhow::Result<()> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let pki = Pki::generate(KeyAlgorithm::P256, now_s)?;
    let idevid = pki.issue_idevid("SN-BENCH", now_s)?;
    let peer = match args.peer {
        Some(Peer::Openssl) => Some(Openssl::new(&pki, &idevid)?),
        None => None,
    };
    let root = Certificate::from_der(pki.root.certificate())?;
    let mut ra = Ra::new(pki, RaConfig::default(), Store::in_memory()?)?;
    let (crypto, keys) = keys(args.provider, &idevid.key)?;
    let [device, new] = &keys;
    let protection = Protection::Signature {
        key: KeyId(0),
        algorithm: device.algorithm(),
        certificate: Certificate::from_der(idevid.certificate.as_slice())?,
        chain: idevid
            .chain
            .iter()
            .map(|der| Raw::new(der.as_slice()))
            .collect::<Result<_, _>>()?,
    };
    let config = Config::new(crypto, x509_cert::name::Name::default(), protection, vec![root]);
    let new = NewKey::Own {
        key: KeyId(1),
        public_key: new.public_key().to_vec(),
        algorithm: new.algorithm(),
    };
    let request = CertificateRequest::new(Operation::Initialization, "CN=CP-BENCH".parse()?, new);
    let now = Time {
        monotonic: Duration::ZERO,
        utc_s: Some(now_s),
    };
    let config = std::sync::Arc::new(config);
    let mut enrol = || -> anyhow::Result<()> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let mut transaction = Transaction::new(std::sync::Arc::clone(&config), request.clone(), seed, now);
        let find = |id: KeyId| keys.get(id.0 as usize).map(|key| &**key);
        drive(&mut transaction, now, find, |_, message| {
            Some(ra.handle(now_s, message))
        })?;
        Ok(())
    };
    (0..args.count.div_ceil(10)).try_for_each(|_| enrol())?;
    let rounds = if peer.is_some() { ROUNDS } else { 1 };
    let count = args.count.div_ceil(rounds);
    let (mut ours, mut wall, mut peers) = (Vec::new(), Duration::ZERO, Vec::new());
    for _ in 0..rounds {
        let (cpu, begun) = (cpu_time()?, Instant::now());
        (0..count).try_for_each(|_| enrol())?;
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

type Keys = [Box<dyn SigningKey>; 2];

/// The manufacturer's key and a new one, and who computes with them.
fn keys(provider: Provider, device: &[u8]) -> anyhow::Result<(&'static (dyn Crypto + Send + Sync), Keys)> {
    Ok(match provider {
        Provider::AwsLc => {
            let keys: Keys = [
                Box::new(aws_lc::SoftKey::from_der(device)?),
                Box::new(aws_lc::SoftKey::generate(KeyAlgorithm::P256)?),
            ];
            (&AwsLc, keys)
        }
        Provider::Rustcrypto => {
            let new = rustcrypto::SoftKey::generate(KeyAlgorithm::P256, &mut getrandom::SysRng)?;
            let keys: Keys = [Box::new(rustcrypto::SoftKey::from_der(device)?), Box::new(new)];
            (&RustCrypto, keys)
        }
    })
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
