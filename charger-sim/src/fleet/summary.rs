//! What a fleet came to.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};

use crate::{decode::text::printable, latency::Sorted};

/// What a station has to say.
#[derive(Debug)]
pub(super) enum Note {
    /// The CSMS let it in, so long after it began to connect.
    Booted(Duration),
    /// An operation was done in so long.
    Done(&'static str, Duration),
    /// It will do nothing more, and did all that it should.
    Settled,
    /// It will do nothing more, and why.
    Failed(String),
    /// Its connection ended, or could not be made; it tries again.
    Disconnected(String),
}

/// Reasons that are told apart; what comes on top of them is counted as one.
const MAX_REASONS: usize = 20;

/// What a fleet came to.
#[derive(Debug)]
pub(super) struct Summary {
    count: u32,
    settled: u32,
    times: BTreeMap<&'static str, Vec<Duration>>,
    failures: BTreeMap<String, u32>,
    disconnects: BTreeMap<String, u32>,
    took: Duration,
    interrupted: bool,
}

impl Summary {
    pub(super) const fn new(count: u32) -> Self {
        Self {
            count,
            settled: 0,
            times: BTreeMap::new(),
            failures: BTreeMap::new(),
            disconnects: BTreeMap::new(),
            took: Duration::ZERO,
            interrupted: false,
        }
    }

    pub(super) fn add(&mut self, note: Note) {
        match note {
            Note::Booted(took) => self.times.entry("boot").or_default().push(took),
            Note::Done(operation, took) => self.times.entry(operation).or_default().push(took),
            Note::Settled => self.settled += 1,
            Note::Failed(reason) => {
                self.settled += 1;
                count(&mut self.failures, without_ids(&reason));
            }
            Note::Disconnected(reason) => count(&mut self.disconnects, reason),
        }
    }

    /// Stations that will do nothing more.
    pub(super) const fn settled(&self) -> u32 {
        self.settled
    }

    /// Stations that did not do what they should.
    pub(super) fn failed(&self) -> u32 {
        self.failures.values().sum::<u32>() + (self.count - self.settled)
    }

    pub(super) const fn interrupt(&mut self) {
        self.interrupted = true;
    }

    pub(super) const fn finish(&mut self, took: Duration) {
        self.took = took;
    }

    /// For a progress bar.
    pub(super) fn line(&self) -> String {
        let failed: u32 = self.failures.values().sum();
        let done = self
            .times
            .iter()
            .map(|(name, times)| format!("{} {name}", times.len()));
        let done = done.collect::<Vec<_>>().join(", ");
        match failed {
            0 => done,
            failed => format!("{done}, {failed} failed"),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let times = self.times.iter().map(|(name, times)| {
            let [p50, p90, p99, max] = percentiles_ms(times);
            let value = json!({ "count": times.len(), "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max,
                "per_s": self.per_s(times.len()) });
            ((*name).to_owned(), value)
        });
        json!({ "ok": self.failed() == 0, "count": self.count, "settled": self.settled, "failed": self.failed(),
            "interrupted": self.interrupted, "took_ms": ms(self.took),
            "steps": times.collect::<serde_json::Map<_, _>>(), "failures": self.failures,
            "disconnects": self.disconnects })
    }

    fn per_s(&self, count: usize) -> f64 {
        count as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// A reason without the transactionID that makes it another one for each station.
fn without_ids(reason: &str) -> String {
    let is_id = |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = reason
        .split(|c: char| !c.is_ascii_alphanumeric())
        .find(is_id)
        .unwrap_or_default();
    match id {
        "" => reason.to_owned(),
        id => reason.replace(id, "…"),
    }
}

fn count(reasons: &mut BTreeMap<String, u32>, reason: String) {
    let key = match reasons.len() < MAX_REASONS || reasons.contains_key(&reason) {
        true => reason,
        false => "other reasons".into(),
    };
    *reasons.entry(key).or_default() += 1;
}

/// The median, what 90 and 99 percent do not go over, and the longest.
fn percentiles_ms(times: &[Duration]) -> [u64; 4] {
    let sorted = Sorted::new(times.to_vec());
    [50, 90, 99, 100].map(|percent| ms(sorted.percentile(percent)))
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let good = self.count - self.failed();
        let word = if self.interrupted { ", interrupted" } else { "" };
        writeln!(
            f,
            "{good} of {} stations did what they should, in {:.1} s{word}",
            self.count,
            self.took.as_secs_f64()
        )?;
        if !self.times.is_empty() {
            writeln!(f, "          count     p50     p90     p99     max  per s")?;
        }
        for (name, times) in &self.times {
            let [p50, p90, p99, max] = percentiles_ms(times);
            writeln!(
                f,
                "  {name:<6}{:>7}{p50:>5} ms{p90:>5} ms{p99:>5} ms{max:>5} ms{:>7.1}",
                times.len(),
                self.per_s(times.len())
            )?;
        }
        for (what, reasons) in [("failed", &self.failures), ("disconnected", &self.disconnects)] {
            for (reason, times) in reasons {
                writeln!(f, "  {what} {times}×: {}", printable(reason))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_never_settles_has_failed_and_reasons_are_bounded() {
        let mut summary = Summary::new(40);
        for number in 0..30 {
            summary.add(Note::Failed(format!("reason {number}")));
        }
        assert_eq!(
            without_ids("the ir of transaction 3c557eefe235e31eb8a3bbb7dbd38b96: no"),
            "the ir of transaction …: no"
        );
        summary.add(Note::Settled);
        assert_eq!((summary.settled(), summary.failed()), (31, 39));
        assert_eq!(summary.failures.len(), MAX_REASONS + 1);
        assert_eq!(summary.to_json()["ok"], false);
    }
}
