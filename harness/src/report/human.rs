//! Lines for people: one a scenario as it ends, what a failure is made of, and a summary.

use super::{Issue, Reporter, blind};
use crate::event::{Event, Kind, RunStart, ScenarioEnd};
use crate::finding::Finding;
use crate::verdict::Verdict;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Findings of one failure that are shown; the log has all.
const MOST_FINDINGS: usize = 12;
/// Console lines of one failure that are shown.
const MOST_LINES: usize = 15;
/// Options without which a detector is missing.
const DETECTORS: [&str; 5] = ["DEBUG_VM", "PROVE_LOCKING", "KASAN", "DETECT_HUNG_TASK", "PAGE_OWNER"];

/// What is known of a scenario until it ends.
#[derive(Debug, Default)]
struct Open {
    kernel: String,
    repeat: String,
    findings: Vec<(String, String, Finding)>,
}

/// See the module.
pub(super) struct Human<W> {
    to: W,
    colour: bool,
    bar: ProgressBar,
    issues: Vec<Issue>,
    out: Option<PathBuf>,
    open: BTreeMap<String, Open>,
    counts: BTreeMap<Verdict, u64>,
    known: BTreeMap<String, u64>,
    skips: BTreeMap<String, u64>,
    retries: Vec<String>,
    failures: Vec<String>,
    missing_detectors: Vec<String>,
    /// kernel -> what could not be watched in it
    unseen: BTreeMap<String, BTreeSet<String>>,
}

