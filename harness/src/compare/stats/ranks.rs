//! Wilcoxon's rank sum test, which is Mann and Whitney's U (1945, 1947): whether one side's values tend to be greater.
//! With mid-ranks for ties, by the exact permutation distribution; by the normal approximation for many values only.

/// Beyond so many values the exact distribution is not needed.
const EXACT: usize = 80;

/// Result of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranks {
    /// two-sided
    pub p: f64,
    /// chance that a value of B is greater than one of A, ties counted half (Vargha and Delaney's A, 2000): 0.5 for none
    pub effect: f64,
}

/// Least p that `a` and `b` values can ever give.
pub fn least_p(a: usize, b: usize) -> f64 {
    #[allow(clippy::cast_precision_loss)] // numbers of repeats
    let ways = (1..=a).map(|k| (b + k) as f64 / k as f64).product::<f64>();
    (2.0 / ways).min(1.0)
}

/// Tests; `None` where a side has no values.
#[allow(clippy::cast_precision_loss)] // numbers of repeats
pub fn rank_test(a: &[f64], b: &[f64]) -> Option<Ranks> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let greater = |x: &f64| {
        a.iter()
            .map(|y| {
                if x > y {
                    1.0
                } else if x == y {
                    0.5
                } else {
                    0.0
                }
            })
            .sum::<f64>()
    };
    let effect = b.iter().map(greater).sum::<f64>() / (a.len() * b.len()) as f64;
    let doubled = doubled_ranks(a, b);
    let sum: usize = doubled[a.len()..].iter().sum();
    let p =
        if doubled.len() <= EXACT { exact(&doubled, b.len(), sum) } else { normal(&doubled, b.len(), sum) };
    Some(Ranks { p, effect })
}

/// Twice the mid-rank of each value, those of `a` first.
fn doubled_ranks(a: &[f64], b: &[f64]) -> Vec<usize> {
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let rank = |x: &f64| {
        let (less, same) = all.iter().fold((0, 0), |(less, same), y| match y.total_cmp(x) {
            std::cmp::Ordering::Less => (less + 1, same),
            std::cmp::Ordering::Equal => (less, same + 1),
            std::cmp::Ordering::Greater => (less, same),
        });
        2 * less + same + 1
    };
    all.iter().map(rank).collect()
}

/// Share of all choices of `take` ranks whose sum is as far from the mean as `sum`, or farther.
fn exact(ranks: &[usize], take: usize, sum: usize) -> f64 {
    let total: usize = ranks.iter().sum();
    // ways[k][s]: choices of k ranks with the sum s
    let mut ways = vec![vec![0.0_f64; total + 1]; take + 1];
    ways[0][0] = 1.0;
    for rank in ranks {
        for k in (0..take).rev() {
            for s in (0..=total - rank).rev() {
                if ways[k][s] > 0.0 {
                    ways[k + 1][s + rank] += ways[k][s];
                }
            }
        }
    }
    // distance from the mean, times the number of ranks: whole numbers
    let far = |s: usize| (s * ranks.len()).abs_diff(total * take);
    let all: f64 = ways[take].iter().sum();
    let as_far: f64 =
        ways[take].iter().enumerate().filter(|(s, _)| far(*s) >= far(sum)).map(|(_, n)| n).sum();
    (as_far / all).min(1.0)
}

/// With the permutation variance, which counts ties right, and a correction for continuity.
#[allow(clippy::cast_precision_loss)] // numbers of repeats
fn normal(ranks: &[usize], take: usize, sum: usize) -> f64 {
    let (n, m) = (ranks.len() as f64, take as f64);
    let mean = ranks.iter().sum::<usize>() as f64 / n;
    let spread: f64 = ranks.iter().map(|r| (*r as f64 - mean).powi(2)).sum();
    let variance = m * (n - m) * spread / (n * (n - 1.0));
    if variance <= 0.0 {
        return 1.0;
    }
    let z = ((sum as f64 - m * mean).abs() - 1.0).max(0.0) / variance.sqrt();
    two_sided(z)
}

/// Both tails of the normal distribution beyond `z` (Abramowitz and Stegun 7.1.26, error below 1.5e-7).
fn two_sided(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let polynomial = series.iter().rev().fold(0.0, |sum, c| (sum + c) * t);
    (polynomial * (-x * x).exp()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(a: &[f64], b: &[f64]) -> f64 {
        rank_test(a, b).unwrap().p
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    /// By hand: 3 of 6 ranks can be chosen in 20 ways.
    #[test]
    fn by_hand() {
        near(p(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), 2.0 / 20.0);
        near(p(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]), 2.0 / 20.0);
        near(p(&[1.0, 2.0, 4.0], &[3.0, 5.0, 6.0]), 4.0 / 20.0);
        near(p(&[1.0, 4.0], &[2.0, 3.0]), 1.0);
        near(p(&[1.0], &[2.0]), 1.0);
        near(p(&[7.0; 4], &[7.0; 4]), 1.0);
    }

    /// Ranks 1, 2.5, 2.5, 4 in pairs: sums 3.5 3.5 5 5 6.5 6.5; seen 3.5, and four of six are as far from 5.
    #[test]
    fn ties_by_hand() {
        near(p(&[2.0, 3.0], &[1.0, 2.0]), 4.0 / 6.0);
        near(rank_test(&[2.0, 3.0], &[1.0, 2.0]).unwrap().effect, 0.125);
    }

    #[test]
    fn effect_and_least_p() {
        near(rank_test(&[1.0, 2.0], &[3.0, 4.0]).unwrap().effect, 1.0);
        near(rank_test(&[1.0, 2.0], &[1.0, 2.0]).unwrap().effect, 0.5);
        near(least_p(3, 3), 0.1);
        near(least_p(5, 5), 2.0 / 252.0);
        near(least_p(1, 1), 1.0);
        assert_eq!(rank_test(&[], &[1.0]), None);
    }

    /// For many values the approximation is near the exact distribution.
    #[test]
    fn the_approximation_agrees() {
        let a: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 40)).collect();
        let b: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 40) + 8.0).collect();
        let ranks = doubled_ranks(&a, &b);
        let sum = ranks[40..].iter().sum();
        let (exact, normal) = (exact(&ranks, 40, sum), normal(&ranks, 40, sum));
        assert!(exact < 0.01 && (exact - normal).abs() < 5e-4, "{exact} {normal}");
        assert!((two_sided(1.959_964) - 0.05).abs() < 1e-6);
    }
}
