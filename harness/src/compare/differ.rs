//! What differs in one scenario. Each thing that was seen is compared over all repeats; what only some repeats show
//! carries the p value of Fisher's exact test, and is decided once all of them are known.

use super::comparison::{Class, Difference, What};
use super::counts::{Counts, Says};
use super::facts::{Fact, Key, Round, ScenarioFacts};
use super::step::Step;
use crate::verdict::{Verdict, stable};
use std::collections::{BTreeMap, BTreeSet};

/// Value of a fact that a repeat does not have.
const ABSENT: &str = "absent";
/// Value of a finding that a repeat does not have.
const AS_EXPECTED: &str = "as it must be";

/// The repeats of one side that say something of its kernel.
pub(super) fn judged(scenario: &ScenarioFacts) -> Vec<&Round> {
    scenario.rounds.values().filter(|r| r.is_judged()).collect()
}

/// All differences of a scenario but those of its console, in the order of the case.
pub(super) fn differences(a: &[&Round], b: &[&Round]) -> Vec<Difference> {
    let mut all: Vec<Difference> = verdict(a, b).into_iter().collect();
    all.extend(findings(a, b));
    all.extend(facts(a, b));
    all
}

fn verdict(a: &[&Round], b: &[&Round]) -> Option<Difference> {
    let value = |r: &Round| {
        if r.title.is_empty() { r.verdict.to_string() } else { format!("{}: {}", r.verdict, r.title) }
    };
    let (of_a, of_b): (Vec<String>, Vec<String>) =
        (a.iter().map(|r| value(r)).collect(), b.iter().map(|r| value(r)).collect());
    let counts = Counts::of(of_a.iter().map(String::as_str), of_b.iter().map(String::as_str));
    let fail = Verdict::Fail.to_string();
    let (fails_a, fails_b) = counts.shares(|v| v.starts_with(&fail));
    let class = match fails_a.total_cmp(&fails_b) {
        std::cmp::Ordering::Less => Class::Regression,
        std::cmp::Ordering::Greater => Class::Fix,
        std::cmp::Ordering::Equal if fails_b > 0.0 => Class::Regression,
        std::cmp::Ordering::Equal => Class::ChangedPolicy,
    };
    // Whatever it fails by.
    let word = |r: &&Round| failed(r.verdict == Verdict::Fail);
    let words = Counts::of(a.iter().map(word), b.iter().map(word));
    clear(&counts, &words, class, |d| d.what = What::Verdict)
}

fn failed(fails: bool) -> &'static str {
    if fails { "fails" } else { "does not" }
}

/// As [`difference`]; what every repeat shows in coarser words needs no test.
fn clear(
    counts: &Counts,
    coarse: &Counts,
    class: Class,
    fill: impl FnOnce(&mut Difference),
) -> Option<Difference> {
    let every = coarse.says() == Says::EveryRepeat;
    difference(counts, class, fill).map(|d| Difference { p: d.p.filter(|_| !every), ..d })
}

/// A difference as far as the counts make one; `fill` says what it is of.
fn difference(counts: &Counts, class: Class, fill: impl FnOnce(&mut Difference)) -> Option<Difference> {
    let p = match counts.says() {
        Says::Nothing => return None,
        Says::EveryRepeat => None,
        Says::Some(p) => Some(p),
    };
    let (a, b) = counts.seen();
    let mut difference = Difference {
        what: What::State,
        step: None,
        step_text: None,
        subject: String::new(),
        expected: None,
        a,
        b,
        class,
        p,
    };
    fill(&mut difference);
    Some(difference)
}

/// Findings by step, fact and subject. Numbers in them do not count: two kernels differ in sizes, and leaks are
/// measured.
fn findings(a: &[&Round], b: &[&Round]) -> Vec<Difference> {
    type Place = (Option<Step>, String, String);
    let of = |r: &Round| -> BTreeMap<Place, (String, String)> {
        let place = |(step, f): &(Option<Step>, crate::finding::Finding)| {
            let subject = if f.fact == "console" { stable(&f.seen) } else { f.subject.clone() };
            ((step.clone(), f.fact.clone(), subject), (f.expected.clone(), f.seen.clone()))
        };
        r.findings.iter().map(place).collect()
    };
    let (of_a, of_b): (Vec<_>, Vec<_>) =
        (a.iter().map(|r| of(r)).collect(), b.iter().map(|r| of(r)).collect());
    let places: BTreeSet<&Place> = of_a.iter().chain(&of_b).flat_map(BTreeMap::keys).collect();
    let mut all = Vec::new();
    for place in places {
        let value = |found: &BTreeMap<Place, (String, String)>| {
            let text = |(expected, seen): &(String, String)| (stable(expected), stable(seen));
            found.get(place).map(text)
        };
        let words = |value: Option<(String, String)>| {
            value.map_or_else(|| AS_EXPECTED.to_string(), |(e, s)| format!("expected {e}, seen {s}"))
        };
        let (values_a, values_b): (Vec<String>, Vec<String>) =
            (of_a.iter().map(|f| words(value(f))).collect(), of_b.iter().map(|f| words(value(f))).collect());
        let counts = Counts::of(values_a.iter().map(String::as_str), values_b.iter().map(String::as_str));
        let word = |v: &String| failed(v != AS_EXPECTED);
        let words = Counts::of(values_a.iter().map(word), values_b.iter().map(word));
        let (wrong_a, wrong_b) = counts.shares(|v| v != AS_EXPECTED);
        let class = if wrong_a > wrong_b { Class::Fix } else { Class::Regression };
        all.extend(clear(&counts, &words, class, |d| {
            d.what = What::Finding;
            d.step = place.0.as_ref().map(Step::to_string);
            d.step_text = place.0.as_ref().and_then(|step| step_text(a, b, step));
            d.subject = format!("{} {}", place.1, place.2).trim_end().to_string();
            // With its numbers, where B has it: what is looked for is B's.
            let whole = of_b.iter().chain(&of_a).find_map(|found| found.get(place));
            d.expected = whole.map(|(expected, _)| expected.clone()).filter(|e| !e.is_empty());
        }));
    }
    all
}