impl<W: Write> Human<W> {
    pub(super) fn new(to: W, issues: Vec<Issue>, out: Option<&Path>) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            to,
            colour: io::stdout().is_terminal(),
            bar: ProgressBar::with_draw_target(None, target),
            issues,
            out: out.map(Path::to_path_buf),
            open: BTreeMap::new(),
            counts: BTreeMap::new(),
            known: BTreeMap::new(),
            skips: BTreeMap::new(),
            retries: Vec::new(),
            failures: Vec::new(),
            missing_detectors: Vec::new(),
            unseen: BTreeMap::new(),
        }
    }

    fn start(&mut self, start: &RunStart) {
        for (name, identity) in &start.kernels {
            let Some(config) = identity.get("config").and_then(|c| c.as_object()) else {
                self.missing_detectors.push(format!("{name}: configuration not known"));
                continue;
            };
            let missing = DETECTORS.iter().filter(|o| config.get(**o).and_then(|v| v.as_str()) != Some("y"));
            let missing: Vec<&str> = missing.copied().collect();
            if !missing.is_empty() {
                self.missing_detectors.push(format!("{name}: {}", missing.join(", ")));
            }
        }
    }

    fn plan(&mut self, count: usize) {
        self.bar.set_length(count as u64);
        // The template is fixed and right; the default one would do as well.
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed} elapsed, {eta} to go")
        {
            self.bar.set_style(style);
        }
    }

    fn word(&self, end: &ScenarioEnd) -> String {
        let (word, colour) = match (end.verdict, &end.known) {
            (Verdict::Fail, Some(_)) => ("XFAIL".to_string(), 33),
            (verdict @ Verdict::Fail, None) => (verdict.to_string(), 31),
            (verdict @ (Verdict::Error | Verdict::Miss), _) => (verdict.to_string(), 35),
            (verdict @ Verdict::Skip, _) => (verdict.to_string(), 36),
            (verdict @ (Verdict::Pass | Verdict::Done), _) => (verdict.to_string(), 32),
        };
        if self.colour { format!("\x1b[{colour}m{word:<5}\x1b[0m") } else { format!("{word:<5}") }
    }

    #[allow(clippy::cast_precision_loss)] // for show
    fn end(&mut self, id: &str, end: &ScenarioEnd) -> io::Result<()> {
        let open = self.open.remove(id).unwrap_or_default();
        let mut text = format!("{} {id}", self.word(end));
        if let Some(boot) = &end.boot {
            text += &format!("  ({:.1} s, {boot})", end.duration_ns as f64 / 1e9);
        }
        match (&end.known, end.verdict) {
            (Some(known), _) => text += &format!(": {known}"),
            (None, Verdict::Pass | Verdict::Done) => {}
            (None, _) => text += &format!(": {}", end.title),
        }
        text.push('\n');
        if end.known.is_none() && !matches!(end.verdict, Verdict::Pass | Verdict::Done | Verdict::Skip) {
            text += &details(&open, end);
            self.failures.push(format!("{} {id}: {}", end.verdict, end.title));
        }
        self.count(end);
        self.bar.inc(1);
        self.write(&text)
    }

    fn count(&mut self, end: &ScenarioEnd) {
        match &end.known {
            Some(known) => *self.known.entry(known.clone()).or_default() += 1,
            None => *self.counts.entry(end.verdict).or_default() += 1,
        }
        if end.verdict == Verdict::Skip {
            *self.skips.entry(end.title.clone()).or_default() += 1;
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let to = &mut self.to;
        self.bar.suspend(|| to.write_all(text.as_bytes()).and_then(|()| to.flush()))
    }

    fn summary(&self) -> String {
        let count = |verdict| self.counts.get(&verdict).copied().unwrap_or(0);
        let known: u64 = self.known.values().sum();
        let mut text = format!(
            "\n{} passed, {} failed, {known} known to fail, {} errors, {} missed, {} skipped\n",
            count(Verdict::Pass) + count(Verdict::Done),
            count(Verdict::Fail),
            count(Verdict::Error),
            count(Verdict::Miss),
            count(Verdict::Skip),
        );
        let mut list = |title: &str, lines: &[String]| {
            if !lines.is_empty() {
                text += &format!("{title}\n");
                lines.iter().for_each(|line| text += &format!("    {line}\n"));
            }
        };
        list("what did not pass:", &self.failures);
        let known: Vec<String> = self.known.iter().map(|(id, n)| self.issue(id, *n)).collect();
        list("known issues of these kernels:", &known);
        list("tried again (an emulator's or the host's fault):", &self.retries);
        let skips: Vec<String> = self.skips.iter().map(|(reason, n)| format!("{n}: {reason}")).collect();
        list("skipped:", &skips);
        list("detectors that a kernel was not built with:", &self.missing_detectors);
        let unseen = self.unseen.iter().map(|(kernel, all)| {
            format!("{kernel}: {}", all.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
        });
        list("not judged, for a kernel does not show it:", &unseen.collect::<Vec<_>>());
        if let Some(out) = &self.out {
            text += &format!("results in {0}; judge them again with: memhp parse {0}\n", out.display());
        }
        text
    }

    fn issue(&self, id: &str, count: u64) -> String {
        match self.issues.iter().find(|issue| issue.id == id) {
            Some(issue) => format!("{id} ({count}): {} {}", issue.reason, issue.link),
            None => format!("{id} ({count})"),
        }
    }
}

/// Expected and seen of each finding, the console, the line that repeats it.
fn details(open: &Open, end: &ScenarioEnd) -> String {
    let mut text = String::new();
    for (step, what, finding) in open.findings.iter().take(MOST_FINDINGS) {
        text += &format!("    step {step}: {what}\n");
        text += &format!("      {} {}\n", finding.fact, finding.subject);
        text += &format!("        expected  {}\n        seen      {}\n", finding.expected, finding.seen);
        text += &format!("        rule      {}\n", finding.rule);
    }
    if let Some(more) = open.findings.len().checked_sub(MOST_FINDINGS).filter(|n| *n > 0) {
        text += &format!("    … and {more} more\n");
    }
    end.console.iter().take(MOST_LINES).for_each(|line| text += &format!("    | {line}\n"));
    if !open.repeat.is_empty() {
        text += &format!("    repeat: {}\n", open.repeat);
    }
    text
}

impl<W: Write> Reporter for Human<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match (&event.kind, &event.scenario) {
            (Kind::RunStart(start), _) => self.start(start),
            (Kind::Plan { scenarios }, _) => self.plan(scenarios.len()),
            (Kind::ScenarioStart { kernel, repeat }, Some(id)) => {
                let (kernel, repeat) = (kernel.clone(), repeat.clone());
                self.open.insert(id.clone(), Open { kernel, repeat, findings: Vec::new() });
            }
            (Kind::Observation { data, .. }, Some(id)) => {
                let (unseen, open) = (blind::unseen(data), self.open.get(id));
                if let Some(open) = open.filter(|_| !unseen.is_empty()) {
                    self.unseen.entry(open.kernel.clone()).or_default().extend(unseen);
                }
            }
            (Kind::Finding { step, text, finding }, Some(id)) => {
                let open = self.open.entry(id.clone()).or_default();
                open.findings.push((step.clone(), text.clone(), finding.clone()));
            }
            (Kind::Retry { reason }, Some(id)) => self.retries.push(format!("{id}: {reason}")),
            (Kind::ScenarioEnd(end), Some(id)) => return self.end(id, end),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.bar.finish_and_clear();
        let text = self.summary();
        self.write(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{events, issues};

    #[test]
    fn exact_text() {
        let mut bytes = Vec::new();
        let mut human = Human::new(&mut bytes, issues(), Some(Path::new("out")));
        human.colour = false;
        events().iter().for_each(|e| human.event(e).unwrap());
        human.finish().unwrap();
        drop(human);
        let expected = "\
SKIP  zone/skipped@k: needs a kernel >=5.15, this is 5.10
PASS  policy/good@k  (2.5 s, cold)
FAIL  policy/bad@k  (2.5 s, cold): block.zone: expected Movable, seen Normal
    step 2: {\"expect\":{\"blocks\":\"a\"}}
      block.zone memory32
        expected  Movable
        seen      Normal
        rule      mm/memory_hotplug.c:zone_for_pfn_range
    repeat: memhp run 'policy/bad@k'
XFAIL unplug/zones@k  (2.5 s, cold): zones-lost
ERROR sysfs/broken@k  (2.5 s, cold): the agent's line is damaged

1 passed, 1 failed, 1 known to fail, 1 errors, 0 missed, 1 skipped
what did not pass:
    FAIL policy/bad@k: block.zone: expected Movable, seen Normal
    ERROR sysfs/broken@k: the agent's line is damaged
known issues of these kernels:
    zones-lost (1): zones are lost https://example.org/1
tried again (an emulator's or the host's fault):
    sysfs/broken@k: oops at boot
skipped:
    1: needs a kernel >=5.15, this is 5.10
detectors that a kernel was not built with:
    k: DEBUG_VM, PROVE_LOCKING, PAGE_OWNER
results in out; judge them again with: memhp parse out
";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
    #[test]
    fn what_was_not_watched_is_told_once_for_a_kernel() {
        let begun = Kind::ScenarioStart { kernel: "k".into(), repeat: "memhp run 'a/b@k'".into() };
        let boot = serde_json::json!({ "what": "boot", "hello": { "uevents": false, "page_flags": true } });
        let data = boot.as_object().unwrap().clone().into_iter().collect();
        let boot = Kind::Observation { step: "0".into(), data };
        let mut bytes = Vec::new();
        let mut human = Human::new(&mut bytes, Vec::new(), None);
        for kind in [begun.clone(), boot.clone(), begun, boot] {
            let scenario = Some("a/b@k".to_string());
            human.event(&Event { v: 1, seq: 1, t_ns: 0, scenario, round: 0, kind }).unwrap();
        }
        human.finish().unwrap();
        drop(human);
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines, ["not judged, for a kernel does not show it:", "    k: uevents (CONFIG_NET)"]);
    }
}
