//! `--verify-forks N`: scenarios that ran in restored guests run again in guests that boot, and must agree.

use super::failure::Failure;
use crate::event::ScenarioEnd;
use crate::run::host::Host;
use crate::run::plan::Planned;
use crate::run::schedule::{self, News};
use crate::run::trail::Trail;
use crate::verdict::Verdict;
use std::path::Path;

/// A scenario that was judged in a restored guest.
pub struct Forked {
    /// which
    pub planned: Planned,
    /// its judgement
    pub end: ScenarioEnd,
    /// what was judged, step by step
    pub trail: Trail,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Verified {
    /// scenarios that were to be compared; 0: none ran in a restored guest
    wanted: usize,
    /// scenarios that were
    compared: usize,
    /// why the others were not
    missed: Vec<String>,
    /// a line for each scenario that went another way
    differences: Vec<String>,
    /// a signal ended the run meanwhile
    interrupted: bool,
}

impl Verified {
    /// Is it not shown that forks go the way of guests that boot? An interrupted run has shown what it has.
    pub fn in_doubt(&self) -> bool {
        !self.differences.is_empty() || self.short()
    }

    fn short(&self) -> bool {
        !self.interrupted && self.compared < self.wanted.max(1)
    }

    /// What is to be told.
    pub fn texts(&self) -> Vec<String> {
        let Self { wanted, compared, missed, differences, .. } = self;
        let mut texts: Vec<String> =
            differences.iter().map(|d| format!("forks cannot be trusted: {d}")).collect();
        if *wanted == 0 {
            texts.push("forks are not verified: no scenario was judged in a restored guest".into());
        } else if self.short() {
            let why = missed.first().map(|why| format!(": {why}")).unwrap_or_default();
            texts
                .push(format!("forks are not verified: {compared} of {wanted} scenarios were compared{why}"));
        } else if texts.is_empty() && *compared > 0 {
            let same = "scenarios went the same way in restored guests and in guests that booted";
            texts.push(format!("{compared} {same}"));
        }
        texts
    }
}

/// `n` of `all`, drawn by the run's seed and what each is called: id with the kernel, and round.
fn sample<T>(mut all: Vec<T>, n: usize, seed: u64, name: impl Fn(&T) -> (&str, u32)) -> Vec<T> {
    all.sort_by_cached_key(|one| {
        let (id, round) = name(one);
        crate::kernel::sha256(format!("{seed} {round} {id}").as_bytes())
    });
    all.truncate(n);
    all
}

/// What two runs of one scenario differ in: the verdict, and every judged fact up to where luck decided.
fn difference(fork: (&ScenarioEnd, &Trail), boot: (&ScenarioEnd, &Trail)) -> Option<String> {
    let said = |end: &ScenarioEnd| (end.verdict, end.title.clone(), end.known.clone());
    let ((fork, trail), (boot, other)) = (fork, boot);
    if said(fork) != said(boot) {
        let show = |end: &ScenarioEnd| format!("{} {:?}", end.verdict, end.title);
        return Some(format!("restored {}, booted {}", show(fork), show(boot)));
    }
    trail.difference(other).map(|how| format!("restored: {how} (booted)"))
}

/// Boots `n` of `forked`, drawn by `seed`, and compares.
pub fn verify(
    host: &Host,
    forked: Vec<Forked>,
    (n, seed): (usize, u64),
    jobs: usize,
    cache: &Path,
) -> Result<Verified, Failure> {
    let sample = sample(forked, n, seed, |f| (&f.planned.id, f.planned.round));
    let plan: Vec<Planned> = sample.iter().map(|f| Planned { cold: true, ..f.planned.clone() }).collect();
    let mut verified = Verified { wanted: sample.len(), ..Verified::default() };
    let mut take = |planned: &Planned, news: News| {
        let News::End(end) = news else { return };
        let same = |f: &&Forked| f.planned.id == planned.id && f.planned.round == planned.round;
        let Some(fork) = sample.iter().find(same) else { return };
        // Nothing to compare with.
        if end.0.verdict == Verdict::Miss {
            verified.missed.push(format!("{}: {}", planned.id, end.0.title));
            return;
        }
        verified.compared += 1;
        verified.differences.extend(
            difference((&fork.end, &fork.trail), (&end.0, &end.1.trail))
                .map(|how| format!("{}: {how}", planned.id)),
        );
    };
    super::signals::with_signals(host, || {
        schedule::run(host, &plan, jobs, cache, &mut take);
        Ok(())
    })?;
    verified.interrupted = host.interrupted();
    Ok(verified)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_boot_do_not_count_and_the_verdict_does() {
        let pass = ScenarioEnd::without_run(Verdict::Pass, "");
        let fork =
            ScenarioEnd { duration_ns: 5, boot_ns: Some(1), boot: Some("fork".into()), ..pass.clone() };
        let trail = Trail::default();
        assert_eq!(difference((&fork, &trail), (&pass, &trail)), None);
        let error = ScenarioEnd::without_run(Verdict::Error, "x");
        let how = difference((&fork, &trail), (&error, &trail)).unwrap();
        assert_eq!(how, "restored PASS \"\", booted ERROR \"x\"");
    }

    #[test]
    fn forks_are_in_doubt_unless_all_that_was_wanted_was_compared_and_agreed() {
        let of = |wanted, compared, missed: &[&str], differences: &[&str], interrupted| {
            let own = |all: &[&str]| all.iter().map(|s| (*s).to_string()).collect();
            let (missed, differences) = (own(missed), own(differences));
            let verified = Verified { wanted, compared, missed, differences, interrupted };
            (verified.in_doubt(), verified.texts().join("; "))
        };
        let same = "2 scenarios went the same way in restored guests and in guests that booted";
        assert_eq!(of(2, 2, &[], &[], false), (false, same.into()));
        let none = "forks are not verified: no scenario was judged in a restored guest";
        assert_eq!(of(0, 0, &[], &[], false), (true, none.into()));
        let missed = "forks are not verified: 0 of 2 scenarios were compared: a: no memory";
        assert_eq!(of(2, 0, &["a: no memory", "b: late"], &[], false), (true, missed.into()));
        let both =
            "forks cannot be trusted: b: x; forks are not verified: 1 of 2 scenarios were compared: a: m";
        assert_eq!(of(2, 1, &["a: m"], &["b: x"], false), (true, both.into()));
        assert_eq!(of(2, 2, &[], &["b: x"], false), (true, "forks cannot be trusted: b: x".into()));
        let one = "1 scenarios went the same way in restored guests and in guests that booted";
        assert_eq!(of(2, 1, &["a: interrupted"], &[], true), (false, one.into()));
        assert_eq!(of(2, 0, &["a: interrupted"], &[], true), (false, String::new()));
    }

    #[test]
    fn the_sample_differs_between_seeds_kernels_and_rounds() {
        let names: Vec<String> = (0..20).map(|n| format!("a/{n}")).collect();
        let drawn = |seed, kernel: &str, round| -> Vec<usize> {
            let all: Vec<(usize, String)> =
                names.iter().map(|n| format!("{n}@{kernel}")).enumerate().collect();
            sample(all, 5, seed, |(_, id)| (id, round)).into_iter().map(|(at, _)| at).collect()
        };
        let one = drawn(1, "k", 0);
        assert_eq!((one.len(), &one), (5, &drawn(1, "k", 0)));
        for other in [drawn(2, "k", 0), drawn(1, "l", 0), drawn(1, "k", 1)] {
            assert_ne!(one, other);
        }
        assert_eq!(sample(vec![("b", 0), ("a", 0)], 9, 1, |(id, round)| (*id, *round)).len(), 2);
    }
}
