//! Sizes and durations as case files write them.

use std::time::Duration;

/// `512M`, `1G`, `64K`, or plain bytes: binary multiples, nothing else.
pub fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("not a size: {text:?} (want for example 512M or 2G)");
    let (number, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number = digits(number).ok_or_else(bad)?;
    number.checked_mul(1 << shift).ok_or_else(bad)
}

/// `5s`, `300ms` or `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parse = |number: &str, ms: u64| digits(number)?.checked_mul(ms).map(Duration::from_millis);
    let time = if let Some(number) = text.strip_suffix("ms") {
        parse(number, 1)
    } else if let Some(number) = text.strip_suffix('s') {
        parse(number, 1000)
    } else {
        text.strip_suffix('m').and_then(|number| parse(number, 60_000))
    };
    time.filter(|t| !t.is_zero())
        .ok_or_else(|| format!("not a time: {text:?} (want for example 5s or 300ms)"))
}

/// How much a `hold` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// bytes
    Bytes(u64),
    /// percent of MemFree, 1 to 100
    Percent(u64),
    /// MemFree but for so many bytes
    FreeBut(u64),
    /// MemAvailable but for so many bytes
    AvailableBut(u64),
}

/// `200M`, `60%`, `free-40M` or `available-40M`.
pub fn amount(text: &str) -> Result<Amount, String> {
    if let Some(rest) = text.strip_prefix("free-") {
        return size(rest).map(Amount::FreeBut);
    }
    if let Some(rest) = text.strip_prefix("available-") {
        return size(rest).map(Amount::AvailableBut);
    }
    match text.strip_suffix('%') {
        Some(number) => digits(number)
            .filter(|percent| (1..=100).contains(percent))
            .map(Amount::Percent)
            .ok_or_else(|| format!("not a share: {text:?} (want 1% to 100%)")),
        None => size(text).map(Amount::Bytes),
    }
}

/// `0x140000000`.
pub fn address(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix("0x").filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    number
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .ok_or_else(|| format!("not an address: {text:?} (want for example 0x140000000)"))
}

/// A plain decimal number (of a node, of a slot).
pub fn number(text: &str) -> Result<u32, String> {
    digits(text).and_then(|n| n.try_into().ok()).ok_or_else(|| format!("not a number: {text:?}"))
}

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("3K"), Ok(3072));
        for bad in ["", "M", "1.5G", "1T", "1GiB", "-1", "+1", " 1M", "17179869184G"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_amounts_addresses() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("5").is_err() && duration("0s").is_err() && duration("s").is_err());
        assert_eq!(amount("60%"), Ok(Amount::Percent(60)));
        assert_eq!(amount("1M"), Ok(Amount::Bytes(1 << 20)));
        assert_eq!(amount("free-40M"), Ok(Amount::FreeBut(40 << 20)));
        assert_eq!(amount("available-0"), Ok(Amount::AvailableBut(0)));
        assert!(amount("free").is_err() && amount("free-").is_err() && amount("free+1M").is_err());
        assert!(amount("0%").is_err() && amount("101%").is_err() && amount("%").is_err());
        assert_eq!(address("0x140000000"), Ok(0x1_4000_0000));
        assert!(address("140000000").is_err() && address("0x").is_err() && address("0x-1").is_err());
        assert_eq!(number("12"), Ok(12));
        assert!(number("0x1").is_err() && number("").is_err() && number("4294967296").is_err());
    }
}
