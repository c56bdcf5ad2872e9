//! Runs the steps of one scenario in a guest that answers: does, observes, hands each observation to the judge.
//!
//! Decides nothing about right and wrong. The first step with a finding ends the scenario, after all its findings are logged.

mod expecting;
mod holding;
mod loads;
mod plugging;
mod udevd;
mod writing;

use super::errno;
use super::guest::{Flags, Guest};
use super::judge::Judge;
use super::observation::*;
use super::scan;
use super::select::select;
use super::trail::Trail;
use super::trouble::Trouble;
use crate::case::schema::{self, Order, Step};
use crate::case::units::{self, Amount};
use crate::event::Kind;
use crate::finding::Finding;
use crate::timeline::{Recorder, Timeline};
use crate::vm::{Deadline, Push};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::{Job, JobOutcome};

/// How long a step may take if the case does not say, before scaling.
const STEP: Duration = Duration::from_secs(30);

/// Bytes of a page (x86).
const PAGE: u64 = 4096;

/// How much longer reading the state may take for every memory block, before scaling: each has files of its own.
const BLOCK: Duration = Duration::from_millis(100);

/// Takes one entry of the event log.
pub type Log<'a> = &'a mut dyn FnMut(Kind);

/// A write in the background.
struct Started {
    job: u64,
    block: u32,
    text: String,
    ended: Option<Ended>,
}

/// Its end.
#[derive(Clone)]
struct Ended {
    t_ns: u64,
    errno: i32,
    want: Vec<i32>,
}

/// See the module.
pub struct Engine<'a> {
    /// the guest
    pub guest: Guest,
    judge: Judge,
    log: Log<'a>,
    seed: u64,
    scale: f64,
    path: Vec<String>,
    text: String,
    holds: BTreeMap<String, u64>,
    started: BTreeMap<String, Started>,
    racing: Vec<String>,
    console_from: u64,
    /// what the console said before the guest was saved, as far as no expectation is past it
    said_before: Vec<String>,
    scanned: BTreeMap<u32, String>,
    /// blocks to which a write failed since their page flags were last counted
    refused: BTreeSet<u32>,
    /// poisoned pages by block, when page flags were last counted
    poison: BTreeMap<u32, u64>,
    udev: Option<udevd::Udevd>,
    times: Recorder,
    /// holds that were only begun
    begun: BTreeMap<String, holding::Begun>,
    loads: BTreeMap<String, loads::Load>,
    /// every difference that was found
    pub findings: Vec<Finding>,
    /// outcome of each unplug
    pub unplugs: Vec<String>,
    /// what was judged
    pub trail: Trail,
}

impl<'a> Engine<'a> {
    /// An engine for a guest that has said hello.
    pub fn new(guest: Guest, judge: Judge, log: Log<'a>, seed: u64, scale: f64) -> Self {
        Self {
            guest,
            judge,
            log,
            seed,
            scale,
            path: vec!["0".into()],
            text: "boot".into(),
            holds: BTreeMap::new(),
            started: BTreeMap::new(),
            racing: Vec::new(),
            console_from: 0,
            said_before: Vec::new(),
            scanned: BTreeMap::new(),
            refused: BTreeSet::new(),
            poison: BTreeMap::new(),
            udev: None,
            times: Recorder::default(),
            begun: BTreeMap::new(),
            loads: BTreeMap::new(),
            findings: Vec::new(),
            unplugs: Vec::new(),
            trail: Trail::default(),
        }
    }

    /// Of a restored guest: the console of the guest that was saved, where a case's first expectations look too.
    pub fn said_before(&mut self, console: &str) {
        self.said_before = console.lines().map(str::to_string).collect();
    }

    /// The judge, for the facts that are reported.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Observes and judges the state that the guest booted into.
    ///
    /// # Errors
    /// [`Trouble`]; [`Trouble::Found`] when a fact is not as it must be.
    pub fn boot(
        &mut self,
        hello: wire::Hello,
        cold: Vec<String>,
        (cpu_nodes, nodes): (BTreeSet<u32>, Vec<u32>),
    ) -> Result<(), Trouble> {
        self.times.tie(self.guest.tie(self.deadline(None)?)?);
        let settled = self.read_state()?;
        let cold_dimms = settled.devices.iter().filter(|d| cold.contains(&d.name)).cloned().collect();
        self.observe(Observation::Boot(Box::new(Boot { hello, cold_dimms, cpu_nodes, nodes, settled })))?;
        self.settle()
    }

    /// Runs steps in order.
    ///
    /// # Errors
    /// [`Trouble`] that ended it.
    pub fn steps(&mut self, steps: &[Step]) -> Result<(), Trouble> {
        for (index, step) in steps.iter().enumerate() {
            self.path.push((index + 1).to_string());
            self.step(step)?;
            self.path.pop();
        }
        Ok(())
    }

