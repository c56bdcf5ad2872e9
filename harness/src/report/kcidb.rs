//! kcidb.json: KCIDB's schema version 5.3. Verdicts are as they are: a known failure stays FAIL, with its issue.
//!
//! What is not known is left out, never null. Ids begin with `memhp:`; those of tests and incidents hold the run's
//! beginning and seed, so that two runs do not collide.

use super::fold::{Run, Slot};
use super::time::rfc3339;
use crate::event::{RunStart, ScenarioEnd};
use crate::verdict::Known;
use serde_json::{Map, Value, json};
use std::io;

const ORIGIN: &str = "memhp";
/// Longest `log_excerpt`.
const LONGEST: usize = 16_384;

/// The document.
pub fn render(run: &Run, known: &Known) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(&document(run, known))?;
    text.push(b'\n');
    Ok(text)
}

/// The document as a value.
pub fn document(run: &Run, known: &Known) -> Value {
    let ends = run.ends();
    let mut kernels: Vec<&str> = ends.iter().map(|(slot, _)| slot.kernel_name()).collect();
    kernels.sort_unstable();
    kernels.dedup();
    let mut issues: Vec<&str> = ends.iter().filter_map(|(_, end)| end.known.as_deref()).collect();
    issues.sort_unstable();
    issues.dedup();
    let tests: Vec<Value> = ends.iter().enumerate().map(|(n, (slot, end))| test(run, n, slot, end)).collect();
    let incidents: Vec<Value> = ends
        .iter()
        .enumerate()
        .filter_map(|(n, (slot, end))| Some(incident(run, n, slot, end.known.as_deref()?)))
        .collect();
    json!({
        "version": { "major": 5, "minor": 3 },
        "checkouts": kernels.iter().map(|kernel| checkout(run, kernel)).collect::<Vec<_>>(),
        "builds": kernels.iter().map(|kernel| build(run, kernel)).collect::<Vec<_>>(),
        "tests": tests,
        "issues": issues.iter().map(|id| issue(id, known)).collect::<Vec<_>>(),
        "incidents": incidents,
    })
}

/// An object without the members that are not known.
fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let known = members.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?)));
    Value::Object(known.collect::<Map<_, _>>())
}

fn text(text: &str) -> Option<Value> {
    Some(text.replace('\0', "").into()).filter(|t: &Value| t != "")
}

/// What the run recorded of a kernel under `key`.
fn recorded<'a>(run: &'a Run, kernel: &str, key: &str) -> Option<&'a str> {
    run.start.as_ref()?.kernels.get(kernel)?.get(key)?.as_str()
}

/// The same kernel in another run has the same id: its name and the beginning of its image's checksum.
fn build_id(run: &Run, kernel: &str) -> String {
    let sum: String = recorded(run, kernel, "sha256").unwrap_or_default().chars().take(12).collect();
    if sum.is_empty() { format!("{ORIGIN}:{kernel}") } else { format!("{ORIGIN}:{kernel}-{sum}") }
}

fn checkout(run: &Run, kernel: &str) -> Value {
    let name = recorded(run, kernel, "release").or_else(|| recorded(run, kernel, "version"));
    object([
        ("id", text(&build_id(run, kernel))),
        ("origin", text(ORIGIN)),
        ("tree_name", recorded(run, kernel, "origin").and_then(text)),
        ("git_commit_name", name.and_then(text)),
        ("comment", text(&format!("kernel {kernel}"))),
    ])
}

fn build(run: &Run, kernel: &str) -> Value {
    object([
        ("id", text(&build_id(run, kernel))),
        ("checkout_id", text(&build_id(run, kernel))),
        ("origin", text(ORIGIN)),
        ("architecture", text(recorded(run, kernel, "arch").unwrap_or("x86_64"))),
        ("config_name", text(kernel)),
        ("misc", run.start.as_ref().and_then(|start| Some(json!({ "kernel": start.kernels.get(kernel)? })))),
    ])
}

/// `memhp:BEGINNING-SEED:INDEX:SCENARIO`: unique over runs, and over rounds of one scenario.
fn test_id(run: &Run, index: usize, slot: &Slot) -> String {
    let (began, seed) = run.start.as_ref().map_or((0, 0), |s: &RunStart| (s.unix_time, s.seed));
    format!("{ORIGIN}:{began}-{seed}:{}:{}", index + 1, slot.id)
}

