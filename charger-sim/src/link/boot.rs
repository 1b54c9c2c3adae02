//! The few ordinary messages of a station: BootNotification, Heartbeat, StatusNotification.
//!
//! Written by hand: three payloads of a handful of members, in three versions, one of which (2.1) no typed library has.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ocpp_rpc::{RawValue, Version};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the CSMS said to a BootNotification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum BootStatus {
    /// The station may do everything.
    Accepted,
    /// The station only answers.
    Pending,
    /// The station does nothing until it asks again.
    Rejected,
}

/// What a station says of itself.
#[derive(Clone, Debug)]
pub struct Identification {
    /// Vendor, at most 20 characters.
    pub vendor: String,
    /// Model, at most 20 characters.
    pub model: String,
    /// Serial number, at most 25 characters.
    pub serial_number: String,
}

impl Identification {
    /// The simulator, with the station's identity as serial number (cropped at 25 characters).
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            vendor: "ocpp-cmp".into(),
            model: "charger-sim".into(),
            serial_number: id.chars().take(25).collect(),
        }
    }
}

/// What a BootNotification was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Booted {
    pub(super) status: BootStatus,
    /// Between heartbeats when accepted, else until the next BootNotification.
    pub(super) interval: Duration,
}

impl Booted {
    /// `None` if the answer cannot be read. An interval of 0 leaves the choice to the station.
    pub(super) fn parse(payload: &RawValue) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire {
            status: BootStatus,
            /// Any number: the schema of 1.6 did not ask for an integer at first (1.6-J errata, section 2.4).
            #[serde(default)]
            interval: f64,
        }
        let wire: Wire = serde_json::from_str(payload.get()).ok()?;
        let chosen = match wire.status {
            BootStatus::Accepted => 300,
            _ => 10,
        };
        // Below 0 it becomes 0, and never more than the limit.
        let interval = (wire.interval as u64).min(MAX_INTERVAL_S);
        Some(Self {
            status: wire.status,
            interval: Duration::from_secs(if interval == 0 { chosen } else { interval }),
        })
    }
}

const MAX_INTERVAL_S: u64 = 24 * 3_600;

pub(super) fn boot_notification(version: Version, who: &Identification) -> Box<RawValue> {
    raw(&match version {
        Version::V1_6 => json!({
            "chargePointVendor": who.vendor,
            "chargePointModel": who.model,
            "chargePointSerialNumber": who.serial_number,
        }),
        _ => json!({
            "reason": "PowerUp",
            "chargingStation": {
                "vendorName": who.vendor,
                "model": who.model,
                "serialNumber": who.serial_number,
            },
        }),
    })
}

pub(super) fn heartbeat() -> Box<RawValue> {
    raw(&json!({}))
}

pub(super) fn status_notification(version: Version) -> Box<RawValue> {
    raw(&match version {
        Version::V1_6 => json!({
            "connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": timestamp(),
        }),
        _ => json!({
            "timestamp": timestamp(), "connectorStatus": "Available", "evseId": 1, "connectorId": 1,
        }),
    })
}

/// The time in the form of RFC 3339, to the second.
fn timestamp() -> String {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    der::DateTime::from_unix_duration(Duration::from_secs(since_1970.as_secs()))
        .map_or_else(|_| "1970-01-01T00:00:00Z".into(), |time| time.to_string())
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booted(text: &str) -> Option<Booted> {
        Booted::parse(&RawValue::from_string(text.into()).unwrap())
    }

    #[test]
    fn an_interval_of_nothing_or_nonsense_is_chosen_by_the_station() {
        let interval = |text: &str| booted(text).unwrap().interval.as_secs();
        assert_eq!(interval(r#"{"status":"Accepted","interval":7}"#), 7);
        assert_eq!(interval(r#"{"status":"Accepted","interval":60.0}"#), 60);
        assert_eq!(interval(r#"{"status":"Accepted","interval":0}"#), 300);
        assert_eq!(interval(r#"{"status":"Pending","interval":-1}"#), 10);
        assert_eq!(
            interval(r#"{"status":"Rejected","interval":9223372036854775807}"#),
            MAX_INTERVAL_S
        );
        assert_eq!(booted(r#"{"status":"Perhaps"}"#), None);
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        let time = timestamp();
        assert_eq!((time.len(), &time[10..11], &time[19..]), (20, "T", "Z"));
    }
}
