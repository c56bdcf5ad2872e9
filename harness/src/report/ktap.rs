//! KTAP version 1: a plan first, then one line a scenario in the order of the plan, then the totals.
//!
//! Lines are written as soon as all before them are known, so a file of a run that was cut short has fewer results
//! than its plan says, which KTAP's readers take for what it is: a crash. [`parse`] reads such texts back.

use super::Reporter;
use super::fold::{Run, Slot};
use crate::event::{Event, Kind, ScenarioEnd};
use crate::verdict::{Known, Verdict};
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

mod reader;

pub use reader::{Ktap, KtapError, Line, parse};

/// Writes KTAP.
pub struct Writer<W> {
    out: W,
    known: Arc<Known>,
    run: Run,
    written: usize,
    totals: Totals,
    planned: bool,
}

/// The numbers of the last line, as kselftest prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// PASS and DONE
    pub pass: usize,
    /// FAIL that is not known
    pub fail: usize,
    /// known FAIL
    pub xfail: usize,
    /// always 0: a known issue that is gone is a PASS
    pub xpass: usize,
    /// SKIP
    pub skip: usize,
    /// ERROR and MISS
    pub error: usize,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pass, fail, xfail, xpass, skip, error } = self;
        write!(f, "# Totals: pass:{pass} fail:{fail} xfail:{xfail} xpass:{xpass} skip:{skip} error:{error}")
    }
}

impl<W: Write> Writer<W> {
    /// To `out`; the reasons of known failures come from `known`.
    pub fn new(out: W, known: Arc<Known>) -> Self {
        Self { out, known, run: Run::default(), written: 0, totals: Totals::default(), planned: false }
    }

    fn plan(&mut self) -> io::Result<()> {
        self.planned = true;
        write!(self.out, "KTAP version 1\n1..{}\n", self.run.slots.len())
    }

    /// Results up to the first slot that has none; all of them at the end of the run.
    fn results(&mut self, all: bool) -> io::Result<()> {
        while let Some(slot) = self.run.slots.get(self.written).filter(|s| all || s.end.is_some()) {
            self.written += 1;
            let end = self.run.judged(slot);
            let line = result(self.written, slot, &end, &self.known, &mut self.totals);
            self.out.write_all(line.as_bytes())?;
        }
        self.out.flush()
    }
}

/// One line, and its share of the totals.
fn result(number: usize, slot: &Slot, end: &ScenarioEnd, known: &Known, totals: &mut Totals) -> String {
    let id = plain(&slot.id).replace('#', r"\#");
    let reason = if end.title.is_empty() { "no reason was recorded".to_string() } else { plain(&end.title) };
    let mut counted = |count: fn(&mut Totals) -> &mut usize| *count(totals) += 1;
    match (end.verdict, &end.known) {
        (Verdict::Pass | Verdict::Done, _) => {
            counted(|t| &mut t.pass);
            format!("ok {number} {id}\n")
        }
        (Verdict::Skip, _) => {
            counted(|t| &mut t.skip);
            format!("ok {number} {id} # SKIP {reason}\n")
        }
        (Verdict::Fail, Some(issue)) => {
            counted(|t| &mut t.xfail);
            let why = known.get(issue).map(|e| format!(": {}", plain(&e.reason))).unwrap_or_default();
            format!("not ok {number} {id} # XFAIL {}{why}\n", plain(issue))
        }
        (Verdict::Fail, None) => {
            counted(|t| &mut t.fail);
            format!("not ok {number} {id}\n")
        }
        (Verdict::Error | Verdict::Miss, _) => {
            counted(|t| &mut t.error);
            format!("not ok {number} {id} # ERROR {reason}\n")
        }
    }
}

/// One line of text.
fn plain(text: &str) -> String {
    text.split(|c: char| c.is_control())
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

impl<W: Write> Reporter for Writer<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.run.event(event)?;
        match event.kind {
            Kind::Plan { .. } => self.plan().and_then(|()| self.out.flush()),
            Kind::ScenarioEnd(_) => self.results(false),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        if !self.planned {
            self.plan()?;
        }
        self.results(true)?;
        writeln!(self.out, "{}", self.totals)?;
        self.out.flush()
    }
}
