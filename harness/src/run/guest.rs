//! Operations on the running guest, in the engine's words. Turns every error into what it means for the verdict.

use super::observation::{Device, Outcome};
use super::trouble::{Trouble, channel_trouble, qmp_trouble, timeout, wait_trouble};
use crate::case::schema;
use crate::case::units;
use crate::facts::drift;
use crate::timeline::{PlugTimes, Tie};
use crate::vm::{
    self, ChannelError, Deadline, JobEnd, PlugError, Plugged, Push, UnplugError, Unplugging, Vm,
};
use regex::Regex;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use wire::{Answer, Ask, Failure, Job, Snapshot, Value};

mod flags;
mod programs;
pub(super) use flags::Flags;
pub(super) use programs::program;

/// Round trips by which the clocks are related.
const TRIPS: usize = 4;

/// A guest that has said hello.
pub struct Guest {
    vm: Vm,
    /// /proc/kpageflags can be read
    pub page_flags: bool,
    plugged: BTreeMap<String, Plugged>,
    /// when each DIMM was plugged, in order
    pub plugs: Vec<PlugTimes>,
    unplugging: BTreeMap<String, Unplugging>,
    /// what the snapshots so far have told
    watched: wire::State,
    /// what was read for the samples so far
    texts: BTreeMap<String, Value>,
}

/// What an unplug came to: outcome, (source, status) of each report, DEVICE_DELETED seen.
pub type Unplugged = (Outcome, Vec<(u64, u64)>, bool);

impl Guest {
    /// Wraps a VM whose agent has answered.
    pub fn new(vm: Vm, page_flags: bool) -> Self {
        Self {
            vm,
            page_flags,
            plugged: BTreeMap::new(),
            plugs: Vec::new(),
            unplugging: BTreeMap::new(),
            watched: wire::State::new(),
            texts: BTreeMap::new(),
        }
    }

    /// The VM.
    pub fn vm(&self) -> &Vm {
        &self.vm
    }

    /// Asks the agent; every failure to answer is trouble.
    fn ask(&self, ask: Ask, deadline: Deadline) -> Result<Answer, Trouble> {
        self.vm.channel().call(ask, deadline).map_err(channel_trouble)
    }

    /// The same where the guest's errno is an answer too.
    fn try_ask(&self, ask: Ask, deadline: Deadline) -> Result<Result<Answer, Failure>, Trouble> {
        match self.vm.channel().call(ask, deadline) {
            Ok(answer) => Ok(Ok(answer)),
            Err(ChannelError::Refused { failure, .. }) => Ok(Err(failure)),
            Err(other) => Err(channel_trouble(other)),
        }
    }

    /// What changed since the last snapshot.
    pub fn snapshot(&mut self, deadline: Deadline) -> Result<Snapshot, Trouble> {
        match self.ask(Ask::Snapshot, deadline)? {
            Answer::Snapshot(delta) => delta.snapshot(&mut self.watched).ok_or_else(lost),
            other => Err(odd("a snapshot", &other)),
        }
    }

    /// All that the agent said unasked so far.
    pub fn pushes(&self) -> Vec<Push> {
        self.vm.channel().pushes()
    }

    /// DIMMs as QEMU lists them.
    pub fn devices(&self) -> Result<Vec<Device>, Trouble> {
        let all = self.vm.memory_devices().map_err(qmp_trouble)?;
        all.into_iter().filter(|d| d.kind == "dimm").map(|d| device(&d)).collect()
    }

    /// Plugs; QEMU's refusal is an answer.
    pub fn plug(
        &mut self,
        plug: &schema::Plug,
        _deadline: Deadline,
    ) -> Result<Result<Device, String>, Trouble> {
        match self.vm.plug(&vm_plug(plug)?) {
            Ok(plugged) => {
                let device = device(&plugged.device)?;
                self.plugs.push(PlugTimes {
                    dimm: plug.dimm.clone(),
                    addr: device.addr,
                    size: device.size,
                    sent: plugged.sent,
                    answered: plugged.answered,
                    ost: None,
                });
                self.plugged.insert(plug.dimm.clone(), plugged);
                Ok(Ok(device))
            }
            Err(PlugError::Backend(vm::QmpError::Refused { desc, .. }))
            | Err(PlugError::Device(vm::QmpError::Refused { desc, .. })) => Ok(Err(desc)),
            Err(PlugError::Backend(e) | PlugError::Device(e) | PlugError::Qmp(e)) => Err(qmp_trouble(e)),
            Err(other @ PlugError::Unlisted(_)) => Err(Trouble::Miss(other.to_string())),
        }
    }

