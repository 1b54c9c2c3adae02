//! What is counted, in the text format of Prometheus. Labels are names of the configuration and words of this program,
//! never what a station says: there are as many series after a year as after an hour.

use std::time::Duration;

use cmp_binding::{ErrorCode, Route, csms::RaError};
use metrics::{Gauge, Key, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Upper ends of the buckets of times, in seconds: from an RA beside the bridge to the longest response time-out.
const SECONDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

const CONNECTIONS: &str = "csms_bridge_connections";
const CONNECTIONS_TOTAL: &str = "csms_bridge_connections_total";
const IN_FLIGHT: &str = "csms_bridge_exchanges_in_flight";
const EXCHANGES: &str = "csms_bridge_exchanges_total";
const RA_SECONDS: &str = "csms_bridge_ra_response_seconds";
const BYTES: &str = "csms_bridge_bytes_total";
const REJECTS: &str = "csms_bridge_rejects_total";
const NOTIFIES: &str = "csms_bridge_notifies_total";
const WEBHOOKS: &str = "csms_bridge_webhooks_total";

/// Counters of one bridge.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    connections: Gauge,
    in_flight: Gauge,
}

/// Counts a connection for as long as it lives.
pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let recorder = builder
            .set_buckets_for_metric(Matcher::Full(RA_SECONDS.into()), &SECONDS)
            // Only an empty list of buckets is an error.
            .unwrap_or_else(|_| PrometheusBuilder::new())
            .build_recorder();
        describe(&recorder);
        let gauge = |name: &'static str| recorder.register_gauge(&Key::from_static_name(name), &METADATA);
        Self {
            connections: gauge(CONNECTIONS),
            in_flight: gauge(IN_FLIGHT),
            handle: recorder.handle(),
            recorder,
        }
    }

    /// All of it, as Prometheus reads it.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// What came since is put into its buckets; until then each value takes memory.
    pub(crate) fn tidy(&self) {
        self.handle.run_upkeep();
    }

    /// A station connected.
    pub(crate) fn connected(&self) -> Connected {
        self.count(CONNECTIONS_TOTAL, vec![], 1);
        self.connections.increment(1.0);
        Connected(self.connections.clone())
    }

    /// So many requests are on their way to an RA.
    pub(crate) fn in_flight(&self, requests: usize) {
        // A count below 2^32 is exact.
        self.in_flight.set(u32::try_from(requests).unwrap_or(u32::MAX));
    }

    /// An RA was asked and has answered so, or has not.
    pub(crate) fn exchanged(
        &self,
        route: &Route,
        request_bytes: usize,
        result: &Result<Vec<u8>, RaError>,
        took: Duration,
    ) {
        let route = || Label::new("route", route.as_str().to_owned());
        let outcome = match result {
            Ok(_) => "answered",
            Err(error) => ra_error(*error),
        };
        self.count(EXCHANGES, vec![route(), Label::new("outcome", outcome)], 1);
        let direction = |direction| vec![route(), Label::new("direction", direction)];
        match result {
            Ok(response) => {
                self.count(BYTES, direction("request"), request_bytes);
                self.count(BYTES, direction("response"), response.len());
                let key = Key::from_parts(RA_SECONDS, vec![route()]);
                self.recorder.register_histogram(&key, &METADATA).record(took);
            }
            Err(RaError::Timeout | RaError::BadResponse) => {
                self.count(BYTES, direction("request"), request_bytes);
            }
            Err(_) => {}
        }
    }

    /// A station was told a transfer error.
    pub(crate) fn rejected(&self, code: ErrorCode) {
        self.reject(code.as_str());
    }

    /// Something was refused; `reason` is a word of this program.
    pub(crate) fn reject(&self, reason: &'static str) {
        self.count(REJECTS, vec![Label::new("reason", reason)], 1);
    }

    /// A station was asked to do something.
    pub(crate) fn notified(&self, outcome: Option<ErrorCode>) {
        let outcome = outcome.map_or("taken", ErrorCode::as_str);
        self.count(NOTIFIES, vec![Label::new("outcome", outcome)], 1);
    }

    /// The CSMS was told a call to a station; `outcome` is a word of this program.
    pub(crate) fn webhook(&self, outcome: &'static str) {
        self.count(WEBHOOKS, vec![Label::new("outcome", outcome)], 1);
    }

    fn count(&self, name: &'static str, labels: Vec<Label>, by: usize) {
        let key = Key::from_parts(name, labels);
        self.recorder
            .register_counter(&key, &METADATA)
            .increment(by as u64);
    }
}

