//! What a sample carries: quantiles by nearest rank, and exact confidence intervals of them from order statistics. Pure.
//!
//! The number of values below the quantile p of any continuous distribution is binomial (n, p), so that the interval
//! between two order statistics covers the quantile with a probability that follows from n alone (David, Nagaraja, "Order
//! Statistics", 7.1). Values that never came are above every limit: they are ranked last, and stay "never".

use serde::{Deserialize, Serialize};

/// Samples of which a median says something: with five, the extremes cover it with 94 %.
pub const MEDIAN_NEEDS: usize = 5;
/// One in twenty is above the 95th percentile.
pub const P95_NEEDS: usize = 20;
/// One in a hundred is above the 99th percentile.
pub const P99_NEEDS: usize = 100;
/// Coverage of the intervals.
pub const CONFIDENCE: f64 = 0.95;

/// A latency in ns; `None`: never within the limit.
pub type Value = Option<u64>;

/// A quantile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantile {
    /// the value of nearest rank
    pub value: Value,
    /// an interval that covers the true one with 95 % at least; `None`: the sample is too small for one
    pub interval: Option<(Value, Value)>,
}

/// Sorted, what never came last.
pub fn sorted(values: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut all: Vec<Value> = values.into_iter().collect();
    all.sort_by_key(|v| v.unwrap_or(u64::MAX));
    all
}

/// The quantile `p` of sorted values; `None` where there are fewer than `needs`.
pub fn quantile(sorted: &[Value], p: f64, needs: usize) -> Option<Quantile> {
    if sorted.is_empty() || sorted.len() < needs {
        return None;
    }
    let n = sorted.len();
    // n is far below 2^52, so the product is exact enough for a rank.
    let rank = ((p * n as f64).ceil() as usize).clamp(1, n);
    let interval = ranks(n, p).map(|(low, high)| (sorted[low - 1], sorted[high - 1]));
    Some(Quantile { value: sorted[rank - 1], interval })
}

/// Ranks (from 1) between which the quantile p lies with [`CONFIDENCE`], by equal tails; `None` where n is too small.
fn ranks(n: usize, p: f64) -> Option<(usize, usize)> {
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let cumulated = cumulated(n, p);
    // P(fewer than `low` values below) <= tail, P(`high` or more) <= tail.
    let low = (1..=n).rev().find(|low| cumulated[low - 1] <= tail)?;
    let high = (1..=n).find(|high| 1.0 - cumulated[high - 1] <= tail)?;
    Some((low, high))
}

/// P(X <= k) for k = 0..n, X binomial (n, p).
fn cumulated(n: usize, p: f64) -> Vec<f64> {
    let mut log = n as f64 * (1.0 - p).ln();
    let mut sum = 0.0;
    (0..=n)
        .map(|k| {
            sum += log.exp();
            log += ((n - k) as f64).ln() - ((k + 1) as f64).ln() + p.ln() - (1.0 - p).ln();
            sum
        })
        .collect()
}

/// Interval of a share of `n` by Clopper and Pearson (1934), 95 %.
pub fn share(hits: usize, n: usize) -> Option<(f64, f64)> {
    (n > 0).then(|| {
        let tail = (1.0 - CONFIDENCE) / 2.0;
        let at_most = |p: f64| cumulated(n, p).get(hits).copied().unwrap_or(1.0);
        let below = |p: f64| if hits == 0 { 0.0 } else { cumulated(n, p)[hits - 1] };
        let low = if hits == 0 { 0.0 } else { root(|p| 1.0 - below(p) < tail) };
        let high = if hits == n { 1.0 } else { root(|p| at_most(p) > tail) };
        (low, high)
    })
}

/// Where a condition that holds for small p ends.
fn root(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if holds(middle) { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: u64) -> Vec<Value> {
        sorted((1..=n).rev().map(Some))
    }

    #[test]
    fn intervals_of_the_median_are_those_of_the_tables() {
        // Conover, "Practical Nonparametric Statistics": ranks for the median, 95 %.
        for (n, expected) in
            [(6, (1, 6)), (9, (2, 8)), (10, (2, 9)), (15, (4, 12)), (20, (6, 15)), (30, (10, 21))]
        {
            assert_eq!(ranks(n, 0.5), Some(expected), "n = {n}");
        }
        assert_eq!(ranks(5, 0.5), None);
    }

    #[test]
    fn quantiles_need_their_samples() {
        assert_eq!(quantile(&values(19), 0.95, P95_NEEDS), None);
        assert_eq!(quantile(&values(20), 0.95, P95_NEEDS).map(|q| q.value), Some(Some(19)));
        assert_eq!(quantile(&values(99), 0.99, P99_NEEDS), None);
        assert_eq!(quantile(&values(100), 0.99, P99_NEEDS).map(|q| q.value), Some(Some(99)));
        assert_eq!(quantile(&[], 0.5, 0), None);
    }

    #[test]
    fn the_95th_percentile_of_a_small_sample_has_no_interval() {
        assert_eq!(quantile(&values(20), 0.95, P95_NEEDS).and_then(|q| q.interval), None);
        assert_eq!(ranks(72, 0.95), Some((64, 72))); // 0.95^72 < 0.025
        assert_eq!(ranks(71, 0.95), None);
    }

    #[test]
    fn what_never_came_is_above_everything() {
        let sorted = sorted([Some(3), None, Some(1), None, None, Some(2)]);
        assert_eq!(sorted, [Some(1), Some(2), Some(3), None, None, None]);
        let median = quantile(&sorted, 0.5, MEDIAN_NEEDS).unwrap();
        assert_eq!((median.value, median.interval), (Some(3), Some((Some(1), None))));
    }

    #[test]
    fn shares_have_the_intervals_of_clopper_and_pearson() {
        let near = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() < 5e-4 && (b - d).abs() < 5e-4;
        assert!(near(share(0, 10).unwrap(), (0.0, 0.3085)));
        assert!(near(share(10, 10).unwrap(), (0.6915, 1.0)));
        assert!(near(share(3, 10).unwrap(), (0.0667, 0.6525)));
        assert_eq!(share(0, 0), None);
    }
}