    /// Waits until the guest has reported on a plug: (source, status) of the report.
    pub fn wait_inserted(&mut self, dimm: &str, deadline: Deadline) -> Result<Vec<(u64, u64)>, Trouble> {
        let none = || Trouble::Error(format!("{dimm} was never plugged"));
        let ost = self.vm.wait_inserted(self.plugged.get(dimm).ok_or_else(none)?, deadline);
        let ost = ost.map_err(wait_trouble)?;
        if let Some(plug) = self.plugs.iter_mut().rev().find(|p| p.dimm == dimm) {
            plug.ost = Some(ost.event.at);
        }
        Ok(vec![(ost.source, ost.status)])
    }

    /// Relates the guest's clock to the host's: the best of some round trips.
    pub fn tie(&self, deadline: Deadline) -> Result<Tie, Trouble> {
        let trip = || {
            let sent = Instant::now();
            let reply = self.vm.channel().ask(Ask::Read { path: "/proc/uptime".into() }, deadline);
            reply.map(|reply| Tie::of(sent, reply.t_ns, reply.at)).map_err(channel_trouble)
        };
        let mut best = trip()?;
        for _ in 1..TRIPS {
            let tie = trip()?;
            if tie.error_ns < best.error_ns {
                best = tie;
            }
        }
        Ok(best)
    }

    /// Sends device_del; QEMU's refusal is an answer.
    pub fn unplug(&mut self, dimm: &str, _deadline: Deadline) -> Result<Result<(), String>, Trouble> {
        match self.vm.unplug(dimm) {
            Ok(unplugging) => {
                // Of two requests under way at once the first one's reports count too.
                self.unplugging.entry(dimm.to_string()).or_insert(unplugging);
                Ok(Ok(()))
            }
            Err(UnplugError::Qmp(vm::QmpError::Refused { desc, .. })) => Ok(Err(desc)),
            Err(UnplugError::Qmp(e)) => Err(qmp_trouble(e)),
            Err(other @ UnplugError::NoDimm(_)) => Ok(Err(other.to_string())),
        }
    }

    /// Has the guest begin the ejection of a DIMM, by the slot's device that a block leads to.
    pub fn eject(&mut self, dimm: &str, block: u32, deadline: Deadline) -> Result<(), Trouble> {
        let unplugging = self.vm.expect_unplug(dimm).map_err(|e| Trouble::Error(e.to_string()))?;
        self.unplugging.insert(dimm.to_string(), unplugging);
        let path = format!("/sys/devices/system/memory/memory{block}/firmware_node/eject");
        self.ask(Ask::Write { path, text: "1".into() }, deadline).map(drop)
    }

    /// Waits for the outcome of an unplug, and removes the backend of a DIMM that is gone.
    pub fn unplug_outcome(&mut self, dimm: &str, deadline: Deadline) -> Result<Unplugged, Trouble> {
        let none = || Trouble::Error(format!("the unplug of {dimm} was never asked for"));
        let asked = self.unplugging.get(dimm).ok_or_else(none)?;
        let pairs = |osts: Vec<vm::Ost>| osts.iter().map(|o| (o.source, o.status)).collect::<Vec<_>>();
        let outcome = self.vm.unplug_outcome(asked, deadline).map_err(wait_trouble)?;
        let result = match outcome {
            vm::UnplugOutcome::Done { osts, reported: true } => {
                self.vm.remove_backend(dimm).map_err(qmp_trouble)?;
                (Outcome::Done, pairs(osts), true)
            }
            vm::UnplugOutcome::Refused { osts, .. } => {
                let osts = pairs(osts);
                let disabled = osts.last().is_some_and(|(_, status)| *status == 128);
                (if disabled { Outcome::Disabled } else { Outcome::Refused }, osts, false)
            }
            vm::UnplugOutcome::Done { .. } | vm::UnplugOutcome::Pending { .. } => {
                return Err(timeout(format!("the outcome of the unplug of {dimm}"), deadline));
            }
        };
        self.unplugging.remove(dimm);
        Ok(result)
    }

