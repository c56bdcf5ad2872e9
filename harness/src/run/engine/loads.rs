//! Loads: started, proved to be in force, stopped while the guest's state is read, ended, and nothing of them left.
//!
//! A load that is not in force makes the scenario an ERROR: whatever the kernel did, it did not do it under that load.

use super::super::proof;
use super::*;
use wire::Manner;

const SIGINT: i32 = 2;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// Uevents, and programs of each process, that prove a storm.
const STORM: u64 = 5;
/// Ticks (1/100 s) of processor time that prove stress-ng.
const TICKS: u64 = 5;
/// Microseconds of stall that prove pressure.
const STALL_US: u64 = 10_000;
/// Time for a load to show, where the case does not say: it is there to make everything slow.
const PROVE: &str = "120s";
/// Arguments that every stress-ng has: no end, a look at its own results, figures at its end, no files but there.
const STRESS: [&str; 6] = ["--timeout", "0", "--verify", "--metrics-brief", "--temp-path", "/tmp"];

/// A load that was started.
#[derive(Debug)]
pub(super) struct Load {
    job: u64,
    work: Work,
    /// its processes; none where the agent does the work
    group: Option<i32>,
}

/// What a load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Cpu(u32),
    Forks(u32),
    Uevents,
    Stress,
}

/// Figures of a load.
type Figures = BTreeMap<&'static str, u64>;

