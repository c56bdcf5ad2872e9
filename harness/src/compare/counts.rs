//! How often each value came on either side, and what that says of a difference.

use super::comparison::Seen;
use super::stats;
use std::collections::BTreeMap;

/// Value -> repeats in A, repeats in B.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Counts(BTreeMap<String, (u32, u32)>);

/// What the counts say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Says {
    /// the same on both sides, and as often; or a side has nothing
    Nothing,
    /// no value came on both sides, and they stay the same: the difference shows in every repeat
    EveryRepeat,
    /// some values came on both sides, or on neither side a value stays; p of Fisher's exact test
    Some(f64),
}

impl Counts {
    pub(super) fn of<'a>(a: impl IntoIterator<Item = &'a str>, b: impl IntoIterator<Item = &'a str>) -> Self {
        let mut counts = Self::default();
        a.into_iter().for_each(|value| counts.0.entry(value.into()).or_default().0 += 1);
        b.into_iter().for_each(|value| counts.0.entry(value.into()).or_default().1 += 1);
        counts
    }

    pub(super) fn says(&self) -> Says {
        let (in_a, in_b) = (self.0.values().any(|n| n.0 > 0), self.0.values().any(|n| n.1 > 0));
        if !in_a || !in_b || self.0.len() < 2 {
            return Says::Nothing;
        }
        let apart = self.0.values().all(|(a, b)| *a == 0 || *b == 0);
        if apart && (self.0.len() == 2 || self.stays(|n| n.0) || self.stays(|n| n.1)) {
            return Says::EveryRepeat;
        }
        let table: Vec<(u32, u32)> = self.0.values().copied().collect();
        let (all_a, all_b): (u32, u32) = table.iter().fold((0, 0), |(x, y), (a, b)| (x + a, y + b));
        if table.iter().all(|(a, b)| a * all_b == b * all_a) {
            return Says::Nothing;
        }
        Says::Some(stats::fisher(&table))
    }

    /// Whether a side had one value again and again. What is new every time differs from itself as well.
    fn stays(&self, of: impl Fn(&(u32, u32)) -> u32) -> bool {
        let mut seen = self.0.values().map(of).filter(|n| *n > 0);
        seen.next().is_some_and(|n| n > 1) && seen.next().is_none()
    }

    /// Share of the repeats of A and of B whose value is one of these.
    pub(super) fn shares(&self, is: impl Fn(&str) -> bool) -> (f64, f64) {
        let sum = |of: &dyn Fn(&(u32, u32)) -> u32, all: bool| {
            self.0.iter().filter(|(v, _)| all || is(v)).map(|(_, n)| f64::from(of(n))).sum::<f64>()
        };
        let share = |of: &dyn Fn(&(u32, u32)) -> u32| sum(of, false) / sum(of, true).max(1.0);
        (share(&|n| n.0), share(&|n| n.1))
    }

    /// Values of both sides, each with the most frequent first.
    pub(super) fn seen(&self) -> (Vec<Seen>, Vec<Seen>) {
        let side = |of: &dyn Fn(&(u32, u32)) -> u32| {
            let all = self.0.iter().map(|(value, n)| Seen { value: value.clone(), repeats: of(n) });
            let mut seen: Vec<Seen> = all.filter(|s| s.repeats > 0).collect();
            seen.sort_by_key(|s| std::cmp::Reverse(s.repeats));
            seen
        };
        (side(&|n| n.0), side(&|n| n.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_say() {
        let says = |a: &[&str], b: &[&str]| Counts::of(a.iter().copied(), b.iter().copied()).says();
        assert_eq!(says(&["x", "x"], &["x"]), Says::Nothing);
        assert_eq!(says(&["x"], &["y"]), Says::EveryRepeat);
        assert_eq!(says(&["x", "z"], &["y", "y"]), Says::EveryRepeat);
        assert_eq!(says(&["x"], &[]), Says::Nothing);
        assert_eq!(says(&["x", "y", "x", "y"], &["y", "x"]), Says::Nothing);
        let Says::Some(p) = says(&["x", "x", "x"], &["x", "y", "x"]) else { panic!() };
        assert!((p - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_value_that_is_new_every_time_is_no_difference() {
        let says = |a: &[&str], b: &[&str]| Counts::of(a.iter().copied(), b.iter().copied()).says();
        let near =
            |says: Says, p: f64| assert!(matches!(says, Says::Some(q) if (p - q).abs() < 1e-9), "{says:?}");
        near(says(&["1", "2", "3"], &["4", "5", "6"]), 1.0);
        near(says(&["1", "2"], &["3"]), 1.0);
        // Of C(8,4) = 70: two of four pairs on one side, in 6 ways.
        near(says(&["u", "u", "v", "v"], &["x", "x", "y", "y"]), 6.0 / 70.0);
        assert_eq!(says(&["1", "1"], &["2", "3"]), Says::EveryRepeat);
        assert_eq!(says(&["1", "2"], &["3", "3"]), Says::EveryRepeat);
    }

    #[test]
    fn shares_and_order() {
        let counts = Counts::of(["x", "y", "y", "y"], ["x", "x"]);
        assert_eq!(counts.shares(|v| v == "y"), (0.75, 0.0));
        let (a, b) = counts.seen();
        let seen = |value: &str, repeats| Seen { value: value.into(), repeats };
        assert_eq!((a, b), (vec![seen("y", 3), seen("x", 1)], vec![seen("x", 2)]));
    }
}
