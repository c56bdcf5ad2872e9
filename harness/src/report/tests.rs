//! Exact outputs of all formats for one run.

use super::fold::{FoldError, Run};
use super::samples::{IDS, end, known, run};
use super::*;
use crate::event::Kind;
use crate::verdict::Verdict;
use std::io::Write;
use std::sync::{Arc, Mutex};

/// Somewhere to write that can be looked at afterwards.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fails with this kind of error after so many bytes.
struct Failing(usize, io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(self.1.into());
        }
        let written = bytes.len().min(self.0);
        self.0 -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(format: Format, look: human::Look, events: &[Event]) -> String {
    let shared = Shared::default();
    let mut all = standard_output(format, shared.clone(), look, &known());
    for event in events {
        assert!(all.event(event).is_empty());
    }
    assert!(all.finish().is_empty());
    shared.text()
}

fn folded(events: &[Event]) -> Run {
    let mut run = Run::default();
    for event in events {
        run.event(event).unwrap();
    }
    run
}

#[test]
fn human() {
    insta::assert_snapshot!(written(Format::Human, human::Look::default(), &run()), @"");
}

#[test]
fn human_in_colour() {
    let text = written(Format::Human, human::Look { colour: true, live: false }, &run());
    assert!(text.contains("\u{1b}[32mPASS \u{1b}[0m  policy/pass@"), "{text}");
    assert!(text.contains("\u{1b}[1;31mFAIL \u{1b}[0m  policy/fail"), "{text}");
    assert!(text.contains("\u{1b}[33mFAIL \u{1b}[0m  unplug/known"), "{text}");
    assert!(!text.contains("\u{1b}[31m"), "colours of the guest stay out: {text}");
}

#[test]
fn ktap() {
    let text = written(Format::Ktap, human::Look::default(), &run());
    insta::assert_snapshot!(text, @"");
    let read = ktap::parse(&text).unwrap();
    assert_eq!((read.planned, read.missing()), (8, 0));
    assert_eq!(read.results[1].description, IDS[1]);
    assert_eq!(read.results[2].directive.as_deref(), Some("XFAIL"));
}

#[test]
fn junit() {
    let text = String::from_utf8(junit::render(&folded(&run()), &known()).unwrap()).unwrap();
    insta::assert_snapshot!(text, @"");
}

#[test]
fn kcidb() {
    let text = String::from_utf8(kcidb::render(&folded(&run()), &known()).unwrap()).unwrap();
    assert!(!text.contains("null"), "{text}");
    insta::assert_snapshot!(text, @"");
}

#[test]
fn jsonl_round_trip() {
    let text = written(Format::Jsonl, human::Look::default(), &run());
    let log = jsonl::read(text.as_bytes()).unwrap();
    assert_eq!((log.events, log.cut), (run(), None));
    let line = text.lines().find(|l| l.contains("observation")).unwrap();
    assert_eq!(
        line,
        r#"{"v":1,"seq":12,"t_ns":2000000000,"scenario":"policy/fail[a=b]@debian-6.12","event":"observation","step":"1","blocks":{"32":"online"}}"#
    );
}

#[test]
fn jsonl_is_strict() {
    let text = written(Format::Jsonl, human::Look::default(), &run());
    let lines: Vec<&str> = text.lines().collect();
    let error =
        |lines: &[&str]| jsonl::read(format!("{}\n", lines.join("\n")).as_bytes()).unwrap_err().to_string();
    assert_eq!(error(&[lines[0], lines[2]]), "line 2: seq is 3, expected 2");
    assert_eq!(
        error(&[&lines[0].replacen("\"v\":1", "\"v\":2", 1)]),
        "line 1: version 2 of the event log, this memhp reads 1"
    );
    assert!(error(&[lines[0], ""]).starts_with("line 2: not an event: "));
    assert!(
        error(&[lines[0], &lines[1].replace("\"plan\"", "\"plans\"")]).starts_with("line 2: not an event: ")
    );
    assert!(error(&[&lines[0].replace("unix_time", "time")]).contains("unix_time"));
    let late = lines[0].replace("\"t_ns\":0", "\"t_ns\":5");
    assert_eq!(error(&[&late, lines[1]]), "line 2: t_ns is 0, less than the 5 of the line before");
}

