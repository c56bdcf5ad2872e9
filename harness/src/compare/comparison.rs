//! The result of a comparison, as it is printed, written to comparison.json, and quoted by other reports.

use super::facts::Origin;
use crate::verdict::NOT_JUDGED;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// shows in some repeats only, and chance would do the same
    Noise,
    /// B does right where A did wrong
    Fix,
    /// both are allowed, and different
    ChangedPolicy,
    /// B does wrong where A did right, or wrong in another way
    Regression,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Noise => "noise",
            Self::Fix => "fix",
            Self::ChangedPolicy => "changed policy",
            Self::Regression => "regression",
        })
    }
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// the judgement
    Verdict,
    /// a fact that is not as it must be
    Finding,
    /// states of blocks
    State,
    /// zones of blocks that are online on both sides
    Zone,
    /// outcome of an unplug
    Unplug,
    /// outcome of a plug
    Plug,
    /// result of a write
    Write,
    /// MemTotal, counted from the boot
    Memtotal,
    /// a message of the console that A never had
    Console,
}

/// A value, and how often it came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Seen {
    /// the value
    pub value: String,
    /// in how many repeats
    pub repeats: u32,
}

/// One thing that differs in a scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// its kind
    pub what: What,
    /// number of the step; absent for what belongs to none
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// what the step does
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_text: Option<String>,
    /// of what: `memory32-34`, `a`, `block.zone memory32`
    pub subject: String,
    /// what had to be, where a finding says so
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// seen in A, most often first
    pub a: Vec<Seen>,
    /// seen in B
    pub b: Vec<Seen>,
    /// its class
    pub class: Class,
    /// of Fisher's exact test, corrected for the number of differences that were tested; absent where it shows in
    /// every repeat
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
}

/// A scenario that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// its id without `@KERNEL`
    pub scenario: String,
    /// heaviest of its differences
    pub class: Class,
    /// why it is expected, if it is
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// what differs, in the order of the case
    pub differences: Vec<Difference>,
    /// repeats that were judged, in A and in B
    pub repeats: (u32, u32),
    /// command that runs A again
    pub repeat_a: String,
    /// command that runs B again
    pub repeat_b: String,
    /// the failure shows in B alone, and in too few repeats to tell it from chance
    pub undecided: bool,
}

/// A duration that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// id without `@KERNEL`
    pub scenario: String,
    /// `boot`, `step 3: unplug a`, `all steps`
    pub measured: String,
    /// regression (B takes longer) or fix
    pub class: Class,
    /// median of A, ms
    pub a_ms: f64,
    /// median of B, ms
    pub b_ms: f64,
    /// chance that B takes longer than A (Vargha and Delaney's A): 0.5 for no effect
    pub effect: f64,
    /// of the rank sum test, corrected for the number of comparisons (Holm)
    pub p: f64,
    /// repeats in A and B
    pub repeats: (usize, usize),
}

/// All about durations. They never change the exit status: no verdict judges speed.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Latencies {
    /// durations that both sides have
    pub measured: usize,
    /// those that were tested
    pub tested: usize,
    /// significant differences
    pub changes: Vec<Latency>,
    /// why fewer were tested than measured
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_tested: Option<String>,
}

/// A scenario that one side has, or runs, alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OneSided {
    /// id without `@KERNEL`
    pub scenario: String,
    /// `skipped in B: …`, `not in B`
    pub why: String,
    /// why it is expected, if it is
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// A scenario that was not judged on a side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotJudged {
    /// id without `@KERNEL`
    pub scenario: String,
    /// `B: MISS the guest …, in 1 of 3 repeats`
    pub why: String,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// of this format
    pub v: u32,
    /// what is compared with
    pub a: Origin,
    /// what is compared
    pub b: Origin,
    /// scenarios that were judged on both sides
    pub compared: usize,
    /// most repeats of a scenario, in A and B
    pub repeats: (u32, u32),
    /// scenarios that changed, heaviest class first, then by id
    pub changes: Vec<Change>,
    /// durations
    pub latency: Latencies,
    /// what the console said while booting in B alone, with the number of scenarios; restored guests share a boot, so
    /// that repeats decide nothing here: told, and not judged
    pub boot_messages: BTreeMap<String, usize>,
    /// scenarios of A alone
    pub only_a: Vec<OneSided>,
    /// scenarios of B alone
    pub only_b: Vec<OneSided>,
    /// skipped on both sides, or skipped on the only side that has it
    pub skipped: usize,
    /// scenarios that were not judged
    pub not_judged: Vec<NotJudged>,
    /// expected changes that did not happen: `FILE:LINE: what`
    pub unused: Vec<String>,
    /// what a reader should know
    pub notes: Vec<String>,
}

impl Comparison {
    /// Changes of a class that nobody expected.
    pub fn unexpected(&self, class: Class) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |c| c.class == class && c.expected.is_none())
    }

    /// Scenarios of A alone, and of B alone, that nobody expected to be so.
    pub fn one_sided(&self) -> (usize, usize) {
        let count = |all: &[OneSided]| all.iter().filter(|o| o.expected.is_none()).count();
        (count(&self.only_a), count(&self.only_b))
    }

    /// 1: a regression, an unexpected change, one that B lacks of what A judged, or an expected one that did not come; 3: something was not judged, or
    /// nothing was compared, or a failure in B cannot be told from chance yet; 0: nothing changed but what was expected.
    pub fn status(&self) -> i32 {
        let real = |c: &&Change| c.class != Class::Noise && c.expected.is_none();
        let lacks = self.one_sided().0 > 0;
        if self.changes.iter().any(|c| real(&c)) || lacks || !self.unused.is_empty() {
            return 1;
        }
        let undecided = self.changes.iter().any(|c| c.undecided && c.expected.is_none());
        if undecided || !self.not_judged.is_empty() || self.compared == 0 { NOT_JUDGED } else { 0 }
    }
}
