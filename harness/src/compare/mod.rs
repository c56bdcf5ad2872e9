//! Two runs against each other: what changed from A to B, and of which kind. Pure: no process, no file, no clock.
//!
//! [`read`] makes [`RunFacts`] of a run's events, [`compare`] a [`Comparison`] of two of them, [`human`] prints it.
//! Whether a failure is a known issue does not count here: else a fix and its regression would both be silent.
//!
//! The rule for noise. A difference that shows in every repeat (no value came on both sides, and one side at least
//! stays at its value: what is new every time differs from itself as well) is a change. Any other is tested with Fisher's exact test on how often each value came, corrected (Holm) for the number of tests (those of
//! one scenario with the same p are one: a cause shows in many facts); below [`ALPHA`] it is a change, else it is noise. Noise that is a failure of B alone is neither: it
//! is undecided, and the comparison says so by its exit status.

mod comparison;
mod counts;
mod differ;
mod expectations;
pub mod facts;
mod human;
mod latency;
mod observed;
mod read;
pub mod stats;
mod step;
#[cfg(test)]
mod tests;

pub use comparison::{
    Change, Class, Comparison, Difference, Latencies, Latency, NotJudged, OneSided, Seen, What,
};
pub use expectations::{Expectation, Expectations};
pub use facts::RunFacts;
pub use human::human;
pub use read::{Kernels, ReadError, kernel_names, read};

use crate::verdict::Verdict;
use facts::ScenarioFacts;
use std::collections::{BTreeMap, BTreeSet};

/// Chance of one false alarm among all tests of a kind.
pub const ALPHA: f64 = 0.01;
/// Version of comparison.json.
const VERSION: u32 = 1;

/// What a comparison takes besides the two runs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// intended changes
    pub expect: Option<Expectations>,
}

/// Compares B with A.
pub fn compare(a: &RunFacts, b: &RunFacts, options: &Options) -> Comparison {
    let mut result = Comparison {
        v: VERSION,
        a: a.origin.clone(),
        b: b.origin.clone(),
        compared: 0,
        repeats: (most_repeats(a), most_repeats(b)),
        changes: Vec::new(),
        latency: latency::latencies(a, b),
        boot_messages: boot_messages(a, b),
        only_a: Vec::new(),
        only_b: Vec::new(),
        skipped: 0,
        not_judged: Vec::new(),
        unused: Vec::new(),
        notes: notes(a, b),
    };
    let in_a = messages_of(a);
    let names: BTreeSet<&String> = a.scenarios.keys().chain(b.scenarios.keys()).collect();
    for name in names {
        match (a.scenarios.get(name), b.scenarios.get(name)) {
            (Some(of_a), Some(of_b)) => scenario(&mut result, name, of_a, of_b, &in_a),
            (Some(of_a), None) if skip(of_a).is_some() => result.skipped += 1,
            (None, Some(of_b)) if skip(of_b).is_some() => result.skipped += 1,
            (Some(_), None) => result.only_a.push(one_sided(name, "not in B")),
            _ => result.only_b.push(one_sided(name, "not in A")),
        }
    }
    decide(&mut result.changes);
    accept(&mut result, a, b, options);
    result.changes.sort_by(|x, y| y.class.cmp(&x.class).then_with(|| x.scenario.cmp(&y.scenario)));
    result
}

fn one_sided(name: &str, why: impl Into<String>) -> OneSided {
    OneSided { scenario: name.into(), why: why.into(), expected: None }
}

fn most_repeats(run: &RunFacts) -> u32 {
    let of = |s: &ScenarioFacts| s.rounds.values().filter(|r| r.verdict != Verdict::Skip).count();
    u32::try_from(run.scenarios.values().map(of).max().unwrap_or(0)).unwrap_or(u32::MAX)
}

/// Every message of a run: one that another scenario had already is not new.
fn messages_of(run: &RunFacts) -> BTreeSet<&str> {
    let rounds = run.scenarios.values().flat_map(|s| s.rounds.values());
    rounds.filter_map(|r| r.messages.as_ref()).flatten().map(String::as_str).collect()
}

/// Messages of B's boots that no boot of A has, and in how many scenarios.
fn boot_messages(a: &RunFacts, b: &RunFacts) -> BTreeMap<String, usize> {
    fn boots(scenario: &ScenarioFacts) -> BTreeSet<&String> {
        scenario.rounds.values().flat_map(|r| &r.boot_messages).collect()
    }
    let in_a: BTreeSet<&String> = a.scenarios.values().flat_map(boots).collect();
    let mut new = BTreeMap::new();
    for message in b.scenarios.values().flat_map(boots).filter(|m| !in_a.contains(m)) {
        *new.entry(message.clone()).or_default() += 1;
    }
    new
}

