//! Trials by the host's clock: guests restored from a template, one kernel's at a time.

use super::cell::Cell;
use super::sample::{Outcome, Seen};
use super::steps::{self, Readings};
use crate::event::Kind;
use crate::kernel::Kernel;
use crate::run::boot::{self, NoBoot, starved};
use crate::run::host::Host;
use crate::verdict::{Alarm, Provokes};
use crate::vm::panic_port::{self, Signal};
use crate::vm::template::Template;
use crate::vm::{Boot, ChannelError, Deadline, Machine, Plug, Ram, Spec, Vm, WaitError, arch::Arch};
use regex::Regex;
use std::path::PathBuf;
use std::time::Duration;
use wire::{Answer, Ask, Job, JobOutcome, ScriptStep, TrialSeen, Value};

/// Boot memory of the guests.
pub const MEMORY: u64 = 512 << 20;
/// A step of the set-up takes no longer, before scaling.
const STEP: Duration = Duration::from_secs(120);
/// How long the guest may take to say what it saw, after the limit.
const GRACE: Duration = Duration::from_secs(60);

/// Why a trial has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// the kernel died: that is a result
    Died(String),
    /// the host, QEMU, or a load that was not in force
    NotMeasured(String),
    /// a signal
    Interrupted,
}

/// What all guests of a kernel have in common.
pub struct Guests<'a> {
    /// host
    pub host: &'a Host,
    /// kernel
    pub kernel: &'a Kernel,
    /// initramfs with udevd
    pub initrd: PathBuf,
    /// bytes of the largest DIMM
    pub largest: u64,
    /// virtual processors
    pub processors: u32,
    /// further kernel parameters
    pub append: String,
    /// further arguments of QEMU
    pub extra: Vec<String>,
}

