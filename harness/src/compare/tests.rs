//! What holds for whole comparisons: classes, noise, expectations, exit status.

use super::facts::{Fact, Key, Round, RunFacts, ScenarioFacts};
use super::step::Step;
use super::*;
use crate::finding::Finding;
use std::path::Path;

/// A repeat that passed; blocks 32 and 33 after step 1.
fn pass(block: &str) -> Round {
    let mut round = Round::new(Verdict::Pass, "");
    for number in [32, 33] {
        let key = Key { step: Step::new("1"), fact: Fact::Block(number), nth: 0 };
        round.facts.insert(key, block.into());
    }
    round.settled.insert(Step::new("1"));
    round.steps.insert(Step::new("1"), "plug a".into());
    round.messages = Some(BTreeSet::from(["Fallback order for Node N: N".to_string()]));
    round
}

fn fail(block: &str, seen: &str) -> Round {
    let mut round = pass(block);
    (round.verdict, round.title) = (Verdict::Fail, format!("block.zone: expected Movable, seen {seen}"));
    let finding = Finding::new("block.zone", "memory32", "Movable", seen, "rule");
    round.findings.push((Some(Step::new("1")), finding));
    round
}

fn run(name: &str, scenarios: Vec<(&str, Vec<Round>)>) -> RunFacts {
    let mut run = RunFacts::default();
    for (scenario, rounds) in scenarios {
        let id = format!("{scenario}@{name}");
        let repeat = format!("memhp run '{id}'");
        run.scenarios
            .insert(scenario.into(), ScenarioFacts { id, repeat, rounds: (0..).zip(rounds).collect() });
    }
    run
}

fn one(a: Vec<Round>, b: Vec<Round>) -> Comparison {
    compare(&run("k1", vec![("policy/x", a)]), &run("k2", vec![("policy/x", b)]), &Options::default())
}

fn classes(comparison: &Comparison) -> Vec<Class> {
    comparison.changes.iter().map(|c| c.class).collect()
}

#[test]
fn the_same_is_no_change() {
    for rounds in [vec![pass("offline")], vec![fail("online Normal", "Normal"); 3]] {
        let same = one(rounds.clone(), rounds);
        assert_eq!((same.changes.len(), same.compared, same.status()), (0, 1, 0));
    }
}

#[test]
fn what_both_may_do_is_changed_policy_told_once_for_like_blocks() {
    let changed = one(vec![pass("offline")], vec![pass("online Normal")]);
    assert_eq!((classes(&changed), changed.status()), (vec![Class::ChangedPolicy], 1));
    let [d] = &changed.changes[0].differences[..] else { panic!("{:?}", changed.changes) };
    assert_eq!((d.what, d.subject.as_str(), d.step.as_deref()), (What::State, "memory32-33", Some("1")));
    assert_eq!((d.a[0].value.as_str(), d.b[0].value.as_str()), ("offline", "online Normal"));
    assert_eq!(changed.changes[0].repeat_b, "memhp run 'policy/x@k2'");
    let zone = one(vec![pass("online Movable")], vec![pass("online Normal")]);
    assert_eq!(zone.changes[0].differences[0].what, What::Zone);
}

#[test]
fn a_new_failure_is_a_regression_and_a_gone_one_a_fix() {
    let (good, bad) = (vec![pass("online Movable")], vec![fail("online Normal", "Normal")]);
    let regression = one(good.clone(), bad.clone());
    assert_eq!((classes(&regression), regression.status()), (vec![Class::Regression], 1));
    let whats: Vec<What> = regression.changes[0].differences.iter().map(|d| d.what).collect();
    assert_eq!(whats, [What::Verdict, What::Finding, What::Zone]);
    assert_eq!(regression.changes[0].differences[1].expected.as_deref(), Some("Movable"));
    assert_eq!(classes(&one(bad.clone(), good)), [Class::Fix]);
    let otherwise = one(bad, vec![fail("online DMA32", "DMA32")]);
    assert_eq!(classes(&otherwise), [Class::Regression], "wrong in another way");
}

#[test]
fn a_difference_that_chance_would_make_is_noise() {
    let (x, y) = (|| pass("offline"), || pass("online Normal"));
    let noise = one(vec![x(), y(), x()], vec![y(), x(), y()]);
    assert_eq!((classes(&noise), noise.status()), (vec![Class::Noise], 0));
    assert!((noise.changes[0].differences[0].p.unwrap() - 1.0).abs() < 1e-9);
    // 10 of 10 against 1 of 10 is none.
    let mut b = vec![y(); 9];
    b.push(x());
    let changed = one(vec![x(); 10], b);
    assert_eq!((classes(&changed), changed.status()), (vec![Class::ChangedPolicy], 1));
}

