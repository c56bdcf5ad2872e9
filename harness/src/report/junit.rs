//! junit.xml: a suite for each kernel, a test case for each scenario.
//!
//! FAIL is a failure (type `known` if it is a known issue), ERROR and MISS are errors, SKIP is skipped.

use super::fold::{Run, Slot};
use crate::event::ScenarioEnd;
use crate::verdict::{Known, Verdict};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::io;
use std::time::Duration;

/// The document.
pub fn render(run: &Run, known: &Known) -> io::Result<Vec<u8>> {
    let mut report = Report::new("memhp");
    report.set_time(Duration::from_nanos(run.t_ns));
    let ends = run.ends();
    let mut kernels: Vec<&str> = Vec::new();
    for (slot, _) in &ends {
        if !kernels.contains(&slot.kernel_name()) {
            kernels.push(slot.kernel_name());
        }
    }
    for kernel in kernels {
        let mut suite = TestSuite::new(kernel);
        let of = ends.iter().filter(|(slot, _)| slot.kernel_name() == kernel);
        let cases: Vec<TestCase> = of.map(|(slot, end)| case(slot, end, known)).collect();
        suite.set_time(cases.iter().filter_map(|c| c.time).sum());
        suite.add_test_cases(cases);
        report.add_test_suite(suite);
    }
    let text = report.to_string().map_err(io::Error::other)?;
    Ok(text.into_bytes())
}

fn case(slot: &Slot, end: &ScenarioEnd, known: &Known) -> TestCase {
    let mut case = TestCase::new(&*slot.id, status(slot, end, known));
    case.set_classname(slot.case());
    case.set_time(Duration::from_nanos(end.duration_ns));
    let properties = [
        ("verdict", Some(end.verdict.to_string())),
        ("known-issue", end.known.clone()),
        ("boot", end.boot.clone()),
        ("repeat", slot.repeat.clone()),
    ];
    for (name, value) in properties {
        if let Some(value) = value {
            case.add_property((name, &*value));
        }
    }
    if !end.console.is_empty() {
        case.set_system_out(end.console.join("\n"));
    }
    case
}

fn status(slot: &Slot, end: &ScenarioEnd, known: &Known) -> TestCaseStatus {
    let (mut status, kind) = match end.verdict {
        Verdict::Pass | Verdict::Done => return TestCaseStatus::success(),
        Verdict::Skip => (TestCaseStatus::skipped(), "SKIP"),
        Verdict::Error => (TestCaseStatus::non_success(NonSuccessKind::Error), "ERROR"),
        Verdict::Miss => (TestCaseStatus::non_success(NonSuccessKind::Error), "MISS"),
        Verdict::Fail => {
            let kind = if end.known.is_some() { "known" } else { "FAIL" };
            (TestCaseStatus::non_success(NonSuccessKind::Failure), kind)
        }
    };
    status.set_message(&*end.title);
    if end.verdict != Verdict::Skip {
        status.set_type(kind);
    }
    let mut lines: Vec<String> = slot
        .findings
        .iter()
        .map(|found| {
            let f = &found.finding;
            let place = format!("step {} ({}): {} {}", found.step, found.text, f.fact, f.subject);
            format!("{}: expected {:?}, seen {:?}; {}", place.trim_end(), f.expected, f.seen, f.rule)
        })
        .collect();
    if let Some(entry) = end.known.as_ref().and_then(|id| known.get(id)) {
        lines.push(format!("known issue {}: {} ({})", entry.id, entry.reason, entry.link));
    }
    if !lines.is_empty() {
        status.set_description(lines.join("\n"));
    }
    status
}
