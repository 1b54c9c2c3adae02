//! Two clocks: one that never runs backwards while the process lives, which is what the binding's CSMS side wants, and
//! the time of day.

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Time since 1970 as it was when the process began, and went on since.
pub(crate) fn now() -> Duration {
    static START: OnceLock<(Duration, Instant)> = OnceLock::new();
    let (at, instant) = START.get_or_init(|| (utc(), Instant::now()));
    at.saturating_add(instant.elapsed())
}

/// Time since 1970 as the system has it now, for those who set their clocks by it.
pub(crate) fn utc() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The time as OCPP writes it: RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(now: Duration) -> String {
    let days = now.as_secs() / 86_400;
    let (second, millisecond) = (now.as_secs() % 86_400, now.subsec_millis());
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_days_and_ends_of_years_are_written_as_dates() {
        let at = |s: u64| rfc3339(Duration::from_millis(s * 1000 + 7));
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(1_798_761_599), "2026-12-31T23:59:59.007Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.007Z");
    }
}
