//! A station as the API shows it: what is known of it, and whether it is in trouble.

use std::{str::FromStr as _, time::Duration};

use cmp_binding::SlotReport;
use serde::Serialize;

use crate::{Boot, Facts, StationKey, StationView};

/// A certificate with fewer days left should have been renewed: OCPP's default is a month before it expires.
const EXPIRES_SOON_D: i64 = 14;

/// A station.
#[derive(Debug, Serialize)]
pub(super) struct StationDoc {
    #[serde(flatten)]
    key: StationKey,
    pub(super) connected: bool,
    boot: Boot,
    /// Seconds since 1970 when it connected or went last; 0: it has not gone yet.
    seen_at_s: u64,
    /// Exchanges that are not finished.
    open: usize,
    hello: Option<HelloDoc>,
    pub(super) trouble: Vec<Trouble>,
}

/// What it said of itself last.
#[derive(Debug, Serialize)]
struct HelloDoc {
    at_s: u64,
    unit: usize,
    max: usize,
    slots: Vec<SlotDoc>,
}

#[derive(Debug, Serialize)]
struct SlotDoc {
    slot: String,
    state: String,
    /// As the station says it.
    not_after: Option<String>,
    /// Days until then, rounded down; negative: so many days ago. Not there where what the station says is no time.
    expires_in_d: Option<i64>,
    error: Option<String>,
}

/// Why somebody should look at a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Trouble {
    /// It is held in Pending.
    Pending,
    /// A slot reports an error.
    Error,
    /// A certificate has expired.
    Expired,
    /// A certificate has fewer than 14 days left.
    ExpiresSoon,
}

impl StationDoc {
    /// A station of which nothing is in memory.
    pub(super) fn stored(key: StationKey, facts: Facts, now: Duration) -> Self {
        Self::new(
            StationView {
                key,
                is_connected: false,
                facts,
                open: 0,
            },
            now,
        )
    }

    pub(super) fn new(view: StationView, now: Duration) -> Self {
        let hello = view.facts.hello.map(|hello| HelloDoc {
            at_s: hello.at_s,
            unit: hello.unit,
            max: hello.max,
            slots: hello.slots.into_iter().map(|slot| slot_doc(slot, now)).collect(),
        });
        let slots = hello.as_ref().map_or(&[][..], |hello| &hello.slots);
        Self {
            trouble: troubles(view.facts.boot, slots),
            key: view.key,
            connected: view.is_connected,
            boot: view.facts.boot,
            seen_at_s: view.facts.seen_at_s,
            open: view.open,
            hello,
        }
    }

    pub(super) const fn key(&self) -> &StationKey {
        &self.key
    }
}

fn slot_doc(report: SlotReport, now: Duration) -> SlotDoc {
    SlotDoc {
        expires_in_d: report.not_after.as_deref().and_then(|text| days_until(text, now)),
        slot: report.slot,
        state: report.state,
        not_after: report.not_after,
        error: report.error.filter(|error| !error.is_empty()),
    }
}

/// Whole days from `now` to a time in RFC 3339, in UTC.
fn days_until(text: &str, now: Duration) -> Option<i64> {
    // Fractions of a second do not matter, and are not what is read below.
    let (seconds, rest) = text.split_at_checked("YYYY-MM-DDThh:mm:ss".len())?;
    let fraction = rest.strip_suffix(['Z', 'z'])?;
    let is_fraction =
        |text: &str| text.starts_with('.') && text.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    if !fraction.is_empty() && !is_fraction(fraction) {
        return None;
    }
    let at = der::DateTime::from_str(&format!("{}Z", seconds.to_ascii_uppercase())).ok()?;
    let at_s = i64::try_from(at.unix_duration().as_secs()).ok()?;
    let now_s = i64::try_from(now.as_secs()).ok()?;
    Some((at_s - now_s).div_euclid(86_400))
}

fn troubles(boot: Boot, slots: &[SlotDoc]) -> Vec<Trouble> {
    let days = || slots.iter().filter_map(|slot| slot.expires_in_d);
    let checks = [
        (Trouble::Pending, boot == Boot::Pending),
        (Trouble::Error, slots.iter().any(|slot| slot.error.is_some())),
        (Trouble::Expired, days().any(|left| left < 0)),
        (
            Trouble::ExpiresSoon,
            days().any(|left| (0..EXPIRES_SOON_D).contains(&left)),
        ),
    ];
    let found = checks.into_iter().filter(|(_, is)| *is);
    found.map(|(trouble, _)| trouble).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01T00:00:00Z
    const NOW: Duration = Duration::from_secs(1_767_225_600);

    #[test]
    fn days_to_expiry_are_whole_days_of_times_in_utc() {
        for (text, days) in [
            ("2026-01-31T00:00:00Z", Some(30)),
            ("2026-01-01T23:59:59Z", Some(0)),
            ("2026-01-02T00:00:00.123Z", Some(1)),
            ("2026-01-02t00:00:00z", Some(1)),
            ("2025-12-31T23:59:59Z", Some(-1)),
            ("2026-01-31", None),
            ("2026-01-31T00:00:00+01:00", None),
            ("2026-01-31T00:00:00.1x2Z", None),
            ("2026-13-31T00:00:00Z", None),
            ("ééééééééééééééééé", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(days_until(text, NOW), days, "{text}");
        }
    }

    #[test]
    fn trouble_is_an_error_an_expiry_or_to_be_held() {
        let slot = |days, error: Option<&str>| SlotDoc {
            slot: "s".into(),
            state: "active".into(),
            not_after: None,
            expires_in_d: days,
            error: error.map(Into::into),
        };
        for (boot, slots, expected) in [
            (Boot::Accepted, vec![], vec![]),
            (
                Boot::Accepted,
                vec![slot(Some(14), None), slot(None, None)],
                vec![],
            ),
            (Boot::Pending, vec![], vec![Trouble::Pending]),
            (
                Boot::Accepted,
                vec![slot(Some(13), None)],
                vec![Trouble::ExpiresSoon],
            ),
            (
                Boot::Accepted,
                vec![slot(Some(0), None)],
                vec![Trouble::ExpiresSoon],
            ),
            (
                Boot::Unknown,
                vec![slot(Some(-1), None), slot(None, Some("no"))],
                vec![Trouble::Error, Trouble::Expired],
            ),
        ] {
            assert_eq!(troubles(boot, &slots), expected);
        }
    }
}