impl Engine<'_> {
    pub(super) fn load(&mut self, load: &schema::Load) -> Result<(), Trouble> {
        let deadline = self.deadline(Some(PROVE))?;
        let (work, job) = self.work(load)?;
        let job = match job {
            Job::Exec { argv, env, timeout_ms, mut manner } => {
                if let Some(limit) = &load.memory_max {
                    let bytes = units::size(limit).map_err(Trouble::Error)?;
                    let limits = BTreeMap::from([("memory.max".to_string(), bytes.to_string())]);
                    manner.cgroup = Some(format!("load-{}", load.name));
                    self.guest.cgroup(&format!("load-{}", load.name), limits, deadline)?;
                }
                Job::Exec { argv, env, timeout_ms, manner }
            }
            other => other,
        };
        let job = self.guest.start(job, deadline)?;
        let group = if work == Work::Uevents { None } else { Some(self.leader(&load.name, job, deadline)?) };
        self.loads.insert(load.name.clone(), Load { job, work, group });
        let figures = self.in_force(&load.name, deadline)?;
        self.note(Some(&load.name), Phase::Begun, figures)?;
        self.settle()
    }

    fn work(&self, load: &schema::Load) -> Result<(Work, Job), Trouble> {
        let count = |text: &str| units::number(text).map_err(Trouble::Error);
        let burn = |kind: &str, n: u32| ["/init", "burn", kind, &n.to_string()].map(str::to_string).to_vec();
        let (work, argv) = match (&load.cpu, &load.forks, &load.uevents, &load.stress) {
            (Some(n), None, None, None) => (Work::Cpu(count(n)?), burn("cpu", count(n)?)),
            (None, Some(n), None, None) => (Work::Forks(count(n)?), burn("forks", count(n)?)),
            (None, None, Some(storm), None) => {
                let blocks = self.blocks(&storm.blocks, Order::AsGiven)?;
                let path = |n: &u32| format!("/sys/devices/system/memory/memory{n}/uevent");
                let paths = blocks.iter().map(path).collect();
                return Ok((Work::Uevents, Job::Storm { paths, per_second: storm.per_second }));
            }
            (None, None, None, Some(args)) => {
                let own = std::iter::once("/usr/bin/stress-ng").chain(args.split_whitespace()).chain(STRESS);
                (Work::Stress, own.map(str::to_string).collect())
            }
            _ => return Err(Trouble::Error(format!("load {} is not of one kind", load.name))),
        };
        // A load is there to be killed before anything else is; the agent's own score is not for it.
        let manner = Manner { nice: load.nice, oom_score_adj: Some(0), cgroup: None };
        Ok((work, super::super::guest::program(argv, manner)))
    }

    /// Number of the process that leads a load's group.
    fn leader(&self, name: &str, job: u64, deadline: Deadline) -> Result<i32, Trouble> {
        loop {
            if let Some(pid) = self.guest.process(job, self.deadline(None)?)? {
                return Ok(pid);
            }
            self.still_runs(name, job)?;
            if deadline.left().is_zero() {
                return Err(Trouble::Error(format!("load {name} has no process")));
            }
        }
    }

    /// A load ends by nothing but its case.
    fn still_runs(&self, name: &str, job: u64) -> Result<(), Trouble> {
        match self.guest.ended(job)? {
            None => Ok(()),
            Some(end) => Err(Trouble::Error(format!("load {name} ended by itself: {:?}", end.result))),
        }
    }

    fn known(&self, name: &str) -> Result<(u64, Work, Option<i32>), Trouble> {
        let load = self.loads.get(name).map(|l| (l.job, l.work, l.group));
        load.ok_or_else(|| Trouble::Error(format!("no load is named {name}")))
    }

    fn figures(&self, name: &str) -> Result<Figures, Trouble> {
        let (job, work, group) = self.known(name)?;
        self.still_runs(name, job)?;
        // An answer has its own time: what is over when the proof's time is, is the proof.
        let deadline = self.deadline(None)?;
        let read = |path: &str| self.guest.text(path, deadline);
        Ok(match work {
            Work::Forks(_) => {
                BTreeMap::from([("forks", proof::forks(&read("/proc/stat")?).map_err(Trouble::Error)?)])
            }
            Work::Uevents => {
                let number = read("/sys/kernel/uevent_seqnum")?;
                let wrong = || Trouble::Error(format!("/sys/kernel/uevent_seqnum reads {number:?}"));
                BTreeMap::from([("uevents", number.trim().parse().map_err(|_| wrong())?)])
            }
            Work::Cpu(_) | Work::Stress => {
                let all = self.guest.processes(self.deadline(None)?)?;
                let of_group: Vec<_> = all.iter().filter(|p| Some(p.group) == group).collect();
                let running = of_group.iter().filter(|p| p.state == 'R').count() as u64;
                let ticks = of_group.iter().map(|p| p.ticks).sum();
                let processes = of_group.len() as u64;
                BTreeMap::from([("processes", processes), ("running", running), ("ticks", ticks)])
            }
        })
    }

    /// Waits until a load's own figures prove it.
    fn in_force(&mut self, name: &str, deadline: Deadline) -> Result<BTreeMap<String, String>, Trouble> {
        let (_, work, _) = self.known(name)?;
        let first = self.figures(name)?;
        loop {
            let now = self.figures(name)?;
            let told = now.iter().map(|(k, v)| (k.to_string(), format!("{} to {v}", first[k]))).collect();
            if proves(work, &first, &now) {
                return Ok(told);
            }
            if deadline.left().is_zero() {
                return Err(Trouble::Error(format!("load {name} is not in force: {told:?}")));
            }
        }
    }

    pub(super) fn prove(&mut self, prove: &schema::Prove) -> Result<(), Trouble> {
        let deadline = self.deadline(Some(prove.within.as_deref().unwrap_or(PROVE)))?;
        let mut figures = BTreeMap::new();
        if let Some(name) = &prove.load {
            figures.extend(self.in_force(name, deadline)?);
        }
        if let Some(pressure) = prove.pressure {
            let path = format!("/proc/pressure/{}", pressure.file());
            let (first, now) =
                self.until(&path, proof::stalled, |first, n| n >= first + STALL_US, deadline)?;
            figures.insert(format!("stalled by {} (us)", pressure.file()), format!("{first} to {now}"));
        }
        if let Some(running) = &prove.running {
            let want = u64::from(units::number(running).map_err(Trouble::Error)?);
            let (_, now) = self.until("/proc/loadavg", proof::running, |_, n| n >= want, deadline)?;
            figures.insert("running".into(), now.to_string());
        }
        if let Some(free) = &prove.free {
            let most = units::size(free).map_err(Trouble::Error)?;
            let parse = |text: &str| proof::Free::parse(text).map(|f| f.free);
            let (_, now) = self.until("/proc/meminfo", parse, |_, n| n <= most, deadline)?;
            figures.insert("free".into(), now.to_string());
        }
        self.note(prove.load.as_deref(), Phase::Proved, figures)
    }

    /// Reads a file until its figure is as it must be: the first and the last one.
    fn until(
        &self,
        path: &str,
        parse: impl Fn(&str) -> Result<u64, String>,
        proves: impl Fn(u64, u64) -> bool,
        deadline: Deadline,
    ) -> Result<(u64, u64), Trouble> {
        let read = || parse(&self.guest.text(path, self.deadline(None)?)?).map_err(Trouble::Error);
        let first = read()?;
        loop {
            let now = read()?;
            if proves(first, now) {
                return Ok((first, now));
            }
            if deadline.left().is_zero() {
                return Err(Trouble::Error(format!("{path} does not prove the load: {first} to {now}")));
            }
        }
    }

    pub(super) fn end(&mut self, name: &str) -> Result<(), Trouble> {
        let (job, work, group) = self.known(name)?;
        let deadline = self.deadline(None)?;
        self.still_runs(name, job)?;
        if work == Work::Stress {
            // It ends its stressors itself, and tells what they did.
            self.guest.signal(job, SIGINT, false, deadline)?;
        } else {
            self.guest.interrupt(job)?;
        }
        let end = self.guest.wait_job(job, deadline)?;
        let figures =
            ended(work, &end.result).map_err(|why| Trouble::Error(format!("load {name}: {why}")))?;
        if let Some(group) = group {
            self.nothing_left(name, group, deadline)?;
        }
        self.loads.remove(name);
        self.note(Some(name), Phase::Ended, figures)?;
        self.settle()
    }

    fn nothing_left(&self, name: &str, group: i32, deadline: Deadline) -> Result<(), Trouble> {
        loop {
            let all = self.guest.processes(self.deadline(None)?)?;
            let left: Vec<&wire::Process> = all.iter().filter(|p| p.group == group).collect();
            if left.is_empty() {
                return Ok(());
            }
            if deadline.left().is_zero() {
                return Err(Trouble::Error(format!("load {name} was ended, and left {left:?}")));
            }
        }
    }

    /// Stops every load that has processes, until each of them is stopped.
    pub(super) fn stop_loads(&self) -> Result<(), Trouble> {
        let deadline = self.deadline(None)?;
        for (name, load) in &self.loads {
            let Some(group) = load.group else { continue };
            if !self.guest.signal(load.job, SIGSTOP, true, deadline)? {
                self.still_runs(name, load.job)?;
            }
            loop {
                let all = self.guest.processes(self.deadline(None)?)?;
                let goes_on =
                    |p: &&wire::Process| p.group == group && !matches!(p.state, 'T' | 't' | 'Z' | 'X');
                let going: Vec<&wire::Process> = all.iter().filter(goes_on).collect();
                if going.is_empty() {
                    break;
                }
                if deadline.left().is_zero() {
                    return Err(Trouble::Error(format!("load {name} does not stop: {going:?}")));
                }
            }
        }
        Ok(())
    }

    /// Lets them go on.
    pub(super) fn continue_loads(&self) -> Result<(), Trouble> {
        let deadline = self.deadline(None)?;
        for (name, load) in self.loads.iter().filter(|(_, load)| load.group.is_some()) {
            if !self.guest.signal(load.job, SIGCONT, true, deadline)? {
                self.still_runs(name, load.job)?;
            }
        }
        Ok(())
    }

    fn note(
        &mut self,
        name: Option<&str>,
        phase: Phase,
        figures: BTreeMap<String, String>,
    ) -> Result<(), Trouble> {
        let name = name.map(str::to_string);
        self.observe(Observation::Load(super::super::observation::Load { name, phase, figures }))
    }
}