#[test]
fn a_last_line_that_was_cut_off_is_named() {
    let text = written(Format::Jsonl, human::Look::default(), &run());
    let log = jsonl::read(&text.as_bytes()[..text.len() - 10]).unwrap();
    let lines = text.lines().count();
    assert_eq!(log.events.len(), lines - 1);
    let cut = log.cut.unwrap();
    assert_eq!((cut.line, cut.bytes), (lines, text.lines().last().unwrap().len() + 1 - 10));
    assert_eq!(jsonl::read(b"").unwrap(), jsonl::Log { events: vec![], cut: None });
}

#[test]
fn cut_short_is_miss_in_every_format() {
    let events = run();
    let events = &events[..events.len() - 2];
    let text = written(Format::Ktap, human::Look::default(), events);
    assert!(text.contains("not ok 8 unplug/gone@debian-6.12 # ERROR run was cut short\n"), "{text}");
    assert!(text.ends_with("error:3\n"), "{text}");
    let text = written(Format::Human, human::Look::default(), events);
    assert!(
        text.contains("8 scenarios in 10.0s: 1 PASS, 1 DONE, 2 FAIL (1 known), 1 ERROR, 2 MISS, 1 SKIP"),
        "{text}"
    );
    assert!(text.contains("MISS   unplug/gone@debian-6.12  run was cut short"), "{text}");
}

#[test]
fn nothing_planned() {
    let text = written(Format::Ktap, human::Look::default(), &[]);
    assert_eq!(text, "KTAP version 1\n1..0\n# Totals: pass:0 fail:0 xfail:0 xpass:0 skip:0 error:0\n");
}

#[test]
fn a_scenario_that_is_repeated_has_a_line_for_each_round() {
    let mut numbering = jsonl::Numbering::default();
    let plan = Kind::Plan { scenarios: vec!["a/b@k".into(), "a/b@k".into()] };
    let mut events = vec![numbering.event(0, None, plan)];
    events.push(numbering.event(1, Some("a/b@k"), Kind::ScenarioEnd(end(Verdict::Pass, ""))));
    events.push(numbering.event(2, Some("a/b@k"), Kind::ScenarioEnd(end(Verdict::Fail, "t"))));
    let text = written(Format::Ktap, human::Look::default(), &events);
    assert!(text.contains("1..2\nok 1 a/b@k\nnot ok 2 a/b@k\n"), "{text}");
    let mut run = folded(&events);
    let third = numbering.event(3, Some("a/b@k"), Kind::ScenarioEnd(end(Verdict::Pass, "")));
    assert_eq!(run.event(&third), Err(FoldError::NotPlanned { seq: 4, id: "a/b@k".into() }));
    let nameless = numbering.event(4, None, Kind::Retry { reason: "r".into() });
    assert_eq!(run.event(&nameless), Err(FoldError::NoScenario { seq: 5 }));
}

#[test]
fn a_closed_pipe_is_success_and_a_full_disk_is_not() {
    for (kind, errors) in [(io::ErrorKind::BrokenPipe, 0), (io::ErrorKind::StorageFull, 1)] {
        let shared = Shared::default();
        let mut all = standard_output(Format::Human, Failing(100, kind), human::Look::default(), &known());
        all.append(standard_output(Format::Jsonl, shared.clone(), human::Look::default(), &known()));
        let mut seen: Vec<String> = Vec::new();
        for event in run() {
            seen.extend(all.event(&event).iter().map(ToString::to_string));
        }
        seen.extend(all.finish().iter().map(ToString::to_string));
        assert_eq!(seen.len(), errors, "{seen:?}");
        assert!(seen.iter().all(|e| e.starts_with("write standard output: ")), "{seen:?}");
        assert_eq!(jsonl::read(shared.text().as_bytes()).unwrap().events, run(), "the others lose nothing");
    }
}

