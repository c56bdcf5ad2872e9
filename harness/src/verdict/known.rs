//! Known issues: true defects of shipping kernels, each recognised by its exact signature and by nothing less.
//!
//! A scenario is a known failure only if the entries whose pattern, kernel range and whole set of (fact, expected, seen)
//! fit it say, together, exactly what was found, and one of them has its title. Nothing else turns a failure green.

use super::triage::Complaint;
use super::types::Verdict;
use crate::case::embedded;
use crate::case::pattern::Pattern;
use crate::case::yaml::{self, Key, Positions, YamlError};
use crate::finding::Finding;
use crate::version::{Version, VersionRange};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the file beside the cases.
pub const FILE: &str = "known-issues.yaml";
/// `fact` of what the console says.
pub const CONSOLE: &str = "console";

/// One known issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// short name, stable
    pub id: String,
    /// scenarios, patterns as on the command line, with blanks between them: `unplug/refused* oom/*`
    pub scenario: String,
    /// `>=5.10, <7.4`, release order
    pub kernels: VersionRange,
    /// title of the verdict, exactly
    pub title: String,
    /// the signature: all of it, and nothing besides
    pub facts: Vec<Fact>,
    /// whether a scenario that passes says that the issue is gone
    pub reproduces: Reproduces,
    /// what the defect is, in one sentence
    pub reason: String,
    /// where it is described
    pub link: String,
    /// commit that repairs it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_by: Option<String>,
    /// file in kernels/patches that turns its case to PASS
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// why there is no such file
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_patch_because: Option<String>,
}

/// One difference, or those of one kind on several subjects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// as [`Finding::fact`]; `console` for a complaint
    pub fact: String,
    /// as [`Finding::subject`]; absent: any
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// as [`Finding::expected`], or the same as titles have it, with `N` for every number (a leak's size is measured, and
    /// never twice the same); empty for a complaint
    pub expected: String,
    /// as [`Finding::seen`], likewise; the title of a complaint
    pub seen: String,
}

/// How surely an issue shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reproduces {
    /// every time: a scenario that passes is a repaired kernel
    Always,
    /// not every time: a scenario that passes says nothing
    Sometimes,
}

/// Why the list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// the file cannot be read
    #[error("read {}: {source}", path.display())]
    Read {
        /// which
        path: PathBuf,
        /// why
        source: io::Error,
    },
    /// what is wrong in it, and where
    #[error(transparent)]
    Yaml(#[from] YamlError),
}

/// The list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    entries: Vec<Entry>,
}

/// The finding that stands for a complaint.
pub fn console_finding(complaint: &Complaint) -> Finding {
    let rule = "the console says nothing bad that the case does not provoke";
    Finding::new(CONSOLE, "", "", &complaint.title, rule)
}

impl Fact {
    /// The title of a verdict that comes of it: long values are cut off there.
    fn title(&self) -> String {
        super::judge::title(&Finding::new(&*self.fact, "", &self.expected, &self.seen, ""))
    }

    fn is(&self, finding: &Finding) -> bool {
        let subject = self.subject.as_ref().is_none_or(|subject| *subject == finding.subject);
        let says = |own: &str, found: &str| own == found || own == super::triage::stable(found);
        subject
            && self.fact == finding.fact
            && says(&self.expected, &finding.expected)
            && says(&self.seen, &finding.seen)
    }
}

impl Entry {
    /// Whether it is about this scenario on this kernel.
    pub fn applies(&self, scenario: &str, version: Version) -> bool {
        let mut patterns = self.scenario.split_whitespace();
        patterns.any(|p| Pattern::new(p).matches(scenario)) && self.kernels.contains(version)
    }
}

impl Known {
    /// Reads the list from its text.
    pub fn parse(file: &Path, text: &str) -> Result<Self, KnownError> {
        let (entries, positions): (Vec<Entry>, _) = yaml::from_str_with_positions(file, text)?;
        for (index, entry) in entries.iter().enumerate() {
            check(entry, index, &entries[..index], &positions)?;
        }
        Ok(Self { entries })
    }

