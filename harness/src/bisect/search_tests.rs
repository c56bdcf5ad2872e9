//! The search on simulated histories, with a kernel that is a coin: the planned confidence, and what stops it.

use super::*;
use std::collections::BTreeMap;

/// Revisions "0" (good end) to "N" (bad end), halved as git does.
struct Line {
    good: usize,
    bad: usize,
    skipped: Vec<usize>,
}

impl Line {
    fn new(commits: usize) -> Self {
        Self { good: 0, bad: commits, skipped: Vec::new() }
    }
}

impl History for Line {
    fn next(&mut self) -> Result<Next, String> {
        let middle = (self.good + self.bad) / 2;
        let open = (self.good + 1..self.bad).filter(|n| !self.skipped.contains(n));
        match open.min_by_key(|n| n.abs_diff(middle)) {
            Some(next) => Ok(Next::Judge(next.to_string())),
            None if self.bad - self.good == 1 => Ok(Next::Found(self.bad.to_string())),
            None => Ok(Next::OneOf((self.good + 1..=self.bad).map(|n| n.to_string()).collect())),
        }
    }

    fn mark(&mut self, revision: &Revision, mark: Mark) -> Result<(), String> {
        let at = revision.parse().unwrap();
        match mark {
            Mark::Good => self.good = at,
            Mark::Bad => self.bad = at,
            Mark::Skip => self.skipped.push(at),
        }
        Ok(())
    }

    fn steps(&self) -> u32 {
        (self.bad - self.good).ilog2()
    }
}

/// A small generator (SplitMix64), so that a seed names a simulation.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Fails at `rate` from revision `first` on, and misses at `miss` everywhere.
struct Coin {
    first: usize,
    rate: f64,
    noise: f64,
    miss: f64,
    unbuildable: Vec<usize>,
    /// fail by something else
    others: Vec<usize>,
    at: usize,
    random: Random,
    runs: u32,
    narrowed: Vec<String>,
}

impl Coin {
    fn new(first: usize, rate: f64, seed: u64) -> Self {
        let random = Random(seed);
        Self {
            first,
            rate,
            noise: 0.0,
            miss: 0.0,
            unbuildable: vec![],
            others: vec![],
            at: 0,
            random,
            runs: 0,
            narrowed: vec![],
        }
    }
}

impl Trials for Coin {
    fn prepare(&mut self, revision: &Revision) -> Result<Option<String>, Stop> {
        self.at = revision.parse().unwrap();
        Ok(self.unbuildable.contains(&self.at).then(|| "does not compile".into()))
    }

    fn run(&mut self, done: u32, most: u32, take: &mut dyn FnMut(Run) -> bool) -> Result<(), Stop> {
        for n in done..done + most {
            self.runs += 1;
            let rate = if self.at >= self.first { self.rate } else { self.noise };
            let outcome = match () {
                () if self.random.unit() < self.miss => Outcome::Missed { reason: "no host".into() },
                () if self.random.unit() < rate => {
                    let title = if self.others.contains(&self.at) { "another" } else { "wrong" };
                    Outcome::Failed { titles: vec![title.into()], scenarios: vec!["a/b".into()] }
                }
                () => Outcome::Clean,
            };
            if take(Run { template: n % 4, outcome }) {
                break;
            }
        }
        Ok(())
    }

    fn narrow(&mut self, scenarios: &[String]) {
        self.narrowed = scenarios.to_vec();
    }
}

#[derive(Default)]
struct Memory {
    runs: BTreeMap<Revision, Vec<Run>>,
    steps: usize,
}

impl Journal for Memory {
    fn kept(&self, revision: &Revision) -> Vec<Run> {
        self.runs.get(revision).cloned().unwrap_or_default()
    }

    fn run(&mut self, revision: &Revision, run: &Run) -> Result<(), String> {
        self.runs.entry(revision.clone()).or_default().push(run.clone());
        Ok(())
    }

    fn step(&mut self, _: &Step) -> Result<(), String> {
        self.steps += 1;
        Ok(())
    }
}

const WISH: Wish = Wish { confidence: 0.99, least_rate: 0.1 };

fn bisect(commits: usize, coin: &mut Coin, memory: &mut Memory) -> Result<Answer, Stop> {
    let ends = (&"0".to_string(), &commits.to_string());
    search(ends, WISH, &mut Line::new(commits), coin, memory)
}

#[test]
fn a_regression_that_always_shows_is_found_with_few_runs() {
    for first in 1..=16 {
        let mut coin = Coin::new(first, 1.0, 1);
        let answer = bisect(16, &mut coin, &mut Memory::default()).unwrap();
        assert_eq!(answer.first_bad, [first.to_string()]);
        assert!(answer.confidence >= 0.99, "{answer:?}");
        // Eight of the bad end, three or four for a good one, two for a bad one.
        assert!(coin.runs <= 8 + 5 * 4, "{}", coin.runs);
        assert_eq!(coin.narrowed, ["a/b"]);
    }
}

