//! What the samples of each cell say together. Pure: a fold over samples.

use super::Clock;
use super::cell::Cell;
use super::design::Design;
use super::sample::{Outcome, Sample};
use super::stats::{self, MEDIAN_NEEDS, P95_NEEDS, P99_NEEDS, Quantile, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that a measurement says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// version of this format
    pub v: u32,
    /// memhp's version
    pub memhp: String,
    /// command line
    pub argv: Vec<String>,
    /// what time is
    pub clock: Clock,
    /// `tcg` or `kvm`
    pub accel: String,
    /// QEMU's version
    pub qemu: String,
    /// kernel's name -> release
    pub kernels: BTreeMap<String, String>,
    /// seed of order and fraction
    pub seed: u64,
    /// repeats that were wanted of each cell
    pub repeats: u32,
    /// one of so many cells was to be measured
    pub fraction: u64,
    /// longest wait for all blocks, ms
    pub limit_ms: u64,
    /// what was measured how, and what that cannot show
    pub limits: Vec<String>,
    /// cells with samples, in the order of the design
    pub cells: Vec<CellSummary>,
    /// cells that were not measured
    pub not_run: Vec<NotRun>,
    /// why it ended before all repeats, if it did
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellSummary {
    /// which
    #[serde(flatten)]
    pub cell: Cell,
    /// samples that count
    pub n: usize,
    /// trials that were not measured
    pub not_measured: usize,
    /// why the first of these was not
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// median; absent: too few samples
    pub p50: Option<Quantile>,
    /// 95th percentile
    pub p95: Option<Quantile>,
    /// 99th percentile
    pub p99: Option<Quantile>,
    /// least and greatest, ns; null: never within the limit
    pub min: Value,
    /// greatest
    pub max: Value,
    /// trials in which not every block came online within the limit
    pub never: usize,
    /// interval of their share, 95 %
    pub never_share: Option<(f64, f64)>,
    /// of these, trials in which no block was even announced: the kernel did not add the memory
    pub not_added: usize,
    /// of these, trials in which the kernel died
    pub died: usize,
    /// trials with OOM kills between plug and end, and kills of all
    pub oom: (usize, u64),
    /// victims and how often
    pub victims: BTreeMap<String, u64>,
    /// trials with failures to allocate between plug and end, and failures of all
    pub allocation_failures: (usize, u64),
}

/// A cell without samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRun {
    /// which
    #[serde(flatten)]
    pub cell: Cell,
    /// why
    pub why: String,
}

/// The cells of a design, from the samples; `impossible`: cells that cannot be, and why.
pub fn cells(
    design: &Design,
    impossible: &[NotRun],
    samples: &[Sample],
    clock: Clock,
) -> (Vec<CellSummary>, Vec<NotRun>) {
    let (mut all, mut not_run) = (Vec::new(), impossible.to_vec());
    for cell in &design.cells {
        let ours: Vec<&Sample> = samples.iter().filter(|s| s.cell == *cell).collect();
        if impossible.iter().any(|n| n.cell == *cell) {
            continue;
        }
        if ours.is_empty() {
            not_run.push(NotRun { cell: cell.clone(), why: "the measurement ended before its turn".into() });
        } else {
            all.push(one(cell, &ours, clock));
        }
    }
    let left = design.left_out.iter().filter(|cell| !impossible.iter().any(|n| n.cell == **cell));
    let why = format!("left out by the design: 1 of {} cells within the budget", design.fraction);
    not_run.extend(left.map(|cell| NotRun { cell: cell.clone(), why: why.clone() }));
    (all, not_run)
}

fn one(cell: &Cell, samples: &[&Sample], clock: Clock) -> CellSummary {
    let sorted = stats::sorted(samples.iter().filter_map(|s| s.value()));
    let counted = || samples.iter().filter(|s| s.outcome != Outcome::NotMeasured);
    let not_measured: Vec<_> = samples.iter().filter(|s| s.outcome == Outcome::NotMeasured).collect();
    let never = sorted.iter().filter(|v| v.is_none()).count();
    let median = match clock {
        Clock::Host => stats::quantile(&sorted, 0.5, MEDIAN_NEEDS),
        // Repeats, not a sample: nothing is inferred from them.
        Clock::Instructions => stats::quantile(&sorted, 0.5, 1).map(|q| Quantile { interval: None, ..q }),
    };
    let mut victims = BTreeMap::new();
    counted().flat_map(|s| &s.seen.victims).for_each(|v| *victims.entry(v.clone()).or_default() += 1);
    let with = |count: &dyn Fn(&Sample) -> u64| {
        let counts: Vec<u64> = counted().map(|s| count(s)).collect();
        (counts.iter().filter(|c| **c > 0).count(), counts.iter().sum())
    };
    CellSummary {
        cell: cell.clone(),
        n: sorted.len(),
        not_measured: not_measured.len(),
        why: not_measured.first().map(|s| s.why.clone()).unwrap_or_default(),
        p50: median,
        p95: stats::quantile(&sorted, 0.95, P95_NEEDS),
        p99: stats::quantile(&sorted, 0.99, P99_NEEDS),
        min: sorted.first().copied().flatten(),
        max: sorted.last().copied().flatten(),
        never,
        never_share: stats::share(never, sorted.len()),
        not_added: counted().filter(|s| s.outcome == Outcome::Partly && s.seen.added_ns.is_none()).count(),
        died: counted().filter(|s| s.outcome == Outcome::Died).count(),
        oom: with(&|s| s.seen.oom_kills),
        victims,
        allocation_failures: with(&|s| s.seen.allocation_failures),
    }
}

