//! The report of a made-up comparison, in all its forms.

use super::*;
use crate::compare::facts::{KernelId, Origin};
use crate::compare::{Comparison, Difference, Latencies, NotJudged, OneSided, Seen, What};
use crate::series::header::Header;
use crate::series::prepare::Patch;
use crate::series::report::text::WIDTH;

fn seen(value: &str) -> Vec<Seen> {
    vec![Seen { value: value.into(), repeats: 1 }]
}

fn difference(what: What, subject: &str, a: &str, b: &str, class: Class) -> Difference {
    let step = Some("2".to_string());
    let step_text = Some("plug dimm a of 1G".to_string());
    Difference {
        what,
        step,
        step_text,
        subject: subject.into(),
        expected: Some(a.into()),
        a: seen(a),
        b: seen(b),
        class,
        p: None,
    }
}

fn change(scenario: &str, differences: Vec<Difference>) -> Change {
    let class = differences.iter().map(|d| d.class).max().unwrap();
    Change {
        scenario: scenario.into(),
        class,
        expected: None,
        differences,
        repeats: (1, 1),
        repeat_a: format!("memhp run '{scenario}@local-a'"),
        repeat_b: format!("memhp run '{scenario}@local-b'"),
        undecided: false,
    }
}

fn comparison(changes: Vec<Change>) -> Comparison {
    let origin = |name: &str, sha: &str| Origin {
        name: name.into(),
        kernels: vec![KernelId { name: sha.into(), release: "6.12.117".into(), sha256: "0".into() }],
        qemu: "7.2.22".into(),
        accel: "tcg".into(),
        ..Origin::default()
    };
    Comparison {
        v: 1,
        a: origin("base", "local-a"),
        b: origin("series", "local-b"),
        compared: 7,
        repeats: (1, 1),
        changes,
        latency: Latencies::default(),
        boot_messages: Default::default(),
        only_a: Vec::new(),
        only_b: Vec::new(),
        skipped: 2,
        not_judged: Vec::new(),
        unused: Vec::new(),
        notes: Vec::new(),
    }
}

fn report(outcome: Outcome) -> Report {
    let header = "From: A <a@example.org>\nTo: list@example.org\nCc: \"B, C\" <b@example.org>, \
                  a.very.long.address.of.somebody.else@a.very.long.host.example.org, d@example.org\n\
                  Subject: [RFC PATCH v2 0/2] mm: x\nMessage-ID: <2@example.org>\nReferences: <1@example.org>\n\n";
    let patch = |s: &str| Patch { subject: s.into(), author: "A <a@example.org>".into() };
    Report {
        v: VERSION,
        memhp: "0.1.0".into(),
        facts: Facts {
            title: "mm: x".into(),
            version: 2,
            patches: vec![patch("mm: a"), patch("mm: b")],
            header: Header::parse(header.as_bytes()),
            message_id: Some("<2@example.org>".into()),
            left_out: Vec::new(),
            base: None,
            trusted: false,
            configuration: vec!["CONFIG_X=y is gone".into()],
        },
        outcome,
        cases: vec!["policy/*".into()],
        command: "memhp series x.mbox --tree linux 'policy/*'".into(),
        out: "/out".into(),
    }
}

fn stage(before: &str, after: &str, comparison: Option<Comparison>) -> Stage {
    let kernel = |name: &str| Kernel { name: name.into(), dir: name.into() };
    Stage { before: kernel(before), after: kernel(after), comparison, unused: Vec::new() }
}

fn of(changes: Vec<Change>) -> Report {
    report(Outcome::Compared(vec![stage("base", "series", Some(comparison(changes)))]))
}

fn some() -> Report {
    let block = |n: u32| {
        vec![
            difference(What::Verdict, "verdict", "PASS", "FAIL", Class::Regression),
            difference(What::State, &format!("memory{n}"), "online", "offline", Class::Regression),
        ]
    };
    let file =
        |class| vec![difference(What::Finding, "root auto_online_blocks", "offline", "(not there)", class)];
    of(vec![
        change("policy/a[x=1]", block(32)),
        change("policy/a[x=2]", block(34)),
        change("policy/b", block(40)),
        change("zone/c", file(Class::ChangedPolicy)),
    ])
}