    /// Reads `known-issues.yaml` of a directory of cases; a directory without it has no known issues.
    pub fn from_dir(dir: &Path) -> Result<Self, KnownError> {
        let path = dir.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(KnownError::Read { path, source }),
        }
    }

    /// The list that is built into the binary.
    pub fn embedded() -> Result<Self, KnownError> {
        let file = embedded::CASES.iter().find(|(name, _)| *name == FILE);
        file.map_or_else(
            || Ok(Self::default()),
            |(_, text)| Self::parse(&Path::new("cases").join(FILE), text),
        )
    }

    /// All entries, in order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// By its id.
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.id == id)
    }

    /// The entry that a failure is: of several that are it together, the one with its title. `findings` holds those of
    /// the console too ([`console_finding`]).
    pub fn matches(
        &self,
        scenario: &str,
        version: Version,
        title: &str,
        findings: &[Finding],
    ) -> Option<&Entry> {
        if self.others(scenario, version, findings).next().is_some() {
            return None;
        }
        self.shown(scenario, version, findings).into_iter().find(|entry| entry.title == title)
    }

    /// Findings that are not of a known issue which shows in them as a whole.
    pub fn others<'f>(
        &self,
        scenario: &str,
        version: Version,
        findings: &'f [Finding],
    ) -> impl Iterator<Item = &'f Finding> + use<'f, '_> {
        let shown = self.shown(scenario, version, findings);
        let told = move |f: &Finding| shown.iter().any(|entry| entry.facts.iter().any(|fact| fact.is(f)));
        findings.iter().filter(move |f| !told(f))
    }

    /// Entries of which every fact is among the findings.
    fn shown(&self, scenario: &str, version: Version, findings: &[Finding]) -> Vec<&Entry> {
        let shows = |entry: &&Entry| {
            entry.applies(scenario, version)
                && entry.facts.iter().all(|fact| findings.iter().any(|f| fact.is(f)))
        };
        self.entries.iter().filter(shows).collect()
    }

    /// Entries that always reproduce and did not: each with the scenarios that passed though it applies to them.
    pub fn fixed<'a>(
        &self,
        ran: impl IntoIterator<Item = (&'a str, Version, Verdict)>,
    ) -> Vec<(&Entry, Vec<&'a str>)> {
        let passed: Vec<_> = ran.into_iter().filter(|(_, _, verdict)| *verdict == Verdict::Pass).collect();
        let always = self.entries.iter().filter(|e| e.reproduces == Reproduces::Always);
        let with_scenarios = always.map(|entry| {
            let of = passed.iter().filter(|(id, version, _)| entry.applies(id, *version));
            (entry, of.map(|(id, ..)| *id).collect::<Vec<_>>())
        });
        with_scenarios.filter(|(_, scenarios)| !scenarios.is_empty()).collect()
    }
}

/// What types cannot say.
fn check(entry: &Entry, index: usize, before: &[Entry], positions: &Positions) -> Result<(), YamlError> {
    let at = |key: &str, what: &str| Err(positions.error(&[Key::Index(index), Key::from(key)], what));
    let texts = [
        ("id", &entry.id),
        ("scenario", &entry.scenario),
        ("title", &entry.title),
        ("reason", &entry.reason),
        ("link", &entry.link),
    ];
    if let Some((key, _)) = texts.iter().find(|(_, text)| text.trim().is_empty()) {
        return at(key, "must not be empty");
    }
    if before.iter().any(|e| e.id == entry.id) {
        return at("id", &format!("{} comes twice", entry.id));
    }
    if entry.facts.is_empty() {
        return at("facts", "a signature without facts would match nothing");
    }
    let facts: BTreeSet<_> = entry.facts.iter().collect();
    if facts.len() < entry.facts.len() {
        return at("facts", "a fact comes twice");
    }
    let titles: Vec<String> = entry.facts.iter().map(Fact::title).collect();
    if !titles.contains(&entry.title) {
        return at("title", &format!("no fact has this title, but: {}", titles.join("; ")));
    }
    match (&entry.patch, &entry.no_patch_because) {
        (None, None) => at("id", "needs `patch`, or `no_patch_because` with the reason"),
        (Some(_), Some(_)) => at("no_patch_because", "there is a `patch`"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