impl CellSummary {
    /// The middle one of the samples, also where they are too few for a median with an interval; for plots.
    pub fn middle(&self, samples: &[Sample]) -> Option<Value> {
        let ours = samples.iter().filter(|s| s.cell == self.cell);
        stats::quantile(&stats::sorted(ours.filter_map(Sample::value)), 0.5, 1).map(|q| q.value)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::measure::sample::tests::sample;
    use crate::measure::{Load, Policy};

    fn design_of(samples: &[Sample], left_out: Vec<Cell>) -> Design {
        let mut cells: Vec<Cell> = samples.iter().map(|s| s.cell.clone()).collect();
        cells.dedup();
        Design { cells, left_out, fraction: 2 }
    }

    /// A summary of these.
    pub(in crate::measure) fn summary_of(samples: &[Sample]) -> Summary {
        let (cells, not_run) = cells(&design_of(samples, Vec::new()), &[], samples, Clock::Host);
        Summary {
            v: 1,
            memhp: "0".into(),
            argv: Vec::new(),
            clock: Clock::Host,
            accel: "tcg".into(),
            qemu: "7.2".into(),
            kernels: BTreeMap::from([("k".to_string(), "6.12".to_string())]),
            seed: 1,
            repeats: 6,
            fraction: 1,
            limit_ms: 20_000,
            limits: crate::measure::limits(Clock::Host, "tcg", 2),
            cells,
            not_run,
            ended: None,
        }
    }

    #[test]
    fn counts_and_quantiles_leave_out_what_was_not_measured() {
        let ms = [Some(3), None, Some(1), Some(2), Some(5), Some(4)];
        let mut samples: Vec<Sample> = ms.map(|ms| sample(Load::Memory(80), Policy::Udev, ms)).to_vec();
        samples[1].seen.oom_kills = 2;
        samples[1].seen.victims = vec!["a".into(), "a".into()];
        samples[2].seen.allocation_failures = 7;
        let mut bad = sample(Load::Memory(80), Policy::Udev, Some(9));
        (bad.outcome, bad.why, bad.seen.oom_kills) = (Outcome::NotMeasured, "not in force".into(), 9);
        samples.push(bad);
        let (cells, not_run) = cells(&design_of(&samples, Vec::new()), &[], &samples, Clock::Host);
        let [cell] = &cells[..] else { panic!("{cells:?}") };
        assert!(not_run.is_empty());
        assert_eq!((cell.n, cell.not_measured, cell.never, cell.died), (6, 1, 1, 0));
        assert_eq!(cell.p50.map(|q| q.value), Some(Some(3_000_000)));
        assert_eq!(cell.p50.and_then(|q| q.interval), Some((Some(1_000_000), None)));
        assert_eq!((cell.p95, cell.p99), (None, None));
        assert_eq!((cell.min, cell.max), (Some(1_000_000), None));
        assert_eq!((cell.oom, cell.allocation_failures), ((1, 2), (1, 7)));
        assert_eq!(cell.victims, BTreeMap::from([("a".to_string(), 2)]));
        assert_eq!(cell.why, "not in force");
    }

    #[test]
    fn every_cell_is_there_or_is_named_with_a_reason() {
        let samples = [sample(Load::Idle, Policy::Udev, Some(3))];
        let cell = |policy| Cell { policy, ..samples[0].cell.clone() };
        let mut design = design_of(&samples, vec![cell(Policy::Agent), cell(Policy::UdevMovable)]);
        design.cells.extend([cell(Policy::Online), cell(Policy::OnlineMovable)]);
        let impossible =
            [Policy::Online, Policy::Agent].map(|p| NotRun { cell: cell(p), why: "memmap".into() });
        let (cells, not_run) = cells(&design, &impossible, &samples, Clock::Host);
        assert_eq!(cells.len(), 1);
        let why = |policy| {
            not_run.iter().filter(|n| n.cell.policy == policy).map(|n| n.why.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(why(Policy::Online), ["memmap"]);
        assert_eq!(why(Policy::Agent), ["memmap"]);
        assert_eq!(why(Policy::OnlineMovable), ["the measurement ended before its turn"]);
        assert_eq!(why(Policy::UdevMovable), ["left out by the design: 1 of 2 cells within the budget"]);
    }
}
