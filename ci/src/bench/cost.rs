//! Suites: booted against restored, memhp against QEMU, few scenarios against many, one guest against several.

use super::{Bench, CASE, Figure, all_forked, event, ms};
use anyhow::{Context, Result};
use serde_json::Value;

/// Numbers of like scenarios in one run.
const NUMBERS: [u32; 3] = [10, 100, 1000];
/// Guests at once.
const GUESTS: [u32; 4] = [1, 2, 4, 8];

/// What one run of a suite took.
struct Took {
    wall_s: f64,
    /// of the scenarios' time, what their guests took to answer first, in percent
    boot_percent: f64,
    templates_s: f64,
    /// memhp's processor time in percent of its children's
    harness_percent: f64,
}

fn took(log: &[Value]) -> Result<Took> {
    let sum = |name: &str, key: &str| -> f64 {
        log.iter().filter(|e| e["event"] == name).filter_map(|e| ms(e, key).ok()).sum::<f64>() / 1e3
    };
    let last = event(log, "run-end")?;
    let cpu = |key: &str| last["cpu"][key].as_f64().with_context(|| format!("no {key} at the run's end"));
    Ok(Took {
        wall_s: ms(last, "t_ns")? / 1e3,
        boot_percent: 100.0 * sum("scenario-end", "boot_ns") / sum("scenario-end", "duration_ns"),
        templates_s: sum("template", "duration_ns"),
        harness_percent: 100.0 * cpu("memhp_ms")? / cpu("children_ms")?,
    })
}

impl Bench<'_> {
    pub(super) fn suite(&mut self, kernel: &str) -> Result<()> {
        let suite = self.suite.clone();
        let made = took(&self.run(kernel, &suite, &[])?)?; // the templates are made
        let (mut cold, mut fork) = (Vec::new(), Vec::new());
        for _ in 0..self.turns {
            cold.push(took(&self.run(kernel, &suite, &["--boot", "cold"])?)?);
            // A case that boots by its nature boots here too; nothing else does.
            fork.push(took(&self.run(kernel, &suite, &["--boot", "fork"])?)?);
        }
        let of = |all: &[Took], get: fn(&Took) -> f64, unit| Figure::of(all.iter().map(|t| Ok(get(t))), unit);
        let (slow, fast) = (of(&cold, |t| t.wall_s, "s")?, of(&fork, |t| t.wall_s, "s")?);
        let ratio = slow.median / fast.median;
        let templates = Figure::of(std::iter::once(Ok(made.templates_s)), "s")?;
        self.say(
            kernel,
            "suite",
            &[("boot", slow), ("fork", fast), ("templates, once", templates)],
            Some(ratio),
        );
        let share = of(&cold, |t| t.boot_percent, "%")?;
        self.say(kernel, "share of the boot in the booted suite", &[("boot", share)], None);
        let cpu = of(&fork, |t| t.harness_percent, "%")?;
        self.say(kernel, "memhp's processor time, of QEMU's", &[("fork", cpu)], None);
        Ok(())
    }

    pub(super) fn scale(&mut self, kernel: &str) -> Result<()> {
        for number in NUMBERS {
            let name = format!("a scenario, of {number} in one run");
            self.repeated(kernel, &name, number, 1)?;
        }
        for guests in GUESTS {
            let name = format!("a scenario, with {guests} guests at once");
            self.repeated(kernel, &name, 40, guests)?;
        }
        Ok(())
    }

    fn repeated(&mut self, kernel: &str, name: &str, number: u32, guests: u32) -> Result<()> {
        let (case, repeat, jobs) = ([CASE.to_string()], number.to_string(), guests.to_string());
        let mut all = Vec::new();
        for _ in 0..self.turns {
            let log = self.run(kernel, &case, &["--repeat", &repeat, "-j", &jobs, "--boot", "fork"])?;
            all_forked(&log)?;
            all.push(took(&log)?.wall_s * 1e3 / f64::from(number));
        }
        let figure = Figure::of(all.into_iter().map(Ok), "ms")?;
        self.say(kernel, name, &[("wall", figure)], None);
        Ok(())
    }
}
