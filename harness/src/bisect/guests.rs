//! Runs of a revision in guests: every chosen scenario once is one run, and runs are spread over templates.
//!
//! A run has failed if any of its scenarios has, whatever is known of it; it says nothing if one was missed or broke and
//! none failed. Forks of one template share the order of free pages and the kernel's random placement, so runs are drawn
//! over several; every fork's random generator is reseeded.

use super::count::add_new;
use super::search::{Outcome, Revision, Run, Stop, Trials};
use super::workspace::Workspace;
use crate::case::{Chosen, Loaded, Pattern, choose};
use crate::event::ScenarioEnd;
use crate::kernel::Kernel;
use crate::policy::Subject;
use crate::run::boot::Remains;
use crate::run::durations::name;
use crate::run::host::Host;
use crate::run::plan::{self, Planned};
use crate::run::schedule::{self, News};
use crate::verdict::Verdict;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Called with what failed, so that it can be kept.
pub type Failed<'a> = &'a mut dyn FnMut(&Revision, &Planned, &ScenarioEnd, &Remains) -> Result<(), String>;

/// Turns a build directory into a kernel, as the oracle sees it.
pub type Resolve<'a> = &'a dyn Fn(&Path) -> Result<(Arc<Kernel>, Subject), String>;

/// What does not change between revisions.
pub struct Guests<'a> {
    /// guests' host; `templates` and `spread` are set
    pub host: &'a Host,
    /// where revisions are built
    pub workspace: &'a Workspace,
    /// cases
    pub corpus: &'a [Loaded],
    /// which of them
    pub patterns: &'a [Pattern],
    /// further kernel parameters
    pub append: &'a str,
    /// guests at once
    pub jobs: usize,
    /// of all random choices
    pub seed: u64,
    /// where templates are kept
    pub cache: PathBuf,
    /// turns a build directory into a kernel
    pub kernel: Resolve<'a>,
    /// told of failures
    pub failed: Failed<'a>,
    /// told what goes on, in a line
    pub progress: &'a dyn Fn(&str),
    /// only these scenarios, once the bad end is known
    pub only: Vec<String>,
    /// the revision that is ready, and its scenarios
    pub ready: Option<(Revision, Vec<Planned>)>,
}

impl Trials for Guests<'_> {
    fn prepare(&mut self, revision: &Revision) -> Result<Option<String>, Stop> {
        (self.progress)(&format!("{}: building", short(revision)));
        let dir = match self.workspace.build(revision, self.host)? {
            Ok(dir) => dir,
            Err(why) => return Ok(Some(why)),
        };
        let (kernel, subject) = (self.kernel)(&dir).map_err(Stop::Host)?;
        let chosen =
            choose(self.corpus, self.patterns, &[&kernel.name]).map_err(|e| Stop::Host(e.to_string()))?;
        let wanted = |c: &Chosen| self.only.is_empty() || self.only.iter().any(|o| o == name(&c.id));
        let chosen = chosen.into_iter().filter(wanted).collect();
        let plan = plan::plan(chosen, &[(kernel, subject)], self.append, self.seed);
        let (skipped, plan): (Vec<Planned>, Vec<Planned>) = plan.into_iter().partition(|p| p.skip.is_some());
        if plan.is_empty() {
            let why = skipped.first().and_then(|p| p.skip.clone()).unwrap_or_else(|| "nothing to run".into());
            return Ok(Some(format!("no scenario applies: {why}")));
        }
        (self.progress)(&format!("{}: running {} scenarios", short(revision), plan.len()));
        self.ready = Some((revision.clone(), plan));
        Ok(None)
    }

    fn run(&mut self, done: u32, most: u32, take: &mut dyn FnMut(Run) -> bool) -> Result<(), Stop> {
        let Some((revision, scenarios)) = &self.ready else {
            return Err(Stop::Host("nothing was made ready".into()));
        };
        let plan: Vec<Planned> = (done..done.saturating_add(most))
            .flat_map(|round| scenarios.iter().map(move |p| of_round(p, round)))
            .collect();
        let mut ends: BTreeMap<u32, Vec<(String, ScenarioEnd)>> = BTreeMap::new();
        let (mut enough, mut trouble, mut count) = (false, None, 0);
        schedule::run(self.host, &plan, self.jobs, &self.cache, &mut |planned, news| {
            let News::End(end) = news else { return };
            // What was under way when enough was known does not count: it was not asked for.
            if enough || self.host.interrupted() {
                return;
            }
            if end.0.verdict == Verdict::Fail {
                trouble = trouble.take().or((self.failed)(revision, planned, &end.0, &end.1).err());
            }
            let all = ends.entry(planned.round).or_default();
            all.push((name(&planned.id).to_string(), end.0));
            if all.len() == scenarios.len() {
                let template = planned.round % self.host.templates.max(1);
                enough = trouble.is_some() || take(Run { template, outcome: outcome(all) });
                count += 1;
                if count % 10 == 0 {
                    (self.progress)(&format!("{}: {} runs", short(revision), done + count));
                }
            }
            if enough {
                self.host.no_more();
            }
        });
        self.host.go_on();
        match (self.host.signal(), trouble) {
            (Some(signal), _) => Err(Stop::Signal(signal)),
            (None, Some(trouble)) => Err(Stop::Host(trouble)),
            (None, None) => Ok(()),
        }
    }

    fn narrow(&mut self, scenarios: &[String]) {
        self.only = scenarios.to_vec();
        self.ready = None;
    }
}

