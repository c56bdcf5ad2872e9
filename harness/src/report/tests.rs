//! What holds for all reports.

use super::testing::events;
use super::*;

#[test]
fn a_run_that_was_cut_short_misses_what_has_no_judgement() {
    let mut events = events();
    events.truncate(6); // two of five are judged
    let missing = cut_short(&events);
    let ids: Vec<&str> = missing.iter().filter_map(|e| e.scenario.as_deref()).collect();
    assert_eq!(ids, ["policy/bad@k", "sysfs/broken@k", "unplug/zones@k"]);
    assert!(
        missing.iter().all(|e| matches!(&e.kind, Kind::ScenarioEnd(end) if end.verdict == Verdict::Miss))
    );
}

#[test]
fn files_are_tried_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let error = Reports::open(&file.join("out"), Stdout::Human, Vec::new()).err().unwrap().to_string();
    assert!(error.contains("a-file/out"), "{error}");
}

#[test]
fn every_file_of_the_contract_is_there_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut reports = Reports::open(dir.path(), Stdout::Jsonl, Vec::new()).unwrap();
    for event in events() {
        reports.take(event.scenario.as_deref().map(|id| (id, event.round)), event.kind).unwrap();
    }
    reports.finish().unwrap();
    assert_eq!(parse_dir(dir.path()).unwrap().len(), events().len());
    for name in ["results.ktap", "junit.xml", "kcidb.json"] {
        assert!(std::fs::metadata(dir.path().join(name)).unwrap().len() > 100, "{name}");
    }
}
