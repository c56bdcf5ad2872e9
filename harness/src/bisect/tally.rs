//! Counted runs of a revision, over templates. Pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Runs that were judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// runs with a failure
    pub failed: u32,
    /// runs without one
    pub clean: u32,
}

impl Tally {
    /// Both kinds.
    pub const fn runs(self) -> u32 {
        self.failed + self.clean
    }

    /// One more.
    pub fn add(&mut self, failed: bool) {
        if failed {
            self.failed += 1;
        } else {
            self.clean += 1;
        }
    }
}

/// Runs by the template that their guests were restored from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByTemplate(pub BTreeMap<u32, Tally>);

/// Whether rates differ between templates more than chance makes them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// variance of the rate between templates beyond that of independent runs; 0 where there is none
    pub between: f64,
    /// probability of a spread as large or larger if all templates have one rate
    pub p: f64,
}

impl ByTemplate {
    /// One more run.
    pub fn add(&mut self, template: u32, failed: bool) {
        self.0.entry(template).or_default().add(failed);
    }

    /// All together.
    pub fn sum(&self) -> Tally {
        self.0.values().fold(Tally::default(), |sum, t| Tally {
            failed: sum.failed + t.failed,
            clean: sum.clean + t.clean,
        })
    }

    /// `None`: fewer than two templates, or nothing that could differ.
    ///
    /// The test is that of homogeneity (chi squared), its probability exact for the table's margins: the sum over all
    /// ways to spread the failures over the templates that are as uneven or more.
    pub fn spread(&self) -> Option<Spread> {
        let all = self.sum();
        if self.0.len() < 2 || all.failed == 0 || all.clean == 0 {
            return None;
        }
        let sizes: Vec<u32> = self.0.values().map(|t| t.runs()).collect();
        let failed: Vec<u32> = self.0.values().map(|t| t.failed).collect();
        // Coarser steps where there are too many sums to tell apart; that makes the probability larger, never smaller.
        let p = [1e-9, 1e-5, 1e-3].into_iter().find_map(|step| exact(&sizes, &failed, step, MOST_SUMS));
        let p = p.or_else(|| exact(&sizes, &failed, 1e-2, usize::MAX)).unwrap_or(1.0);
        Some(Spread { between: between(&sizes, &failed), p })
    }
}

/// Σ failed²/runs, which orders tables of the same margins as chi squared does.
fn unevenness(sizes: &[u32], failed: &[u32]) -> f64 {
    sizes.iter().zip(failed).map(|(n, k)| f64::from(*k).powi(2) / f64::from(*n)).sum()
}

/// Moment estimate of the variance between (one-way random effects of proportions).
fn between(sizes: &[u32], failed: &[u32]) -> f64 {
    let n: f64 = sizes.iter().map(|n| f64::from(*n)).sum();
    let groups = sizes.len() as f64;
    let total: f64 = failed.iter().map(|k| f64::from(*k)).sum();
    let raw = unevenness(sizes, failed);
    let among = (raw - total * total / n) / (groups - 1.0);
    let within = (total - raw) / (n - groups).max(1.0);
    let size = (n - sizes.iter().map(|n| f64::from(*n).powi(2)).sum::<f64>() / n) / (groups - 1.0);
    ((among - within) / size).max(0.0)
}

/// Sums that are told apart at most.
const MOST_SUMS: usize = 200_000;

/// By the multivariate hypergeometric distribution, group by group: (failures so far, unevenness so far) -> ways.
/// Unevenness is compared in steps of `step`: sums of fractions are not exact. `None`: more than `most` sums.
fn exact(sizes: &[u32], failed: &[u32], step: f64, most: usize) -> Option<f64> {
    let total: u32 = failed.iter().sum();
    let wanted = unevenness(sizes, failed);
    let mut ways: BTreeMap<(u32, u64), f64> = BTreeMap::from([((0, 0), 0.0f64.exp())]);
    let key = |u: f64| (u / step).round() as u64;
    for n in sizes {
        let mut next: BTreeMap<(u32, u64), f64> = BTreeMap::new();
        for ((so_far, uneven), weight) in &ways {
            for k in 0..=(*n).min(total - so_far) {
                let at = (so_far + k, uneven + key(f64::from(k).powi(2) / f64::from(*n)));
                *next.entry(at).or_default() += weight * choose(*n, k);
            }
        }
        if next.len() > most {
            return None;
        }
        ways = next;
    }
    let whole: f64 = ways.iter().filter(|((k, _), _)| *k == total).map(|(_, w)| w).sum();
    // Each group's rounding may be half a step off.
    let least = key(wanted).saturating_sub(sizes.len() as u64);
    let extreme: f64 = ways.iter().filter(|((k, u), _)| *k == total && *u >= least).map(|(_, w)| w).sum();
    Some(extreme / whole)
}

/// Binomial coefficient; in floating point, which holds those of 1000 runs.
fn choose(n: u32, k: u32) -> f64 {
    (0..k.min(n - k)).map(|i| f64::from(n - i) / f64::from(i + 1)).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: &[(u32, u32)]) -> ByTemplate {
        let tally = |(failed, clean): &(u32, u32)| Tally { failed: *failed, clean: *clean };
        ByTemplate((0..).zip(counts.iter().map(tally)).collect())
    }

    #[test]
    fn fisher_s_exact_test_for_two_templates() {
        // Tea: 3 and 1 of 4 each; two-sided 34/70 (1 + 16 on each side).
        let spread = of(&[(3, 1), (1, 3)]).spread().unwrap();
        assert!((spread.p - 34.0 / 70.0).abs() < 1e-12, "{spread:?}");
        let apart = of(&[(4, 0), (0, 4)]).spread().unwrap();
        assert!((apart.p - 2.0 / 70.0).abs() < 1e-12, "{apart:?}");
        // Between: all of the variance of a rate that is 0 or 1 by template: 1/4 with n/(n-1) of two.
        assert!((apart.between - 0.5).abs() < 1e-12, "{apart:?}");
    }

    #[test]
    fn coarser_steps_do_not_make_chance_less_likely() {
        let (sizes, failed) = ([8, 7, 5, 3], [5, 1, 3, 0]);
        let fine = exact(&sizes, &failed, 1e-9, usize::MAX).unwrap();
        let coarse = exact(&sizes, &failed, 1e-2, usize::MAX).unwrap();
        assert!(fine <= coarse && coarse < fine + 0.05, "{fine} {coarse}");
        assert_eq!(exact(&sizes, &failed, 1e-9, 10), None);
    }

    #[test]
    fn even_rates_have_no_spread() {
        let spread = of(&[(2, 6), (2, 6), (2, 6)]).spread().unwrap();
        assert_eq!((spread.between, spread.p), (0.0, 1.0));
        assert_eq!(of(&[(2, 6)]).spread(), None);
        assert_eq!(of(&[(0, 6), (0, 6)]).spread(), None);
    }

    #[test]
    fn runs_are_counted_where_they_belong() {
        let mut runs = ByTemplate::default();
        for (template, failed) in [(0, true), (1, false), (0, false), (1, false)] {
            runs.add(template, failed);
        }
        assert_eq!(runs, of(&[(1, 1), (0, 2)]));
        assert_eq!((runs.sum().runs(), runs.sum().failed), (4, 1));
    }
}