impl Guests<'_> {
    /// A guest that boots.
    pub fn spec(&self, initrd: PathBuf) -> Spec {
        let machine = Machine {
            arch: Arch::X86_64,
            memory: MEMORY,
            slots: 2,
            max_memory: (MEMORY + self.largest).max(8 << 30).next_multiple_of(1 << 30),
            smp: self.processors,
            nodes: Vec::new(),
            cold_dimms: Vec::new(),
            cpu: None,
            extra: panic_port::ARGS
                .iter()
                .map(|a| (*a).to_string())
                .chain(self.extra.iter().cloned())
                .collect(),
        };
        let always = crate::run::spec::always(self.host.scale);
        let words = [always.as_str(), wire::MARKER, &self.append];
        let cmdline = words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
        let boot = Boot { kernel: self.kernel.boot.clone(), initrd: Some(initrd), cmdline };
        let mut spec = Spec::new(self.host.qemu.clone(), self.host.accel, machine, Some(boot));
        let alarm = Alarm::new(Provokes::default());
        spec.alarm = Some(Box::new(move |line| alarm.is_fatal(line)));
        spec
    }

    /// Time that the host may need for it.
    pub fn within(&self, span: Duration) -> Deadline {
        Deadline::within(span.mul_f64(self.host.scale))
    }

    /// Boots a guest and saves it; also what is free in it, in bytes.
    ///
    /// # Errors
    /// It does not boot, or cannot be saved.
    pub fn template(&self) -> Result<(Template, u64), String> {
        let dir = self.host.files().join(format!("measure-{}", self.kernel.sha256));
        let mut spec = || {
            crate::run::templates::make_empty(&dir)
                .map_err(|e| crate::run::Trouble::Miss(format!("{}: {e}", dir.display())))?;
            Ok(Spec { ram: Ram::Shared(dir.clone()), ..self.spec(self.initrd.clone()) })
        };
        let mut log = |kind: Kind| {
            if let Kind::Retry { reason } = kind {
                say!("memhp: {}: {reason}", self.kernel.name);
            }
        };
        let (vm, _) = boot::boot(self.host, &mut spec, &mut log).map_err(|e| match e {
            NoBoot::Trouble(trouble) => trouble.to_string(),
            NoBoot::Again(dead) => format!("does not boot: {}", dead.reason),
        })?;
        let _guard = self.host.watch_over(&vm);
        let free = read(&vm, "/proc/meminfo", self.within(STEP)).map_err(|f| f.text())?;
        let free = steps::mem_free(&free).ok_or("no MemFree in /proc/meminfo")?;
        let template = vm.save_template(&dir, serde_json::Value::Null, self.within(STEP));
        Ok((template.map_err(|e| e.to_string())?, free))
    }

    /// One trial in a guest restored from the template.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn trial(
        &self,
        template: &Template,
        cell: &Cell,
        limit: Duration,
        seed: u64,
    ) -> Result<(Outcome, Seen), Fault> {
        if self.host.interrupted() {
            return Err(Fault::Interrupted);
        }
        let vm = template.fork(self.spec(self.initrd.clone()), self.within(STEP));
        let vm = vm.map_err(|e| Fault::NotMeasured(format!("the guest was not restored: {e}")))?;
        let _guard = self.host.watch_over(&vm);
        let taken = self.in_guest(&vm, cell, limit, seed);
        if self.host.interrupted() {
            return Err(Fault::Interrupted);
        }
        taken.map_err(|fault| match (fault, starved(&vm)) {
            (Fault::Died(_), Some(why)) => Fault::NotMeasured(why.to_string()),
            (fault, _) => fault,
        })
    }

    fn in_guest(&self, vm: &Vm, cell: &Cell, limit: Duration, seed: u64) -> Result<(Outcome, Seen), Fault> {
        let mut random = [0; 32];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| Fault::NotMeasured(e.to_string()))?;
        let reseed = Ask::Reseed { base64: wire::base64::encode(&random) };
        ask(vm, reseed, self.within(STEP))?;
        let free = read(vm, "/proc/meminfo", self.within(STEP))?;
        let free = steps::mem_free(&free).ok_or_else(|| Fault::NotMeasured("no MemFree".into()))?;
        let seqnum = self.seqnum(vm)?;
        let held = free / 100 * u64::from(cell.load.held());
        for step in steps::set_up(cell.policy, cell.load, held, self.processors, seed) {
            self.step(vm, step)?;
        }
        let block = block_bytes(vm, self.within(STEP))?;
        let blocks = u32::try_from(cell.size / block).unwrap_or(u32::MAX);
        if cell.load.storm() {
            self.await_storm(vm, seqnum)?;
        }
        let ScriptStep { ask: trial, .. } = steps::trial(cell.policy, blocks, Duration::ZERO, limit);
        let Ask::Job(trial) = trial else { return Err(Fault::NotMeasured("no job".into())) };
        let (said, events) = (vm.console().text().len(), vm.qmp().events_end());
        let job = vm.channel().begin_job(trial);
        if vm.wait_signal(events, Some(job), self.within(STEP)).map_err(wait_fault)? != Signal::Stopped {
            let end = vm.channel().wait_job(job, self.within(STEP)).map_err(channel_fault)?;
            return Err(Fault::NotMeasured(format!("the guest did not stop for the plug: {:?}", end.result)));
        }
        let addr = self.plug(vm, cell.size)?;
        vm.cont(self.within(STEP)).map_err(|e| Fault::NotMeasured(e.to_string()))?;
        let end = vm.channel().wait_job(job, self.within(limit + GRACE));
        let seen = tried(end.map_err(late)?.result.map_err(|f| Fault::NotMeasured(f.why))?)?;
        let before = Readings::of(&seen.before).map_err(Fault::NotMeasured)?;
        steps::in_force(cell.load, self.processors, free, seqnum, &before).map_err(Fault::NotMeasured)?;
        self.result(vm, &seen, &before, (addr / block, blocks), (held, said))
    }

    /// What the guest saw, and the state of the blocks at the end. `blocks`: first and number; `held` and `said`: bytes of the
    /// load, and of the console before the plug.
    pub(super) fn result(
        &self,
        vm: &Vm,
        seen: &TrialSeen,
        before: &Readings,
        (first, blocks): (u64, u32),
        (held, said): (u64, usize),
    ) -> Result<(Outcome, Seen), Fault> {
        if seen.lost {
            return Err(Fault::NotMeasured("uevents were lost".into()));
        }
        let after = Readings::of(&seen.after).map_err(Fault::NotMeasured)?;
        let online = self.online(vm, first, blocks)?;
        let since = |t: u64| t.saturating_sub(seen.begun_ns);
        let added = || seen.added.iter().map(|(_, t)| since(*t));
        let all = online == blocks && seen.onlined.len() == blocks as usize;
        let console = vm.console().text();
        let console = console.get(said..).unwrap_or("");
        let measured = Seen {
            plug_at_ns: Some(seen.begun_ns),
            latency_ns: seen.onlined.iter().map(|(_, t)| since(*t)).max().filter(|_| all),
            added_ns: added().min().zip(added().max()),
            online,
            blocks,
            oom_kills: after.oom_kills.saturating_sub(before.oom_kills),
            victims: victims(console),
            allocation_failures: console.matches("page allocation failure").count() as u64,
            held_bytes: held,
            free_bytes: before.free,
        };
        Ok((if all { Outcome::Online } else { Outcome::Partly }, measured))
    }

    /// Plugs while the machine stands; the DIMM's address.
    pub(super) fn plug(&self, vm: &Vm, size: u64) -> Result<u64, Fault> {
        let plug = Plug { name: "a".into(), size, node: None, slot: None, addr: None };
        let plugged = vm.plug(&plug).map_err(|e| Fault::NotMeasured(e.to_string()))?;
        Ok(plugged.device.addr)
    }

    /// Does a step of the set-up.
    fn step(&self, vm: &Vm, step: ScriptStep) -> Result<(), Fault> {
        let ScriptStep { ask: what, to_end } = step;
        match what {
            Ask::Job(job) => {
                let text = brief(&job);
                let id = vm.channel().start_job(job, self.within(STEP)).map_err(channel_fault)?;
                if !to_end {
                    return Ok(());
                }
                let end = vm.channel().wait_job(id, self.within(STEP)).map_err(channel_fault)?;
                ended_well(&text, end.result)
            }
            other => ask(vm, other, self.within(STEP)).map(drop),
        }
    }

    fn seqnum(&self, vm: &Vm) -> Result<u64, Fault> {
        let text = read(vm, steps::READ[3], self.within(STEP))?;
        text.trim().parse().map_err(|_| Fault::NotMeasured(format!("uevent_seqnum: {text:?}")))
    }

    /// The storm has begun when some of its events have come.
    fn await_storm(&self, vm: &Vm, seqnum: u64) -> Result<(), Fault> {
        let deadline = self.within(STEP);
        while self.seqnum(vm)? < seqnum + 4 * steps::STORM_BEGUN {
            if deadline.left().is_zero() {
                return Err(Fault::NotMeasured("the storm of uevents does not begin".into()));
            }
        }
        Ok(())
    }

    /// How many blocks are online by their own files.
    fn online(&self, vm: &Vm, first: u64, blocks: u32) -> Result<u32, Fault> {
        let path = |n: u64| format!("/sys/devices/system/memory/memory{n}/state");
        let paths: Vec<String> = (first..first + u64::from(blocks)).map(path).collect();
        match ask(vm, Ask::ReadMany { paths }, self.within(STEP))? {
            Answer::Texts(all) => {
                let online = |sent: wire::Sent| sent.value(None) == Some(Value::Text("online\n".into()));
                Ok(u32::try_from(all.into_iter().filter(|s| online(s.clone())).count()).unwrap_or(u32::MAX))
            }
            other => Err(Fault::NotMeasured(format!("states of blocks: {other:?}"))),
        }
    }
}