/// What makes the runs less alike than their kernels.
fn notes(a: &RunFacts, b: &RunFacts) -> Vec<String> {
    let mut notes = Vec::new();
    let (of_a, of_b) = (&a.origin, &b.origin);
    for (what, x, y) in [
        ("memhp", &of_a.memhp, &of_b.memhp),
        ("QEMU", &of_a.qemu, &of_b.qemu),
        ("accelerator", &of_a.accel, &of_b.accel),
        ("seed", &of_a.seed.to_string(), &of_b.seed.to_string()),
    ] {
        if x != y {
            notes.push(format!("not the same {what}: {x} in A, {y} in B"));
        }
    }
    let recorded = |run: &RunFacts| {
        let judged = run.scenarios.values().flat_map(differ::judged);
        judged.filter(|r| r.messages.is_none()).count()
    };
    let missing = recorded(a) + recorded(b);
    if missing > 0 {
        notes.push(format!("the console's messages of {missing} judged scenarios were not recorded"));
    }
    notes
}

/// One scenario that both sides have.
fn scenario(
    result: &mut Comparison,
    name: &str,
    a: &ScenarioFacts,
    b: &ScenarioFacts,
    in_a: &BTreeSet<&str>,
) {
    match (skip(a), skip(b)) {
        (Some(_), Some(_)) => return result.skipped += 1,
        (Some(why), None) => return result.only_b.push(one_sided(name, format!("skipped in A: {why}"))),
        (None, Some(why)) => return result.only_a.push(one_sided(name, format!("skipped in B: {why}"))),
        (None, None) => {}
    }
    for (side, of) in [("A", a), ("B", b)] {
        let not: Vec<_> = of.rounds.values().filter(|r| !r.is_judged()).collect();
        if let Some(first) = not.first() {
            let why = format!(
                "{side}: {} {}, in {} of {} repeats",
                first.verdict,
                first.title,
                not.len(),
                of.rounds.len()
            );
            result.not_judged.push(NotJudged { scenario: name.into(), why });
        }
    }
    let (rounds_a, rounds_b) = (differ::judged(a), differ::judged(b));
    if rounds_a.is_empty() || rounds_b.is_empty() {
        return;
    }
    result.compared += 1;
    let mut differences = differ::differences(&rounds_a, &rounds_b);
    differences.extend(differ::messages(&rounds_a, &rounds_b, in_a));
    if differences.is_empty() {
        return;
    }
    let number = |rounds: &[&facts::Round]| u32::try_from(rounds.len()).unwrap_or(u32::MAX);
    result.changes.push(Change {
        scenario: name.into(),
        class: Class::Noise,
        expected: None,
        differences,
        repeats: (number(&rounds_a), number(&rounds_b)),
        repeat_a: a.repeat.clone(),
        repeat_b: b.repeat.clone(),
        undecided: false,
    });
}

/// The reason of a scenario that never ran because it does not apply.
fn skip(scenario: &ScenarioFacts) -> Option<&str> {
    let all = scenario.rounds.values().all(|r| r.verdict == Verdict::Skip);
    scenario.rounds.values().next().filter(|_| all).map(|r| r.title.as_str())
}

/// Tells what chance would do as well from what changed.
fn decide(changes: &mut [Change]) {
    let of = |index: usize, change: &Change| -> Vec<(usize, u64)> {
        change.differences.iter().filter_map(|d| d.p).map(|p| (index, p.to_bits())).collect()
    };
    let tests: BTreeSet<(usize, u64)> = changes.iter().enumerate().flat_map(|(i, c)| of(i, c)).collect();
    let p: Vec<f64> = tests.iter().map(|(_, bits)| f64::from_bits(*bits)).collect();
    let corrected: BTreeMap<_, _> = tests.into_iter().zip(stats::holm(&p)).collect();
    for (index, change) in changes.iter_mut().enumerate() {
        for difference in &mut change.differences {
            let Some(p) = difference.p.and_then(|p| corrected.get(&(index, p.to_bits()))) else { continue };
            difference.p = Some(*p);
            if *p > ALPHA {
                change.undecided |= is_failure_of_b_alone(difference);
                difference.class = Class::Noise;
            }
        }
        change.class = change.differences.iter().map(|d| d.class).max().unwrap_or(Class::Noise);
        // What changed with a repair is part of it.
        let fixes = change.differences.iter().any(|d| d.class == Class::Fix);
        if fixes && change.class == Class::ChangedPolicy {
            change.class = Class::Fix;
        }
    }
}

fn is_failure_of_b_alone(difference: &Difference) -> bool {
    let fails = |seen: &[Seen]| seen.iter().any(|s| s.value.starts_with("FAIL"));
    difference.what == What::Verdict && fails(&difference.b) && !fails(&difference.a)
}

fn accept(result: &mut Comparison, a: &RunFacts, b: &RunFacts, options: &Options) {
    let Some(mut expect) = options.expect.clone() else { return };
    let id = |run: &RunFacts, name: &str| run.scenarios.get(name).map_or(String::new(), |s| s.id.clone());
    for change in &mut result.changes {
        let (id_a, id_b) = (id(a, &change.scenario), id(b, &change.scenario));
        change.expected = expect.reason(Some(change.class), [&id_a, &id_b]);
    }
    for one in result.only_a.iter_mut().chain(&mut result.only_b) {
        let (id_a, id_b) = (id(a, &one.scenario), id(b, &one.scenario));
        one.expected = expect.reason(None, [&id_a, &id_b]);
    }
    result.unused = expect.unused();
}
