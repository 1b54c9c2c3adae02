//! Stations that do nothing but exchange: one frame each way, written without a state machine, so that the load costs
//! little beside what is measured.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use base64ct::{Base64, Encoding as _};
use cmp_binding::ExchangeId;
use ocpp_rpc::{
    Version,
    ws::{ClientOptions, station_url},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, Semaphore},
    task::JoinSet,
};

use super::{REQUEST_BYTES, RESPONSE_BYTES, message};
use crate::{
    latency::Sorted,
    link::{Security, Socket},
};

/// Connections that are being made at a time.
const CONNECTING: usize = 64;

/// Percentiles of how long exchanges took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Latency {
    pub(super) fn of(times: Vec<Duration>) -> Self {
        let sorted = Sorted::new(times);
        Self {
            p50: sorted.percentile(50),
            p99: sorted.percentile(99),
        }
    }

    /// Of several rounds.
    pub(super) fn median(rounds: impl Iterator<Item = Self> + Clone) -> Self {
        let of = |which: fn(Self) -> Duration| {
            let all = rounds.clone().map(which).collect();
            Sorted::new(all).percentile(50)
        };
        Self {
            p50: of(|latency| latency.p50),
            p99: of(|latency| latency.p99),
        }
    }

    pub(super) fn to_json(self) -> Value {
        json!({ "p50_us": self.p50.as_micros() as u64, "p99_us": self.p99.as_micros() as u64 })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {} µs, p99 {} µs",
            self.p50.as_micros(),
            self.p99.as_micros()
        )
    }
}

/// Stations that are connected.
pub(super) struct Fleet {
    stations: Vec<Arc<Mutex<Station>>>,
}

struct Station {
    connection: Socket,
    calls: u32,
    /// The exchange before, which the next call acknowledges.
    last: Option<ExchangeId>,
}

impl Fleet {
    /// Connects and boots them.
    pub(super) async fn connect(url: &str, security: &Security, count: u32) -> anyhow::Result<Self> {
        let permits = Arc::new(Semaphore::new(CONNECTING));
        let mut connecting = JoinSet::new();
        for number in 0..count {
            let permit = Arc::clone(&permits).acquire_owned().await?;
            let (url, security) = (url.to_owned(), security.clone());
            connecting.spawn(async move {
                let station = Station::connect(&url, &security, number).await;
                drop(permit);
                station
            });
        }
        let mut stations = Vec::with_capacity(count as usize);
        while let Some(station) = connecting.join_next().await {
            stations.push(Arc::new(Mutex::new(station??)));
        }
        Ok(Self { stations })
    }

    /// `count` exchanges, of one station after the other.
    pub(super) async fn exchange(&self, count: u32, concurrency: u32) -> anyhow::Result<Latency> {
        let permits = Arc::new(Semaphore::new(concurrency as usize));
        let mut exchanging = JoinSet::new();
        let mut times = Vec::with_capacity(count as usize);
        for station in self.stations.iter().cycle().take(count as usize) {
            let permit = Arc::clone(&permits).acquire_owned().await?;
            let station = Arc::clone(station);
            exchanging.spawn(async move {
                let mut station = station.lock().await;
                let begun = Instant::now();
                let done = station.exchange().await;
                let time = begun.elapsed();
                drop(permit);
                done.map(|()| time)
            });
            while let Some(time) = exchanging.try_join_next() {
                times.push(time??);
            }
        }
        while let Some(time) = exchanging.join_next().await {
            times.push(time??);
        }
        Ok(Latency::of(times))
    }
}

impl Station {
    async fn connect(url: &str, security: &Security, number: u32) -> anyhow::Result<Self> {
        let host = u8::try_from(number % 64).unwrap_or_default();
        let options = ClientOptions {
            versions: vec![Version::V2_0_1],
            source: Some(IpAddr::V4(Ipv4Addr::new(127, 1, 0, host + 1))),
            ..ClientOptions::default()
        };
        let id = format!("CP-{number}");
        let url = station_url(url, &id);
        let connection = security.connect(&url, &id, options).await;
        let connection = connection.context("connecting")?;
        let mut station = Self {
            connection,
            calls: 0,
            last: None,
        };
        let boot =
            json!({ "reason": "PowerUp", "chargingStation": { "model": "bench", "vendorName": "ocpp-cmp" } });
        let answer = station.call("BootNotification", &boot).await?;
        ensure!(answer.contains("Accepted"), "the boot was answered {answer}");
        Ok(station)
    }

    async fn exchange(&mut self) -> anyhow::Result<()> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let id = ExchangeId::from_random(random);
        let data = Base64::encode_string(&message(REQUEST_BYTES));
        let ack: Vec<_> = self.last.replace(id).into_iter().collect();
        let data = json!({ "id": id, "len": REQUEST_BYTES, "off": 0, "data": data, "ack": ack }).to_string();
        let payload = json!({ "vendorId": cmp_binding::VENDOR_ID, "messageId": "CmpSend", "data": data });
        let answer = self.call("DataTransfer", &payload).await?;
        let whole = format!("\\\"len\\\":{RESPONSE_BYTES}");
        ensure!(answer.contains(&whole), "the exchange was answered {answer}");
        Ok(())
    }

    async fn call(&mut self, action: &str, payload: &Value) -> anyhow::Result<String> {
        self.calls += 1;
        let text = json!([2, self.calls.to_string(), action, payload]).to_string();
        self.connection.send(text).await?;
        self.connection.recv().await?.context("the connection was closed")
    }
}
