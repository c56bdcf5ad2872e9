//! The report as b4 takes it from a series check: an array of results, each with `tool`, `status` (`pass`, `warn`,
//! `fail`), `summary` and `details` (b4's documentation, "Writing an external check script"). Pure.

use super::{Outcome, Report, text};
use crate::compare::{Change, Class};
use serde_json::{Value, json};

const TOOL: &str = "memhp";

/// The array. `Err`: why nothing was judged, which is a warning and no failure of the series.
pub fn b4(report: Result<&Report, &str>) -> Value {
    match report {
        Err(why) => json!([one(TOOL, 3, &format!("NOT JUDGED: {why}"), why)]),
        Ok(report) => {
            let mut all = vec![one(TOOL, report.status(), &report.verdict(), &text(report))];
            if let Outcome::Compared(stages) = &report.outcome {
                // With --each, a result a patch.
                all.extend(stages.iter().take(stages.len().saturating_sub(1)).map(|stage| {
                    let real = |c: &&Change| c.class != Class::Noise && c.expected.is_none();
                    let count = stage.comparison.iter().flat_map(|c| &c.changes).filter(real).count();
                    let summary =
                        format!("{} -> {}: {count} scenarios changed", stage.before.name, stage.after.name);
                    one(&format!("{TOOL}: {}", stage.after.name), stage.status(), &summary, "")
                }));
            }
            Value::Array(all)
        }
    }
}

fn one(tool: &str, status: i32, summary: &str, details: &str) -> Value {
    let status = match status {
        0 => "pass",
        1 => "fail",
        _ => "warn",
    };
    let first = summary.lines().next().unwrap_or_default();
    json!({ "tool": tool, "status": status, "summary": first, "details": details })
}