/// Names of the processes that the console says were killed (mm/oom_kill.c:__oom_kill_process).
fn victims(console: &str) -> Vec<String> {
    let line = Regex::new(r"[Oo]ut of memory.*: Killed process \d+ \((.*)\) total-vm");
    line.map_or_else(|_| Vec::new(), |line| line.captures_iter(console).map(|c| c[1].to_string()).collect())
}

fn brief(job: &Job) -> String {
    match job {
        Job::Exec { argv, .. } => argv.join(" "),
        Job::Hold(hold) => format!("holding {} bytes", hold.bytes),
        Job::AwaitFile { path, .. } => format!("waiting for {path}"),
        other => format!("{other:?}"),
    }
}

/// A job of the set-up that ended otherwise leaves nothing to measure.
pub(super) fn ended_well(what: &str, result: Result<JobOutcome, wire::Failure>) -> Result<(), Fault> {
    match result {
        Ok(JobOutcome::Exited { status: 0, .. } | JobOutcome::Held { .. } | JobOutcome::Found) => Ok(()),
        Ok(other) => Err(Fault::NotMeasured(format!("{what}: {other:?}"))),
        Err(failure) => Err(Fault::NotMeasured(format!("{what}: {}", failure.why))),
    }
}

pub(super) fn tried(outcome: JobOutcome) -> Result<TrialSeen, Fault> {
    match outcome {
        JobOutcome::Tried(seen) => Ok(seen),
        other => Err(Fault::NotMeasured(format!("the trial: {other:?}"))),
    }
}

