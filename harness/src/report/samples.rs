//! A run with one scenario of each kind, for the tests of all formats.

use super::jsonl::Numbering;
use crate::event::{Event, Facts, Kind, RunStart, ScenarioEnd};
use crate::finding::Finding;
use crate::verdict::{Known, Verdict};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// One known issue.
pub(crate) fn known() -> Arc<Known> {
    let text = r#"
- id: eject-flips-zone
  scenario: "unplug/*"
  kernels: ">=5.10"
  title: "block.zone: expected Movable, seen Normal"
  facts: [{ fact: block.zone, expected: Movable, seen: Normal }]
  reproduces: always
  reason: a refused eject puts blocks back into the default zone
  link: https://example.org/1
  no_patch_because: nobody wrote one
"#;
    Arc::new(Known::parse(Path::new("k.yaml"), text).unwrap())
}

/// A judgement.
pub(crate) fn end(verdict: Verdict, title: &str) -> ScenarioEnd {
    ScenarioEnd {
        verdict,
        title: title.into(),
        known: None,
        duration_ns: 1_500_000_000,
        boot: Some("fork".into()),
        facts: Facts::default(),
        console: vec![],
    }
}

fn start() -> RunStart {
    let kernel = json!({
        "release": "6.12.117+deb12-cloud-amd64", "sha256": "0123456789abcdef0123", "origin": "package",
        "missing_detectors": ["lockdep", "KASAN"],
    });
    RunStart {
        memhp: "0.1.0".into(),
        argv: vec!["memhp".into(), "run".into()],
        unix_time: 1_795_393_023,
        qemu: "7.2.22".into(),
        accel: "tcg".into(),
        seed: 7,
        kernels: BTreeMap::from([("debian-6.12".to_string(), kernel)]),
    }
}

/// Scenarios of [`run`], in the order of its plan.
pub(crate) const IDS: [&str; 8] = [
    "policy/pass@debian-6.12",
    "policy/fail[a=b]@debian-6.12",
    "unplug/known@debian-6.12",
    "policy/error@debian-6.12",
    "policy/miss@debian-6.12",
    "measure/done@debian-6.12",
    "policy/skip@debian-5.10",
    "unplug/gone@debian-6.12",
];

/// The whole run. Scenarios end in another order than they were planned.
pub(crate) fn run() -> Vec<Event> {
    let mut numbering = Numbering::default();
    let mut events = Vec::new();
    let mut add =
        |s: u64, id: Option<&str>, kind: Kind| events.push(numbering.event(s * 1_000_000_000, id, kind));
    add(0, None, Kind::RunStart(start()));
    add(0, None, Kind::Plan { scenarios: IDS.iter().map(|s| s.to_string()).collect() });
    add(0, None, Kind::Notice { text: "KVM does not work here: TCG is used".into() });
    add(
        1,
        Some(IDS[6]),
        Kind::ScenarioEnd(ScenarioEnd { boot: None, duration_ns: 0, ..end(Verdict::Skip, "needs 5.15") }),
    );
    for id in IDS.into_iter().filter(|id| *id != IDS[6]) {
        let repeat = format!("memhp run -k debian-6.12 '{id}'");
        add(1, Some(id), Kind::ScenarioStart { kernel: "debian-6.12".into(), repeat });
    }
    let data = BTreeMap::from([("blocks".to_string(), json!({ "32": "online" }))]);
    add(2, Some(IDS[1]), Kind::Observation { step: "1".into(), data });
    let finding =
        Finding::new("block.zone", "memory33", "Movable", "Normal", "mm/memory_hotplug.c:f: a rule");
    let text = "plug: { dimm: a, size: 1G }".to_string();
    add(3, Some(IDS[1]), Kind::Finding { step: "1".into(), text: text.clone(), finding: finding.clone() });
    let long = Finding::new("uevents", "", "", "add memory33\nonline memory33", "");
    add(3, Some(IDS[1]), Kind::Finding { step: "1".into(), text: text.clone(), finding: long });
    let title = "block.zone: expected Movable, seen Normal";
    let console = vec!["[    2.000000] WARNING in \u{1b}[31m<f>".into()];
    let boot = Some("cold".into());
    add(4, Some(IDS[1]), Kind::ScenarioEnd(ScenarioEnd { console, boot, ..end(Verdict::Fail, title) }));
    add(5, Some(IDS[0]), Kind::ScenarioEnd(end(Verdict::Pass, "")));
    add(5, Some(IDS[2]), Kind::Finding { step: "2".into(), text, finding });
    let known = Some("eject-flips-zone".into());
    add(6, Some(IDS[2]), Kind::ScenarioEnd(ScenarioEnd { known, ..end(Verdict::Fail, title) }));
    add(7, Some(IDS[3]), Kind::ScenarioEnd(end(Verdict::Error, "the agent went silent")));
    add(8, Some(IDS[4]), Kind::Retry { reason: "crashed before the first message".into() });
    add(9, Some(IDS[4]), Kind::ScenarioEnd(end(Verdict::Miss, "no memory on the host")));
    add(10, Some(IDS[5]), Kind::ScenarioEnd(end(Verdict::Done, "")));
    add(11, Some(IDS[7]), Kind::ScenarioEnd(end(Verdict::Pass, "")));
    add(12, None, Kind::RunEnd { status: 1, signal: None });
    events
}
