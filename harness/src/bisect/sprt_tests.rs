//! The test's error rates, computed exactly by following all sequences of runs; and single values by hand.

use super::*;
use proptest::prelude::*;

/// Where sequences of runs end, for a true rate: exact but for `open`, which is what is left when they are cut.
#[derive(Debug, Default)]
struct Ends {
    bad: f64,
    good: f64,
    open: f64,
    runs: f64,
}

/// Probability of every (failed, clean) that is not decided, run by run.
fn follow(test: &Test, rate: f64) -> Ends {
    let mut ends = Ends::default();
    let mut now = vec![1.0];
    for n in 1..100_000u32 {
        let mut next = vec![0.0; now.len() + 1];
        for (failed, p) in now.iter().enumerate() {
            next[failed] += p * (1.0 - rate);
            next[failed + 1] += p * rate;
        }
        for (failed, p) in (0..).zip(next.iter_mut()).filter(|(_, p)| **p > 0.0) {
            let mark = test.decide(Tally { failed, clean: n - failed });
            let Some(mark) = mark else { continue };
            ends.runs += f64::from(n) * *p;
            if mark == Mark::Bad {
                ends.bad += *p;
            } else {
                ends.good += *p;
            }
            *p = 0.0;
        }
        ends.open = next.iter().sum();
        if ends.open < 1e-9 {
            break;
        }
        // Failures beyond the last open state are over for good.
        while next.last().is_some_and(|p| *p == 0.0) {
            next.pop();
        }
        now = next;
    }
    ends
}

fn known(noise: f64, rate: f64, error: f64) -> Test {
    Test { noise, rate: Rate::Known(rate), error }
}

#[test]
fn by_hand() {
    let test = known(0.1, 0.5, 0.01);
    let ratio = test.log_ratio(Tally { failed: 2, clean: 3 });
    let hand = (0.5f64.powi(5) / (0.1f64.powi(2) * 0.9f64.powi(3))).ln();
    assert!((ratio - hand).abs() < 1e-12);
    // (0.5/0.9)^n <= 0.01 for the first time at n = 8.
    assert_eq!(test.clean_needed(Tally::default()), 8);
    assert_eq!(test.decide(Tally { failed: 0, clean: 7 }), None);
    assert_eq!(test.decide(Tally { failed: 0, clean: 8 }), Some(Mark::Good));
    // 5^n >= 100 for the first time at n = 3.
    assert_eq!(test.decide(Tally { failed: 2, clean: 0 }), None);
    assert_eq!(test.decide(Tally { failed: 3, clean: 0 }), Some(Mark::Bad));
    assert_eq!(test.clean_needed(Tally { failed: 3, clean: 0 }), 0);
}

#[test]
fn a_rate_of_one_is_no_special_case() {
    let test = known(0.001, 1.0, 0.001);
    assert_eq!(test.decide(Tally { failed: 0, clean: 1 }), Some(Mark::Good));
    assert_eq!(test.decide(Tally { failed: 1, clean: 0 }), Some(Mark::Bad));
}

#[test]
fn a_seen_rate_by_hand() {
    // One failure in one run: Beta(3/2, 1/2). A clean run: (1/2)/2 = 1/4; then (3/2)/3 = 1/2 of that.
    let test = Test { noise: 1e-9, rate: Rate::Seen(Tally { failed: 1, clean: 0 }), error: 0.01 };
    let ratio = |clean| test.log_ratio(Tally { failed: 0, clean }).exp();
    assert!((ratio(1) - 0.25).abs() < 1e-6 && (ratio(2) - 0.125).abs() < 1e-6);
}

#[test]
fn the_gamma_function_by_factorials_and_halves() {
    let factorial = |n: u32| (1..=n).map(|i| f64::from(i).ln()).sum::<f64>();
    for n in [0, 1, 5, 20, 100] {
        assert!((ln_gamma(f64::from(n) + 1.0) - factorial(n)).abs() < 1e-10, "{n}");
    }
    assert!((ln_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-12);
}

#[test]
fn error_rates_hold_exactly() {
    for (noise, rate) in [(0.001, 0.1), (0.001, 0.125), (0.001, 0.9), (0.01, 0.1), (0.05, 0.2)] {
        for error in [0.05, 0.01, 0.002] {
            let test = known(noise, rate, error);
            let (good, bad) = (follow(&test, noise), follow(&test, rate));
            assert!(good.open < 1e-8 && bad.open < 1e-8, "{test:?}: {good:?} {bad:?}");
            assert!(good.bad <= error, "{test:?}: {good:?}");
            assert!(bad.good <= error, "{test:?}: {bad:?}");
            assert!((good.bad + good.good - 1.0).abs() < 1e-8);
            // Better than good is no worse; worse than bad is found no less.
            assert!(follow(&test, noise / 2.0).bad <= good.bad);
            assert!(follow(&test, (rate * 1.05).min(1.0)).good <= bad.good);
        }
    }
}

#[test]
fn errors_of_a_seen_rate_hold_on_average() {
    // The bad end failed 8 of 64 times: over all rates by what that leaves open, a bad revision passes for good seldom.
    let end = Tally { failed: 8, clean: 56 };
    let test = Test { noise: 0.001, rate: Rate::Seen(end), error: 0.002 };
    assert!(follow(&test, 0.001).bad <= 0.002);
    let density = |p: f64| p.powf(7.5) * (1.0 - p).powf(55.5);
    let steps: Vec<f64> = (1..80).map(|i| f64::from(i) / 160.0).collect();
    let (mut weight, mut missed) = (0.0, 0.0);
    for p in &steps {
        weight += density(*p);
        missed += density(*p) * follow(&test, *p).good;
    }
    assert!(missed / weight <= 0.002, "{}", missed / weight);
    assert_eq!(test.clean_needed(Tally::default()), 66);
}

#[test]
fn what_a_tenth_needs() {
    // ln(0.002) / ln(0.9 / 0.999) = 59.6 clean runs, and two failures in good time.
    let test = known(0.001, 0.1, 0.002);
    assert_eq!(test.clean_needed(Tally::default()), 60);
    assert_eq!(test.decide(Tally { failed: 1, clean: 0 }), None);
    assert_eq!(test.decide(Tally { failed: 2, clean: 20 }), Some(Mark::Bad));
    let (good, bad) = (follow(&test, 0.001), follow(&test, 0.1));
    assert!((60.0..63.0).contains(&good.runs), "{good:?}");
    assert!((15.0..25.0).contains(&bad.runs), "{bad:?}");
}

proptest! {
    #[test]
    fn a_failure_never_speaks_for_good(failed in 0u32..20, clean in 0u32..200, seen in any::<bool>()) {
        let rate = if seen { Rate::Seen(Tally { failed: 5, clean: 20 }) } else { Rate::Known(0.2) };
        let test = Test { noise: 0.001, rate, error: 0.01 };
        let now = test.log_ratio(Tally { failed, clean });
        let (worse, better) = (Tally { failed: failed + 1, clean }, Tally { failed, clean: clean + 1 });
        prop_assert!(test.log_ratio(worse) > now && test.log_ratio(better) < now);
    }

    #[test]
    fn the_risk_of_a_decided_revision_is_at_most_its_error(failed in 0u32..6, clean in 0u32..200) {
        let test = known(0.001, 0.1, 0.01);
        let seen = Tally { failed, clean };
        prop_assert!(test.decide(seen).is_none() || test.risk(seen) <= test.error);
    }
}
