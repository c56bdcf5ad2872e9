//! KTAP version 1 (Documentation/dev-tools/ktap.rst): plan first, one flat line a scenario, totals last.

use super::{Issue, Reporter};
use crate::event::{Event, Kind, ScenarioEnd};
use crate::verdict::Verdict;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Writes the lines as the scenarios end.
pub struct Ktap<W> {
    to: W,
    issues: Vec<Issue>,
    number: u64,
    totals: BTreeMap<&'static str, u64>,
}

impl<W: Write> Ktap<W> {
    /// A writer.
    pub fn new(to: W, issues: Vec<Issue>) -> Self {
        Self { to, issues, number: 0, totals: BTreeMap::new() }
    }

    fn end(&mut self, id: &str, end: &ScenarioEnd) -> io::Result<()> {
        self.number += 1;
        let reason = |id: &str| self.issues.iter().find(|i| i.id == id).map_or(id, |i| &i.reason).to_string();
        let (ok, total, directive) = match (end.verdict, &end.known) {
            (Verdict::Fail, Some(known)) => (false, "xfail", format!(" # XFAIL {}", reason(known))),
            (Verdict::Fail, None) => (false, "fail", String::new()),
            (Verdict::Error | Verdict::Miss, _) => (false, "error", format!(" # ERROR {}", end.title)),
            (Verdict::Skip, _) => (true, "skip", format!(" # SKIP {}", end.title)),
            (Verdict::Pass | Verdict::Done, _) => (true, "pass", String::new()),
        };
        *self.totals.entry(total).or_default() += 1;
        let word = if ok { "ok" } else { "not ok" };
        let directive = directive.replace('\n', " ");
        writeln!(self.to, "{word} {} {id}{directive}", self.number)
    }
}

impl<W: Write> Reporter for Ktap<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match (&event.kind, &event.scenario) {
            (Kind::Plan { scenarios }, _) => writeln!(self.to, "KTAP version 1\n1..{}", scenarios.len())?,
            (Kind::ScenarioEnd(end), Some(id)) => self.end(id, end)?,
            _ => return Ok(()),
        }
        self.to.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        let total = |name| self.totals.get(name).copied().unwrap_or(0);
        let names = ["pass", "fail", "xfail", "xpass", "skip", "error"];
        let counts: Vec<String> = names.iter().map(|name| format!("{name}:{}", total(*name))).collect();
        writeln!(self.to, "# Totals: {}", counts.join(" "))?;
        self.to.flush()
    }
}

/// One result line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `ok`
    pub ok: bool,
    /// its number
    pub number: u64,
    /// what was tested
    pub name: String,
    /// the directive with its reason: `SKIP no NUMA`
    pub directive: Option<String>,
}

/// Reads flat KTAP. Results that the plan names and that are missing mean a crash: they are an error.
///
/// # Errors
/// What is wrong, with the line's number.
pub fn parse(text: &str) -> Result<Vec<Line>, String> {
    let mut lines = text.lines().enumerate().map(|(i, l)| (i + 1, l));
    if lines.next().map(|(_, l)| l) != Some("KTAP version 1") {
        return Err("line 1: not KTAP version 1".into());
    }
    let plan = lines.next().and_then(|(_, l)| l.strip_prefix("1..")?.parse::<usize>().ok());
    let plan = plan.ok_or("line 2: no plan")?;
    let mut results = Vec::new();
    for (at, line) in lines.filter(|(_, l)| !l.starts_with('#')) {
        let result = result(line).ok_or_else(|| format!("line {at}: no result: {line:?}"))?;
        if result.number != results.len() as u64 + 1 {
            return Err(format!("line {at}: number {}, expected {}", result.number, results.len() + 1));
        }
        results.push(result);
    }
    if results.len() == plan {
        Ok(results)
    } else {
        Err(format!("{} results, planned were {plan}", results.len()))
    }
}

fn result(line: &str) -> Option<Line> {
    let (ok, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (number, rest) = rest.split_once(' ')?;
    let (name, directive) = rest.split_once(" # ").map_or((rest, None), |(n, d)| (n, Some(d.to_string())));
    Some(Line { ok, number: number.parse().ok()?, name: name.into(), directive })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{events, issues};

    #[test]
    fn exact_text_and_back() {
        let mut bytes = Vec::new();
        let mut ktap = Ktap::new(&mut bytes, issues());
        events().iter().for_each(|e| ktap.event(e).unwrap());
        ktap.finish().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let expected = "KTAP version 1\n1..5\nok 1 zone/skipped@k # SKIP needs a kernel >=5.15, this is 5.10\n\
            ok 2 policy/good@k\nnot ok 3 policy/bad@k\nnot ok 4 unplug/zones@k # XFAIL zones are lost\n\
            not ok 5 sysfs/broken@k # ERROR the agent's line is damaged\n\
            # Totals: pass:1 fail:1 xfail:1 xpass:0 skip:1 error:1\n";
        assert_eq!(text, expected);
        let lines = parse(&text).unwrap();
        assert_eq!(lines.iter().filter(|l| l.ok).count(), 2);
        assert_eq!(lines[3].directive.as_deref(), Some("XFAIL zones are lost"));
        let crashed: String = text.lines().take(4).map(|l| format!("{l}\n")).collect();
        assert_eq!(parse(&crashed), Err("2 results, planned were 5".into()));
    }
}
