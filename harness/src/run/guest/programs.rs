//! Programs and processes of the guest.

use super::{Guest, odd};
use crate::run::put;
use crate::run::trouble::{Trouble, channel_trouble};
use crate::vm::{self, ChannelError, Deadline, JobEnd};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::{Answer, Ask, Failure, Job, JobOutcome, Manner};

/// Longer than any scenario.
const LONG_MS: u64 = 24 * 3600 * 1000;

impl Guest {
    /// Copies a program into the guest, `copy` for each part of it, and runs it, `within` from then on.
    pub fn exec(
        &self,
        program: &str,
        args: &[String],
        copy: Duration,
        within: Duration,
    ) -> Result<Result<JobOutcome, Failure>, Trouble> {
        let bytes = std::fs::read(program).map_err(|e| Trouble::Error(format!("{program}: {e}")))?;
        let path = "/tmp/program".to_string();
        for part in put::parts(&path, 0o755, &bytes) {
            self.ask(part, Deadline::within(copy))?;
        }
        let deadline = Deadline::within(within);
        let argv = std::iter::once(path).chain(args.iter().cloned()).collect();
        let env = BTreeMap::from([("PATH".to_string(), "/bin:/usr/bin:/tmp".to_string())]);
        let timeout_ms = u64::try_from(deadline.left().as_millis()).unwrap_or(u64::MAX);
        let job = self.start(Job::Exec { argv, env, timeout_ms, manner: Default::default() }, deadline)?;
        let grace = Deadline::within(deadline.left() + Duration::from_secs(10));
        Ok(self.wait_job(job, grace)?.result)
    }

    /// Runs a program of the guest's user space to its end: status, standard output, standard error.
    pub fn run(&self, argv: &[&str], deadline: Deadline) -> Result<(i32, String, String), Trouble> {
        let job =
            self.start_program(argv, &Manner { oom_score_adj: Some(0), ..Manner::default() }, deadline)?;
        match self.wait_job(job, deadline)?.result {
            Ok(JobOutcome::Exited { status, stdout, stderr, .. }) => Ok((status, stdout, stderr)),
            other => Err(Trouble::Error(format!("{}: {other:?}", argv.join(" ")))),
        }
    }

    /// Starts a program of the guest's user space, for as long as the scenario may take.
    pub fn start_program(&self, argv: &[&str], manner: &Manner, deadline: Deadline) -> Result<u64, Trouble> {
        self.start(program(argv.iter().map(|a| (*a).to_string()).collect(), manner.clone()), deadline)
    }

    /// Sends a signal to a program, or to all of its group; false where it has ended.
    pub fn signal(&self, job: u64, signal: i32, group: bool, deadline: Deadline) -> Result<bool, Trouble> {
        Ok(self.try_ask(Ask::Signal { job, signal, group }, deadline)?.is_ok())
    }

    /// Number of a program's process; `None` where it has ended, or not begun.
    pub fn process(&self, job: u64, deadline: Deadline) -> Result<Option<i32>, Trouble> {
        match self.try_ask(Ask::Process { job }, deadline)? {
            Ok(Answer::Process(pid)) => Ok(Some(pid)),
            Ok(other) => Err(odd("a process", &other)),
            Err(_) => Ok(None),
        }
    }

    /// Mounts a file system without a device.
    pub fn mount(&self, fstype: &str, target: &str, deadline: Deadline) -> Result<(), Trouble> {
        let (fstype, target) = (fstype.to_string(), target.to_string());
        self.ask(Ask::Mount { source: fstype.clone(), target, fstype, data: String::new() }, deadline)
            .map(drop)
    }

    /// Has udevd made its control socket?
    pub fn udevd_socket(&self, deadline: Deadline) -> Result<bool, Trouble> {
        match self.try_ask(Ask::List { path: "/run/udev".into() }, deadline)? {
            Ok(Answer::Names(names)) => Ok(names.iter().any(|n| n == "control")),
            Ok(other) => Err(odd("names", &other)),
            Err(_) => Ok(false),
        }
    }

    /// The end of a job that has ended.
    pub fn ended(&self, job: u64) -> Result<Option<JobEnd>, Trouble> {
        match self.vm.channel().wait_job(job, Deadline::within(Duration::ZERO)) {
            Ok(end) => Ok(Some(end)),
            Err(ChannelError::Wait(vm::WaitError::Timeout { .. })) => Ok(None),
            Err(other) => Err(channel_trouble(other)),
        }
    }

    /// All processes but kernel threads, by number.
    pub fn processes(&self, deadline: Deadline) -> Result<Vec<wire::Process>, Trouble> {
        match self.ask(Ask::Processes, deadline)? {
            Answer::Processes(all) => Ok(all),
            other => Err(odd("processes", &other)),
        }
    }

    /// Makes a cgroup for memory, with its limits.
    pub fn cgroup(
        &self,
        name: &str,
        limits: BTreeMap<String, String>,
        deadline: Deadline,
    ) -> Result<(), Trouble> {
        self.ask(Ask::Cgroup { name: name.into(), limits }, deadline).map(drop)
    }
}

/// A program of the guest's user space, for as long as the scenario may take.
pub(in crate::run) fn program(argv: Vec<String>, manner: Manner) -> Job {
    // udevd writes to the console's log otherwise.
    let env = [("PATH", "/usr/bin"), ("SYSTEMD_LOG_TARGET", "console"), ("SYSTEMD_LOG_LEVEL", "info")];
    let env = env.map(|(k, v)| (k.to_string(), v.to_string())).into();
    Job::Exec { argv, env, timeout_ms: LONG_MS, manner }
}
