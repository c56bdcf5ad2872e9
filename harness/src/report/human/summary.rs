//! The end of the report for people.

use super::{Look, clean, painted};
use crate::report::fold::Run;
use crate::report::time::duration;
use crate::verdict::{Known, Verdict};
use std::fmt::Write as _;

/// Counts, known issues, retries, detectors, failures: whatever there is.
pub(super) fn summary(run: &Run, known: &Known, look: Look) -> String {
    let mut text = format!("\n{}\n", counts(run));
    section(&mut text, "known issues", &known_issues(run, known));
    section(&mut text, "known issues that are gone (always reproduced, and passed now)", &fixed(run, known));
    section(&mut text, "made again", &retries(run));
    section(&mut text, "detectors that a kernel was not built with", &missing_detectors(run));
    section(&mut text, "did not pass", &failures(run, look));
    if let Some((_, Some(signal))) = &run.end {
        let _ = writeln!(text, "ended by {}", clean(signal));
    }
    text
}

fn section(text: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = writeln!(text, "{title}:");
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }
}

/// `12 scenarios in 34.0s: 9 PASS, 2 FAIL (1 known), 1 SKIP`
fn counts(run: &Run) -> String {
    let counts = run.counts();
    let order = [Verdict::Pass, Verdict::Done, Verdict::Fail, Verdict::Error, Verdict::Miss, Verdict::Skip];
    let parts: Vec<String> = order
        .into_iter()
        .filter(|verdict| counts.of(*verdict) > 0)
        .map(|verdict| match (verdict, counts.known) {
            (Verdict::Fail, 1..) => format!("{} FAIL ({} known)", counts.of(verdict), counts.known),
            _ => format!("{} {verdict}", counts.of(verdict)),
        })
        .collect();
    let scenarios = plural(counts.all(), "scenario");
    let all = if parts.is_empty() { "nothing ran".into() } else { parts.join(", ") };
    format!("{scenarios} in {}: {all}", duration(run.t_ns))
}

fn plural(count: usize, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}

fn known_issues(run: &Run, known: &Known) -> Vec<String> {
    let mut met: Vec<(String, usize)> = Vec::new();
    for id in run.ends().into_iter().filter_map(|(_, end)| end.known) {
        match met.iter_mut().find(|(seen, _)| *seen == id) {
            Some((_, count)) => *count += 1,
            None => met.push((id, 1)),
        }
    }
    met.sort();
    let line = |(id, count): (String, usize)| {
        let what = known.get(&id).map_or_else(
            || "not in this memhp's list of known issues".to_string(),
            |e| format!("{}\n      {}", clean(&e.reason), clean(&e.link)),
        );
        format!("{} ({}): {what}", clean(&id), plural(count, "scenario"))
    };
    met.into_iter().map(line).collect()
}

fn fixed(run: &Run, known: &Known) -> Vec<String> {
    let ends = run.ends();
    let ran = ends.iter().filter_map(|(slot, end)| Some((&*slot.id, run.version(slot)?, end.verdict)));
    let line = |(entry, scenarios): (&crate::verdict::known::Entry, Vec<&str>)| {
        format!("{}: {}", clean(&entry.id), scenarios.into_iter().map(clean).collect::<Vec<_>>().join(", "))
    };
    known.fixed(ran).into_iter().map(line).collect()
}

fn retries(run: &Run) -> Vec<String> {
    let of = run.slots.iter().flat_map(|slot| slot.retries.iter().map(move |reason| (slot, reason)));
    of.map(|(slot, reason)| format!("{}: {}", clean(&slot.id), clean(reason))).collect()
}

/// `missing_detectors` of a kernel's identity: a list of names.
fn missing_detectors(run: &Run) -> Vec<String> {
    let kernels = run.start.iter().flat_map(|start| &start.kernels);
    let line = |(name, identity): (&String, &serde_json::Value)| {
        let missing = identity.get("missing_detectors")?.as_array()?;
        let missing: Vec<String> = missing.iter().filter_map(|d| d.as_str()).map(clean).collect();
        (!missing.is_empty()).then(|| format!("{}: {}", clean(name), missing.join(", ")))
    };
    kernels.filter_map(line).collect()
}

fn failures(run: &Run, look: Look) -> Vec<String> {
    let ends = run.ends();
    let bad = ends.iter().filter(|(_, end)| end.verdict >= Verdict::Miss && end.known.is_none());
    bad.map(|(slot, end)| format!("{}  {}  {}", painted(end, look), clean(&slot.id), clean(&end.title)))
        .collect()
}