#[test]
fn what_is_new_every_time_is_no_change_and_a_failure_is_one_whatever_it_says() {
    let blocks = |values: &[&str]| -> Vec<Round> { values.iter().map(|v| pass(v)).collect() };
    let random = one(blocks(&["a", "b", "c", "d", "e"]), blocks(&["f", "g", "h", "i", "j"]));
    assert_eq!((classes(&random), random.status()), (vec![Class::Noise], 0));
    let from_one = one(blocks(&["a", "a"]), blocks(&["f", "g"]));
    assert_eq!((classes(&from_one), from_one.status()), (vec![Class::ChangedPolicy], 1));
    let fails: Vec<Round> = ["DMA", "DMA32", "Normal"].map(|zone| fail("offline", zone)).to_vec();
    let regression = one(vec![pass("offline")], fails);
    assert_eq!((classes(&regression), regression.status()), (vec![Class::Regression], 1));
    assert!(regression.changes[0].differences.iter().all(|d| d.p.is_none() && d.class == Class::Regression));
}

#[test]
fn a_failure_of_b_alone_is_never_dismissed_as_noise() {
    let (good, bad) = (|| pass("offline"), || fail("offline", "Normal"));
    let undecided = one(vec![good(); 3], vec![good(), bad(), good()]);
    assert_eq!((classes(&undecided), undecided.status()), (vec![Class::Noise], 3));
    let flaky = one(vec![good(), bad(), good()], vec![good(), bad(), good()]);
    assert_eq!((flaky.changes.len(), flaky.status()), (0, 0));
    let significant = one(vec![good(); 10], [vec![good(); 2], vec![bad(); 8]].concat());
    assert_eq!((classes(&significant), significant.status()), (vec![Class::Regression], 1));
}

#[test]
fn what_is_not_judged_and_what_one_side_has_is_told() {
    let miss = Round::new(Verdict::Miss, "the guest was not restored");
    let missed = one(vec![pass("offline")], vec![miss]);
    assert_eq!((missed.compared, missed.not_judged.len(), missed.status()), (0, 1, 3));
    let skip = |why: &str| vec![Round::new(Verdict::Skip, why)];
    let a =
        run("k1", vec![("a/a", vec![pass("offline")]), ("b/b", vec![pass("offline")]), ("c/c", skip("old"))]);
    let b =
        run("k2", vec![("b/b", skip("needs NUMA")), ("c/c", skip("old")), ("d/d", vec![pass("offline")])]);
    let sides = compare(&a, &b, &Options::default());
    let list = |all: &[OneSided]| -> Vec<String> {
        all.iter().map(|o| format!("{}: {}", o.scenario, o.why)).collect()
    };
    assert_eq!(list(&sides.only_a), ["a/a: not in B", "b/b: skipped in B: needs NUMA"]);
    assert_eq!(list(&sides.only_b), ["d/d: not in A"]);
    assert_eq!((sides.skipped, sides.compared, sides.status()), (1, 0, 1), "B lacks what A judged");
    let only_b = compare(&RunFacts::default(), &b, &Options::default());
    assert_eq!(list(&only_b.only_b), ["d/d: not in A"]);
    assert_eq!((only_b.skipped, only_b.status()), (2, 3), "nothing compared is not nothing changed");
}

#[test]
fn a_scenario_of_one_side_can_be_expected() {
    let good = || vec![pass("offline")];
    let a = run("k1", vec![("a/a", good()), ("b/b", good()), ("c/c", good())]);
    let b =
        run("k2", vec![("a/a", good()), ("b/b", vec![Round::new(Verdict::Skip, "gone")]), ("d/d", good())]);
    let status = |text: &str| {
        let expect = Expectations::parse(Path::new("e.yaml"), text).unwrap();
        let compared = compare(&a, &b, &Options { expect: Some(expect) });
        (compared.one_sided(), compared.unused.len(), compared.status())
    };
    assert_eq!(status("- { scenario: b/b, reason: r }\n"), ((1, 1), 0, 1));
    assert_eq!(
        status("- { scenario: \"*/b\", reason: r }\n- { scenario: \"c/*\", reason: s }\n"),
        ((0, 1), 0, 0)
    );
    assert_eq!(status("- { scenario: d/d, class: fix, reason: r }\n"), ((2, 1), 1, 1));
    let expect = Expectations::parse(Path::new("e.yaml"), "- { scenario: \"*\", reason: r }\n").unwrap();
    let told = human(&compare(&a, &b, &Options { expect: Some(expect) }));
    assert!(told.contains("    b/b: skipped in B: gone; expected: r\n"), "{told}");
}

