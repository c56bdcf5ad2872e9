//! What is printed, word by word; git takes the log.

use super::*;
use crate::bisect::git::git;
use crate::bisect::tally::Tally;

fn step(revision: &str, role: Role, mark: Mark, counts: &[(u32, u32)], titles: &[&str]) -> Step {
    let tally = |(failed, clean): &(u32, u32)| Tally { failed: *failed, clean: *clean };
    Step {
        revision: revision.into(),
        role,
        mark,
        runs: ByTemplate((0..).zip(counts.iter().map(tally)).collect()),
        missed: 0,
        titles: titles.iter().map(ToString::to_string).collect(),
        others: vec![],
        scenarios: vec!["policy/x".into()],
        risk: 0.000_5,
        why: "make vmlinux failed: mm/x.c:1: error".into(),
    }
}

const NAMES: [&str; 4] = ["1111111111111111", "2222222222222222", "3333333333333333", "4444444444444444"];

fn answer() -> Answer {
    let title = "block.state: online expected, offline seen";
    Answer {
        first_bad: vec![NAMES[2].into()],
        confidence: 0.998_99,
        steps: vec![
            step(NAMES[3], Role::BadEnd, Mark::Bad, &[(4, 0), (4, 0)], &[title]),
            step(NAMES[0], Role::GoodEnd, Mark::Good, &[(0, 2), (0, 2)], &[]),
            step(NAMES[1], Role::Between, Mark::Skip, &[], &[]),
            step(NAMES[2], Role::Between, Mark::Bad, &[(1, 0), (1, 0)], &[title]),
        ],
    }
}

fn report(answer: &Answer) -> Report<'_> {
    let subject = |n: &&str| (n.to_string(), format!("mm: change {}", &n[..1]));
    Report {
        command: "memhp bisect 'policy/*' --tree . --good v1 --bad v2".into(),
        cases: "policy/*".into(),
        wish: Wish { confidence: 0.99, least_rate: 0.1 },
        answer,
        subjects: NAMES.iter().map(subject).collect(),
    }
}

#[test]
fn the_answer() {
    insta::assert_snapshot!(report(&answer()).answer(), @r"
    3333333333333333 is the first bad commit
        mm: change 3
    confidence 99.89 %, wanted 99.00 %
    4 revisions judged in 14 runs; failures by template: 4/4 4/4, 1/1 1/1; no variance between templates
    ");
}

#[test]
fn the_log() {
    insta::assert_snapshot!(report(&answer()).log(), @r"
    git bisect start
    # bad: [4444444444444444] mm: change 4
    # bad end: 8 of 8 runs failed; wrong with probability 0.000500
    git bisect bad 4444444444444444
    # good: [1111111111111111] mm: change 1
    # good end: 0 of 4 runs failed; wrong with probability 0.000500
    git bisect good 1111111111111111
    # skip: [2222222222222222] mm: change 2
    # cannot be judged: make vmlinux failed: mm/x.c:1: error
    git bisect skip 2222222222222222
    # bad: [3333333333333333] mm: change 3
    # 2 of 2 runs failed; wrong with probability 0.000500
    git bisect bad 3333333333333333
    # first bad commit: [3333333333333333] mm: change 3
    # confidence 99.89 %
    ");
}

#[test]
fn the_mail() {
    let text = report(&answer()).mail();
    assert!(text.lines().skip(1).all(|l| l.chars().count() <= 75), "{text}");
    insta::assert_snapshot!(text, @r#"
    Subject: memhp bisect: 333333333333 ("mm: change 3")

    333333333333 ("mm: change 3") is the first commit with which policy/*
    fails. Confidence: 99.89 %.

    What fails:
      block.state: online expected, offline seen

    What was judged:
      bad 444444444444 ("mm: change 4")
          bad end: 8 of 8 runs failed; wrong with probability 0.000500
      good 111111111111 ("mm: change 1")
          good end: 0 of 4 runs failed; wrong with probability 0.000500
      skip 222222222222 ("mm: change 2")
          cannot be judged: make vmlinux failed: mm/x.c:1: error
      bad 333333333333 ("mm: change 3")
          2 of 2 runs failed; wrong with probability 0.000500

    failures by template: 4/4 4/4, 1/1 1/1; no variance between templates

    Marks come from a sequential test (Wald): bad revisions fail as often as
    the bad end was seen to, good ones in at most 0.002 of runs. The confidence
    takes it that the rate of failures is the same from the first bad commit
    on.

    To repeat:
      memhp bisect 'policy/*' --tree . --good v1 --bad v2
    "#);
}

#[test]
fn several_that_may_be_it_and_templates_that_differ_are_told() {
    let mut answer = answer();
    answer.first_bad = vec![NAMES[2].into(), NAMES[1].into()];
    answer.steps[3].runs = ByTemplate(
        [(0, Tally { failed: 9, clean: 0 }), (1, Tally { failed: 0, clean: 9 })].into_iter().collect(),
    );
    let text = report(&answer).answer();
    assert!(text.starts_with("the first bad commit is one of these 2; "), "{text}");
    assert!(
        text.contains("failures by template: 4/4 4/4, 9/9 0/9; variance between templates 0.3174 "),
        "{text}"
    );
    assert!(text.ends_with("repeat with more --templates\n"), "{text}");
    let log = report(&answer).log();
    assert!(log.contains("# only skipped commits left to test\n# possible first bad commit: [3333"), "{log}");
}

#[test]
fn templates_of_two_revisions_are_not_the_same() {
    let mut answer = answer();
    let runs = |counts: [(u32, u32); 2]| {
        ByTemplate((0..).zip(counts.map(|(failed, clean)| Tally { failed, clean })).collect())
    };
    // Added up by their numbers they would be even.
    answer.steps[0].runs = runs([(0, 8), (8, 0)]);
    answer.steps[3].runs = runs([(8, 0), (0, 8)]);
    let report = report(&answer);
    let (all, text) = report.spread();
    assert_eq!(all.0.len(), 4);
    assert!(
        text.starts_with("failures by template: 0/8 8/8, 8/8 0/8; variance between templates 0.3"),
        "{text}"
    );
    assert!(report.warning().is_some());
}

#[test]
fn git_replays_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| git(dir.path(), args).unwrap();
    run(&["init", "--quiet"]);
    let commit = |n: &usize| {
        let who = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let what = ["commit", "--quiet", "--allow-empty", "-m"];
        run(&[&who[..], &what, &[&n.to_string()]].concat());
        run(&["rev-parse", "HEAD"]).trim().to_string()
    };
    let names: Vec<String> = (0..4).collect::<Vec<_>>().iter().map(commit).collect();
    let mut answer = answer();
    answer.steps.remove(2);
    for (step, n) in answer.steps.iter_mut().zip([3, 0, 1]) {
        step.revision = names[n].clone();
    }
    answer.first_bad = vec![names[1].clone()];
    let log = dir.path().join("log");
    std::fs::write(&log, report(&answer).log()).unwrap();
    let said = run(&["bisect", "replay", log.to_str().unwrap()]);
    assert!(said.contains(&format!("{} is the first bad commit", names[1])), "{said}");
}

#[test]
fn confidence_is_cut_and_lines_are_wrapped() {
    assert_eq!(
        (percent(0.999_999), percent(0.989_99), percent(1.0)),
        ("99.99 %".into(), "98.99 %".into(), "100.00 %".into())
    );
    let line = format!("  {}", "word ".repeat(30));
    assert!(wrap(&line).lines().all(|l| l.len() <= 75 && l.starts_with("  word")));
}
