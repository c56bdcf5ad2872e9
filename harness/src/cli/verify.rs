//! `--verify-forks N`: scenarios that ran in restored guests run again in guests that boot, and must agree.

use crate::event::ScenarioEnd;
use crate::run::host::Host;
use crate::run::plan::Planned;
use crate::run::schedule::{self, News};
use crate::verdict::Verdict;
use std::path::Path;

/// A scenario that was judged in a restored guest.
pub type Forked = (Planned, ScenarioEnd);

/// `n` of `forked`, drawn by their seeds.
fn sample(mut forked: Vec<Forked>, n: usize) -> Vec<Forked> {
    forked.sort_by_key(|(planned, _)| planned.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    forked.truncate(n);
    forked
}

/// What two judgements of one scenario differ in: everything but the time and the way it came up.
fn difference(forked: &ScenarioEnd, booted: &ScenarioEnd) -> Option<String> {
    let fork = ScenarioEnd { duration_ns: 0, boot_ns: None, boot: None, ..forked.clone() };
    let cold = ScenarioEnd {
        duration_ns: 0,
        boot_ns: None,
        boot: None,
        console: fork.console.clone(),
        ..booted.clone()
    };
    (fork != cold).then(|| format!("restored {}, booted {}", facts(&fork), facts(&cold)))
}

fn facts(end: &ScenarioEnd) -> String {
    let facts = serde_json::to_string(&end.facts).unwrap_or_default();
    format!("{} {:?} {facts}", end.verdict, end.title)
}

/// Boots the sample; one line for each scenario that differs, and how many were compared.
pub fn verify(host: &Host, forked: Vec<Forked>, n: usize, jobs: usize, cache: &Path) -> (usize, Vec<String>) {
    let sample = sample(forked, n);
    let plan: Vec<Planned> =
        sample.iter().map(|(planned, _)| Planned { cold: true, ..planned.clone() }).collect();
    let (mut compared, mut differences) = (0, Vec::new());
    schedule::run(host, &plan, jobs, cache, &mut |planned, news| {
        let News::End(end) = news else { return };
        let same = |(p, _): &&Forked| p.id == planned.id && p.round == planned.round;
        let Some((_, fork)) = sample.iter().find(same) else { return };
        // Interrupted, or not begun: nothing to compare with.
        if end.0.verdict == Verdict::Miss {
            return;
        }
        compared += 1;
        differences.extend(difference(fork, &end.0).map(|how| format!("{}: {how}", planned.id)));
    });
    (compared, differences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_boot_do_not_count_and_facts_do() {
        let pass = ScenarioEnd::without_run(Verdict::Pass, "");
        let fork =
            ScenarioEnd { duration_ns: 5, boot_ns: Some(1), boot: Some("fork".into()), ..pass.clone() };
        let cold = ScenarioEnd { duration_ns: 9, boot: Some("cold".into()), ..pass.clone() };
        assert_eq!(difference(&fork, &cold), None);
        let mut other = cold;
        other.facts.memtotal_kib = Some(1);
        let how = difference(&fork, &other).unwrap();
        assert!(how.contains("\"memtotal_kib\":1"), "{how}");
        assert!(difference(&fork, &ScenarioEnd::without_run(Verdict::Error, "x")).is_some());
    }
}
