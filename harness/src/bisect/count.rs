//! Counts the runs of one revision. Pure.
//!
//! Once the bad end is known, only what fails as it did is the regression: between the ends other things can be broken,
//! and come and go by themselves.

use super::search::{Outcome, Run};
use super::tally::ByTemplate;
use crate::verdict::stable;

/// Runs that say nothing are made again, up to so many of one revision and as many as were judged.
const MISSED: u32 = 6;

/// Runs of one revision.
#[derive(Default)]
pub(super) struct Count {
    pub(super) runs: ByTemplate,
    pub(super) missed: u32,
    pub(super) last_miss: String,
    pub(super) titles: Vec<String>,
    pub(super) others: Vec<String>,
    pub(super) scenarios: Vec<String>,
    pub(super) unfit: Option<String>,
    /// titles that the bad end fails by, without numbers; none: any failure counts
    known: Vec<String>,
}

impl Count {
    pub(super) fn of(known: &[String]) -> Self {
        Self { known: known.to_vec(), ..Self::default() }
    }

    pub(super) fn add(&mut self, run: Run) {
        match run.outcome {
            Outcome::Clean => self.runs.add(run.template, false),
            Outcome::Failed { titles, scenarios } => {
                let is_known = |t: &String| self.known.is_empty() || self.known.contains(&stable(t));
                let (known, others): (Vec<String>, Vec<String>) = titles.into_iter().partition(is_known);
                if known.is_empty() {
                    self.missed += 1;
                    self.last_miss = format!("it fails otherwise: {}", others.join("; "));
                } else {
                    self.runs.add(run.template, true);
                    scenarios.into_iter().for_each(|s| add_new(&mut self.scenarios, s));
                }
                known.into_iter().for_each(|t| add_new(&mut self.titles, t));
                others.into_iter().for_each(|t| add_new(&mut self.others, t));
            }
            Outcome::Missed { reason } => {
                self.missed += 1;
                self.last_miss = reason;
            }
            Outcome::Unfit { reason } => self.unfit = Some(reason),
        }
    }

    pub(super) fn hopeless(&self) -> bool {
        self.missed > MISSED + self.runs.sum().runs()
    }

    pub(super) fn all(&self) -> u32 {
        self.runs.sum().runs() + self.missed
    }
}

/// Adds what is not there yet.
pub(super) fn add_new(all: &mut Vec<String>, one: String) {
    if !all.contains(&one) {
        all.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_another_kind_says_nothing_of_the_regression() {
        let fails = |titles: &[&str]| Run {
            template: 0,
            outcome: Outcome::Failed {
                titles: titles.iter().map(ToString::to_string).collect(),
                scenarios: vec!["a/b".into()],
            },
        };
        let mut count = Count::of(&["memtotal: expected N, seen N".into()]);
        count.add(fails(&["memtotal: expected 12, seen 13"]));
        count.add(fails(&["WARNING: mm/slub.c", "memtotal: expected 7, seen 1"]));
        count.add(fails(&["BUG: bad page state"]));
        assert_eq!((count.runs.sum().failed, count.missed, count.all()), (2, 1, 3));
        assert_eq!(count.last_miss, "it fails otherwise: BUG: bad page state");
        assert_eq!(count.titles, ["memtotal: expected 12, seen 13", "memtotal: expected 7, seen 1"]);
        assert_eq!(count.others, ["WARNING: mm/slub.c", "BUG: bad page state"]);
        let mut any = Count::of(&[]);
        any.add(fails(&["BUG: bad page state"]));
        assert_eq!((any.runs.sum().failed, any.missed), (1, 0));
    }
}
