//! JUnit XML, one suite a kernel.

use super::Reporter;
use crate::event::{Event, Kind, ScenarioEnd};
use crate::verdict::Verdict;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

/// Collects, and writes at the end.
pub(super) struct Junit<W> {
    to: W,
    suites: BTreeMap<String, TestSuite>,
    findings: BTreeMap<String, Vec<String>>,
}

impl<W: Write> Junit<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, suites: BTreeMap::new(), findings: BTreeMap::new() }
    }

    fn end(&mut self, id: &str, end: &ScenarioEnd) {
        let (name, kernel) = id.rsplit_once('@').unwrap_or((id, ""));
        let details = self.findings.remove(id).unwrap_or_default();
        let non_success = |kind| {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(end.title.clone());
            status
                .set_description(details.iter().chain(&end.console).cloned().collect::<Vec<_>>().join("\n"));
            status
        };
        let status = match end.verdict {
            Verdict::Fail => non_success(NonSuccessKind::Failure),
            Verdict::Error | Verdict::Miss => non_success(NonSuccessKind::Error),
            Verdict::Skip => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(end.title.clone());
                status
            }
            Verdict::Pass | Verdict::Done => TestCaseStatus::success(),
        };
        let mut case = TestCase::new(name, status);
        case.set_time(Duration::from_nanos(end.duration_ns));
        let suite = self.suites.entry(kernel.to_string()).or_insert_with(|| TestSuite::new(kernel));
        suite.add_test_case(case);
    }
}

impl<W: Write> Reporter for Junit<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match (&event.kind, &event.scenario) {
            (Kind::Finding { step, finding, .. }, Some(id)) => {
                let line = format!(
                    "step {step}: {} {}: expected {}, seen {} [{}]",
                    finding.fact, finding.subject, finding.expected, finding.seen, finding.rule
                );
                self.findings.entry(id.clone()).or_default().push(line);
            }
            (Kind::ScenarioEnd(end), Some(id)) => self.end(id, end),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut report = Report::new("memhp");
        report.add_test_suites(std::mem::take(&mut self.suites).into_values());
        let text = report.to_string().map_err(io::Error::other)?;
        self.to.write_all(text.as_bytes())?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::events;

    #[test]
    fn failures_errors_and_skips_are_told_apart() {
        let mut bytes = Vec::new();
        let mut junit = Junit::new(&mut bytes);
        events().iter().for_each(|e| junit.event(e).unwrap());
        junit.finish().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.contains(r#"<testsuite name="k" tests="5" skipped="1" errors="1" failures="2">"#),
            "{text}"
        );
        assert!(text.contains("block.zone memory32: expected Movable, seen Normal"), "{text}");
    }
}
