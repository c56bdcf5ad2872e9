//! What was observed while a scenario ran, folded into facts and times.

use super::facts::{Fact, Key, Round};
use super::step::Step;
use crate::event::ScenarioEnd;
use crate::facts::{BlockFacts, Raw, Snapshot};
use crate::policy::{BlockState, Zone};
use crate::run::errno;
use crate::run::observation::{BlockWrite, Observation, Settled};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Observed {
    raw: Raw,
    /// MemTotal at the boot, kB
    boot: Option<u64>,
    facts: BTreeMap<Key, String>,
    settled: BTreeSet<Step>,
    steps: BTreeMap<Step, String>,
    times: BTreeMap<String, f64>,
    /// when the observation before this one came, and when each unplug was asked for
    before: u64,
    asked: BTreeMap<String, u64>,
    /// why a state could not be read
    unreadable: Option<String>,
}

impl Observed {
    /// A scenario that begins at `t_ns`.
    pub(super) fn begun(t_ns: u64) -> Self {
        Self { before: t_ns, ..Self::default() }
    }

    pub(super) fn take(&mut self, step: &Step, t_ns: u64, observation: &Observation) {
        match observation {
            Observation::Boot(boot) => self.state(step, &boot.settled),
            Observation::Settled(settled) | Observation::Raced { settled, .. } => self.state(step, settled),
            Observation::Plug(plug) => {
                let result = plug.error.as_ref().map_or("taken".to_string(), |e| format!("refused: {e}"));
                let label = format!("plug {}", plug.dimm);
                self.step(step, &label);
                self.put(step, Fact::Plug(plug.dimm.clone()), result);
                self.time(step, &label, self.before, t_ns);
            }
            Observation::Unplug(unplug) => {
                self.step(step, &format!("unplug {}", unplug.dimm));
                self.asked.insert(unplug.dimm.clone(), t_ns);
                if let Some(error) = &unplug.error {
                    self.put(step, Fact::Unplug(unplug.dimm.clone()), format!("refused by QEMU: {error}"));
                }
            }
            Observation::UnplugOutcome(outcome) => {
                let label = format!("unplug {}", outcome.dimm);
                self.step(step, &label);
                self.put(step, Fact::Unplug(outcome.dimm.clone()), outcome.outcome.word().to_string());
                if let Some(asked) = self.asked.remove(&outcome.dimm) {
                    self.time(step, &label, asked, t_ns);
                }
            }
            Observation::Write(write) => {
                let text = write.text.trim_end();
                let what = format!("write {text:?} to {}", write.path);
                self.step(step, &what);
                self.put(step, Fact::Write(what), errno::name(write.errno));
            }
            Observation::BlockWrite(write) => {
                let label = self.block_write(step, write);
                self.time(step, &label, self.before, t_ns);
            }
            Observation::Overlapping { writes } => {
                writes.iter().for_each(|write| drop(self.block_write(step, write)));
            }
            _ => {}
        }
        self.before = t_ns;
    }

    fn block_write(&mut self, step: &Step, write: &BlockWrite) -> String {
        let text = write.text.trim_end();
        let what = format!("write {text:?} to {} of memory{}", write.attribute.file(), write.block);
        self.step(step, &what);
        self.put(step, Fact::Write(what.clone()), errno::name(write.errno));
        what
    }

    fn state(&mut self, step: &Step, settled: &Settled) {
        if let Err(why) = self.try_state(step, settled) {
            self.unreadable.get_or_insert(format!("the state after step {step} cannot be read: {why}"));
        }
    }

    /// The state after a step is the last one that was seen in it.
    fn try_state(&mut self, step: &Step, settled: &Settled) -> Result<(), String> {
        self.raw.apply(&settled.snapshot);
        let now = Snapshot::parse(&self.raw).map_err(|e| e.to_string())?;
        self.facts.retain(|k, _| k.step != *step || !matches!(k.fact, Fact::Block(_) | Fact::MemTotal));
        for (number, block) in &now.blocks {
            let key = Key { step: step.clone(), fact: Fact::Block(*number), nth: 0 };
            self.facts.insert(key, state_and_zone(block));
        }
        let total = *now.meminfo.get("MemTotal").ok_or("/proc/meminfo without MemTotal")?;
        let boot = *self.boot.get_or_insert(total);
        let (sign, change) = if total < boot { ('-', boot - total) } else { ('+', total - boot) };
        let key = Key { step: step.clone(), fact: Fact::MemTotal, nth: 0 };
        self.facts.insert(key, format!("{sign}{change} kB"));
        self.settled.insert(step.clone());
        Ok(())
    }

    fn put(&mut self, step: &Step, fact: Fact, value: String) {
        let mut key = Key { step: step.clone(), fact, nth: 0 };
        while self.facts.contains_key(&key) {
            key.nth += 1;
        }
        self.facts.insert(key, value);
    }

    fn step(&mut self, step: &Step, what: &str) {
        self.steps.entry(step.clone()).or_insert_with(|| what.to_string());
    }

    /// Several of one step count together.
    fn time(&mut self, step: &Step, what: &str, from: u64, to: u64) {
        *self.times.entry(format!("step {step}: {what}")).or_default() += ms(to.saturating_sub(from));
    }

    /// A judged scenario whose state cannot be read is no more judged: nothing can be said of how it compares.
    pub(super) fn into_round(self, end: &ScenarioEnd, round: &mut Round) {
        if let Some(why) = self.unreadable.filter(|_| round.is_judged()) {
            (round.verdict, round.title) = (Verdict::Error, why);
        }
        (round.facts, round.settled, round.steps) = (self.facts, self.settled, self.steps);
        if !round.is_judged() {
            return;
        }
        round.times = self.times;
        if let Some(boot) = end.boot_ns {
            // A restored guest does not boot: two things that have nothing to do with one another.
            let what = if end.boot.as_deref() == Some("cold") { "boot" } else { "restore" };
            round.times.insert(what.into(), ms(boot));
            round.times.insert("all steps".into(), ms(end.duration_ns.saturating_sub(boot)));
        }
    }
}

#[allow(clippy::cast_precision_loss)] // for show and for ranks
fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn state_and_zone(block: &BlockFacts) -> String {
    let zones = block.valid_zones.as_deref().filter(|_| block.state == BlockState::Online);
    match zones {
        None => block.state.word().to_string(),
        Some(text) => {
            let zone = Zone::parse(text).map_or(text, |zone| zone.name());
            format!("{} {zone}", block.state.word())
        }
    }
}
