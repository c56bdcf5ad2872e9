//! Kernel versions, ordered as releases are.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// `MAJOR.MINOR[.PATCH][-rcN]`; a distribution's suffix is dropped, and a release candidate comes before its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// 6 of 6.12.3
    pub major: u32,
    /// 12 of 6.12.3
    pub minor: u32,
    /// 3 of 6.12.3; 0 where there is none
    pub patch: u32,
    /// release candidate number
    pub rc: Option<u32>,
}

impl Version {
    /// `major.minor` without patch or candidate.
    pub const fn series(major: u32, minor: u32) -> Self {
        Self { major, minor, patch: 0, rc: None }
    }

    /// At least `major.minor` (its release candidates count as it: they have its code).
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    fn key(&self) -> (u32, u32, u32, u32) {
        (self.major, self.minor, self.patch, self.rc.unwrap_or(u32::MAX))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch != 0 {
            write!(f, ".{}", self.patch)?;
        }
        self.rc.map_or(Ok(()), |rc| write!(f, "-rc{rc}"))
    }
}

/// The text does not begin with `MAJOR.MINOR`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a kernel version: {0:?} (want MAJOR.MINOR[.PATCH][-rcN])")]
pub struct BadVersion(String);

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.to_string());
        let digits = |s: &str| s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number = |s: &str| s[..digits(s)].parse::<u32>().map_err(|_| bad());
        let (major, rest) = text.split_once('.').ok_or_else(bad)?;
        let major = major.parse().map_err(|_| bad())?;
        let minor = number(rest)?;
        let mut rest = &rest[digits(rest)..];
        let mut patch = 0;
        if let Some(after) = rest.strip_prefix('.').filter(|s| digits(s) > 0) {
            patch = number(after)?;
            rest = &after[digits(after)..];
        }
        let rc = rest.strip_prefix("-rc").or_else(|| rest.strip_prefix("~rc"));
        let rc = rc.filter(|s| digits(s) > 0).map(number).transpose()?;
        Ok(Self { major, minor, patch, rc })
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Comparisons that must all hold, `>=5.10, <6.18`; every kernel without one. Written `A` alone means `==A`.
///
/// Release order: a candidate comes before its release, so `>=6.18` does not hold for 6.18-rc3 and `<6.18` does.
/// `==6.12` and `!=6.12` are about 6.12 itself, not about the series 6.12.y.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct VersionRange(Vec<(Compare, Version)>);

/// One comparison of a [`VersionRange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compare {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `==` or `=`
    Equal,
    /// `!=`
    Not,
    /// `>=`
    AtLeast,
    /// `>`
    Greater,
}

impl Compare {
    /// As they are searched for at the beginning of a comparison: longer before shorter.
    const WRITTEN: [(&'static str, Self); 7] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("!=", Self::Not),
        ("<", Self::Less),
        (">", Self::Greater),
        ("=", Self::Equal),
    ];

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::Not => order.is_ne(),
            Self::AtLeast => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "==",
            Self::Not => "!=",
            Self::AtLeast => ">=",
            Self::Greater => ">",
        }
    }
}

impl VersionRange {
    /// All comparisons hold.
    pub fn contains(&self, version: Version) -> bool {
        self.0.iter().all(|(compare, bound)| compare.holds(version.cmp(bound)))
    }

    /// No comparison: every kernel.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (compare, bound)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}{bound}", compare.text())?;
        }
        Ok(())
    }
}

/// A part between commas is no comparison with a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRange {
    /// nothing between two commas, or an empty text
    #[error("empty comparison in version range {0:?} (want for example \">=5.10, <6.18\")")]
    Empty(String),
    /// what follows the operator is no version, or has something behind it
    #[error("not a comparison with a kernel version: {0:?} (want for example \">=5.10\")")]
    Comparison(String),
}

impl FromStr for VersionRange {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        let parse = |part: &str| {
            let part = part.trim();
            if part.is_empty() {
                return Err(BadRange::Empty(text.to_string()));
            }
            let (compare, version) = Compare::WRITTEN
                .iter()
                .find_map(|(sign, compare)| Some((*compare, part.strip_prefix(sign)?.trim_start())))
                .unwrap_or((Compare::Equal, part));
            let bad = || BadRange::Comparison(part.to_string());
            if version.contains(|c: char| c.is_whitespace() || "<>=!".contains(c)) {
                return Err(bad());
            }
            version.parse().map(|version| (compare, version)).map_err(|_| bad())
        };
        text.split(',').map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Serialize for VersionRange {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VersionRange {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_suffixes() {
        let v = |s: &str| s.parse::<Version>().unwrap();
        assert_eq!(v("6.12.95+deb13-cloud-amd64"), v("6.12.95"));
        assert_eq!(v("5.10.0-46-cloud-amd64"), v("5.10"));
        assert!(v("7.3-rc7") < v("7.3") && v("7.3-rc7") > v("7.2.13"));
        assert_eq!(v("7.3.0-rc7-custom").rc, Some(7));
        assert!(v("6.9") < v("6.12"));
        assert!("linux".parse::<Version>().is_err() && "6".parse::<Version>().is_err());
    }

    #[test]
    fn ranges() {
        let holds = |range: &str, version: &str| {
            range.parse::<VersionRange>().unwrap().contains(version.parse().unwrap())
        };
        assert!(holds(">=5.10, <6.18", "5.10.0-46-cloud-amd64") && holds(">=5.10,<6.18", "6.12.117+deb12"));
        assert!(!holds(">=5.10, <6.18", "6.18.15+deb13") && !holds(">=5.10, <6.18", "5.9.16"));
        assert!(
            holds("<6.18", "6.18-rc3") && !holds(">=6.18", "6.18-rc3") && holds(">=6.18-rc1", "6.18-rc3")
        );
        assert!(holds("<= 7.3", "7.3") && !holds("<=7.3", "7.3.1") && holds(">7.3", "7.3.1"));
        assert!(holds("6.12", "6.12.0-1-amd64") && !holds("==6.12", "6.12.1") && holds("!=6.12", "6.12.1"));
        assert_eq!(">=5.10,<6.18".parse::<VersionRange>().unwrap().to_string(), ">=5.10, <6.18");
        assert!(VersionRange::default().contains(Version::series(2, 6)));
    }

    #[test]
    fn bad_ranges() {
        let error = |range: &str| range.parse::<VersionRange>().unwrap_err().to_string();
        assert_eq!(error(""), r#"empty comparison in version range "" (want for example ">=5.10, <6.18")"#);
        assert!(error(">=5.10,").starts_with("empty comparison"));
        for bad in [">=", ">=linux", "> =5.10", ">=5.10 <6.18", "=>5.10", "~5.10", "5"] {
            assert!(error(bad).starts_with("not a comparison"), "{bad}");
        }
    }
}
