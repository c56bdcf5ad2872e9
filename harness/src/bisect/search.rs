//! The search: both ends are checked, then revisions are judged until the history says which is the first bad one.
//!
//! Pure: a [`History`] says what to judge next (git does), [`Trials`] run it (guests do), a [`Journal`] keeps what was
//! found. What is decided here is how often to run, what runs mean, and how sure the answer is.

use super::count::{Count, add_new};
use super::sprt::{Mark, Rate, Test};
use super::tally::{ByTemplate, Tally};
use crate::verdict::stable;

/// What one run of a revision came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// the kernel did wrong
    Failed {
        /// what its scenarios say, each once
        titles: Vec<String>,
        /// scenarios that failed in it, without their kernel
        scenarios: Vec<String>,
    },
    /// it did right
    Clean,
    /// nothing is known of the kernel
    Missed {
        /// why
        reason: String,
    },
    /// no run of this revision can be judged
    Unfit {
        /// why: it does not boot, the case does not apply
        reason: String,
    },
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Run {
    /// which template its guest was restored from
    pub template: u32,
    /// what it came to
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A revision by its full name.
pub type Revision = String;

/// What is searched.
pub trait History {
    /// The revision to judge next, or what is known.
    ///
    /// # Errors
    /// It cannot be asked.
    fn next(&mut self) -> Result<Next, String>;

    /// Marks the revision that [`History::next`] named.
    ///
    /// # Errors
    /// It cannot be told.
    fn mark(&mut self, revision: &Revision, mark: Mark) -> Result<(), String>;

    /// How many more revisions are likely to be judged.
    fn steps(&self) -> u32;
}

/// See [`History::next`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// judge this
    Judge(Revision),
    /// the first bad one
    Found(Revision),
    /// one of these; the others could not be judged
    OneOf(Vec<Revision>),
}

/// How revisions are run.
pub trait Trials {
    /// Makes the revision ready. `Ok(Some(why))`: it cannot be built.
    ///
    /// # Errors
    /// The host's fault, or the user ends it: the search ends.
    fn prepare(&mut self, revision: &Revision) -> Result<Option<String>, Stop>;

    /// Runs it up to `most` times, fewer when `take` says that it has enough; `done` runs of it are counted already.
    ///
    /// # Errors
    /// As above.
    fn run(&mut self, done: u32, most: u32, take: &mut dyn FnMut(Run) -> bool) -> Result<(), Stop>;

    /// From now on only these scenarios run: what the bad end is bad by.
    fn narrow(&mut self, scenarios: &[String]);
}

/// Keeps runs and marks, so that a search can go on where it was ended.
pub trait Journal {
    /// Runs of a revision that were kept by an earlier search.
    fn kept(&self, revision: &Revision) -> Vec<Run>;

    /// A run, at once.
    ///
    /// # Errors
    /// It cannot be kept.
    fn run(&mut self, revision: &Revision, run: &Run) -> Result<(), String>;

    /// A revision is judged.
    ///
    /// # Errors
    /// It cannot be kept.
    fn step(&mut self, step: &Step) -> Result<(), String>;
}

/// Why a search ends without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// a signal
    #[error("ended by signal {0}")]
    Signal(i32),
    /// the host or the harness
    #[error("{0}")]
    Host(String),
    /// the ends are not what they should be, or nothing between them can be told apart
    #[error("{0}")]
    Undecided(String),
}

/// Which revision a step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// the bad end
    BadEnd,
    /// the good end
    GoodEnd,
    /// between them
    Between,
}

/// A judged revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// which
    pub revision: Revision,
    /// its place in the search
    pub role: Role,
    /// what it is
    pub mark: Mark,
    /// runs that decided it
    pub runs: ByTemplate,
    /// runs that say nothing of the kernel
    pub missed: u32,
    /// titles of its failures, each once
    pub titles: Vec<String>,
    /// titles of failures that the bad end does not have: they are not what is searched
    pub others: Vec<String>,
    /// scenarios that failed, without their kernel, each once
    pub scenarios: Vec<String>,
    /// probability that the mark is wrong; of a skipped one 0
    pub risk: f64,
    /// why it is skipped
    pub why: String,
}

