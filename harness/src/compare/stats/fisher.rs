//! Fisher's exact test of two rows of counts (R. A. Fisher 1922; for more than two columns G. H. Freeman and J. H. Halton 1951).

/// Tables that are looked at, at most: beyond, the rarest columns are counted as one.
const MOST_TABLES: usize = 1_000_000;

/// The chance of a table with these sums that is as unlikely as this one or more: each item of `counts` is how often
/// one value came on the one side and on the other. 1 where a side has none.
pub fn fisher(counts: &[(u32, u32)]) -> f64 {
    let mut columns: Vec<(u32, u32)> = counts.iter().copied().filter(|(a, b)| a + b > 0).collect();
    columns.sort_by_key(|(a, b)| std::cmp::Reverse(a + b));
    while tables(&columns) > MOST_TABLES {
        let (last, before) = (columns.pop(), columns.pop());
        let (Some(last), Some(before)) = (last, before) else { break };
        columns.push((last.0 + before.0, last.1 + before.1));
    }
    let first: u32 = columns.iter().map(|(a, _)| a).sum();
    let all: u32 = columns.iter().map(|(a, b)| a + b).sum();
    if first == 0 || first == all {
        return 1.0;
    }
    let logs = log_factorials(all);
    let whole = choose(&logs, all, first);
    let seen: f64 = columns.iter().map(|(a, b)| choose(&logs, a + b, *a)).sum::<f64>() - whole;
    let sums: Vec<u32> = columns.iter().map(|(a, b)| a + b).collect();
    // Tables that are equally likely differ by rounding only.
    let limit = seen + 1e-7;
    sum(&logs, &sums, first, -whole, limit).min(1.0)
}

fn tables(columns: &[(u32, u32)]) -> usize {
    columns.iter().fold(1, |n, (a, b)| n.saturating_mul(*a as usize + *b as usize + 1))
}

/// Sum over every way to take `left` out of the columns, of those whose logarithm is at most `limit`.
fn sum(logs: &[f64], columns: &[u32], left: u32, so_far: f64, limit: f64) -> f64 {
    let Some((column, rest)) = columns.split_first() else {
        return if left == 0 && so_far <= limit { so_far.exp() } else { 0.0 };
    };
    let room: u32 = rest.iter().sum();
    let taken = left.saturating_sub(room)..=left.min(*column);
    taken.map(|k| sum(logs, rest, left - k, so_far + choose(logs, *column, k), limit)).sum()
}

fn log_factorials(n: u32) -> Vec<f64> {
    let mut logs = vec![0.0];
    for k in 1..=n {
        logs.push(logs[k as usize - 1] + f64::from(k).ln());
    }
    logs
}

fn choose(logs: &[f64], n: u32, k: u32) -> f64 {
    logs[n as usize] - logs[k as usize] - logs[(n - k) as usize]
}

#[cfg(test)]
mod tests {
    use super::fisher;

    fn near(counts: &[(u32, u32)], p: f64) {
        assert!((fisher(counts) - p).abs() < 1e-9, "{counts:?}: {}", fisher(counts));
    }

    /// By hand, from the binomial coefficients.
    #[test]
    fn by_hand() {
        near(&[(3, 0), (0, 3)], 2.0 / 20.0); // 2 of C(6,3) tables
        near(&[(5, 0), (0, 5)], 2.0 / 252.0);
        near(&[(5, 2), (0, 3)], 42.0 / 252.0); // 5 and 0 of 7 and 3: C(7,5) = 21 on either side, of C(10,5)
        near(&[(1, 3), (3, 1)], 34.0 / 70.0); // the lady who tastes tea
        near(&[(2, 2), (2, 2)], 1.0);
        near(&[(4, 4)], 1.0);
        near(&[(4, 0)], 1.0);
        near(&[], 1.0);
    }

    /// Three values, two each, of C(6,3) = 20: {2,1,0} in 6 orders has C(2,2)*C(2,1) = 2 each, {1,1,1} has 8.
    #[test]
    fn three_values_by_hand() {
        near(&[(2, 0), (1, 1), (0, 2)], 12.0 / 20.0);
        near(&[(1, 1), (1, 1), (1, 1)], 1.0);
        near(&[(2, 0), (0, 1), (0, 1)], 2.0 / 6.0); // C(4,2) = 6: both of the pair, or none of it
    }

    /// Values that never come twice say nothing, and are counted in bounded time.
    #[test]
    fn every_value_once() {
        let counts: Vec<(u32, u32)> = (0..60).map(|i| if i % 2 == 0 { (1, 0) } else { (0, 1) }).collect();
        assert!(fisher(&counts) > 0.5);
    }
}