#[test]
fn what_is_the_same_in_many_scenarios_is_told_once() {
    let report = some();
    assert_eq!(report.status(), 1);
    assert_eq!(report.verdict(), "CHANGED: 4 of 7 scenarios (3 regressions, 1 changed policy)");
    let text = text(&report);
    let begin = text.find("What changed").unwrap();
    let end = text.find("\nHow to repeat").unwrap();
    assert_eq!(
        &text[begin..end],
        "What changed\n------------\n\
         \x201. regression: memory32 (3 scenarios)\n\
         \x20     at        plug dimm a of 1G\n\
         \x20     expected  online\n\
         \x20     before    online\n\
         \x20     after     offline\n\
         \x20     in        policy/a (2), policy/b\n\
         \x202. changed policy: root auto_online_blocks (1 scenario)\n\
         \x20     at        plug dimm a of 1G\n\
         \x20     expected  offline\n\
         \x20     before    offline\n\
         \x20     after     (not there)\n\
         \x20     in        zone/c\n"
    );
    assert!(text.starts_with("memhp 0.1.0: CHANGED: 4 of 7"));
    assert!(text.contains("\n  memhp series x.mbox --tree linux 'policy/*'\n"));
    assert!(text.contains("\n    memhp run 'policy/a[x=1]@local-b'\n"));
    assert!(text.contains("\n  - configuration: CONFIG_X=y is gone\n"));
}

#[test]
fn the_answer_is_threaded_narrow_and_without_a_tag() {
    let mail = mail(&some());
    let (header, body) = mail.split_once("\n\n").unwrap();
    assert_eq!(
        header,
        "To: A <a@example.org>\n\
         Cc: list@example.org, \"B, C\" <b@example.org>,\n \
         a.very.long.address.of.somebody.else@a.very.long.host.example.org,\n d@example.org\n\
         Subject: Re: [RFC PATCH v2 0/2] mm: x\n\
         In-Reply-To: <2@example.org>\n\
         References: <1@example.org> <2@example.org>\n\
         Content-Type: text/plain; charset=UTF-8\n\
         Content-Transfer-Encoding: 8bit"
    );
    assert!(body.starts_with("memhp 0.1.0: CHANGED"));
    assert!(mail.lines().all(|l| l.chars().count() <= WIDTH), "{mail}");
    for tag in ["Tested-by", "Reviewed-by", "Acked-by", "Signed-off-by"] {
        assert!(!mail.contains(tag));
    }
}

#[test]
fn long_commands_and_messages_are_wrapped() {
    let mut long = some();
    long.command = format!(
        "memhp series --tree /src/linux {} x.mbox 'policy/a b*'",
        "--fragment some.config ".repeat(4).trim()
    );
    let text = text(&long);
    assert!(
        text.contains(
            "\n  memhp series --tree /src/linux --fragment some.config --fragment \\\n      \
             some.config --fragment some.config --fragment some.config x.mbox \\\n      'policy/a b*'\n"
        ),
        "{text}"
    );
    let why = format!("mm/a.c:1:2: error: {}\n  1 |     x", "word ".repeat(20).trim());
    let bad = report(Outcome::NotBuilt(BadPatch { patch: "patch 1/2".into(), why }));
    let mail = mail(&bad);
    assert!(mail.contains("word\n    word word"), "{mail}");
    assert!(mail.contains("\n      1 |     x\n"), "{mail}");
    assert!(mail.lines().all(|l| l.chars().count() <= WIDTH), "{mail}");
}

#[test]
fn statuses() {
    assert_eq!((of(Vec::new()).status(), of(Vec::new()).verdict()), (0, "NO CHANGE in 7 scenarios".into()));
    let same = report(Outcome::Compared(vec![stage("base", "series", None)]));
    assert_eq!(
        (same.status(), same.verdict()),
        (0, "NO CHANGE: the kernel's image is the base's, byte for byte".into())
    );
    let mut missed = comparison(Vec::new());
    missed.not_judged.push(NotJudged { scenario: "zone/c".into(), why: "B: MISS".into() });
    let missed = report(Outcome::Compared(vec![stage("base", "series", Some(missed))]));
    assert_eq!((missed.status(), missed.verdict()), (3, "NOT JUDGED: 1 of 8 scenarios".into()));
    let mut one = comparison(Vec::new());
    let why = "skipped in B: no such option".to_string();
    one.only_a.push(OneSided { scenario: "zone/c".into(), why, expected: None });
    let one = report(Outcome::Compared(vec![stage("base", "series", Some(one))]));
    assert_eq!(one.status(), 1);
    assert!(text(&one).contains("zone/c: skipped in B: no such option\n"));
    let Outcome::Compared(mut stages) = one.outcome else { panic!() };
    stages[0].comparison.as_mut().unwrap().only_a[0].expected = Some("gone for good".into());
    let expected = report(Outcome::Compared(stages));
    assert_eq!(expected.status(), 0);
    assert!(text(&expected).contains("zone/c: skipped in B: no such option; expected: gone for good\n"));
    let mut same = stage("base", "series", None);
    same.unused = vec!["e.yaml:1:15: no such change".into()];
    let same = report(Outcome::Compared(vec![same]));
    assert_eq!(
        (same.status(), same.verdict()),
        (1, "NO CHANGE where one was expected: the kernel's image is the base's, byte for byte".into())
    );
    assert!(text(&same).contains("\n  e.yaml:1:15: no such change\n"));
    let bad =
        BadPatch { patch: "patch 2/2 \"mm: b\"".into(), why: "error: mm/b.c: patch does not apply".into() };
    let failed = report(Outcome::NotApplied(bad));
    assert_eq!((failed.status(), failed.verdict()), (1, "DOES NOT APPLY: patch 2/2 \"mm: b\"".into()));
    assert!(text(&failed).contains("    error: mm/b.c: patch does not apply\n"));
    assert!(text(&failed).contains("no patched kernel was run"));
    // A change that a later patch takes back is one all the same.
    let step = some();
    let Outcome::Compared(mut stages) = step.outcome else { panic!() };
    stages.push(stage("base", "series", Some(comparison(Vec::new()))));
    assert_eq!(report(Outcome::Compared(stages)).status(), 1);
}