    /// Ends what is still open: unplugs that nobody waited for, background writes, loads, holds; then looks a last time.
    ///
    /// # Errors
    /// [`Trouble`] that ended it.
    pub fn finish(&mut self) -> Result<(), Trouble> {
        self.path = vec!["end".into()];
        self.text = "end of the case".into();
        for name in self.started.keys().cloned().collect::<Vec<_>>() {
            self.finish_write(&schema::Finish { name, interrupt: false, result: "policy".into() })?;
        }
        for dimm in self.judge.pending_unplugs() {
            self.unplug_outcome(&dimm, &[], self.deadline(None)?)?;
        }
        for name in self.loads.keys().cloned().collect::<Vec<_>>() {
            self.end(&name)?;
        }
        for name in self.holds.keys().cloned().collect::<Vec<_>>() {
            self.release(&name, None)?;
        }
        if !self.guest.plugs.is_empty() {
            self.times.tie(self.guest.tie(self.deadline(None)?)?);
        }
        // Counters are shown as 0 where they are less (mm/vmstat.c:global_node_page_state); this file has the kernel say so on
        // its console. It comes last, because it adds up what each processor has counted by itself.
        self.guest.read("/proc/sys/vm/stat_refresh", self.deadline(None)?)?;
        self.guest.await_console(self.deadline(None)?)
    }

    /// What happened when, for every plug so far; `None` where there was none.
    pub fn timeline(&self) -> Option<Timeline> {
        let pages = self.judge.pfns(0);
        self.times.timeline(&self.guest.plugs, (pages.end - pages.start) * PAGE)
    }

    fn step(&mut self, step: &Step) -> Result<(), Trouble> {
        self.text = one_line(step);
        match step {
            Step::Plug(plug) => self.plug(plug),
            Step::Unplug(unplug) => self.unplug(unplug),
            Step::Write(write) => self.write(write),
            Step::Set(set) => self.set(set),
            Step::Start(start) => self.start(start),
            Step::Finish(finish) => self.finish_write(finish),
            Step::Hold(hold) => self.hold(hold),
            Step::Release(release) => self.release(&release.name, release.dies),
            Step::Held(held) => self.held(&held.name),
            Step::Load(load) => self.load(load),
            Step::End(end) => self.end(&end.name),
            Step::Prove(prove) => self.prove(prove),
            Step::Exec(exec) => self.exec(exec),
            Step::Touch(dimm) => self.touch(dimm),
            Step::Udevd(word) => self.udevd(word),
            Step::Repeat(repeat) => self.repeat(repeat),
            Step::Each(each) => self.each(each),
            Step::Expect(expect) => self.expect(expect),
        }
    }

    /// `within` of a step, or the usual time, scaled.
    fn deadline(&self, within: Option<&str>) -> Result<Deadline, Trouble> {
        Ok(Deadline::within(self.span(within)?))
    }

    fn span(&self, within: Option<&str>) -> Result<Duration, Trouble> {
        let span = within.map_or(Ok(STEP), units::duration).map_err(Trouble::Error)?;
        Ok(span.mul_f64(self.scale))
    }

    /// Logs an observation, has it judged, and ends the scenario if a fact is not as it must be.
    fn observe(&mut self, observation: Observation) -> Result<(), Trouble> {
        let step = self.path[1..].join(".");
        let step = if step.is_empty() { self.path[0].clone() } else { step };
        let judged = self.judge.take(&observation);
        self.trail.note(&step, &observation, &self.judge);
        (self.log)(Kind::Observation { step: step.clone(), data: super::observation::to_map(&observation) });
        let findings = judged.map_err(|e| Trouble::Error(e.to_string()))?;
        if findings.is_empty() {
            return Ok(());
        }
        for finding in findings {
            (self.log)(Kind::Finding {
                step: step.clone(),
                text: self.text.clone(),
                finding: finding.clone(),
            });
            self.findings.push(finding);
        }
        Err(Trouble::Found)
    }

    /// Judges the whole state, unless something is still in flight.
    fn settle(&mut self) -> Result<(), Trouble> {
        let in_flight = !self.started.is_empty() || !self.racing.is_empty() || !self.begun.is_empty();
        if in_flight || !self.judge.pending_unplugs().is_empty() {
            return Ok(());
        }
        let acted = match self.user_space()? {
            Some(acted) => acted,
            None => Observation::Settled(Box::new(self.read_state()?)),
        };
        self.observe(acted)?;
        while self.judge.in_doubt() {
            let settled = self.read_state()?;
            self.observe(Observation::Settled(Box::new(settled)))?;
        }
        Ok(())
    }

