//! How the kernel reads numbers, switches and words that user space gives it (lib/kstrtox.c, lib/cmdline.c).

use super::{Errno, Unknown};
use crate::version::Version;

/// What a C function sees of a text: it ends at the first NUL.
pub(super) fn c_string(text: &str) -> &str {
    text.split('\0').next().unwrap_or("")
}

/// A switch, by its first letters only (lib/kstrtox.c:kstrtobool): y n 1 0 on off everywhere, t f since 5.17,
/// e d in 7.3 (and seen to be taken by 6.18).
///
/// # Errors
/// [`Unknown`] for `e…` and `d…` between 6.13 and 6.17: which release began to take them was not read.
pub(super) fn switch(text: &str, version: Version) -> Result<Result<bool, Errno>, Unknown> {
    let mut letters = c_string(text).chars().map(|c| c.to_ascii_lowercase());
    let words = version.at_least(5, 17);
    Ok(match (letters.next(), letters.next()) {
        (Some('y' | '1'), _) | (Some('o'), Some('n')) => Ok(true),
        (Some('n' | '0'), _) | (Some('o'), Some('f')) => Ok(false),
        (Some('t'), _) if words => Ok(true),
        (Some('f'), _) if words => Ok(false),
        (Some('e'), _) if version.at_least(6, 18) => Ok(true),
        (Some('d'), _) if version.at_least(6, 18) => Ok(false),
        (Some('e' | 'd'), _) if version.at_least(6, 13) => {
            return Err(Unknown::because("kstrtobool takes enabled/disabled since some release after 6.12"));
        }
        _ => Err(Errno::Einval),
    })
}

/// An unsigned number of 32 bits (lib/kstrtox.c:kstrtouint, same in 5.10 to 7.3): `base` 0 means 0x, 0 or
/// decimal; one `+` before and one newline after are tolerated; too large is ERANGE even with rubbish behind
/// it.
pub(super) fn unsigned(text: &str, base: u32) -> Result<u32, Errno> {
    let text = c_string(text);
    let text = text.strip_prefix('+').unwrap_or(text);
    let (base, digits) = radix(text, base);
    let end = digits.find(|c: char| !c.is_digit(base)).unwrap_or(digits.len());
    let mut value: Option<u64> = Some(0);
    for digit in digits[..end].chars().filter_map(|c| c.to_digit(base)) {
        let next = |v: u64| v.checked_mul(u64::from(base))?.checked_add(u64::from(digit));
        value = value.and_then(next);
    }
    let value = value.ok_or(Errno::Erange)?;
    let rest = &digits[end..];
    if end == 0 || !matches!(rest, "" | "\n") {
        return Err(Errno::Einval);
    }
    u32::try_from(value).map_err(|_| Errno::Erange)
}

/// Base and digits of a text (lib/kstrtox.c:_parse_integer_fixup_radix).
fn radix(text: &str, base: u32) -> (u32, &str) {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let hex = hex.filter(|digits| digits.starts_with(|c: char| c.is_ascii_hexdigit()));
    match (base, hex) {
        (0, Some(digits)) => (16, digits),
        (0, None) if text.starts_with('0') => (8, text),
        (0, None) => (10, text),
        (base, _) => (base, text),
    }
}

/// A size with a suffix K M G T P E (lib/cmdline.c:memparse); what is not a number is 0, and the rest is
/// ignored.
pub(super) fn size(text: &str) -> u64 {
    let (base, digits) = radix(text, 0);
    let end = digits.find(|c: char| !c.is_digit(base)).unwrap_or(digits.len());
    let add = |value: u64, c: char| {
        let digit = c.to_digit(base).map_or(0, u64::from);
        value.wrapping_mul(u64::from(base)).wrapping_add(digit)
    };
    let value = digits[..end].chars().fold(0, add);
    let suffix = digits[end..].chars().next().map_or(' ', |c| c.to_ascii_lowercase());
    let shift = "kmgtpe".find(suffix).map_or(0, |nth| 10 * (nth + 1));
    value.wrapping_shl(u32::try_from(shift).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_by_version() {
        let at = |text, major, minor| switch(text, Version::series(major, minor));
        for text in ["1", "y", "Yes", "on\n", "ONE", "1x"] {
            assert_eq!(at(text, 5, 10), Ok(Ok(true)), "{text}");
        }
        for text in ["0", "n", "off", "oF", "No\n"] {
            assert_eq!(at(text, 7, 3), Ok(Ok(false)), "{text}");
        }
        assert_eq!(at("online_movable", 6, 12), Ok(Ok(true)));
        assert_eq!(at("offline", 6, 12), Ok(Ok(false)));
        assert_eq!(at("true", 5, 10), Ok(Err(Errno::Einval)));
        assert_eq!(at("true", 6, 1), Ok(Ok(true)));
        assert_eq!(at("force", 6, 1), Ok(Ok(false)));
        assert_eq!(at("enabled", 6, 12), Ok(Err(Errno::Einval)));
        assert_eq!(at("enabled", 7, 3), Ok(Ok(true)));
        assert_eq!(at("Disabled", 6, 18), Ok(Ok(false)));
        assert!(at("enabled", 6, 15).is_err());
        for text in ["", "\n", " 1", "o", "2", "-1", "\0"] {
            assert_eq!(at(text, 7, 3), Ok(Err(Errno::Einval)), "{text:?}");
        }
    }

    #[test]
    fn numbers() {
        let cases = [
            ("301", Ok(301)),
            ("+301\n", Ok(301)),
            ("0x10", Ok(16)),
            ("0X1f", Ok(31)),
            ("010", Ok(8)),
            ("0", Ok(0)),
            ("4294967295", Ok(u32::MAX)),
            ("4294967296", Err(Errno::Erange)),
            ("99999999999999999999999x", Err(Errno::Erange)),
            ("08", Err(Errno::Einval)),
            ("0x", Err(Errno::Einval)),
            ("-1", Err(Errno::Einval)),
            ("", Err(Errno::Einval)),
            (" 1", Err(Errno::Einval)),
            ("1\n\n", Err(Errno::Einval)),
            ("300%", Err(Errno::Einval)),
        ];
        for (text, value) in cases {
            assert_eq!(unsigned(text, 0), value, "{text:?}");
        }
        assert_eq!(unsigned("010", 10), Ok(10));
        assert_eq!(unsigned("0x1", 10), Err(Errno::Einval));
    }

    #[test]
    fn sizes() {
        assert_eq!(size("512M"), 512 << 20);
        assert_eq!(size("0x10k"), 16 << 10);
        assert_eq!(size("3gx"), 3 << 30);
        assert_eq!(size("x"), 0);
    }
}
