//! Runs a step to its end: output into a log, ended with all its children by a signal, a limit, a watch, or our own end.
//!
//! The step is the child of a shell that is bound to this process: when memhp is gone, whatever killed it, the kernel
//! sends the shell SIGTERM and the shell passes it on to the whole group. A parent-death signal alone would end make and
//! leave its compilers. Ends by SIGTERM let make delete what is half written.

use super::error::BuildError;
use super::step::{Step, Tools, Trouble};
use crate::kernel::error::at;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const GUARD: &str = r#"trap 'trap "" TERM; kill -TERM 0; wait "$!"; exit 143' TERM; "$@" & wait "$!""#;
/// How often the log, the stop and the watch are looked at while the step runs.
pub(crate) const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// What make and its compilers get to end by themselves.
const GRACE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Runs it with standard output and error appended to the log; its exit status.
pub(crate) fn run(what: &str, step: Step, log: &Path, tools: &Tools<'_>) -> Result<ExitStatus, BuildError> {
    if let Some(signal) = tools.stop.signal() {
        return Err(BuildError::Stopped(signal));
    }
    let step = tools.runner.wrap(step);
    let out = File::options().create(true).append(true).open(log).map_err(at("opening", log))?;
    let begin = out.metadata().map_err(at("reading", log))?.len();
    let err = out.try_clone().map_err(at("opening", log))?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", GUARD, "memhp-build"]).args(&step.argv).current_dir(&step.cwd);
    for (name, value) in &step.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let child = crate::sys::spawn_bound(&mut command, &[], Signal::TERM)
        .map_err(at("starting", Path::new("/bin/sh")))?;
    let mut group = Group::of(child).map_err(at("watching", Path::new("/bin/sh")))?;
    tools.progress.begin(what);
    let ended = wait(what, &mut group, &mut Tail::new(log, begin), log, tools);
    tools.progress.end();
    if ended.is_ok() {
        tools.runner.ended().map_err(|trouble| ended_by(trouble, what, log))?;
    }
    ended
}

fn wait(
    what: &str,
    group: &mut Group,
    tail: &mut Tail<'_>,
    log: &Path,
    tools: &Tools<'_>,
) -> Result<ExitStatus, BuildError> {
    let begun = Instant::now();
    loop {
        let ended = group.ended_within(&TICK).map_err(at("waiting for", Path::new(what)))?;
        tail.tell(what, tools)?;
        if ended {
            return Ok(group.reap().map_err(at("waiting for", Path::new(what)))?);
        }
        if let Some(signal) = tools.stop.signal() {
            return Err(BuildError::Stopped(signal));
        }
        if begun.elapsed() > tools.limit {
            let (what, log) = (what.to_string(), log.to_path_buf());
            return Err(BuildError::Timeout { what, seconds: tools.limit.as_secs(), log });
        }
        tools.runner.watch(group.child.id()).map_err(|trouble| ended_by(trouble, what, log))?;
    }
}

fn ended_by(trouble: Trouble, what: &str, log: &Path) -> BuildError {
    let (what, log) = (what.to_string(), log.to_path_buf());
    match trouble {
        Trouble::Step(why) => BuildError::Watch { what, why, log },
        Trouble::Host(why) => BuildError::Host { what, why, log },
    }
}

/// A process group; dropping it ends and reaps it.
pub(crate) struct Group {
    child: Child,
    pid: Pid,
    fd: OwnedFd,
    reaped: bool,
}

impl Group {
    pub(crate) fn of(mut child: Child) -> io::Result<Self> {
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Self { child, pid, fd, reaped: false }),
            Err(error) => {
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    pub(crate) fn ended_within(&self, limit: &Timespec) -> io::Result<bool> {
        let mut fds = [PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(limit)) {
            Ok(n) => Ok(n > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What the leader left behind is killed while the group's number is still taken.
    pub(crate) fn reap(&mut self) -> io::Result<ExitStatus> {
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.reaped = true;
        self.child.wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        let _ = kill_process_group(self.pid, Signal::TERM);
        let begun = Instant::now();
        let grace = Duration::new(GRACE.tv_sec.unsigned_abs(), 0);
        while begun.elapsed() < grace && matches!(self.ended_within(&GRACE), Ok(false)) {}
        let _ = self.reap();
    }
}

/// What one step may write to the log, bytes: a build with every warning on writes a tenth.
const MOST_LOG: u64 = 256 << 20;
/// What is read of the log at once, and the longest line that is looked at, bytes.
const CHUNK: usize = 64 << 10;

/// Reads what is new in the log and counts the lines in which kbuild names a file it makes (`  CC      mm/slub.o`).
struct Tail<'a> {
    log: &'a Path,
    begin: u64,
    at: u64,
    /// the last line, as far as it is there; none of a longer one
    rest: Vec<u8>,
    /// the rest of a line that is too long is left out
    skips: bool,
    count: usize,
}

impl<'a> Tail<'a> {
    fn new(log: &'a Path, at: u64) -> Self {
        Self { log, begin: at, at, rest: Vec::new(), skips: false, count: 0 }
    }

    fn tell(&mut self, what: &str, tools: &Tools<'_>) -> Result<(), BuildError> {
        let mut file = File::open(self.log).map_err(at("opening", self.log))?;
        let length = file.metadata().map_err(at("reading", self.log))?.len();
        if length.saturating_sub(self.begin) > MOST_LOG {
            let why = format!("it wrote more than {} MiB to its log", MOST_LOG >> 20);
            return Err(ended_by(Trouble::Step(why), what, self.log));
        }
        file.seek(SeekFrom::Start(self.at)).map_err(at("reading", self.log))?;
        let (mut chunk, mut newest) = (vec![0; CHUNK], None);
        // What comes meanwhile is for the next time, or a flood would never end.
        let mut file = file.take(length.saturating_sub(self.at));
        loop {
            let length = file.read(&mut chunk).map_err(at("reading", self.log))?;
            if length == 0 {
                break;
            }
            self.at += length as u64;
            self.take(&chunk[..length], &mut newest);
        }
        if let Some(newest) = newest {
            tools.progress.made(self.count, &newest);
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], newest: &mut Option<String>) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let fits = self.rest.len() + part.len() <= CHUNK;
            if !self.skips && fits {
                self.rest.extend(part);
            }
            self.skips |= !fits;
            if !part.ends_with(b"\n") {
                continue;
            }
            let line = String::from_utf8_lossy(&self.rest);
            if let Some(file) = made(line.trim_end_matches('\n')).filter(|_| !self.skips) {
                self.count += 1;
                *newest = Some(file);
            }
            self.rest.clear();
            self.skips = false;
        }
    }
}

fn made(line: &str) -> Option<String> {
    let mut words = line.strip_prefix("  ")?.split_whitespace();
    let (verb, file) = (words.next()?, words.next()?);
    verb.starts_with(|c: char| c.is_ascii_uppercase()).then(|| format!("{verb} {file}"))
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
