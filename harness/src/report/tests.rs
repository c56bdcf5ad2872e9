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
fn an_earlier_run_is_set_aside_and_one_that_goes_on_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Reports::open(dir.path(), Stdout::Jsonl, Vec::new());
    let mut first = open().unwrap();
    first.take(None, Kind::Notice { text: "first".into() }).unwrap();
    let error = open().err().unwrap().to_string();
    assert!(error.contains("another run writes"), "{error}");
    first.finish().unwrap();
    drop(first);
    drop(open().unwrap());
    drop(open().unwrap());
    let kept = parse_dir(&dir.path().join("earlier-1")).unwrap();
    assert_eq!(kept[0].kind, Kind::Notice { text: "first".into() });
    assert!(dir.path().join("earlier-2/junit.xml").is_file());
    assert_eq!(parse_dir(dir.path()).unwrap(), []);
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