#[test]
fn files_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut all = files(&out, &known()).unwrap();
    let list = || {
        let mut names: Vec<_> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
            .into_iter()
            .map(|n| n.into_string().unwrap())
            .filter(|n| !n.starts_with('.'))
            .collect::<Vec<_>>()
    };
    for event in &run()[..14] {
        assert!(all.event(event).is_empty());
    }
    assert_eq!(list(), ["events.jsonl", "results.ktap"], "documents appear at the end");
    drop(all);
    let error = files(&out, &known()).err().unwrap().to_string();
    assert!(error.contains("events.jsonl: ") && error.contains("exists"), "{error}");

    let parsed = parse_dir(&out).unwrap();
    assert!(!parsed.is_whole());
    let titles: Vec<_> = parsed.ends().into_iter().map(|(_, end)| (end.verdict, end.title)).collect();
    assert_eq!(titles[0], (Verdict::Miss, fold::CUT_SHORT.to_string()));
    assert_eq!(titles[6], (Verdict::Skip, "needs 5.15".to_string()));
    let mut again = regenerated(&out, &known()).unwrap();
    assert!(replay(&parsed, &mut again).is_empty());
    assert_eq!(list(), ["events.jsonl", "junit.xml", "kcidb.json", "results.ktap"]);
    let ktap = ktap::parse(&std::fs::read_to_string(out.join("results.ktap")).unwrap()).unwrap();
    assert_eq!((ktap.missing(), ktap.totals.unwrap().error), (0, 7));
    assert!(
        std::fs::read_dir(&out).unwrap().all(|e| !e.unwrap().file_name().to_str().unwrap().starts_with('.'))
    );
}

#[test]
fn a_whole_run_read_back_gives_the_same_reports() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = files(dir.path(), &known()).unwrap();
    for event in run() {
        assert!(all.event(&event).is_empty());
    }
    assert!(all.finish().is_empty());
    let names = ["results.ktap", "junit.xml", "kcidb.json"];
    let texts = || names.map(|name| std::fs::read_to_string(dir.path().join(name)).unwrap());
    let first = texts();
    let parsed = parse_dir(dir.path()).unwrap();
    assert!(parsed.is_whole());
    assert!(replay(&parsed, &mut regenerated(dir.path(), &known()).unwrap()).is_empty());
    assert_eq!(texts(), first);
}

#[test]
fn directories_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = files(&file.join("out"), &known()).err().unwrap().to_string();
    assert!(error.starts_with(&format!("write {}: ", file.join("out").display())), "{error}");
    std::fs::create_dir_all(dir.path().join("o/kcidb.json")).unwrap();
    let error = files(&dir.path().join("o"), &known()).err().unwrap().to_string();
    assert!(error.ends_with("kcidb.json: is a directory"), "{error}");
    let error = parse_dir(dir.path()).unwrap_err().to_string();
    assert!(error.starts_with("read ") && error.contains("events.jsonl"), "{error}");
    std::fs::write(dir.path().join("events.jsonl"), "").unwrap();
    assert!(parse_dir(dir.path()).unwrap_err().to_string().contains("holds no plan"));
}

#[test]
fn ktap_that_is_none() {
    let error = |text: &str| ktap::parse(text).unwrap_err().to_string();
    assert_eq!(error("TAP version 14\n"), "line 1: does not begin with `KTAP version 1`");
    assert_eq!(error("KTAP version 1\nok 1 a\n"), "line 2: no plan `1..N`");
    assert_eq!(error("KTAP version 1\n"), "line 2: ends before the plan");
    assert_eq!(error("KTAP version 1\n1..2\nok 2 a\n"), "line 3: results are not numbered 1, 2, 3, …");
    assert_eq!(error("KTAP version 1\n1..1\nok 1 a\nok 2 b\n"), "line 4: more results than planned");
    assert_eq!(error("KTAP version 1\n1..1\nwhat\n"), "line 3: not a result");
    let wrong = "KTAP version 1\n1..1\nok 1 a\n# Totals: pass:0 fail:1 xfail:0 xpass:0 skip:0 error:0\n";
    assert_eq!(error(wrong), "line 4: totals are not those of the results");
    let dead = ktap::parse("KTAP version 1\n1..3\n# note\nok 1 - a # SKIP no\nnot ok 2 b\n").unwrap();
    assert_eq!((dead.missing(), dead.totals), (1, None));
    assert_eq!((dead.results[0].description.as_str(), dead.results[0].reason.as_str()), ("a", "no"));
}
