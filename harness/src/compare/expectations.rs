//! `--expect FILE`: changes that are intended, by scenario and reason. One that does not come is told.

use super::comparison::Class;
use crate::case::pattern::Pattern;
use crate::case::yaml::{self, Key, Positions, YamlError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// One intended change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// scenarios, a pattern as on the command line
    pub scenario: String,
    /// why it is intended
    pub reason: String,
    /// only changes of this class; without it, of any
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
}

/// The file.
#[derive(Debug, Clone)]
pub struct Expectations {
    entries: Vec<Expectation>,
    positions: Positions,
    used: BTreeSet<usize>,
}

impl Expectations {
    /// Reads them from the text of `file`.
    ///
    /// # Errors
    /// What is wrong in it, and where: unknown and duplicate keys, nulls, empty texts, an entry that comes twice.
    pub fn parse(file: &Path, text: &str) -> Result<Self, YamlError> {
        let (entries, positions): (Vec<Expectation>, _) = yaml::from_str_with_positions(file, text)?;
        let at =
            |index: usize, key: &str, what: &str| Err(positions.error(&[index.into(), key.into()], what));
        for (index, entry) in entries.iter().enumerate() {
            for (key, text) in [("scenario", &entry.scenario), ("reason", &entry.reason)] {
                if text.trim().is_empty() {
                    return at(index, key, "must not be empty");
                }
            }
            if entry.class == Some(Class::Noise) {
                return at(index, "class", "noise is no change: nothing is to be expected of it");
            }
            let same = |e: &Expectation| e.scenario == entry.scenario && e.class == entry.class;
            if entries[..index].iter().any(same) {
                return at(index, "scenario", "comes twice");
            }
        }
        Ok(Self { entries, positions, used: BTreeSet::new() })
    }

    /// Why a change of this class is expected, if it is. Every entry that names it counts as used. That one side alone has
    /// the scenario is of no class: entries without a class name it.
    pub(super) fn reason(&mut self, class: Option<Class>, ids: [&str; 2]) -> Option<String> {
        let is = |entry: &Expectation| {
            let pattern = Pattern::new(&*entry.scenario);
            entry.class.is_none_or(|c| Some(c) == class) && ids.iter().any(|id| pattern.matches(id))
        };
        let named: Vec<usize> = (0..self.entries.len()).filter(|i| is(&self.entries[*i])).collect();
        if class != Some(Class::Noise) {
            self.used.extend(&named);
        }
        named.first().map(|i| self.entries[*i].reason.clone())
    }

    /// Entries that named no change, with their lines.
    pub fn unused(&self) -> Vec<String> {
        let unused = (0..self.entries.len()).filter(|i| !self.used.contains(i));
        let tell = |index: usize| {
            let path = [Key::Index(index), "scenario".into()];
            let what = format!(
                "no such change: nothing that {:?} names changed{}",
                self.entries[index].scenario,
                self.entries[index].class.map(|c| format!(" as {c}")).unwrap_or_default()
            );
            self.positions.error(&path, what).to_string()
        };
        unused.map(tell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Expectations::parse(Path::new("e.yaml"), text).unwrap_err().to_string().lines().next().unwrap().into()
    }

    #[test]
    fn mistakes_have_their_place() {
        let good = "- scenario: \"policy/*\"\n  reason: r\n";
        assert!(Expectations::parse(Path::new("e.yaml"), good).is_ok());
        for (text, message) in [
            (format!("{good}  colour: red\n"), "e.yaml:3:3: unknown field `colour`"),
            (format!("{good}  reason: s\n"), "e.yaml:3:3: duplicate mapping key `reason`"),
            (format!("{good}- scenario: \"zone/*\"\n  reason:\n"), "e.yaml:4:9: null is no value"),
            (format!("{good}- scenario: \"zone/*\"\n"), "e.yaml:3:3: missing field `reason`"),
            (format!("{good}- {{ scenario: \"policy/*\", reason: t }}\n"), "e.yaml:3:15: comes twice"),
            ("- { scenario: a, reason: \" \" }\n".into(), "e.yaml:1:26: must not be empty"),
            ("- { scenario: a, reason: r, class: noise }\n".into(), "e.yaml:1:36: noise is no change"),
            ("- { scenario: a, reason: r, class: odd }\n".into(), "e.yaml:1:36: unknown variant `odd`"),
        ] {
            assert!(error(&text).starts_with(message), "{text}\n{}", error(&text));
        }
    }
}
