//! For people: one line a scenario as it ends, what failed in full, a summary at the end.
//!
//! Colours and the live count are for terminals only, and the caller says what is one. The count goes to standard
//! error: standard output carries results only.

use super::Reporter;
use super::fold::{Found, Run, Slot};
use super::time::duration;
use crate::event::{Event, Kind, ScenarioEnd};
use crate::verdict::{Known, Verdict};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

mod summary;

/// What the output may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// verdicts are coloured: standard output is a terminal
    pub colour: bool,
    /// count and time to go are shown: standard error is a terminal
    pub live: bool,
}

/// Writes for people.
pub struct Human<W> {
    out: W,
    look: Look,
    known: Arc<Known>,
    run: Run,
    bar: ProgressBar,
}

impl<W: Write> Human<W> {
    /// To `out`; reasons and links of known issues come from `known`.
    pub fn new(out: W, look: Look, known: Arc<Known>) -> Self {
        Self { out, look, known, run: Run::default(), bar: ProgressBar::hidden() }
    }

    fn plan(&mut self) {
        if self.look.live {
            let template = "{pos}/{len} {wide_bar} {msg}, {eta} to go";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let target = ProgressDrawTarget::stderr();
            self.bar =
                ProgressBar::with_draw_target(Some(self.run.slots.len() as u64), target).with_style(style);
        }
    }

    /// Text above the live line.
    fn print(&mut self, text: &str) -> io::Result<()> {
        let out = &mut self.out;
        self.bar.suspend(|| out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    fn scenario(&mut self, index: usize) -> io::Result<()> {
        let slot = &self.run.slots[index];
        let end = self.run.judged(slot);
        let mut text = headline(slot, &end, self.look);
        if end.verdict >= Verdict::Miss && end.known.is_none() {
            text.push_str(&details(slot, &end));
        }
        self.bar.inc(1);
        let fails = self.run.counts();
        self.bar.set_message(format!("{} FAIL", fails.of(Verdict::Fail) - fails.known));
        self.print(&text)
    }
}

impl<W: Write> Reporter for Human<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let index = self.run.event(event)?;
        match (&event.kind, index) {
            (Kind::Plan { .. }, _) => {
                self.plan();
                Ok(())
            }
            (Kind::Notice { text }, _) => self.print(&format!("note: {}\n", clean(text))),
            (Kind::Retry { reason }, Some(index)) => {
                let id = clean(&self.run.slots[index].id);
                self.print(&format!("again  {id}  {}\n", clean(reason)))
            }
            (Kind::ScenarioEnd(_), Some(index)) => self.scenario(index),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.bar.finish_and_clear();
        let text = summary::summary(&self.run, &self.known, self.look);
        self.print(&text)
    }
}

/// `FAIL   ID  3.4s cold`
fn headline(slot: &Slot, end: &ScenarioEnd, look: Look) -> String {
    let mut line = format!("{}  {}", painted(end, look), clean(&slot.id));
    if end.verdict != Verdict::Skip {
        let _ = write!(line, "  {}", duration(end.duration_ns));
    }
    if let Some(boot) = &end.boot {
        let _ = write!(line, " {}", clean(boot));
    }
    if let Some(known) = &end.known {
        let _ = write!(line, "  (known: {})", clean(known));
    } else if !end.title.is_empty() {
        let _ = write!(line, "  {}", clean(&end.title));
    }
    line.push('\n');
    line
}

/// The verdict, five wide.
fn painted(end: &ScenarioEnd, look: Look) -> String {
    let colour = match (end.verdict, &end.known) {
        (Verdict::Pass, _) => "32",
        (Verdict::Fail, None) => "1;31",
        (Verdict::Fail, Some(_)) => "33",
        (Verdict::Error | Verdict::Miss, _) => "35",
        (Verdict::Done, _) => "36",
        (Verdict::Skip, _) => "2",
    };
    let text = format!("{:5}", end.verdict.to_string());
    if look.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text }
}

/// What did not pass, in full.
fn details(slot: &Slot, end: &ScenarioEnd) -> String {
    let mut text = String::new();
    let mut step = None;
    for found in &slot.findings {
        if step != Some(&found.step) {
            let _ = writeln!(text, "    step {}  {}", clean(&found.step), clean(&found.text));
            step = Some(&found.step);
        }
        text.push_str(&difference(found));
    }
    if !end.console.is_empty() {
        text.push_str("    console\n");
        for line in &end.console {
            let _ = writeln!(text, "      {}", clean(line));
        }
    }
    if let Some(repeat) = &slot.repeat {
        let _ = writeln!(text, "    repeat  {}", clean(repeat));
    }
    text
}

/// Width of the left column, at most.
const WIDEST: usize = 60;

/// Expected and seen side by side, line by line; below each other where the left one is too wide.
fn difference(found: &Found) -> String {
    let finding = &found.finding;
    let mut text = format!("      {}", clean(&finding.fact));
    if !finding.subject.is_empty() {
        let _ = write!(text, "  {}", clean(&finding.subject));
    }
    text.push('\n');
    let lines = |value: &str| -> Vec<String> {
        if value.is_empty() { vec!["(nothing)".into()] } else { value.lines().map(clean).collect() }
    };
    let (expected, seen) = (lines(&finding.expected), lines(&finding.seen));
    let width = |lines: &[String]| lines.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    let left = width(&expected).max("expected".len());
    if left <= WIDEST {
        let _ = writeln!(text, "        {:left$} | seen", "expected");
        let none = String::new();
        for row in 0..expected.len().max(seen.len()) {
            let cell = |lines: &[String]| lines.get(row).unwrap_or(&none).clone();
            let line = format!("        {:left$} | {}", cell(&expected), cell(&seen));
            let _ = writeln!(text, "{}", line.trim_end());
        }
    } else {
        for (name, lines) in [("expected", expected), ("seen", seen)] {
            let _ = writeln!(text, "        {name}\n          {}", lines.join("\n          "));
        }
    }
    if !finding.rule.is_empty() {
        let _ = writeln!(text, "        rule: {}", clean(&finding.rule));
    }
    text
}

/// Text of a guest on somebody's terminal: one line, without control characters.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