    /// Writes a file in one write(2): 0 or the errno.
    pub fn write(&self, path: &str, text: &str, deadline: Deadline) -> Result<i32, Trouble> {
        let ask = Ask::Write { path: path.into(), text: text.into() };
        errno_of(self.try_ask(ask, deadline)?.map(drop))
    }

    /// Starts a write in the background.
    pub fn start_write(&self, path: &str, text: &str, deadline: Deadline) -> Result<u64, Trouble> {
        self.start(Job::Write { path: path.into(), text: text.into() }, deadline)
    }

    /// Waits for the end of a background write: guest time, and 0 or the errno.
    pub fn wait_write(&self, job: u64, deadline: Deadline) -> Result<(u64, i32), Trouble> {
        let end = self.wait_job(job, deadline)?;
        Ok((end.t_ns, errno_of(end.result.map(drop))?))
    }

    /// Starts a job.
    pub fn start(&self, job: Job, deadline: Deadline) -> Result<u64, Trouble> {
        self.vm.channel().start_job(job, deadline).map_err(channel_trouble)
    }

    /// Waits for the end of a job.
    pub fn wait_job(&self, job: u64, deadline: Deadline) -> Result<JobEnd, Trouble> {
        self.vm.channel().wait_job(job, deadline).map_err(channel_trouble)
    }

    /// Interrupts a job.
    pub fn interrupt(&self, job: u64) -> Result<(), Trouble> {
        self.ask(Ask::Interrupt { job }, Deadline::within(Duration::from_secs(30))).map(drop)
    }

    /// MemFree and MemAvailable in bytes.
    pub fn free(&self, deadline: Deadline) -> Result<super::proof::Free, Trouble> {
        super::proof::Free::parse(&self.text("/proc/meminfo", deadline)?).map_err(Trouble::Error)
    }

    /// Page frames that back a hold.
    pub fn frames(&self, job: u64, deadline: Deadline) -> Result<Vec<(u64, u64)>, Trouble> {
        match self.ask(Ask::Frames { job }, deadline)? {
            Answer::Frames(frames) => Ok(frames),
            other => Err(odd("page frames", &other)),
        }
    }

    /// Checks what is held: pages and wrong ones, or how the holder died.
    pub fn verify(&self, job: u64, deadline: Deadline) -> Result<Result<(u64, u64), String>, Trouble> {
        match self.try_ask(Ask::Verify { job }, deadline)? {
            Ok(Answer::Verified { pages, wrong }) => Ok(Ok((pages, wrong))),
            Ok(other) => Err(odd("the state of a hold", &other)),
            Err(failure) => Ok(Err(failure.why)),
        }
    }

    /// Gives back what is held.
    pub fn release(&self, job: u64, deadline: Deadline) -> Result<(), Trouble> {
        self.ask(Ask::Release { job }, deadline).map(drop)
    }

    /// A file's content or errno.
    pub fn read(&self, path: &str, deadline: Deadline) -> Result<Value, Trouble> {
        match self.try_ask(Ask::Read { path: path.into() }, deadline)? {
            Ok(Answer::Text(text)) => Ok(Value::Text(text)),
            Ok(other) => Err(odd(path, &other)),
            Err(failure) if failure.errno != 0 => Ok(Value::Errno(failure.errno)),
            Err(failure) => Err(Trouble::Error(format!("{path}: {}", failure.why))),
        }
    }

    /// Names of the kernel's slab caches, aliases left out; none where it does not list them.
    pub fn slab_caches(&self, deadline: Deadline) -> Result<Vec<String>, Trouble> {
        match self.read(drift::SLABINFO, deadline)? {
            Value::Text(text) => drift::cache_names(&text).map_err(|e| Trouble::Error(e.to_string())),
            Value::Errno(_) => Ok(Vec::new()),
        }
    }

    /// Quantities that must not drift over rounds, after all that is only cached was given back.
    pub fn sample(&mut self, caches: &[String], deadline: Deadline) -> Result<drift::Sample, Trouble> {
        // A kernel without compaction, a cache without `shrink`: nothing to give back there.
        self.ask(Ask::WriteMany { writes: drift::settle(caches) }, deadline)?;
        let paths: Vec<String> = drift::PATHS.iter().map(|p| (*p).to_string()).collect();
        let all = match self.ask(Ask::ReadMany { paths: paths.clone() }, deadline)? {
            Answer::Texts(all) if all.len() == paths.len() => all,
            other => return Err(odd("texts of files", &other)),
        };
        for (path, sent) in paths.into_iter().zip(all) {
            let value = sent.value(self.texts.get(&path)).ok_or_else(lost)?;
            self.texts.insert(path, value);
        }
        let texts = self.texts.iter().filter_map(|(path, value)| match value {
            Value::Text(text) => Some((path.clone(), text.clone())),
            Value::Errno(_) => None,
        });
        drift::Sample::parse(&texts.collect()).map_err(|e| Trouble::Error(e.to_string()))
    }