fn step_text(a: &[&Round], b: &[&Round], step: &Step) -> Option<String> {
    a.iter().chain(b).find_map(|r| r.steps.get(step).cloned())
}

/// What was observed, without what stays as different as it was a step before.
fn facts(a: &[&Round], b: &[&Round]) -> Vec<Difference> {
    let keys: BTreeSet<&Key> = a.iter().chain(b).flat_map(|r| r.facts.keys()).collect();
    let mut last: BTreeMap<&Fact, Counts> = BTreeMap::new();
    let mut all: Vec<(Step, Fact, Counts)> = Vec::new();
    for key in keys {
        let counts =
            Counts::of(a.iter().filter_map(|r| value(r, key)), b.iter().filter_map(|r| value(r, key)));
        if counts.says() == Says::Nothing {
            last.remove(&key.fact);
            continue;
        }
        let stays = matches!(key.fact, Fact::Block(_) | Fact::MemTotal);
        if !stays || last.get(&key.fact) != Some(&counts) {
            all.push((key.step.clone(), key.fact.clone(), counts.clone()));
        }
        last.insert(&key.fact, counts);
    }
    let told = groups(all);
    told.into_iter()
        .filter_map(|(step, what, subject, counts)| {
            difference(&counts, Class::ChangedPolicy, |d| {
                d.step_text = step_text(a, b, &step);
                d.step = Some(step.to_string());
                d.what = what.unwrap_or_else(|| state_or_zone(d));
                d.subject = subject;
            })
        })
        .collect()
}

/// What a repeat has for a fact; `None`: it did not come so far.
fn value<'a>(round: &'a Round, key: &Key) -> Option<&'a str> {
    let is_state = matches!(key.fact, Fact::Block(_) | Fact::MemTotal);
    let came_so_far =
        if is_state { round.settled.contains(&key.step) } else { round.verdict != Verdict::Fail };
    round.facts.get(key).map(String::as_str).or(came_so_far.then_some(ABSENT))
}

/// Blocks that differ in the same way after the same step are told together. What a block's difference is of (state
/// or zone) depends on the values.
fn groups(all: Vec<(Step, Fact, Counts)>) -> Vec<(Step, Option<What>, String, Counts)> {
    let mut told: Vec<(Step, Option<What>, String, Counts)> = Vec::new();
    let mut blocks: Vec<(Step, Counts, Vec<u32>)> = Vec::new();
    for (step, fact, counts) in all {
        let (what, subject) = match fact {
            Fact::Block(number) => {
                match blocks.iter_mut().find(|(s, c, _)| *s == step && *c == counts) {
                    Some((.., numbers)) => numbers.push(number),
                    None => blocks.push((step, counts, vec![number])),
                }
                continue;
            }
            Fact::MemTotal => (What::Memtotal, "MemTotal since the boot".to_string()),
            Fact::Plug(dimm) => (What::Plug, dimm),
            Fact::Unplug(dimm) => (What::Unplug, dimm),
            Fact::Write(what) => (What::Write, what),
        };
        told.push((step, Some(what), subject, counts));
    }
    told.extend(blocks.into_iter().map(|(step, counts, numbers)| (step, None, ranges(&numbers), counts)));
    // By step: what was done, the blocks that came of it, by their numbers, and their sum.
    let rank = |what: &Option<What>| match what {
        None => 1,
        Some(What::Memtotal) => 2,
        Some(_) => 0,
    };
    told.sort_by(|x, y| (&x.0, rank(&x.1)).cmp(&(&y.0, rank(&y.1))));
    told
}

/// `memory32-34,36`.
fn ranges(numbers: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let run = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    format!("memory{}", runs.iter().map(run).collect::<Vec<_>>().join(","))
}

fn state_or_zone(d: &Difference) -> What {
    let online = |seen: &[super::comparison::Seen]| seen.iter().all(|s| s.value.starts_with("online "));
    if online(&d.a) && online(&d.b) { What::Zone } else { What::State }
}

/// Messages of the console that nothing in A has, by the share of B's repeats that have them.
pub(super) fn messages(a: &[&Round], b: &[&Round], in_a: &BTreeSet<&str>) -> Vec<Difference> {
    let of_b = || b.iter().filter_map(|r| r.messages.as_ref());
    let new: BTreeSet<&str> =
        of_b().flatten().map(String::as_str).filter(|message| !in_a.contains(message)).collect();
    let recorded_a = a.iter().filter(|r| r.messages.is_some()).count();
    let one = |message: &str| {
        let word = |has: bool| if has { "there" } else { ABSENT };
        let counts = Counts::of(
            std::iter::repeat_n(ABSENT, recorded_a),
            of_b().map(|messages| word(messages.contains(message))),
        );
        difference(&counts, Class::ChangedPolicy, |d| {
            d.what = What::Console;
            d.subject = message.to_string();
        })
    };
    new.into_iter().filter_map(one).collect()
}