pub(super) fn block_bytes(vm: &Vm, deadline: Deadline) -> Result<u64, Fault> {
    let text = read(vm, "/sys/devices/system/memory/block_size_bytes", deadline)?;
    let bytes = u64::from_str_radix(text.trim(), 16).ok().filter(|b| *b > 0);
    bytes.ok_or_else(|| Fault::NotMeasured(format!("block_size_bytes: {text:?}")))
}

fn ask(vm: &Vm, ask: Ask, deadline: Deadline) -> Result<Answer, Fault> {
    vm.channel().call(ask, deadline).map_err(channel_fault)
}

fn read(vm: &Vm, path: &str, deadline: Deadline) -> Result<String, Fault> {
    match ask(vm, Ask::Read { path: path.into() }, deadline)? {
        Answer::Text(text) => Ok(text),
        other => Err(Fault::NotMeasured(format!("{path}: {other:?}"))),
    }
}

/// A guest that does not answer in time is not known to be the kernel's fault, before the plug.
pub(super) fn channel_fault(error: ChannelError) -> Fault {
    match error {
        ChannelError::Wait(wait) => wait_fault(wait),
        other => Fault::NotMeasured(other.to_string()),
    }
}

/// After the plug it is: nothing else was asked of it.
pub(super) fn late(error: ChannelError) -> Fault {
    match error {
        ChannelError::Wait(timeout @ WaitError::Timeout { .. }) => {
            Fault::Died(format!("no answer: {timeout}"))
        }
        other => channel_fault(other),
    }
}

pub(super) fn wait_fault(error: WaitError) -> Fault {
    match error {
        WaitError::Alarm { line, .. } => Fault::Died(line),
        WaitError::Gone { what, gone } if crate::run::trouble::by_itself(&gone) => {
            Fault::Died(format!("the guest ended itself, waiting for {what}"))
        }
        other => Fault::NotMeasured(other.to_string()),
    }
}

impl Fault {
    fn text(self) -> String {
        match self {
            Self::Died(why) | Self::NotMeasured(why) => why,
            Self::Interrupted => "interrupted".into(),
        }
    }

    /// As a sample's outcome; `None`: interrupted.
    pub fn outcome(self) -> Option<(Outcome, String)> {
        match self {
            Self::Died(why) => Some((Outcome::Died, why)),
            Self::NotMeasured(why) => Some((Outcome::NotMeasured, why)),
            Self::Interrupted => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn victims_are_read_from_the_console() {
        let console = "[ 3.1] Out of memory: Killed process 77 (init) total-vm:9kB\n[ 3.2] x invoked oom-killer\n\
                       [ 3.3] Out of memory (oom_kill_allocating_task): Killed process 78 ((udev-worker)) total-vm:1kB\n";
        assert_eq!(victims(console), ["init", "(udev-worker)"]);
    }
}