const SIMULATIONS: u64 = 300;

/// Wrong answers among many simulations; and the runs of one on average.
fn wrong(rate: f64, noise: f64, miss: f64) -> (u32, f64) {
    let (mut wrong, mut runs) = (0, 0);
    for seed in 0..SIMULATIONS {
        let first = 1 + seed as usize % 16;
        let mut coin = Coin::new(first, rate, seed.wrapping_mul(0xA24B_AED4_963E_E407));
        (coin.noise, coin.miss) = (noise, miss);
        match bisect(16, &mut coin, &mut Memory::default()) {
            Ok(answer) if answer.first_bad == [first.to_string()] => {}
            _ => wrong += 1,
        }
        runs += coin.runs;
    }
    (wrong, f64::from(runs) / SIMULATIONS as f64)
}

#[test]
fn one_in_eight_is_found_at_the_planned_confidence() {
    // Binomial(300, 0.01) is above 10 with probability 0.0002.
    let (missed, runs) = wrong(0.125, 0.0, 0.0);
    assert!(missed <= 10, "{missed} of {SIMULATIONS}");
    assert!((200.0..400.0).contains(&runs), "{runs} runs on average");
    assert!(wrong(0.125, 0.001, 0.1).0 <= 10);
    assert!(wrong(0.5, 0.001, 0.0).0 <= 10);
    assert!(wrong(1.0, 0.001, 0.3).0 <= 10);
}

#[test]
fn revisions_that_cannot_be_built_are_skipped_and_the_rest_is_told() {
    let mut coin = Coin::new(9, 1.0, 1);
    coin.unbuildable = vec![8];
    let answer = bisect(16, &mut coin, &mut Memory::default()).unwrap();
    assert_eq!(answer.first_bad, ["8", "9"]);
    coin.unbuildable = vec![4, 12];
    assert_eq!(bisect(16, &mut coin, &mut Memory::default()).unwrap().first_bad, ["9"]);
}

#[test]
fn ends_that_are_not_what_they_are_said_to_be_are_refused() {
    let stop = |coin: &mut Coin| bisect(16, coin, &mut Memory::default()).unwrap_err().to_string();
    let text = stop(&mut Coin::new(17, 1.0, 1));
    assert!(text.starts_with("the bad revision 16 is not bad: 0 of "), "{text}");
    let text = stop(&mut Coin::new(0, 1.0, 1));
    assert!(text.starts_with("the good revision 0 is not good: 2 of 2 runs failed: wrong"), "{text}");
    let mut coin = Coin::new(3, 1.0, 1);
    coin.unbuildable = vec![16];
    assert_eq!(stop(&mut coin), "the bad revision 16 cannot be judged: does not compile");
    coin.unbuildable = vec![0];
    assert_eq!(stop(&mut coin), "the good revision 0 cannot be judged: does not compile");
}

#[test]
fn a_host_that_always_fails_is_never_bad() {
    let mut coin = Coin::new(3, 1.0, 1);
    coin.miss = 1.0;
    let text = bisect(16, &mut coin, &mut Memory::default()).unwrap_err().to_string();
    assert_eq!(text, "the bad revision 16 cannot be judged: 7 runs say nothing of it, the last: no host");
}

#[test]
fn what_fails_by_something_else_is_not_the_regression() {
    // Everything fails from 5 on, by what the bad end fails by only from 9 on.
    let mut coin = Coin::new(5, 1.0, 1);
    coin.others = vec![5, 6, 7, 8];
    let answer = bisect(16, &mut coin, &mut Memory::default()).unwrap();
    assert_eq!(answer.first_bad, ["5", "6", "7", "8", "9"]);
    let eight = answer.steps.iter().find(|s| s.revision == "8").unwrap();
    assert_eq!((eight.mark, eight.missed, &eight.titles), (Mark::Skip, 7, &vec![]));
    assert_eq!(eight.others, ["another"]);
    assert_eq!(eight.why, "7 runs say nothing of it, the last: it fails otherwise: another");
}

#[test]
fn a_search_that_was_ended_goes_on_where_it_was() {
    let mut memory = Memory::default();
    let whole = bisect(16, &mut Coin::new(5, 0.125, 7), &mut memory).unwrap();
    // All runs are kept: nothing runs again, whatever it would come to.
    let mut never = Coin::new(0, 0.0, 1);
    never.unbuildable = (0..17).collect();
    let again = bisect(16, &mut never, &mut memory).unwrap();
    assert_eq!((again, never.runs), (whole, 0));
}
