//! `memhp compare` and `memhp merge` as a user types them. One short run of a guest; all else is made of its log.

// Helpers of tests are tests: what goes wrong in them is to fail the test where it happens.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const KERNEL: &str = "debian-6.12";
const CASES: [&str; 2] = ["zone/movable-then-kernel", "zone/span-rules"];

fn memhp(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_memhp")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Status, a part of what standard error says, and nothing on standard output.
fn refused(args: &[&str], status: i32, why: &str) {
    let output = memhp(args);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {stderr}");
    assert!(stderr.contains(why), "{args:?}: {stderr}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
}

#[test]
fn a_wrong_command_line_is_status_2() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    refused(&["compare", KERNEL], 2, "<B>");
    refused(&["compare", KERNEL, "./no/such/kernel"], 2, "./no/such/kernel");
    refused(&["compare", KERNEL, "all"], 2, "each side of a comparison is one kernel");
    refused(&["compare", KERNEL, KERNEL, "no/such-case"], 2, "no scenario matches \"no/such-case\"");
    refused(&["compare", KERNEL, KERNEL, "--expect", &at("none.yaml")], 2, "none.yaml");
    std::fs::write(at("e.yaml"), "- scenario: \"*\"\n  reason: r\n  color: red\n").unwrap();
    refused(&["compare", KERNEL, KERNEL, "--expect", &at("e.yaml")], 2, "e.yaml:3:3: unknown field `color`");
    refused(&["merge", "--out", &at("out")], 2, "<DIR>");
    refused(&["merge", &at("none"), "--out", &at("out")], 2, "none/events.jsonl");
    refused(&["merge", dir.path().to_str().unwrap()], 2, "--out");
}

/// The events of a run, with one text put in place of another.
fn copy(from: &Path, to: &Path, change: &[(&str, &str)]) {
    let mut log = std::fs::read_to_string(from.join("events.jsonl")).unwrap();
    for (what, by) in change {
        assert!(log.contains(what), "{what}");
        log = log.replace(what, by);
    }
    std::fs::create_dir_all(to).unwrap();
    std::fs::write(to.join("events.jsonl"), log).unwrap();
}

fn compare(args: &[&str]) -> (i32, Value) {
    let output = memhp(&[&["compare", "--format", "json"], args].concat());
    let value = serde_json::from_slice(&output.stdout);
    (output.status.code().unwrap(), value.unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr))))
}

#[test]
fn parts_of_a_run_are_merged_and_runs_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (one, two, whole) = (path("1"), path("2"), path("whole"));
    for (shard, out) in [("1/2", &one), ("2/2", &two)] {
        let output = memhp(&["run", "-k", KERNEL, CASES[0], CASES[1], "--shard", shard, "--out", out]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    refused(&["merge", &one, "--out", &whole], 2, "parts of the run of debian-6.12 are missing: 2/2");
    refused(&["merge", &one, &two, "--out", &two], 2, "is one of the runs to be merged");
    let merged = memhp(&["merge", &one, &two, "--out", &whole, "--format", "ktap"]);
    assert_eq!(merged.status.code(), Some(0), "{}", text(&merged.stderr));
    let ktap = text(&merged.stdout);
    assert_eq!(ktap, std::fs::read_to_string(dir.path().join("whole/results.ktap")).unwrap());
    assert!(ktap.starts_with("KTAP version 1\n1..2\n") && ktap.contains("pass:2 fail:0"), "{ktap}");
    assert_eq!(memhp(&["parse", &whole]).status.code(), Some(0));

    // Against itself nothing changes.
    let (status, same) = compare(&[&whole, &whole]);
    assert_eq!((status, &same["compared"], &same["changes"]), (0, &2.into(), &Value::Array(Vec::new())));
    refused(&["compare", &whole, &whole, "no/such-case"], 2, "no scenario matches");
    refused(&["compare", &format!("{whole}@debian-5.10"), &whole], 2, "no kernel debian-5.10");

    // Blocks that came online in another zone are another policy, of the scenario that they are in.
    let other = dir.path().join("other");
    copy(&dir.path().join("whole"), &other, &[("\"Movable\\n\"", "\"Normal\\n\"")]);
    let other = other.display().to_string();
    let (status, changed) = compare(&[&whole, &other, CASES[0]]);
    let changes = changed["changes"].as_array().unwrap();
    assert_eq!((status, changes.len()), (1, 1), "{changed:#}");
    assert_eq!((&changes[0]["scenario"], &changes[0]["class"]), (&CASES[0].into(), &"changed-policy".into()));
    let zones = &changes[0]["differences"][0];
    let value = |side: &str| zones[side][0]["value"].clone();
    assert_eq!((value("a"), value("b")), ("online Movable".into(), "online Normal".into()), "{zones:#}");

    // Intended changes are accepted; an expectation that names none is told with its line.
    std::fs::write(dir.path().join("e.yaml"), "- { scenario: zone/movable-then-kernel, reason: r }\n")
        .unwrap();
    let expect = path("e.yaml");
    assert_eq!(compare(&[&whole, &other, CASES[0], "--expect", &expect]).0, 0);
    let (status, unused) = compare(&[&whole, &whole, "--expect", &expect]);
    assert_eq!(status, 1);
    assert!(unused["unused"][0].as_str().unwrap().contains("e.yaml:1:15: no such change"), "{unused:#}");

    // A run that was cut short is not judged.
    let cut = dir.path().join("cut");
    copy(
        &dir.path().join("whole"),
        &cut,
        &[("\"event\":\"scenario-end\"", "\"event\":\"notice\",\"text\":\"\"")],
    );
    let (status, missed) = compare(&[&whole, cut.to_str().unwrap()]);
    assert_eq!((status, missed["not_judged"].as_array().unwrap().len()), (3, 2), "{missed:#}");
}
