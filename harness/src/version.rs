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
}