/// What is wanted of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish {
    /// of the answer: 0.99
    pub confidence: f64,
    /// rate of failures at the bad end that must still be found
    pub least_rate: f64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// the first bad revision, or those that may be
    pub first_bad: Vec<Revision>,
    /// probability at least that it is right
    pub confidence: f64,
    /// in the order judged
    pub steps: Vec<Step>,
}

/// Failures of the bad end that make its rate known well enough: fewer make every later revision cost more runs.
pub const FAILURES_OF_THE_BAD_END: u32 = 8;
/// Rate at which runs of a good revision may fail: small, and not 0, or else one false failure would decide.
pub const NOISE: f64 = 0.002;

/// Searches.
///
/// # Errors
/// See [`Stop`].
pub fn search(
    ends: (&Revision, &Revision),
    wish: Wish,
    history: &mut dyn History,
    trials: &mut dyn Trials,
    journal: &mut dyn Journal,
) -> Result<Answer, Stop> {
    let (good, bad) = ends;
    // One more than halving needs, for skipped revisions, and the two ends.
    let error = (1.0 - wish.confidence) / f64::from(history.steps() + 3);
    let mut judge = Judging { trials, journal, known: Vec::new(), steps: Vec::new() };
    let first = Test { noise: NOISE, rate: Rate::Known(wish.least_rate), error };
    let end = judge.bad_end(bad, &first)?;
    let test = Test { rate: Rate::Seen(end), ..first };
    judge.good_end(good, &test)?;
    loop {
        match history.next().map_err(Stop::Host)? {
            Next::Judge(revision) => {
                let step = judge.between(&revision, &test)?;
                let mark = step.mark;
                judge.keep(step)?;
                history.mark(&revision, mark).map_err(Stop::Host)?;
            }
            Next::Found(revision) => return Ok(judge.answer(vec![revision])),
            Next::OneOf(revisions) => return Ok(judge.answer(revisions)),
        }
    }
}

struct Judging<'a> {
    trials: &'a mut dyn Trials,
    journal: &'a mut dyn Journal,
    /// what the bad end fails by, once that is known
    known: Vec<String>,
    steps: Vec<Step>,
}