#[test]
fn what_is_undecided_is_listed() {
    let mut verdict = difference(What::Verdict, "", "PASS", "PASS", Class::Noise);
    verdict.b.push(Seen { value: "FAIL: block.state: online expected".into(), repeats: 2 });
    let mut flaky = change("zone/c", vec![verdict]);
    (flaky.undecided, flaky.repeats) = (true, (17, 17));
    let mut all = comparison(vec![flaky]);
    let report_of =
        |all: &Comparison| report(Outcome::Compared(vec![stage("base", "series", Some(all.clone()))]));
    let undecided = report_of(&all);
    assert_eq!((undecided.status(), undecided.verdict()), (3, "NOT JUDGED: 1 of 7 scenarios".into()));
    let lines = "  Failures after the patches only, in too few repeats to tell them from\n  chance (--repeat):\n    \
                 zone/c: FAIL: block.state: online expected (2 of 17 repeats)\n";
    assert!(text(&undecided).contains(lines), "{}", text(&undecided));
    // A scenario that was missed on both sides is one.
    for side in ["A", "B"] {
        all.not_judged.push(NotJudged { scenario: "zone/d".into(), why: format!("{side}: MISS") });
    }
    assert!(report_of(&all).verdict().starts_with("NOT JUDGED: 2 of "));
    let mut nothing = comparison(Vec::new());
    nothing.compared = 0;
    assert_eq!(report_of(&nothing).verdict(), "NOT JUDGED: no scenario ran on both kernels");
}

#[test]
fn noise_is_not_told_as_a_change() {
    let noise =
        change("zone/c", vec![difference(What::State, "memory32", "online", "offline", Class::Noise)]);
    let quiet = comparison(vec![noise]);
    let stages = vec![stage("base", "patch 1/2", Some(quiet.clone())), stage("base", "series", Some(quiet))];
    let report = report(Outcome::Compared(stages));
    assert_eq!((report.status(), report.verdict()), (0, "NO CHANGE in 7 scenarios".into()));
    assert!(!text(&report).contains("zone/c"), "{}", text(&report));
    assert_eq!(b4(Ok(&report))[1]["summary"], "base -> patch 1/2: 0 scenarios changed");
}

#[test]
fn results_for_b4() {
    let report = some();
    let results = b4(Ok(&report));
    assert_eq!(results[0]["tool"], "memhp");
    assert_eq!(results[0]["status"], "fail");
    assert_eq!(results[0]["summary"], report.verdict());
    assert_eq!(results[0]["details"], text(&report));
    assert_eq!(results.as_array().unwrap().len(), 1);
    let results = b4(Err("bwrap not found\nmore"));
    assert_eq!(results[0]["status"], "warn");
    assert_eq!(results[0]["summary"], "NOT JUDGED: bwrap not found");
    assert_eq!(b4(Ok(&of(Vec::new())))[0]["status"], "pass");
}

#[test]
fn json_has_every_change() {
    let value = serde_json::to_value(some()).unwrap();
    assert_eq!(value["title"], "mm: x");
    let changes = &value["outcome"]["compared"][0]["comparison"]["changes"];
    assert_eq!(changes.as_array().unwrap().len(), 4);
}
