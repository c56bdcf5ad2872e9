//! Whether B takes longer: each duration that both sides have, by the rank sum test, corrected for their number.

use super::ALPHA;
use super::comparison::{Class, Latencies, Latency};
use super::differ::judged;
use super::facts::{Round, RunFacts};
use super::stats;
use std::collections::BTreeSet;

/// Repeats that are looked for when it is said how many would do.
const MOST: usize = 1000;

struct Pair<'a> {
    scenario: &'a str,
    measured: String,
    a: Vec<f64>,
    b: Vec<f64>,
}

/// All durations of scenarios that both sides judged.
pub(super) fn latencies(a: &RunFacts, b: &RunFacts) -> Latencies {
    let pairs = pairs(a, b);
    let can = |n_a, n_b, comparisons: usize| {
        #[allow(clippy::cast_precision_loss)] // number of comparisons
        let comparisons = comparisons as f64;
        stats::least_p(n_a, n_b) * comparisons <= ALPHA
    };
    let tested: Vec<&Pair> = pairs.iter().filter(|p| can(p.a.len(), p.b.len(), pairs.len())).collect();
    let mut result = Latencies { measured: pairs.len(), tested: tested.len(), ..Latencies::default() };
    if tested.len() < pairs.len() {
        let enough = (1..MOST).find(|n| can(*n, *n, pairs.len()));
        let enough = enough.map_or_else(|| format!("more than {MOST}"), |n| n.to_string());
        result.not_tested = Some(format!(
            "{} of {} durations were not tested: so many comparisons take {enough} repeats on each side",
            pairs.len() - tested.len(),
            pairs.len()
        ));
    }
    let ranks: Vec<_> = tested.iter().filter_map(|p| Some((p, stats::rank_test(&p.a, &p.b)?))).collect();
    let corrected = stats::holm(&ranks.iter().map(|(_, r)| r.p).collect::<Vec<_>>());
    for ((pair, ranks), p) in ranks.into_iter().zip(corrected).filter(|(_, p)| *p <= ALPHA) {
        result.changes.push(Latency {
            scenario: pair.scenario.into(),
            measured: pair.measured.clone(),
            class: if ranks.effect > 0.5 { Class::Regression } else { Class::Fix },
            a_ms: median(&pair.a),
            b_ms: median(&pair.b),
            effect: ranks.effect,
            p,
            repeats: (pair.a.len(), pair.b.len()),
        });
    }
    result
}

fn pairs<'a>(a: &'a RunFacts, b: &RunFacts) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    for (scenario, in_a) in &a.scenarios {
        let Some(in_b) = b.scenarios.get(scenario) else { continue };
        let (in_a, in_b) = (judged(in_a), judged(in_b));
        let names = |rounds: &[&Round]| -> BTreeSet<String> {
            rounds.iter().flat_map(|r| r.times.keys().cloned()).collect()
        };
        for measured in names(&in_a).intersection(&names(&in_b)) {
            let of =
                |rounds: &[&Round]| rounds.iter().filter_map(|r| r.times.get(measured).copied()).collect();
            pairs.push(Pair { scenario, measured: measured.clone(), a: of(&in_a), b: of(&in_b) });
        }
    }
    pairs
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}