    /// The first console line from `from` on that matches, if one comes; `from` moves behind it.
    pub fn console_line(
        &self,
        pattern: &str,
        from: &mut u64,
        deadline: Deadline,
    ) -> Result<Option<String>, Trouble> {
        let regex = Regex::new(pattern).map_err(|e| Trouble::Error(e.to_string()))?;
        match self.vm.console().wait_line(pattern, *from, deadline, |line| regex.is_match(line)) {
            Ok(line) => {
                *from = line.number + 1;
                Ok(Some(line.text))
            }
            Err(vm::WaitError::Timeout { .. }) => Ok(None),
            Err(other) => Err(wait_trouble(other)),
        }
    }

    /// Waits until all that the kernel has printed so far has come.
    pub fn await_console(&self, deadline: Deadline) -> Result<(), Trouble> {
        let marks = self.vm.console().marks();
        match self.write("/dev/console", &format!("\n{}\n", vm::CONSOLE_MARK), deadline)? {
            0 => self.vm.console().wait_mark(marks, deadline).map_err(wait_trouble),
            errno => Err(Trouble::Error(format!("/dev/console: errno {errno}"))),
        }
    }

    /// Stores a file in the guest.
    pub fn put(&self, path: &str, mode: u32, bytes: &[u8], deadline: Deadline) -> Result<(), Trouble> {
        super::put::parts(path, mode, bytes).into_iter().try_for_each(|put| self.ask(put, deadline).map(drop))
    }

    /// A file that is there on every kernel that a case applies to.
    pub fn text(&self, path: &str, deadline: Deadline) -> Result<String, Trouble> {
        match self.read(path, deadline)? {
            Value::Text(text) => Ok(text),
            Value::Errno(errno) => Err(Trouble::Error(format!("{path}: errno {errno}"))),
        }
    }

    /// Ok if the guest still answers.
    pub fn alive(&self, scale: f64) -> Result<(), Trouble> {
        let deadline = Deadline::within(Duration::from_secs(20).mul_f64(scale));
        self.ask(Ask::Read { path: "/proc/uptime".into() }, deadline).map(drop)
    }
}

fn vm_plug(plug: &schema::Plug) -> Result<vm::Plug, Trouble> {
    let wrong = Trouble::Error;
    let number = |text: &Option<String>| text.as_deref().map(units::number).transpose().map_err(wrong);
    Ok(vm::Plug {
        name: plug.dimm.clone(),
        size: units::size(&plug.size).map_err(wrong)?,
        node: number(&plug.node)?,
        slot: number(&plug.slot)?,
        addr: plug.addr.as_deref().map(units::address).transpose().map_err(wrong)?,
    })
}

fn device(device: &vm::MemoryDevice) -> Result<Device, Trouble> {
    let missing = || Trouble::Miss(format!("QEMU lists a DIMM without name, slot or node: {device:?}"));
    let small = |n: Option<u64>| n.and_then(|n| u32::try_from(n).ok()).ok_or_else(missing);
    Ok(Device {
        name: device.id.clone().ok_or_else(missing)?,
        addr: device.addr,
        size: device.size,
        slot: small(device.slot)?,
        node: small(device.node)?,
    })
}

/// 0 or the errno; a failure without errno is the test's.
fn errno_of(result: Result<(), Failure>) -> Result<i32, Trouble> {
    match result {
        Ok(()) => Ok(0),
        Err(failure) if failure.errno != 0 => Ok(failure.errno),
        Err(failure) => Err(Trouble::Error(failure.why)),
    }
}

/// The line is checked and numbered, so that this is a bug of ours.
fn lost() -> Trouble {
    Trouble::Error("the agent told a change of a file that it never sent".into())
}

fn odd(what: &str, answer: &Answer) -> Trouble {
    Trouble::Error(format!("{what}: the agent answered {answer:?}"))
}
