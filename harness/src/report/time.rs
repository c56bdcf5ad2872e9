//! Points in time and durations as text, from numbers alone.

/// RFC 3339 in UTC, `2026-11-23T00:17:03Z`, of Unix time in seconds (Howard Hinnant's days-from-civil, inverted).
pub(super) fn rfc3339(unix: u64) -> String {
    let (days, second) = (unix / 86_400, unix % 86_400);
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `0.3s`, `12.0s`, `2m03s`, `1h02m`.
pub(super) fn duration(ns: u64) -> String {
    let tenths = ns.saturating_add(50_000_000) / 100_000_000;
    match tenths / 10 {
        seconds @ 0..60 => format!("{seconds}.{}s", tenths % 10),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_leap_years() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_795_393_023, "2026-11-23T00:17:03Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(unix), text);
        }
    }

    #[test]
    fn durations() {
        let of = |seconds: f64| duration((seconds * 1e9) as u64);
        assert_eq!([of(0.0), of(0.34), of(59.94), of(59.96)], ["0.0s", "0.3s", "59.9s", "1m00s"]);
        assert_eq!([of(123.0), of(3720.0)], ["2m03s", "1h02m"]);
    }
}