const METADATA: Metadata<'static> = Metadata::new("csms_bridge", Level::INFO, None);

const fn ra_error(error: RaError) -> &'static str {
    match error {
        RaError::Unreachable => "ra-unreachable",
        RaError::Busy(_) => "busy",
        RaError::Timeout => "ra-timeout",
        RaError::BadResponse => "ra-bad-response",
        RaError::Forbidden => "forbidden",
        _ => "other",
    }
}

fn describe(recorder: &PrometheusRecorder) {
    let text = SharedString::const_str;
    recorder.describe_gauge(CONNECTIONS.into(), None, text("Stations that are connected."));
    recorder.describe_gauge(
        IN_FLIGHT.into(),
        None,
        text("Requests on their way to an RA, those included that wait for a connection."),
    );
    for (name, says) in [
        (CONNECTIONS_TOTAL, "Connections of stations since the start."),
        (
            EXCHANGES,
            "Requests that were to be forwarded to an RA, by route and outcome.",
        ),
        (BYTES, "Bytes of CMP messages to and from RAs, by route."),
        (
            REJECTS,
            "What stations and those who connect were refused, by reason.",
        ),
        (
            NOTIFIES,
            "Stations that were asked to do something, by what they said.",
        ),
        (
            WEBHOOKS,
            "Calls to stations that were handed to the CSMS, by outcome.",
        ),
    ] {
        recorder.describe_counter(name.into(), None, text(says));
    }
    recorder.describe_histogram(
        RA_SECONDS.into(),
        None,
        text("Seconds from a request that is ready to be forwarded to the answer of the RA."),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_counted_under_its_name() {
        let metrics = Metrics::new();
        let route = Route::default();
        let first = metrics.connected();
        let _second = metrics.connected();
        drop(first);
        metrics.in_flight(3);
        metrics.exchanged(&route, 10, &Ok(vec![0; 7]), Duration::from_millis(20));
        metrics.exchanged(&route, 10, &Err(RaError::Timeout), Duration::from_secs(30));
        metrics.exchanged(&route, 10, &Err(RaError::Unreachable), Duration::ZERO);
        metrics.rejected(ErrorCode::Busy);
        metrics.notified(None);
        metrics.notified(Some(ErrorCode::Forbidden));
        metrics.tidy();
        let text = metrics.render();
        for line in [
            "csms_bridge_connections 1",
            "csms_bridge_connections_total 2",
            "csms_bridge_exchanges_in_flight 3",
            "csms_bridge_exchanges_total{route=\"default\",outcome=\"answered\"} 1",
            "csms_bridge_exchanges_total{route=\"default\",outcome=\"ra-timeout\"} 1",
            "csms_bridge_exchanges_total{route=\"default\",outcome=\"ra-unreachable\"} 1",
            "csms_bridge_bytes_total{route=\"default\",direction=\"request\"} 20",
            "csms_bridge_bytes_total{route=\"default\",direction=\"response\"} 7",
            "csms_bridge_ra_response_seconds_bucket{route=\"default\",le=\"0.025\"} 1",
            "csms_bridge_ra_response_seconds_bucket{route=\"default\",le=\"0.01\"} 0",
            "csms_bridge_ra_response_seconds_count{route=\"default\"} 1",
            "csms_bridge_rejects_total{reason=\"busy\"} 1",
            "csms_bridge_notifies_total{outcome=\"taken\"} 1",
            "csms_bridge_notifies_total{outcome=\"forbidden\"} 1",
            "# TYPE csms_bridge_ra_response_seconds histogram",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in:\n{text}");
        }
    }
}