#[test]
fn a_message_that_a_never_had_is_new_and_one_of_another_scenario_is_not() {
    let with = |message: &str| {
        let mut round = pass("offline");
        round.messages.as_mut().unwrap().insert(message.into());
        round
    };
    let a = run("k1", vec![("p/x", vec![pass("offline")]), ("p/y", vec![with("onlined N")])]);
    let b = run("k2", vec![("p/x", vec![with("onlined N")]), ("p/y", vec![with("resized N")])]);
    let compared = compare(&a, &b, &Options::default());
    let [change] = &compared.changes[..] else { panic!("{:?}", compared.changes) };
    assert_eq!((change.scenario.as_str(), change.class), ("p/y", Class::ChangedPolicy));
    assert_eq!(change.differences[0].subject, "resized N");
    assert!(human(&compared).contains("\nNEW ON THE CONSOLE resized N\n    p/y\n"), "{}", human(&compared));
}

#[test]
fn a_message_of_the_boot_is_told_and_not_judged() {
    let mut booted = pass("offline");
    booted.boot_messages.insert("timer not connected".into());
    let told = one(vec![pass("offline")], vec![booted]);
    assert_eq!((told.changes.len(), told.status()), (0, 0));
    let line = "    timer not connected (in 1 scenarios)\n";
    assert!(human(&told).contains(line), "{}", human(&told));
}

fn expecting(text: &str) -> Comparison {
    let expect = Expectations::parse(Path::new("e.yaml"), text).unwrap();
    let (a, b) = (vec![("policy/x", vec![pass("offline")])], vec![("policy/x", vec![pass("online Normal")])]);
    compare(&run("k1", a), &run("k2", b), &Options { expect: Some(expect) })
}

#[test]
fn an_expected_change_is_accepted_and_an_unused_expectation_is_told() {
    let accepted = expecting("- { scenario: \"policy/*\", reason: the default is online }\n");
    assert_eq!(
        (accepted.changes[0].expected.as_deref(), accepted.status()),
        (Some("the default is online"), 0)
    );
    let one_side = expecting("- { scenario: \"policy/x@k2\", reason: r }\n");
    assert_eq!(one_side.status(), 0);
    let other_class = expecting("- { scenario: \"policy/*\", class: regression, reason: r }\n");
    assert_eq!((other_class.changes[0].expected.as_deref(), other_class.status()), (None, 1));
    assert!(other_class.unused[0].starts_with("e.yaml:1:15: no such change"), "{:?}", other_class.unused);
    let unused = expecting("- { scenario: \"*\", reason: r }\n- { scenario: \"zone/*\", reason: r }\n");
    assert_eq!((unused.unused.len(), unused.status()), (1, 1));
    assert!(unused.unused[0].starts_with("e.yaml:2:15: no such change"), "{:?}", unused.unused);
}

#[test]
fn durations_are_tested_where_there_are_repeats_enough() {
    let timed = |ms: f64| {
        let mut round = pass("offline");
        round.times.insert("all steps".into(), ms);
        round
    };
    let few =
        one((0..4).map(|i| timed(f64::from(i))).collect(), (0..4).map(|i| timed(f64::from(i + 9))).collect());
    assert_eq!((few.latency.measured, few.latency.tested), (1, 0));
    assert_eq!(
        few.latency.not_tested.as_deref(),
        Some("1 of 1 durations were not tested: so many comparisons take 5 repeats on each side")
    );
    let slower =
        one((0..5).map(|i| timed(f64::from(i))).collect(), (0..5).map(|i| timed(f64::from(i + 9))).collect());
    let [l] = &slower.latency.changes[..] else { panic!("{:?}", slower.latency) };
    assert_eq!((l.class, l.a_ms, l.b_ms, l.effect), (Class::Regression, 2.0, 11.0, 1.0));
    assert!((l.p - 2.0 / 252.0).abs() < 1e-12);
    assert_eq!((slower.changes.len(), slower.status()), (0, 0), "no verdict judges speed");
}

#[test]
fn exact_text() {
    let mut changed = one(vec![pass("offline"); 2], vec![pass("online Normal"); 2]);
    for (side, name) in [(&mut changed.a, "k1"), (&mut changed.b, "k2")] {
        let kernel = facts::KernelId { name: name.into(), release: "6.1".into(), sha256: "ab".repeat(32) };
        (side.name, side.kernels) = (name.into(), vec![kernel]);
    }
    assert_eq!(
        human(&changed),
        "\
A  k1: k1 (6.1, sha256 abababababab…), 2 repeats a scenario
B  k2: k2 (6.1, sha256 abababababab…), 2 repeats a scenario

CHANGED POLICY policy/x
    step 1 (plug a): memory32-33
        A  offline
        B  online Normal
    repeat A: memhp run 'policy/x@k1'
    repeat B: memhp run 'policy/x@k2'

1 scenarios compared: 0 regressions, 0 fixes, 1 changed policy, 0 noise
"
    );
}
