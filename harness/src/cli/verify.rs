//! `--verify-forks N`: scenarios that ran in restored guests run again in guests that boot, and must agree.

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

/// `n` of `forked`, drawn by their seeds.
fn sample(mut forked: Vec<Forked>, n: usize) -> Vec<Forked> {
    forked.sort_by_key(|f| f.planned.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    forked.truncate(n);
    forked
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

/// Boots the sample; one line for each scenario that differs, and how many were compared.
pub fn verify(host: &Host, forked: Vec<Forked>, n: usize, jobs: usize, cache: &Path) -> (usize, Vec<String>) {
    let sample = sample(forked, n);
    let plan: Vec<Planned> = sample.iter().map(|f| Planned { cold: true, ..f.planned.clone() }).collect();
    let (mut compared, mut differences) = (0, Vec::new());
    schedule::run(host, &plan, jobs, cache, &mut |planned, news| {
        let News::End(end) = news else { return };
        let same = |f: &&Forked| f.planned.id == planned.id && f.planned.round == planned.round;
        let Some(fork) = sample.iter().find(same) else { return };
        // Interrupted, or not begun: nothing to compare with.
        if end.0.verdict == Verdict::Miss {
            return;
        }
        compared += 1;
        differences.extend(
            difference((&fork.end, &fork.trail), (&end.0, &end.1.trail))
                .map(|how| format!("{}: {how}", planned.id)),
        );
    });
    (compared, differences)
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
}
