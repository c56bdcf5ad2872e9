//! Console triage: what the kernel complained about, under titles that are stable enough to group by.
//!
//! Two ways in: [`triage`] judges a whole console, [`Alarm`] looks at single lines while the guest runs. Both
//! know the texts of 5.10 to 7.3. Nothing here knows a scenario: what a case provokes on purpose comes in as
//! [`Provokes`]. Garbage, half lines and floods are judged like everything else and never an error.

mod blocks;
mod line;
mod patterns;
mod place;

use crate::case::schema::Provoked;
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

pub use line::stable;

/// What kind of trouble a complaint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// the kernel gave up
    Panic,
    /// a fault in the kernel: NULL dereference, general protection fault, double fault, …
    Oops,
    /// `BUG()`, and messages that begin with `BUG:` and have no class of their own
    Bug,
    /// `WARN()`
    Warning,
    /// a task that does not wake up
    HungTask,
    /// RCU's grace period does not end
    RcuStall,
    /// a processor that does not schedule (or, hard, takes no interrupt)
    SoftLockup,
    /// a lock order or use that can deadlock, suspicious RCU use
    Lockdep,
    /// KASAN, KFENCE, KCSAN, KMSAN
    Kasan,
    /// undefined behaviour
    Ubsan,
    /// page or page table state that cannot be
    BadPage,
    /// a slab object that was overwritten or freed twice
    Slab,
    /// the OOM killer
    Oom,
    /// an allocation that failed, and not by design
    AllocFailure,
    /// memory was not added
    AddFailure,
    /// memory was not removed
    RemoveFailure,
    /// a name in sysfs that exists already or cannot be made
    Sysfs,
    /// kmemleak's
    Leak,
    /// a stack was dumped for a reason that is not known here
    StackDump,
}

/// One thing that the kernel complained about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// stable: no addresses, pids, processors, stamps, offsets or line numbers; names of functions are kept
    pub title: String,
    /// its kind
    pub class: Class,
    /// nothing that the guest says afterwards can be trusted: the scenario ends at once
    pub fatal: bool,
    /// the lines that matter, as they came, without registers, code bytes and memory tables
    pub excerpt: Vec<String>,
    /// number of its first line, from 1
    pub line: usize,
    /// messages that make it a complaint, without stamps: what `provokes` is searched in
    pub heads: Vec<String>,
}

/// The messages that a case provokes on purpose.
#[derive(Debug, Clone, Default)]
pub struct Provokes(Vec<Regex>);

/// A regular expression of a case that is none.
#[derive(Debug, thiserror::Error)]
#[error("provokes: {pattern:?} is no regular expression: {source}")]
pub struct BadPattern {
    pattern: String,
    source: regex::Error,
}

impl Provokes {
    /// From a case file.
    pub fn new(provoked: &[Provoked]) -> Result<Self, BadPattern> {
        let compile = |p: &Provoked| {
            Regex::new(&p.message).map_err(|source| BadPattern { pattern: p.message.clone(), source })
        };
        provoked.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them is found in this message.
    pub fn allows(&self, message: &str) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(message))
    }
}

/// All complaints of a console, in order, without those that the case provokes. Each title comes once, also if a
/// later report of the same names no function.
///
/// A complaint is provoked if one of its `heads` is; its stack trace does not count, so that a pattern for one
/// complaint does not excuse another that happens in the same function.
pub fn triage(console: &[u8], provokes: &Provokes) -> Vec<Complaint> {
    let mut complaints = blocks::complaints(&line::messages(console));
    complaints.retain(|c| !c.heads.iter().any(|head| provokes.allows(head)));
    let mut titles: Vec<String> = Vec::new();
    complaints.retain(|c| {
        let is_told = |title: &String| *title == c.title || title.starts_with(&format!("{} in ", c.title));
        let is_new = !titles.iter().any(is_told);
        if is_new {
            titles.push(c.title.clone());
        }
        is_new
    });
    complaints
}

/// Distinct messages of a console, sorted, without what differs from run to run: what two runs are compared by.
pub fn messages(console: &[u8]) -> Vec<String> {
    let texts: BTreeSet<String> = line::messages(console).iter().map(|m| stable(&m.text)).collect();
    texts.into_iter().filter(|text| !text.is_empty()).collect()
}

/// The live alarm: one line at a time.
#[derive(Debug, Clone, Default)]
pub struct Alarm {
    provokes: Provokes,
}

impl Alarm {
    /// An alarm that is silent about what the case provokes.
    pub fn new(provokes: Provokes) -> Self {
        Self { provokes }
    }

    /// The kind of trouble that this line announces, if any.
    pub fn class(&self, line: &str) -> Option<Class> {
        self.first(line).map(|(class, _)| class)
    }

    /// Whether nothing that the guest says after this line can be trusted.
    pub fn is_fatal(&self, line: &str) -> bool {
        self.first(line).is_some_and(|(_, fatal)| fatal)
    }

    fn first(&self, line: &str) -> Option<(Class, bool)> {
        let messages = line::messages(line.as_bytes());
        let heads = messages.iter().filter(|m| !self.provokes.allows(&m.text));
        heads.filter_map(|m| patterns::head(&m.text)).map(|h| (h.class, h.fatal)).min_by_key(|(c, _)| *c)
    }
}

#[cfg(test)]
mod tests;