impl Judging<'_> {
    /// The bad end fails, and how often: it runs until it has failed often enough for the rate to be known.
    fn bad_end(&mut self, revision: &Revision, test: &Test) -> Result<Tally, Stop> {
        let Rate::Known(least) = test.rate else { unreachable!("the bad end is judged by a given rate") };
        // So many runs have as many failures as wanted, and as many again, at the least rate.
        let most = (f64::from(2 * FAILURES_OF_THE_BAD_END) / least).ceil() as u32;
        let enough = |seen: Tally| match test.decide(seen) {
            Some(Mark::Bad) => seen.failed >= FAILURES_OF_THE_BAD_END || seen.runs() >= most,
            decided => decided.is_some(),
        };
        let until = |seen: Tally| {
            let failures = FAILURES_OF_THE_BAD_END.saturating_sub(seen.failed).max(1);
            if seen.failed == 0 { test.clean_needed(seen) } else { failures * 4 }
        };
        let step = self.judge(revision, Role::BadEnd, test, &enough, &until)?;
        let (seen, mark, why) = (step.runs.sum(), step.mark, step.why.clone());
        self.trials.narrow(&step.scenarios);
        let named = step.titles.iter().map(|t| stable(t)).filter(|t| !t.is_empty());
        named.for_each(|t| add_new(&mut self.known, t));
        self.keep(step)?;
        match mark {
            Mark::Bad => Ok(seen),
            Mark::Skip => {
                Err(Stop::Undecided(format!("the bad revision {revision} cannot be judged: {why}")))
            }
            Mark::Good => Err(Stop::Undecided(format!(
                "the bad revision {revision} is not bad: {} (a failure in {least} of runs would have shown; --rate looks for rarer ones)",
                counts(seen)
            ))),
        }
    }

    fn good_end(&mut self, revision: &Revision, test: &Test) -> Result<(), Stop> {
        let step = self.between(revision, test)?;
        let step = Step { role: Role::GoodEnd, ..step };
        let (seen, mark) = (step.runs.sum(), step.mark);
        let what = if step.titles.is_empty() { step.why.clone() } else { step.titles.join("; ") };
        self.keep(step)?;
        match mark {
            Mark::Good => Ok(()),
            Mark::Skip => {
                Err(Stop::Undecided(format!("the good revision {revision} cannot be judged: {what}")))
            }
            Mark::Bad => Err(Stop::Undecided(format!(
                "the good revision {revision} is not good: {}: {what}",
                counts(seen)
            ))),
        }
    }

    fn between(&mut self, revision: &Revision, test: &Test) -> Result<Step, Stop> {
        let enough = |seen| test.decide(seen).is_some();
        let until = |seen| test.clean_needed(seen);
        self.judge(revision, Role::Between, test, &enough, &until)
    }

    fn judge(
        &mut self,
        revision: &Revision,
        role: Role,
        test: &Test,
        enough: &dyn Fn(Tally) -> bool,
        until: &dyn Fn(Tally) -> u32,
    ) -> Result<Step, Stop> {
        let mut count = Count::of(&self.known);
        self.journal.kept(revision).into_iter().for_each(|run| count.add(run));
        let step = |count: Count, mark, risk, why: String| {
            let Count { runs, missed, titles, others, scenarios, .. } = count;
            Step {
                revision: revision.clone(),
                role,
                mark,
                runs,
                missed,
                titles,
                others,
                scenarios,
                risk,
                why,
            }
        };
        let mut ready = false;
        loop {
            if let Some(why) = count.unfit.take() {
                return Ok(step(count, Mark::Skip, 0.0, why));
            }
            let seen = count.runs.sum();
            if enough(seen) {
                let mark = test.decide(seen).unwrap_or(Mark::Skip);
                return Ok(step(count, mark, test.risk(seen), String::new()));
            }
            if count.hopeless() {
                let why = format!("{} runs say nothing of it, the last: {}", count.missed, count.last_miss);
                return Ok(step(count, Mark::Skip, 0.0, why));
            }
            if !ready && let Some(why) = self.trials.prepare(revision)? {
                return Ok(step(count, Mark::Skip, 0.0, why));
            }
            ready = true;
            let before = count.all();
            let (journal, mut trouble) = (&mut *self.journal, None);
            self.trials.run(before, until(seen).max(1), &mut |run| {
                trouble = trouble.take().or(journal.run(revision, &run).err());
                count.add(run);
                trouble.is_some() || count.unfit.is_some() || count.hopeless() || enough(count.runs.sum())
            })?;
            if let Some(trouble) = trouble {
                return Err(Stop::Host(trouble));
            }
            if count.all() == before {
                return Err(Stop::Host(format!("{revision} was to run and did not")));
            }
        }
    }

    fn keep(&mut self, step: Step) -> Result<(), Stop> {
        self.journal.step(&step).map_err(Stop::Host)?;
        self.steps.push(step);
        Ok(())
    }

    /// The answer is right if every mark is: the risks add up at most.
    fn answer(self, first_bad: Vec<Revision>) -> Answer {
        let risk: f64 = self.steps.iter().map(|s| s.risk).sum();
        Answer { first_bad, confidence: (1.0 - risk).max(0.0), steps: self.steps }
    }
}

/// `3 of 40 runs failed`
pub fn counts(seen: Tally) -> String {
    format!("{} of {} runs failed", seen.failed, seen.runs())
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