fn test(run: &Run, index: usize, slot: &Slot, end: &ScenarioEnd) -> Value {
    let began =
        run.start.as_ref().zip(slot.began_ns).map(|(s, ns)| rfc3339(s.unix_time + ns / 1_000_000_000));
    let excerpt = excerpt(&end.console);
    let misc = object([
        ("scenario", text(&slot.id)),
        ("title", text(&end.title)),
        ("known_issue", end.known.as_deref().and_then(text)),
        ("boot", end.boot.as_deref().and_then(text)),
        ("repeat", slot.repeat.as_deref().and_then(text)),
        ("findings", findings(slot)),
    ]);
    let ran = end.boot.is_some() || end.duration_ns > 0;
    object([
        ("id", text(&test_id(run, index, slot))),
        ("build_id", text(&build_id(run, slot.kernel_name()))),
        ("origin", text(ORIGIN)),
        ("path", text(&path(slot.case()))),
        ("status", text(&end.verdict.to_string())),
        ("comment", text(&slot.id)),
        ("start_time", began.map(Value::from)),
        ("duration", ran.then(|| json!(end.duration_ns as f64 / 1e9))),
        ("log_excerpt", text(&excerpt)),
        ("environment", run.start.as_ref().map(environment)),
        ("misc", Some(misc)),
    ])
}

fn findings(slot: &Slot) -> Option<Value> {
    let all: Vec<Value> = slot
        .findings
        .iter()
        .map(|f| json!({ "step": f.step, "text": f.text, "finding": f.finding }))
        .collect();
    (!all.is_empty()).then(|| all.into())
}

fn environment(start: &RunStart) -> Value {
    let misc = json!({ "memhp": start.memhp, "qemu": start.qemu, "accel": start.accel, "seed": start.seed });
    json!({ "comment": format!("QEMU {}, {}", start.qemu, start.accel), "misc": misc })
}

/// `memhp.policy.boot-param`; what a path cannot hold becomes `_`.
fn path(case: &str) -> String {
    let part = |part: &str| -> String {
        part.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
    };
    let parts = case.split('/').filter(|p| !p.is_empty()).map(part);
    std::iter::once(ORIGIN.to_string()).chain(parts).collect::<Vec<_>>().join(".")
}

/// The last part that fits: what ended the kernel comes last.
fn excerpt(console: &[String]) -> String {
    let text = console.join("\n");
    let over = text.chars().count().saturating_sub(LONGEST);
    text.chars().skip(over).collect()
}

fn issue_id(id: &str) -> String {
    format!("{ORIGIN}:{id}")
}

fn issue(id: &str, known: &Known) -> Value {
    let entry = known.get(id);
    let is_link = |link: &&str| link.starts_with("https://") || link.starts_with("http://");
    object([
        ("id", text(&issue_id(id))),
        ("version", Some(1.into())),
        ("origin", text(ORIGIN)),
        ("comment", entry.and_then(|e| text(&e.reason))),
        ("report_url", entry.map(|e| &*e.link).filter(is_link).and_then(text)),
        ("report_subject", entry.and_then(|e| text(&e.title))),
        ("culprit", Some(json!({ "code": true }))),
        ("misc", entry.map(|e| json!({ "entry": e }))),
    ])
}

fn incident(run: &Run, index: usize, slot: &Slot, issue: &str) -> Value {
    let test = test_id(run, index, slot);
    json!({
        "id": format!("{test}:{issue}"),
        "origin": ORIGIN,
        "issue_id": issue_id(issue),
        "issue_version": 1,
        "test_id": test,
        "present": true,
    })
}

/// The statuses of the schema are the verdicts.
#[cfg(test)]
#[test]
fn statuses() {
    use crate::verdict::Verdict::*;
    let all = [Fail, Error, Miss, Pass, Done, Skip].map(|v| v.to_string());
    assert_eq!(all, ["FAIL", "ERROR", "MISS", "PASS", "DONE", "SKIP"]);
}
