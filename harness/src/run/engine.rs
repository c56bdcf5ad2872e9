//! Runs the steps of one scenario in a guest that answers: does, observes, hands each observation to the judge.
//!
//! Decides nothing about right and wrong. The first step with a finding ends the scenario, after all its findings are logged.

use super::guest::Guest;
use super::judge::Judge;
use super::observation::*;
use super::select::select;
use super::trouble::Trouble;
use crate::case::schema::{self, Order, Step};
use crate::case::units::{self, Amount};
use crate::event::Kind;
use crate::finding::Finding;
use crate::vm::{Deadline, Push};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::{Job, JobOutcome};

/// How long a step may take if the case does not say, before scaling.
const STEP: Duration = Duration::from_secs(30);

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
    scanned: BTreeMap<u32, String>,
    /// every difference that was found
    pub findings: Vec<Finding>,
    /// outcome of each unplug
    pub unplugs: Vec<String>,
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
            scanned: BTreeMap::new(),
            findings: Vec::new(),
            unplugs: Vec::new(),
        }
    }

    /// The judge, for the facts that are reported.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Observes and judges the state that the guest booted into.
    ///
    /// # Errors
    /// [`Trouble`]; [`Trouble::Found`] when a fact is not as it must be.
    pub fn boot(&mut self, hello: wire::Hello, cold: Vec<String>) -> Result<(), Trouble> {
        let settled = self.read_state()?;
        let cold_dimms = settled.devices.iter().filter(|d| cold.contains(&d.name)).cloned().collect();
        self.observe(Observation::Boot(Box::new(Boot { hello, cold_dimms, settled })))?;
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

    /// Ends what is still open: unplugs that nobody waited for, background writes, holds; then looks a last time.
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
        for name in self.holds.keys().cloned().collect::<Vec<_>>() {
            self.release(&name)?;
        }
        Ok(())
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
            Step::Release(release) => self.release(&release.name),
            Step::Exec(exec) => self.exec(exec),
            Step::Repeat(repeat) => self.repeat(repeat),
            Step::Expect(expect) => self.expect(expect),
        }
    }

    /// `within` of a step, or the usual time, scaled.
    fn deadline(&self, within: Option<&str>) -> Result<Deadline, Trouble> {
        let span = within.map_or(Ok(STEP), units::duration).map_err(Trouble::Error)?;
        Ok(Deadline::within(span.mul_f64(self.scale)))
    }

    /// Logs an observation, has it judged, and ends the scenario if a fact is not as it must be.
    fn observe(&mut self, observation: Observation) -> Result<(), Trouble> {
        let step = self.path[1..].join(".");
        let step = if step.is_empty() { self.path[0].clone() } else { step };
        let judged = self.judge.take(&observation);
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
        if !self.started.is_empty() || !self.racing.is_empty() || !self.judge.pending_unplugs().is_empty() {
            return Ok(());
        }
        let settled = self.read_state()?;
        self.observe(Observation::Settled(Box::new(settled)))
    }

    fn read_state(&mut self) -> Result<Settled, Trouble> {
        let deadline = self.deadline(None)?;
        let snapshot = self.guest.snapshot(deadline)?;
        let (mut uevents, mut uevents_lost) = (Vec::new(), false);
        for push in self.guest.pushes() {
            match push {
                Push::Uevent(uevent) => uevents.push(uevent),
                Push::UeventsLost { .. } => uevents_lost = true,
                Push::JobDone(_) => {}
            }
        }
        let devices = self.guest.devices()?;
        let pages = self.scan(&snapshot, deadline)?;
        Ok(Settled { snapshot, uevents, uevents_lost, devices, pages })
    }

    /// Counts page flags of the hot blocks whose state or zone changed since they were last counted.
    fn scan(
        &mut self,
        snapshot: &wire::Snapshot,
        deadline: Deadline,
    ) -> Result<BTreeMap<u32, BTreeMap<u8, u64>>, Trouble> {
        let mut pages = BTreeMap::new();
        if !self.guest.page_flags {
            return Ok(pages);
        }
        for (block, key) in super::scan::changed_blocks(snapshot) {
            if !self.judge.is_hot(block) || self.scanned.get(&block) == Some(&key) {
                continue;
            }
            if pages.len() < super::scan::MOST_AT_ONCE {
                let flags = self.guest.scan(self.judge.pfns(block), deadline)?;
                pages.insert(block, flags);
                self.scanned.insert(block, key);
            }
        }
        Ok(pages)
    }

    fn plug(&mut self, plug: &schema::Plug) -> Result<(), Trouble> {
        let deadline = self.deadline(None)?;
        let size = units::size(&plug.size).map_err(Trouble::Error)?;
        let taken = self.guest.plug(plug, deadline)?;
        let (device, error, osts) = match taken {
            Ok(device) if plug.race => (Some(device), None, Vec::new()),
            Ok(device) => {
                let osts = self.guest.wait_inserted(&plug.dimm, deadline);
                let osts =
                    self.within(osts, || format!("the guest's answer to the plug of {}", plug.dimm))?;
                (Some(device), None, osts)
            }
            Err(error) => (None, Some(error), Vec::new()),
        };
        if plug.race && device.is_some() {
            self.racing.push(plug.dimm.clone());
        }
        self.observe(Observation::Plug(Plug {
            dimm: plug.dimm.clone(),
            size,
            want_refused: plug.refused.clone(),
            error,
            device,
            osts,
            race: plug.race,
        }))?;
        self.settle()
    }

    fn unplug(&mut self, unplug: &schema::Unplug) -> Result<(), Trouble> {
        let error = self.guest.unplug(&unplug.dimm, self.deadline(None)?)?.err();
        self.observe(Observation::Unplug(Unplug {
            dimm: unplug.dimm.clone(),
            want_refused: unplug.refused.clone(),
            error,
        }))?;
        self.settle()
    }

    fn unplug_outcome(&mut self, dimm: &str, want: &[Outcome], deadline: Deadline) -> Result<(), Trouble> {
        let ended = self.guest.unplug_outcome(dimm, deadline);
        let (outcome, osts, deleted) =
            self.within(ended, || format!("the outcome of the unplug of {dimm}"))?;
        self.unplugs.push(format!("{dimm}: {}", outcome.word()));
        self.observe(Observation::UnplugOutcome(UnplugOutcome {
            dimm: dimm.to_string(),
            outcome,
            osts,
            deleted,
            want: want.to_vec(),
        }))?;
        self.settle()
    }

    fn write(&mut self, write: &schema::Write) -> Result<(), Trouble> {
        let path = self.block_paths(&write.path)?;
        let errno = self.guest.write(&path, &write.text, self.deadline(None)?)?;
        let want = write.errno.as_deref().map(super::errno::by_name).transpose().map_err(Trouble::Error)?;
        self.observe(Observation::Write(Write { path, text: write.text.clone(), errno, want }))?;
        self.settle()
    }

    /// `${BLOCK:a[0]}` becomes the block's directory.
    fn block_paths(&self, path: &str) -> Result<String, Trouble> {
        let Some((before, rest)) = path.split_once("${BLOCK:") else { return Ok(path.to_string()) };
        let (selection, after) =
            rest.split_once('}').ok_or_else(|| Trouble::Error(format!("no closing brace in {path:?}")))?;
        let block = self.block(selection)?;
        Ok(format!("{before}/sys/devices/system/memory/memory{block}{after}"))
    }

    fn blocks(&self, selection: &str, order: Order) -> Result<Vec<u32>, Trouble> {
        let layout =
            self.judge.layout().ok_or_else(|| Trouble::Error("the guest has not answered".into()))?;
        select(layout, selection, order, self.seed).map_err(|e| Trouble::Error(e.to_string()))
    }

    fn block(&self, selection: &str) -> Result<u32, Trouble> {
        match self.blocks(selection, Order::AsGiven)?.as_slice() {
            [block] => Ok(*block),
            many => Err(Trouble::Error(format!("{selection:?} is {} blocks, one is needed", many.len()))),
        }
    }

    fn set(&mut self, set: &schema::Set) -> Result<(), Trouble> {
        let want = super::errno::results(&set.result).map_err(Trouble::Error)?;
        for block in self.blocks(&set.blocks, set.order)? {
            let deadline = self.deadline(None)?;
            let path = format!("/sys/devices/system/memory/memory{block}/{}", set.attribute.file());
            let job = self.guest.start_write(&path, &set.to, deadline)?;
            let ended = self.guest.wait_write(job, deadline);
            if matches!(ended, Err(Trouble::Timeout { .. })) {
                self.guest.interrupt(job)?;
            }
            let (_, errno) = self.within(ended, || format!("the end of writing {:?} to {path}", set.to))?;
            self.observe(Observation::BlockWrite(BlockWrite {
                block,
                attribute: set.attribute,
                text: set.to.clone(),
                errno,
                want: want.clone(),
            }))?;
            self.settle()?;
        }
        Ok(())
    }

    fn start(&mut self, start: &schema::Start) -> Result<(), Trouble> {
        let block = self.block(&start.block)?;
        let path = format!("/sys/devices/system/memory/memory{block}/state");
        let job = self.guest.start_write(&path, &start.to, self.deadline(None)?)?;
        self.started.insert(start.name.clone(), Started { job, block, text: start.to.clone(), ended: None });
        Ok(())
    }

    fn finish_write(&mut self, finish: &schema::Finish) -> Result<(), Trouble> {
        let deadline = self.deadline(None)?;
        let want = super::errno::results(&finish.result).map_err(Trouble::Error)?;
        let unknown = || Trouble::Error(format!("no write named {:?} was started", finish.name));
        let job = self.started.get(&finish.name).ok_or_else(unknown)?.job;
        if finish.interrupt {
            self.guest.interrupt(job)?;
        }
        let ended = self.guest.wait_write(job, deadline);
        if matches!(ended, Err(Trouble::Timeout { .. })) {
            self.guest.interrupt(job)?;
        }
        let (t_ns, errno) = self.within(ended, || format!("the end of {}", finish.name))?;
        if let Some(started) = self.started.get_mut(&finish.name) {
            started.ended = Some(Ended { t_ns, errno, want });
        }
        if self.started.values().any(|s| s.ended.is_none()) {
            return Ok(());
        }
        self.overlapping()
    }

    /// All background writes have ended: they are judged together, in the order of their ends.
    fn overlapping(&mut self) -> Result<(), Trouble> {
        let mut ended: Vec<(u64, BlockWrite)> = Vec::new();
        for (_, started) in std::mem::take(&mut self.started) {
            let Some(end) = started.ended else { continue };
            let (attribute, text) = (schema::Attribute::State, started.text);
            let write =
                BlockWrite { block: started.block, attribute, text, errno: end.errno, want: end.want };
            ended.push((end.t_ns, write));
        }
        ended.sort_by_key(|(t, _)| *t);
        self.observe(Observation::Overlapping { writes: ended.into_iter().map(|(_, w)| w).collect() })?;
        self.settle()
    }

    fn hold(&mut self, hold: &schema::Hold) -> Result<(), Trouble> {
        let deadline = self.deadline(Some("120s"))?;
        let bytes = match units::amount(&hold.size).map_err(Trouble::Error)? {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(percent) => self.guest.mem_free(deadline)? / 100 * percent,
        };
        let job = Job::Hold(wire::Hold {
            kind: kind_of(hold.kind),
            bytes,
            seed: self.seed,
            oom_score_adj: 0,
            busy: hold.busy,
        });
        let id = self.guest.start(job, deadline)?;
        let end = self.guest.wait_job(id, deadline)?;
        match end.result {
            Ok(JobOutcome::Held { bytes: held, .. }) if held >= bytes => {}
            Ok(other) => {
                return Err(Trouble::Error(format!(
                    "hold {}: asked {bytes} bytes, got {other:?}",
                    hold.name
                )));
            }
            Err(failure) => return Err(Trouble::Error(format!("hold {}: {}", hold.name, failure.why))),
        }
        self.holds.insert(hold.name.clone(), id);
        if let Some(reaches) = &hold.reaches {
            self.reaches(&hold.name, id, reaches, deadline)?;
        }
        self.settle()
    }

    fn reaches(&mut self, name: &str, id: u64, selection: &str, deadline: Deadline) -> Result<(), Trouble> {
        let frames = self.guest.frames(id, deadline)?;
        for block in self.blocks(selection, Order::AsGiven)? {
            let pfns = self.judge.pfns(block);
            if self.judge.is_online(block) && !frames.iter().any(|(a, b)| *a < pfns.end && *b >= pfns.start) {
                return Err(Trouble::Error(format!(
                    "hold {name} has no page in memory{block}: the case shows nothing"
                )));
            }
        }
        Ok(())
    }

    fn release(&mut self, name: &str) -> Result<(), Trouble> {
        let unknown = || Trouble::Error(format!("nothing named {name:?} is held"));
        let job = self.holds.remove(name).ok_or_else(unknown)?;
        let deadline = self.deadline(Some("120s"))?;
        let observed = match self.guest.verify(job, deadline)? {
            Ok((pages, wrong)) => Observation::Verified { name: name.to_string(), pages, wrong },
            Err(why) => Observation::HolderDied { name: name.to_string(), why },
        };
        self.observe(observed)?;
        self.guest.release(job, deadline)?;
        self.settle()
    }

    fn exec(&mut self, exec: &schema::Exec) -> Result<(), Trouble> {
        let deadline = self.deadline(Some(&exec.within))?;
        let end = self.guest.exec(&exec.program, &exec.args, deadline)?;
        let Ok(JobOutcome::Exited { status, timed_out, stdout, stderr }) = end else {
            return Err(Trouble::Error(format!("{} did not run: {end:?}", exec.program)));
        };
        self.observe(Observation::Exec(Exec {
            program: exec.program.clone(),
            status,
            timed_out,
            stdout,
            stderr,
            want_status: exec.status,
            want_stdout: exec.stdout.clone(),
        }))?;
        self.settle()
    }

    fn repeat(&mut self, repeat: &schema::Repeat) -> Result<(), Trouble> {
        let caches = if repeat.flat { self.guest.slab_caches(self.deadline(None)?)? } else { Vec::new() };
        let mut samples = Vec::new();
        for round in 1..=repeat.times {
            self.path.push(round.to_string());
            self.steps(&repeat.steps)?;
            self.path.pop();
            if repeat.flat {
                samples.push(self.guest.sample(&caches, self.deadline(None)?)?);
            }
        }
        if repeat.flat { self.observe(Observation::Drift { samples }) } else { Ok(()) }
    }

    fn expect(&mut self, expect: &schema::Expect) -> Result<(), Trouble> {
        let deadline = self.deadline(expect.within.as_deref())?;
        if let Some(dimm) = &expect.unplug {
            let want = super::errno::outcomes(expect.outcome.as_deref()).map_err(Trouble::Error)?;
            return self.unplug_outcome(dimm, &want, deadline);
        }
        if let Some(path) = &expect.file {
            return self.expect_file(path, expect, deadline);
        }
        if let Some(pattern) = &expect.console {
            let line = self.guest.console_line(pattern, &mut self.console_from, deadline)?;
            return self.observe(Observation::Console { pattern: pattern.clone(), line });
        }
        if let Some(selection) = &expect.pinned {
            return self.expect_pinned(selection, deadline);
        }
        match &expect.blocks {
            Some(selection) => self.expect_blocks(selection, expect, deadline),
            None => Err(Trouble::Error("an expectation of nothing".into())),
        }
    }

    fn expect_file(
        &mut self,
        path: &str,
        expect: &schema::Expect,
        deadline: Deadline,
    ) -> Result<(), Trouble> {
        let path = self.block_paths(path)?;
        let want_errno =
            expect.errno.as_deref().map(super::errno::by_name).transpose().map_err(Trouble::Error)?;
        let value = self.guest.read(&path, deadline)?;
        self.observe(Observation::File(File { path, value, want: expect.is.clone(), want_errno }))
    }

    /// Proof by page flags; without it the case shows nothing.
    fn expect_pinned(&mut self, selection: &str, deadline: Deadline) -> Result<(), Trouble> {
        for block in self.blocks(selection, Order::AsGiven)? {
            if super::scan::unmovable(&self.guest.scan(self.judge.pfns(block), deadline)?) > 0 {
                return Ok(());
            }
        }
        Err(Trouble::Error(format!("no unmovable page lies in {selection}: the case shows nothing")))
    }

    fn expect_blocks(
        &mut self,
        selection: &str,
        expect: &schema::Expect,
        deadline: Deadline,
    ) -> Result<(), Trouble> {
        let settles = std::mem::take(&mut self.racing);
        for dimm in &settles {
            let inserted = self.guest.wait_inserted(dimm, deadline);
            self.within(inserted, || format!("the guest's answer to the plug of {dimm}"))?;
        }
        if !settles.is_empty() {
            // The state must be known before it can be taken over; it is judged below.
            let settled = self.read_state()?;
            self.observe(Observation::Raced { settled: Box::new(settled), dimms: settles.clone() })?;
        }
        let blocks = self.blocks(selection, Order::AsGiven)?;
        let spread = |text: &Option<String>| match text {
            Some(words) => super::errno::spread(words, blocks.len()).map_err(Trouble::Error),
            None => Ok(Vec::new()),
        };
        self.observe(Observation::Blocks(Blocks {
            states: spread(&expect.state)?,
            zones: spread(&expect.zone)?,
            valid_zones: expect.valid_zones.clone(),
            uniform: expect.uniform,
            blocks,
        }))?;
        self.settle()
    }

    /// A passed deadline is a finding if the guest still answers, and a hang if it does not.
    fn within<T>(&mut self, result: Result<T, Trouble>, what: impl Fn() -> String) -> Result<T, Trouble> {
        match result {
            Err(Trouble::Timeout { seconds, .. }) => {
                self.guest.alive(self.scale)?;
                self.observe(Observation::NotWithin { waited_for: what(), seconds })?;
                Err(Trouble::Found)
            }
            other => other,
        }
    }
}

/// A step as one line of YAML.
fn one_line(step: &Step) -> String {
    serde_json::to_string(step).unwrap_or_else(|e| format!("(step cannot be shown: {e})"))
}

fn kind_of(kind: schema::HoldKind) -> wire::HoldKind {
    match kind {
        schema::HoldKind::Anonymous => wire::HoldKind::Anonymous,
        schema::HoldKind::Mlocked => wire::HoldKind::Mlocked,
        schema::HoldKind::Tmpfs => wire::HoldKind::Tmpfs,
        schema::HoldKind::Slab => wire::HoldKind::Slab,
        schema::HoldKind::PageTables => wire::HoldKind::PageTables,
        schema::HoldKind::Pipe => wire::HoldKind::Pipe,
    }
}