/// Do these figures prove that a load is in force?
fn proves(work: Work, first: &Figures, now: &Figures) -> bool {
    let get = |figures: &Figures, name: &str| figures.get(name).copied().unwrap_or(0);
    let grown = |name: &str| get(now, name).saturating_sub(get(first, name));
    match work {
        Work::Cpu(n) => get(now, "running") >= u64::from(n) && grown("ticks") > 0,
        Work::Forks(n) => grown("forks") >= STORM * u64::from(n),
        Work::Uevents => grown("uevents") >= STORM,
        // the one that was started and at least one stressor
        Work::Stress => get(now, "processes") >= 2 && grown("ticks") >= TICKS,
    }
}

/// What a load tells at its end, or what is wrong with it.
fn ended(work: Work, result: &Result<JobOutcome, wire::Failure>) -> Result<BTreeMap<String, String>, String> {
    match (work, result) {
        (Work::Uevents, Ok(JobOutcome::Stormed { writes })) => {
            Ok(BTreeMap::from([("uevents".into(), writes.to_string())]))
        }
        // killed, as it was to be
        (Work::Cpu(_) | Work::Forks(_), Ok(JobOutcome::Exited { status: 137, .. })) => Ok(BTreeMap::new()),
        (Work::Stress, Ok(JobOutcome::Exited { status: 0, stdout, stderr, .. })) => {
            let done = proof::operations(&format!("{stdout}\n{stderr}"));
            if done.is_empty() || done.iter().any(|(_, operations)| *operations == 0) {
                return Err(format!("stress-ng did nothing: {done:?}: {stdout} {stderr}"));
            }
            Ok(done.into_iter().map(|(name, n)| (format!("operations of {name}"), n.to_string())).collect())
        }
        (_, other) => Err(format!("ended so: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proves_a_load() {
        let of = |running, ticks| Figures::from([("processes", 5), ("running", running), ("ticks", ticks)]);
        assert!(proves(Work::Cpu(4), &of(0, 7), &of(4, 8)));
        assert!(!proves(Work::Cpu(4), &of(4, 7), &of(4, 7)));
        assert!(!proves(Work::Cpu(4), &of(4, 7), &of(3, 9)));
        assert!(proves(Work::Stress, &of(0, 7), &of(0, 12)));
        assert!(!proves(Work::Stress, &of(0, 7), &of(0, 11)));
        let forks = |n| Figures::from([("forks", n)]);
        assert!(proves(Work::Forks(2), &forks(90), &forks(100)));
        assert!(!proves(Work::Forks(2), &forks(90), &forks(99)));
        let uevents = |n| Figures::from([("uevents", n)]);
        assert!(proves(Work::Uevents, &uevents(90), &uevents(95)));
        assert!(!proves(Work::Uevents, &uevents(90), &uevents(94)));
    }

    #[test]
    fn how_a_load_must_end() {
        let exited = |status, stdout: &str| {
            Ok(JobOutcome::Exited { status, timed_out: false, stdout: stdout.into(), stderr: String::new() })
        };
        assert!(ended(Work::Cpu(1), &exited(137, "")).is_ok());
        assert!(ended(Work::Cpu(1), &exited(1, "")).is_err());
        let row = |n| format!("stress-ng: info:  [60] vm {n} 1.5 1.0 0.1 3141.0 4283.6\n");
        let told = ended(Work::Stress, &exited(0, &row(12)));
        assert_eq!(told, Ok(BTreeMap::from([("operations of vm".to_string(), "12".to_string())])));
        assert!(ended(Work::Stress, &exited(0, &row(0))).is_err());
        assert!(ended(Work::Stress, &exited(0, "")).is_err());
        assert!(ended(Work::Stress, &exited(2, &row(12))).is_err());
        assert!(ended(Work::Uevents, &Ok(JobOutcome::Stormed { writes: 9 })).is_ok());
    }
}
