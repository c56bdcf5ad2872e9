//! One verdict out of everything that is known about a scenario.

use super::triage::{Complaint, stable};
use super::types::Verdict;
use crate::finding::Finding;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Trouble that is not the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// ERROR: the test broke, the kernel is unknown (a lost agent with a healthy console, a gap in what was recorded)
    Broke(String),
    /// MISS: the harness or the host failed, the test did not run (no QEMU, no disk, a boot that crashed and was repeated)
    NotRun(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broke(why) | Self::NotRun(why) => f.write_str(why),
        }
    }
}

/// Whether a scenario judges the kernel or measures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// without trouble it is PASS
    #[default]
    Judge,
    /// without trouble it is DONE
    Measure,
}

/// The verdict and the text to group it by: empty for PASS and DONE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// one of the six
    pub verdict: Verdict,
    /// stable
    pub title: String,
}

/// FAIL over ERROR over MISS over PASS or DONE; a skip never comes this far.
///
/// The title of a FAIL is that of the first complaint that ended the kernel, else the first finding's, else the
/// first complaint's.
pub fn judge(
    findings: &[Finding],
    complaints: &[Complaint],
    trouble: &[Trouble],
    purpose: Purpose,
) -> Judgement {
    let fail = complaints
        .iter()
        .find(|c| c.fatal)
        .map(|c| c.title.clone())
        .or_else(|| findings.first().map(title))
        .or_else(|| complaints.first().map(|c| c.title.clone()));
    let broke = |t: &&Trouble| matches!(t, Trouble::Broke(_));
    let first = |verdict, trouble: &Trouble| (verdict, one_line(&trouble.to_string()));
    let (verdict, title) = fail
        .map(|title| (Verdict::Fail, title))
        .or_else(|| trouble.iter().find(broke).map(|t| first(Verdict::Error, t)))
        .or_else(|| trouble.first().map(|t| first(Verdict::Miss, t)))
        .unwrap_or_else(|| {
            (if purpose == Purpose::Judge { Verdict::Pass } else { Verdict::Done }, String::new())
        });
    Judgement { verdict, title }
}

/// Longest value that a title shows.
const LONGEST: usize = 60;

/// `block.zone: expected Movable, seen Normal`; numbers of this guest are left out.
pub fn title(finding: &Finding) -> String {
    let Finding { fact, expected, seen, .. } = finding;
    if fact == super::known::CONSOLE {
        return seen.clone();
    }
    if let (Ok(expected), Ok(seen)) = (expected.trim().parse::<i128>(), seen.trim().parse::<i128>()) {
        let how = match seen.cmp(&expected) {
            std::cmp::Ordering::Less => "less than expected",
            std::cmp::Ordering::Greater => "more than expected",
            std::cmp::Ordering::Equal => "not as expected",
        };
        return format!("{fact}: {how}");
    }
    format!("{fact}: expected {}, seen {}", value(expected), value(seen))
}

fn value(text: &str) -> String {
    let text = one_line(&stable(text));
    if text.is_empty() {
        return "nothing".into();
    }
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Class, Provokes, triage};

    fn zone() -> Finding {
        Finding::new("block.zone", "memory33", "Movable", "Normal", "r")
    }

    fn complaint(class: Class, title: &str, fatal: bool) -> Complaint {
        Complaint { title: title.into(), class, fatal, excerpt: vec![], line: 1, heads: vec![] }
    }

    fn judged(findings: &[Finding], complaints: &[Complaint], trouble: &[Trouble]) -> String {
        let Judgement { verdict, title } = judge(findings, complaints, trouble, Purpose::Judge);
        format!("{verdict} {title}")
    }

    #[test]
    fn heaviest_wins() {
        let broke = Trouble::Broke("the agent\nwent silent".into());
        let not_run = Trouble::NotRun("no qemu".into());
        let warn = complaint(Class::Warning, "WARNING in add_pages", false);
        let panic = complaint(Class::Panic, "panic: x", true);
        assert_eq!(judged(&[], &[], &[]), "PASS ");
        assert_eq!(judged(&[], &[], std::slice::from_ref(&not_run)), "MISS no qemu");
        assert_eq!(judged(&[], &[], &[not_run.clone(), broke.clone()]), "ERROR the agent went silent");
        assert_eq!(
            judged(&[], std::slice::from_ref(&warn), &[not_run, broke.clone()]),
            "FAIL WARNING in add_pages"
        );
        assert_eq!(
            judged(&[zone()], std::slice::from_ref(&warn), &[broke]),
            "FAIL block.zone: expected Movable, seen Normal"
        );
        assert_eq!(judged(&[zone()], &[warn, panic], &[]), "FAIL panic: x");
        assert_eq!(judge(&[], &[], &[], Purpose::Measure).verdict, Verdict::Done);
        assert_eq!(judge(&[zone()], &[], &[], Purpose::Measure).verdict, Verdict::Fail);
    }

    #[test]
    fn numbers_of_this_guest_are_not_in_titles() {
        let of = |expected: &str, seen: &str| title(&Finding::new("f", "", expected, seen, ""));
        assert_eq!(of("932740", "801668"), "f: less than expected");
        assert_eq!(of("4", "5"), "f: more than expected");
        assert_eq!(title(&Finding::new("console", "", "", "WARNING in f", "")), "WARNING in f");
        assert_eq!(of("07", "7"), "f: not as expected");
        assert_eq!(of("memory33 online", ""), "f: expected memoryN online, seen nothing");
        assert_eq!(of("a", &"é".repeat(70)), format!("f: expected a, seen {}…", "é".repeat(60)));
    }

    #[test]
    fn a_provoked_panic_does_not_fail() {
        let console = b"Kernel panic - not syncing: sysrq triggered crash\n";
        let complaints = triage(console, &Provokes::default());
        assert_eq!(judged(&[], &complaints, &[]), "FAIL panic: sysrq triggered crash");
    }
}
