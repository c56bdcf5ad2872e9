//! Which blocks a step is about: `a`, `a[0]`, `a[1..3]`, `boot`, `memory32`, several with commas.

use std::fmt;

/// Parts of a selection, in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(pub Vec<Part>);

/// One part of a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// all blocks of a DIMM
    Dimm(String),
    /// blocks of a DIMM by index from 0, first and last inclusive
    Range(String, u32, u32),
    /// all blocks of boot memory
    Boot,
    /// block by its number
    Memory(u32),
}

impl Selection {
    /// Reads a selection.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Result<Vec<Part>, String> = text.split(',').map(|part| Part::parse(part.trim())).collect();
        parts.map(Self)
    }

    /// Reads a selection that must name one block by itself: `a[0]`, `memory32`.
    pub fn parse_one(text: &str) -> Result<Part, String> {
        match Self::parse(text)?.0.as_slice() {
            [part @ Part::Memory(_)] => Ok(part.clone()),
            [part @ Part::Range(_, first, last)] if first == last => Ok(part.clone()),
            _ => Err(format!("not one block: {text:?} (want for example a[0] or memory32)")),
        }
    }

    /// Names of the DIMMs in it.
    pub fn dimms(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Dimm(name) | Part::Range(name, ..) => Some(name.as_str()),
            Part::Boot | Part::Memory(_) => None,
        })
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "bad block selection: {text:?} (want a, a[0], a[1..3], boot or memory32, several with commas)"
            )
        };
        let number = |digits: &str| crate::case::units::number(digits).map_err(|_| bad());
        if text == "boot" {
            return Ok(Self::Boot);
        }
        if let Some(digits) = text.strip_prefix("memory") {
            return number(digits).map(Self::Memory);
        }
        let Some((name, indices)) = text.split_once('[') else {
            return if is_name(text) { Ok(Self::Dimm(text.to_string())) } else { Err(bad()) };
        };
        let indices = indices.strip_suffix(']').filter(|_| is_name(name)).ok_or_else(bad)?;
        let (first, last) = indices.split_once("..").unwrap_or((indices, indices));
        let (first, last) = (number(first)?, number(last)?);
        if first > last { Err(bad()) } else { Ok(Self::Range(name.to_string(), first, last)) }
    }
}

/// Names of DIMMs, holds and starts: a lowercase letter, then letters, digits, `-` and `_`; `boot` and what begins
/// with `memory` would be read as something else in a selection.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
        && text != "boot"
        && !text.starts_with("memory")
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dimm(name) => f.write_str(name),
            Self::Range(name, first, last) if first == last => write!(f, "{name}[{first}]"),
            Self::Range(name, first, last) => write!(f, "{name}[{first}..{last}]"),
            Self::Boot => f.write_str("boot"),
            Self::Memory(number) => write!(f, "memory{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let all = "a,b[0],b[1..3],boot,memory32";
        let parsed = Selection::parse(all).unwrap();
        assert_eq!(parsed.to_string(), all);
        assert_eq!(parsed.dimms().collect::<Vec<_>>(), ["a", "b", "b"]);
        assert_eq!(parsed.0[2], Part::Range("b".into(), 1, 3));
        assert_eq!(Selection::parse("a , boot").unwrap().to_string(), "a,boot");
    }

    #[test]
    fn bad_parts() {
        for bad in [
            "", "a,", "A", "a[", "a[]", "a[x]", "a[3..1]", "a[1..]", "memory", "memoryx", "boot[0]", "a b",
            "a[0]x",
        ] {
            assert!(Selection::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_block() {
        assert_eq!(Selection::parse_one("a[2]"), Ok(Part::Range("a".into(), 2, 2)));
        assert_eq!(Selection::parse_one("memory7"), Ok(Part::Memory(7)));
        assert!(Selection::parse_one("a").is_err() && Selection::parse_one("a[0..1]").is_err());
        assert!(Selection::parse_one("boot").is_err() && Selection::parse_one("a[0],a[1]").is_err());
    }
}