    /// The whole state, with every load stopped: what is read one after the other then belongs together.
    fn read_state(&mut self) -> Result<Settled, Trouble> {
        self.stop_loads()?;
        let settled = self.read_quiet_state()?;
        self.continue_loads()?;
        Ok(settled)
    }

    fn read_quiet_state(&mut self) -> Result<Settled, Trouble> {
        let blocks = self.judge.layout().map_or(0, |layout| layout.blocks.len());
        let span = STEP + BLOCK * u32::try_from(blocks).unwrap_or(u32::MAX);
        let deadline = Deadline::within(span.mul_f64(self.scale));
        let snapshot = self.guest.snapshot(deadline)?;
        let (mut uevents, mut uevents_lost) = (Vec::new(), false);
        for push in self.guest.pushes() {
            match push {
                Push::Uevent(uevent) => {
                    self.times.uevent(&uevent);
                    uevents.push(uevent);
                }
                Push::UeventsLost { .. } => uevents_lost = true,
                Push::JobDone(_) => {}
            }
        }
        let devices = self.guest.devices()?;
        let (pages, fresh_on_lru) = self.scan(&snapshot, deadline)?;
        Ok(Settled { snapshot, uevents, uevents_lost, devices, pages, fresh_on_lru })
    }

    /// Counts page flags of the hot blocks whose state or zone changed since they were last counted, of blocks that refused to
    /// change, or in which pages were poisoned, since then, and of fresh pages.
    fn scan(
        &mut self,
        snapshot: &wire::Snapshot,
        deadline: Deadline,
    ) -> Result<(BTreeMap<u32, Flags>, Option<u64>), Trouble> {
        if !self.guest.page_flags {
            return Ok((BTreeMap::new(), None));
        }
        // a block that comes back is another one
        self.scanned.retain(|block, _| self.judge.is_hot(*block));
        let mut changed = scan::changed_blocks(snapshot);
        changed.retain(|(block, key)| self.judge.is_hot(*block) && self.scanned.get(block) != Some(key));
        changed.truncate(scan::MOST_AT_ONCE);
        let mut blocks: BTreeSet<u32> = changed.iter().map(|(block, _)| *block).collect();
        let poison = self.judge.poison();
        blocks.extend(
            poison.iter().filter(|(block, pages)| self.poison.get(block) != Some(pages)).map(|(b, _)| *b),
        );
        blocks.extend(std::mem::take(&mut self.refused).into_iter().filter(|b| self.judge.is_hot(*b)));
        let ranges: Vec<_> = blocks.iter().map(|block| self.judge.pfns(*block)).collect();
        let (flags, fresh_on_lru) = self.guest.scan_and_fresh_on_lru(&ranges, deadline)?;
        let pages = blocks.into_iter().zip(flags).collect();
        self.scanned.extend(changed);
        self.poison = poison;
        Ok((pages, Some(fresh_on_lru)))
    }

    /// A passed deadline is a finding if the guest still answers, and a hang if it does not. `blocks`: those that were to
    /// go offline; of those that are still about to, what their pages are says why.
    fn within<T>(
        &mut self,
        result: Result<T, Trouble>,
        blocks: &[u32],
        what: impl Fn() -> String,
    ) -> Result<T, Trouble> {
        let Err(Trouble::Timeout { seconds, .. }) = result else { return result };
        self.guest.alive(self.scale)?;
        let stuck = match self.stuck(blocks) {
            Ok(stuck) => stuck,
            // that it cannot be told why is no reason not to tell that
            Err(Trouble::Error(_) | Trouble::Timeout { .. }) => Stuck::default(),
            Err(ended) => return Err(ended),
        };
        self.observe(Observation::NotWithin { waited_for: what(), seconds, stuck })?;
        Err(Trouble::Found)
    }

    /// Zones and page flags of those blocks that are going offline.
    fn stuck(&self, blocks: &[u32]) -> Result<Stuck, Trouble> {
        let deadline = self.deadline(None)?;
        let mut stuck = Stuck::default();
        for block in blocks.iter().filter(|_| self.guest.page_flags) {
            let path = format!("/sys/devices/system/memory/memory{block}/state");
            if self.guest.text(&path, deadline)?.trim_end() != "going-offline" {
                continue;
            }
            let pfns = self.judge.pfns(*block);
            stuck.zones.extend(self.judge.zone(*block).map(|zone| zone.name().to_string()));
            stuck.pages += pfns.end - pfns.start;
            let flags = self.guest.scan(&[pfns], deadline)?;
            flags.into_iter().flatten().for_each(|(bit, n)| *stuck.flags.entry(bit).or_default() += n);
        }
        Ok(stuck)
    }
}

/// A step as one line of YAML.
fn one_line(step: &Step) -> String {
    serde_json::to_string(step).unwrap_or_else(|e| format!("(step cannot be shown: {e})"))
}
