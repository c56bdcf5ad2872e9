//! A summary as a table for a terminal and for a mail.

use super::Clock;
use super::cell::size;
use super::stats::{Quantile, Value};
use super::summary::{CellSummary, Summary};
use std::collections::BTreeMap;

/// The table, with the design above and the limits below.
pub fn table(summary: &Summary) -> String {
    let unit = unit(summary.clock);
    let mut text = head(summary);
    let mut group = None;
    for cell in &summary.cells {
        let now = (cell.cell.kernel.clone(), cell.cell.size);
        if group.as_ref() != Some(&now) {
            text += &format!("\n{}, DIMM of {}; {unit} from plug to all blocks online\n", now.0, size(now.1));
            text += &format!(
                "{:<10} {:<15} {:>4} {:>9} {:>19} {:>9} {:>9} {:>9} {:>12} {:>9} {:>9}\n",
                "load",
                "policy",
                "n",
                "p50",
                interval_head(summary.clock),
                "p95",
                "p99",
                "max",
                "never",
                "OOM kills",
                "alloc fail"
            );
            group = Some(now);
        }
        text += &row(cell, summary.clock);
    }
    let with_victims = summary.cells.iter().filter(|c| !c.victims.is_empty());
    let victims: Vec<String> = with_victims
        .map(|c| {
            let each = c.victims.iter().map(|(name, n)| format!("{name} {n}"));
            format!("  {}: {}\n", c.cell, each.collect::<Vec<_>>().join(", "))
        })
        .collect();
    if !victims.is_empty() {
        text += "\nkilled while memory was there and not yet online (name, times):\n";
        text += &victims.concat();
    }
    let not_added = summary.cells.iter().filter(|c| c.not_added > 0);
    let lines: Vec<String> =
        not_added.map(|c| format!("  {}: {} of {}\n", c.cell, c.not_added, c.n)).collect();
    if !lines.is_empty() {
        text += "\ntrials in which no block was even announced (the kernel did not add the memory):\n";
        text += &lines.concat();
    }
    text += &not_measured(summary);
    text += "\nlimits of this measurement:\n";
    summary.limits.iter().for_each(|limit| text += &format!("  - {limit}\n"));
    text
}

fn head(summary: &Summary) -> String {
    let kernels: Vec<String> =
        summary.kernels.iter().map(|(name, release)| format!("{name} ({release})")).collect();
    let measured: usize = summary.cells.iter().map(|c| c.n).sum();
    let mut text = format!(
        "memhp measure onlining: {} cells of {}, {measured} trials, seed {}, limit {} s\nkernels: {}\nQEMU {}, accelerator {}, clock: {}\n",
        summary.cells.len(),
        summary.cells.len() + summary.not_run.len(),
        summary.seed,
        summary.limit_ms / 1000,
        kernels.join(", "),
        summary.qemu,
        summary.accel,
        match summary.clock {
            Clock::Host => "the guest's, as the host's",
            Clock::Instructions => "instructions",
        },
    );
    text += "design: cells in random order round by round";
    if summary.fraction > 1 {
        text += &format!("; a regular fraction, 1 of {}", summary.fraction);
    }
    text += &summary.ended.as_ref().map_or("\n".to_string(), |why| format!("; ended early: {why}\n"));
    text
}

fn interval_head(clock: Clock) -> &'static str {
    match clock {
        Clock::Host => "95 % interval",
        Clock::Instructions => "range",
    }
}

fn unit(clock: Clock) -> &'static str {
    match clock {
        Clock::Host => "ms",
        Clock::Instructions => "million instructions",
    }
}

fn row(cell: &CellSummary, clock: Clock) -> String {
    let quantile = |q: Option<Quantile>| q.map_or("-".to_string(), |q| value(q.value));
    let interval = match (clock, cell.p50.and_then(|q| q.interval)) {
        (Clock::Instructions, _) => format!("{} to {}", value(cell.min), value(cell.max)),
        (Clock::Host, Some((low, high))) => format!("{} to {}", value(low), value(high)),
        (Clock::Host, None) => "-".into(),
    };
    let never = match cell.never {
        0 => "0".to_string(),
        n => format!("{n} ({:.0} %)", 100.0 * n as f64 / cell.n as f64),
    };
    let per = |(trials, all): (usize, u64)| if all == 0 { "0".into() } else { format!("{all} in {trials}") };
    let max = if cell.n == 0 { "-".into() } else { value(cell.max) };
    format!(
        "{:<10} {:<15} {:>4} {:>9} {:>19} {:>9} {:>9} {:>9} {:>12} {:>9} {:>9}\n",
        cell.cell.load.to_string(),
        cell.cell.policy.word(),
        cell.n,
        quantile(cell.p50),
        interval,
        quantile(cell.p95),
        quantile(cell.p99),
        max,
        never,
        per(cell.oom),
        per(cell.allocation_failures),
    )
}

/// In ms, or million instructions, which is the same number; `never`: not within the limit.
pub fn value(value: Value) -> String {
    match value {
        Some(ns) => format!("{:.1}", ns as f64 / 1e6),
        None => "never".into(),
    }
}

fn not_measured(summary: &Summary) -> String {
    let mut text = String::new();
    let trials = summary.cells.iter().filter(|c| c.not_measured > 0);
    let lines: Vec<String> =
        trials.map(|c| format!("  {}: {} ({})\n", c.cell, c.not_measured, c.why)).collect();
    if !lines.is_empty() {
        text += "\ntrials that were not measured, and count nowhere:\n";
        text += &lines.concat();
    }
    if !summary.not_run.is_empty() {
        text += "\ncells that were not run:\n";
        let mut by_why: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        summary.not_run.iter().for_each(|n| by_why.entry(&n.why).or_default().push(n.cell.to_string()));
        for (why, cells) in by_why {
            text += &format!("  {why}: {}\n", cells.len());
            cells.iter().for_each(|cell| text += &format!("    {cell}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::tests::sample;
    use crate::measure::summary::tests::summary_of;
    use crate::measure::{Load, Policy};

    #[test]
    fn a_row_has_what_the_samples_carry_and_no_more() {
        let few = [Some(20), Some(30), Some(25), Some(22)].map(|ms| sample(Load::Idle, Policy::Online, ms));
        let text = table(&summary_of(&few));
        let row = text.lines().find(|l| l.starts_with("idle")).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words, ["idle", "online", "4", "-", "-", "-", "-", "30.0", "0", "0", "0"]);
        let mut more: Vec<_> = (1..=20).map(|ms| sample(Load::Idle, Policy::Udev, Some(ms))).collect();
        more[3] = sample(Load::Idle, Policy::Udev, None);
        let text = table(&summary_of(&more));
        let row = text.lines().find(|l| l.starts_with("idle")).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        let expected = [
            "idle", "udev", "20", "11.0", "7.0", "to", "16.0", "20.0", "-", "never", "1", "(5", "%)", "0",
            "0",
        ];
        assert_eq!(words, expected);
        assert!(text.contains("limits of this measurement") && text.contains("accelerator tcg"), "{text}");
    }
}
