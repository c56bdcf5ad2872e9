//! A short run for tests.

use super::Issue;
use crate::event::{self, Event, Kind, RunStart, ScenarioEnd};
use crate::finding::Finding;
use crate::verdict::Verdict;
use serde_json::json;
use std::collections::BTreeMap;

pub(crate) fn issues() -> Vec<Issue> {
    let issue = |id: &str, reason: &str, link: &str| Issue {
        id: id.into(),
        reason: reason.into(),
        link: link.into(),
        always: true,
    };
    vec![issue("zones-lost", "zones are lost", "https://example.org/1")]
}

fn end(verdict: Verdict, title: &str, known: Option<&str>) -> Kind {
    let mut end = ScenarioEnd::without_run(verdict, title);
    end.known = known.map(str::to_string);
    if verdict != Verdict::Skip {
        (end.boot, end.duration_ns) = (Some("cold".into()), 2_500_000_000);
    }
    Kind::ScenarioEnd(end)
}

pub(crate) fn events() -> Vec<Event> {
    let start = RunStart {
        memhp: "0.1.0".into(),
        argv: vec!["memhp".into(), "run".into()],
        unix_time: 1_795_390_199,
        qemu: "7.2.22".into(),
        accel: "tcg".into(),
        seed: 1,
        shard: None,
        kernels: BTreeMap::from([(
            "k".to_string(),
            json!({ "release": "6.12.1", "sha256": "ab".repeat(32), "config": { "KASAN": "y", "DETECT_HUNG_TASK": "y" } }),
        )]),
        subjects: BTreeMap::new(),
    };
    let ids = ["policy/bad@k", "policy/good@k", "sysfs/broken@k", "unplug/zones@k", "zone/skipped@k"];
    let zone =
        Finding::new("block.zone", "memory32", "Movable", "Normal", "mm/memory_hotplug.c:zone_for_pfn_range");
    let finding = |finding: &Finding| Kind::Finding {
        step: "2".into(),
        text: r#"{"expect":{"blocks":"a"}}"#.into(),
        finding: finding.clone(),
    };
    let begun = |repeat: &str| Kind::ScenarioStart { kernel: "k".into(), repeat: repeat.into() };
    let kinds = [
        (None, Kind::RunStart(start)),
        (None, Kind::Plan { scenarios: ids.map(String::from).to_vec() }),
        (Some(4), end(Verdict::Skip, "needs a kernel >=5.15, this is 5.10", None)),
        (Some(1), begun("memhp run 'policy/good@k'")),
        (Some(1), end(Verdict::Pass, "", None)),
        (Some(0), begun("memhp run 'policy/bad@k'")),
        (Some(0), finding(&zone)),
        (Some(0), end(Verdict::Fail, "block.zone: expected Movable, seen Normal", None)),
        (Some(3), end(Verdict::Fail, "block.zone: expected Movable, seen Normal", Some("zones-lost"))),
        (Some(2), Kind::Retry { reason: "oops at boot".into() }),
        (Some(2), end(Verdict::Error, "the agent's line is damaged", None)),
        (None, Kind::RunEnd { status: 1, signal: None, cpu: None }),
    ];
    let number = |(index, (scenario, kind)): (usize, (Option<usize>, Kind))| Event {
        v: event::VERSION,
        seq: index as u64 + 1,
        t_ns: index as u64 * 1000,
        scenario: scenario.map(|i: usize| ids[i].to_string()),
        round: 0,
        kind,
    };
    kinds.into_iter().enumerate().map(number).collect()
}
