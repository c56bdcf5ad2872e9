//! KCIDB v5 (kcidb-io, schema v05_00): one checkout and one build for each kernel, one test a scenario run, incidents
//! for known issues. What is not known is left out.

use super::{Issue, Reporter, shell};
use crate::event::{Event, Kind, RunStart, ScenarioEnd};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::{self, Write};

/// The origin of all objects.
const ORIGIN: &str = "memhp";

/// Collects, and writes at the end.
pub(super) struct Kcidb<W> {
    to: W,
    known: Vec<Issue>,
    /// makes the ids of this run's objects its own
    run: String,
    checkouts: Vec<Value>,
    builds: Vec<Value>,
    tests: Vec<Value>,
    incidents: Vec<Value>,
    met: BTreeSet<String>,
}

impl<W: Write> Kcidb<W> {
    pub(super) fn new(to: W, known: Vec<Issue>) -> Self {
        Self {
            to,
            known,
            run: String::new(),
            checkouts: Vec::new(),
            builds: Vec::new(),
            tests: Vec::new(),
            incidents: Vec::new(),
            met: BTreeSet::new(),
        }
    }

    fn start(&mut self, start: &RunStart) {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(start.unix_time);
        self.run = format!("{}-{}", shell::timestamp(time), start.seed);
        for (name, identity) in &start.kernels {
            let text = |key: &str| identity.get(key).and_then(Value::as_str);
            let sha256 = text("sha256").unwrap_or_default();
            let id = format!("{ORIGIN}:{}", &sha256[..sha256.len().min(40)]);
            let mut checkout = json!({ "id": id, "origin": ORIGIN, "valid": true });
            if let Some(release) = text("release") {
                checkout["comment"] = format!("{name}: Linux {release}").into();
            }
            self.checkouts.push(checkout);
            self.builds.push(json!({
                "id": self.build(name), "checkout_id": id, "origin": ORIGIN, "architecture": "x86_64",
                "status": "PASS", "misc": { "kernel": identity },
            }));
        }
    }

    fn build(&self, kernel: &str) -> String {
        format!("{ORIGIN}:{}:{kernel}", self.run)
    }

    fn end(&mut self, id: &str, end: &ScenarioEnd) {
        let (name, kernel) = id.rsplit_once('@').unwrap_or((id, ""));
        let test = format!("{ORIGIN}:{}:{}", self.run, self.tests.len() + 1);
        let path: String = format!("memhp.{name}")
            .chars()
            .map(|c| if c == '/' { '.' } else { c })
            .map(path_character)
            .collect();
        let mut entry = json!({
            "id": test, "build_id": self.build(kernel), "origin": ORIGIN, "path": path,
            "status": end.verdict.to_string(), "misc": { "scenario": id },
        });
        #[allow(clippy::cast_precision_loss)] // seconds with a fraction are what the schema wants
        if end.boot.is_some() {
            entry["duration"] = json!(end.duration_ns as f64 / 1e9);
        }
        if !end.title.is_empty() {
            entry["comment"] = end.title.clone().into();
        }
        self.tests.push(entry);
        if let Some(known) = &end.known {
            self.met.insert(known.clone());
            self.incidents.push(json!({
                "id": format!("{test}:{known}"), "origin": ORIGIN, "issue_id": format!("{ORIGIN}:{known}"),
                "issue_version": 1, "test_id": test, "present": true,
            }));
        }
    }

    fn issues(&self) -> Vec<Value> {
        let met = self.known.iter().filter(|issue| self.met.contains(&issue.id));
        met.map(|issue| {
            let mut entry = json!({
                "id": format!("{ORIGIN}:{}", issue.id), "version": 1, "origin": ORIGIN,
                "comment": issue.reason, "culprit": { "code": true, "tool": false, "harness": false },
            });
            if issue.link.starts_with("http") {
                entry["report_url"] = issue.link.clone().into();
            }
            entry
        })
        .collect()
    }
}

/// Characters that the schema allows in a path (`[.a-zA-Z0-9_-]`); others become `_`.
fn path_character(c: char) -> char {
    if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }
}

impl<W: Write> Reporter for Kcidb<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match (&event.kind, &event.scenario) {
            (Kind::RunStart(start), _) => self.start(start),
            (Kind::ScenarioEnd(end), Some(id)) => self.end(id, end),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut report = Map::new();
        report.insert("version".into(), json!({ "major": 5, "minor": 0 }));
        let lists = [
            ("checkouts", self.checkouts.clone()),
            ("builds", self.builds.clone()),
            ("tests", self.tests.clone()),
            ("issues", self.issues()),
            ("incidents", self.incidents.clone()),
        ];
        report.extend(
            lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(n, l)| (n.to_string(), l.into())),
        );
        let text = serde_json::to_string_pretty(&Value::Object(report))?;
        writeln!(self.to, "{text}")?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{events, issues};

    #[test]
    fn objects_refer_to_each_other() {
        let mut bytes = Vec::new();
        let mut kcidb = Kcidb::new(&mut bytes, issues());
        events().iter().for_each(|e| kcidb.event(e).unwrap());
        kcidb.finish().unwrap();
        let report: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(report["builds"][0]["checkout_id"], report["checkouts"][0]["id"]);
        assert_eq!(report["tests"].as_array().unwrap().len(), 5);
        assert_eq!(report["tests"][3]["status"], "FAIL");
        assert_eq!(report["incidents"][0]["test_id"], report["tests"][3]["id"]);
        assert_eq!(report["incidents"][0]["issue_id"], report["issues"][0]["id"]);
        assert_eq!(report["tests"][0]["path"], "memhp.zone.skipped");
    }
}