/// A run's scenario, with a seed of its own. Under `spread` run N starts from template N modulo their number.
fn of_round(planned: &Planned, round: u32) -> Planned {
    let seed = planned.seed ^ u64::from(round).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Planned { seed, round, ..planned.clone() }
}

/// What a run's scenarios come to.
fn outcome(ends: &[(String, ScenarioEnd)]) -> Outcome {
    let no_boot = |end: &ScenarioEnd| end.verdict == Verdict::Fail && end.boot_ns.is_none();
    let failed: Vec<&(String, ScenarioEnd)> =
        ends.iter().filter(|(_, e)| e.verdict == Verdict::Fail).collect();
    let not_run = ends.iter().find(|(_, e)| matches!(e.verdict, Verdict::Error | Verdict::Miss));
    if ends.iter().all(|(_, e)| no_boot(e)) {
        return Outcome::Unfit { reason: ends.first().map_or_else(String::new, |(_, e)| e.title.clone()) };
    }
    if !failed.is_empty() {
        let scenarios = failed.iter().map(|(id, _)| id.clone()).collect();
        let mut titles = Vec::new();
        failed.iter().for_each(|(_, end)| add_new(&mut titles, end.title.clone()));
        return Outcome::Failed { titles, scenarios };
    }
    match not_run {
        Some((id, end)) => Outcome::Missed { reason: format!("{id}: {}: {}", end.verdict, end.title) },
        None if ends.iter().any(|(_, e)| e.verdict == Verdict::Pass) => Outcome::Clean,
        None => Outcome::Unfit { reason: "nothing of it is judged".into() },
    }
}

/// A revision as people write it.
pub fn short(revision: &str) -> &str {
    revision.get(..12).unwrap_or(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(verdict: Verdict, booted: bool) -> (String, ScenarioEnd) {
        let end = ScenarioEnd::without_run(verdict, "t");
        ("a/b".into(), ScenarioEnd { boot_ns: booted.then_some(1), ..end })
    }

    #[test]
    fn what_a_run_comes_to() {
        use Verdict::*;
        let failed = Outcome::Failed { titles: vec!["t".into()], scenarios: vec!["a/b".into()] };
        let missed = |v| Outcome::Missed { reason: format!("a/b: {v}: t") };
        let unfit = |reason: &str| Outcome::Unfit { reason: reason.into() };
        for (ends, wanted) in [
            (vec![end(Pass, true)], Outcome::Clean),
            (vec![end(Pass, true), end(Done, true)], Outcome::Clean),
            (vec![end(Fail, true)], failed.clone()),
            (vec![end(Miss, false), end(Fail, true), end(Pass, true)], failed.clone()),
            (vec![end(Miss, false), end(Pass, true)], missed(Miss)),
            (vec![end(Error, true)], missed(Error)),
            (vec![end(Done, true)], unfit("nothing of it is judged")),
            (vec![end(Fail, false), end(Fail, false)], unfit("t")),
            (vec![end(Fail, false), end(Pass, true)], failed),
        ] {
            assert_eq!(outcome(&ends), wanted, "{ends:?}");
        }
    }
}
