//! What came of a series, as it is printed, answered and handed to b4. Pure.

mod b4;
mod groups;
mod mail;
#[cfg(test)]
mod tests;
mod text;

pub use b4::b4;
pub use groups::{Group, groups};
pub use mail::mail;
pub use text::text;

use super::prepare::{Facts, Kernel};
use super::split::Bad;
use crate::compare::{Change, Class, Comparison};
use crate::verdict::NOT_JUDGED;
use serde::Serialize;
use std::collections::BTreeSet;

/// Version of the JSON report.
pub const VERSION: u32 = 1;

/// A report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// of this format
    pub v: u32,
    /// memhp's version
    pub memhp: String,
    /// the series and its base
    #[serde(flatten)]
    pub facts: Facts,
    /// what came of it
    pub outcome: Outcome,
    /// patterns of the cases; all without any
    pub cases: Vec<String>,
    /// the command that made this report
    pub command: String,
    /// where everything is kept
    pub out: String,
}

/// What came of a series.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// a patch does what a patch must not; nothing was run
    Refused(BadPatch),
    /// a patch does not apply
    NotApplied(BadPatch),
    /// a patch does not build
    NotBuilt(BadPatch),
    /// base and patched kernel ran
    Compared(Vec<Stage>),
}

/// A patch that ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadPatch {
    /// its name
    pub patch: String,
    /// why
    pub why: String,
}

impl From<Bad> for BadPatch {
    fn from(Bad { patch, why }: Bad) -> Self {
        Self { patch, why }
    }
}

/// Two kernels that were compared. With `--each` each patch with the one before it, and in the end, as always, the
/// whole series with the base.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// compared with
    pub before: Kernel,
    /// compared
    pub after: Kernel,
    /// what changed; absent where the images are equal, byte for byte
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// expected changes that did not come because the images are equal
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unused: Vec<String>,
}

impl Stage {
    /// As [`Comparison::status`]; a scenario that only one of the kernels can run is a change too.
    pub fn status(&self) -> i32 {
        let Some(comparison) = &self.comparison else { return i32::from(!self.unused.is_empty()) };
        if comparison.one_sided() == (0, 0) { comparison.status() } else { 1 }
    }

    /// Scenarios that differ unexpectedly; with `in_part` only those with a difference that some repeats do not show.
    pub fn changed(&self, in_part: bool) -> impl Iterator<Item = &str> {
        let changes = self.comparison.iter().flat_map(|c| &c.changes).filter(|c| c.expected.is_none());
        let is_meant = move |c: &&Change| !in_part || c.differences.iter().any(|d| d.p.is_some());
        changes.filter(is_meant).map(|c| c.scenario.as_str())
    }

    /// Scenarios whose failure shows after the patches alone, and in too few repeats to tell it from chance.
    fn undecided(&self) -> impl Iterator<Item = &Change> {
        let changes = self.comparison.iter().flat_map(|c| &c.changes);
        changes.filter(|c| c.undecided && c.class == Class::Noise && c.expected.is_none())
    }

    /// How much was not judged, in one line.
    fn not_judged(&self) -> String {
        let Some(comparison) = &self.comparison else { return "NOT JUDGED on the way".into() };
        let missed = comparison.not_judged.iter().map(|n| n.scenario.as_str());
        let missed: BTreeSet<&str> = missed.collect();
        let all: BTreeSet<&str> = self.undecided().map(|c| c.scenario.as_str()).chain(missed).collect();
        let compared = comparison.compared;
        match all.len() {
            0 if compared == 0 => "NOT JUDGED: no scenario ran on both kernels".into(),
            0 => format!("NOT JUDGED on the way: no change in {compared} scenarios by the whole series"),
            n => format!("NOT JUDGED: {n} of {} scenarios", compared + comparison.not_judged.len()),
        }
    }

    /// Scenarios with an unexpected change of this class.
    fn count(&self, class: Class) -> usize {
        self.comparison.as_ref().map_or(0, |c| c.unexpected(class).count())
    }
}

impl Report {
    /// The exit status: 1 a change that nobody expected, or a series that cannot be built; 3 not judged; 0 no change.
    pub fn status(&self) -> i32 {
        match &self.outcome {
            Outcome::Refused(_) | Outcome::NotApplied(_) | Outcome::NotBuilt(_) => 1,
            Outcome::Compared(stages) => {
                let all: Vec<i32> = stages.iter().map(Stage::status).collect();
                [1, NOT_JUDGED].into_iter().find(|s| all.contains(s)).unwrap_or(0)
            }
        }
    }

    /// The verdict in one line.
    pub fn verdict(&self) -> String {
        match &self.outcome {
            Outcome::Refused(bad) => format!("REFUSED: {}: {}", bad.patch, bad.why),
            Outcome::NotApplied(bad) => format!("DOES NOT APPLY: {}", bad.patch),
            Outcome::NotBuilt(bad) => format!("DOES NOT BUILD: {}", bad.patch),
            Outcome::Compared(stages) => self.of_stages(stages),
        }
    }

    fn of_stages(&self, stages: &[Stage]) -> String {
        let Some(last) = stages.last() else { return "NOT JUDGED: nothing was compared".into() };
        let Some(comparison) = &last.comparison else {
            return match (self.status(), last.unused.len()) {
                (0, _) => "NO CHANGE: the kernel's image is the base's, byte for byte".into(),
                (_, n @ 1..) => format!(
                    "NO CHANGE where {n} expected: the kernel's image is the base's, byte for byte",
                    n = if n == 1 { "one was".into() } else { format!("{n} were") }
                ),
                _ => "CHANGED on the way: the whole series' image is the base's, byte for byte".into(),
            };
        };
        let compared = comparison.compared;
        let counts = [
            (last.count(Class::Regression), "regression", "regressions"),
            (last.count(Class::ChangedPolicy), "changed policy", "changed policies"),
            (last.count(Class::Fix), "fix", "fixes"),
            (
                comparison.one_sided().0 + comparison.one_sided().1,
                "applies to one kernel only",
                "apply to one kernel only",
            ),
            (
                comparison.unused.len(),
                "expected change that did not come",
                "expected changes that did not come",
            ),
        ];
        let changed: usize = counts.iter().take(3).map(|(n, ..)| n).sum();
        let words =
            |(n, one, many): &(usize, &str, &str)| format!("{n} {}", if *n == 1 { one } else { many });
        let list: Vec<String> = counts.iter().filter(|(n, ..)| *n > 0).map(words).collect();
        match self.status() {
            0 => format!("NO CHANGE in {compared} scenarios"),
            1 if list.is_empty() => {
                format!("CHANGED on the way: no change in {compared} scenarios by the whole series")
            }
            1 => format!("CHANGED: {changed} of {compared} scenarios ({})", list.join(", ")),
            _ => last.not_judged(),
        }
    }
}
