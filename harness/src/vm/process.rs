//! QEMU as a process: started, watched and ended so that it never outlives this one.
//!
//! A thread of its own starts QEMU and waits for it: the kernel kills a child that asked for it
//! (PR_SET_PDEATHSIG) when the *thread* that started it ends, so this thread lives as long as QEMU does.

use super::hub::{Deadline, Hub};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::RawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// How QEMU ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// exit code, if it ended by itself
    pub code: Option<i32>,
    /// signal, if one ended it
    pub signal: Option<i32>,
    /// end of what it wrote to standard error
    pub stderr: String,
}

/// QEMU is no more, or does not talk any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// how it ended; `None`: the connection ended and the process (if there is one) did not
    pub exit: Option<Exit>,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.exit {
            None => write!(f, "QEMU closed the connection"),
            Some(exit) => exit.fmt(f),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "QEMU ended with status {code}")?,
            (None, Some(signal)) => write!(f, "QEMU was ended by signal {signal}")?,
            (None, None) => write!(f, "QEMU ended")?,
        }
        if self.stderr.is_empty() { Ok(()) } else { write!(f, ": {}", self.stderr) }
    }
}

/// A running QEMU. Dropping it kills it and waits.
#[derive(Debug)]
pub(super) struct Process {
    hub: Arc<Hub>,
    /// `None` once it was reaped, so that no other process can be hit.
    pid: Arc<Mutex<Option<Pid>>>,
}

impl Process {
    /// Starts `command` with standard error in the file `stderr`; its end is posted to the hub.
    pub(super) fn start(
        hub: Arc<Hub>,
        mut command: Command,
        inherit: Vec<RawFd>,
        stderr: PathBuf,
    ) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&stderr)?);
        let pid = Arc::new(Mutex::new(None));
        let (started, start) = mpsc::channel();
        let (shared, posts) = (Arc::clone(&pid), Arc::clone(&hub));
        std::thread::Builder::new().name("qemu".into()).spawn(move || {
            let child = crate::sys::spawn_bound(&mut command, &inherit, Signal::KILL);
            match child {
                Err(e) => drop(started.send(Err(e))),
                Ok(child) => {
                    *lock(&shared) = pid_of(&child);
                    posts.runs_as(child.id());
                    drop(started.send(Ok(())));
                    let exit = reap(child, &shared, &stderr);
                    posts.post(|state| state.exit = Some(exit));
                }
            }
        })?;
        start.recv().map_err(|_| io::Error::other("the thread that starts QEMU panicked"))??;
        Ok(Self { hub, pid })
    }

    /// Process id, while it was not reaped.
    pub(super) fn pid(&self) -> Option<u32> {
        lock(&self.pid).map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Kills its process group. It is gone when [`Process::wait`] says so.
    pub(super) fn kill(&self) {
        if let Some(pid) = *lock(&self.pid) {
            // Fails only if the group has no process, and then there is nothing to kill.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// Waits for its end.
    pub(super) fn wait(&self, deadline: Deadline) -> Option<Exit> {
        self.hub.wait(deadline, |state| state.exit.clone())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        self.wait(Deadline::within(KILLED));
    }
}

/// SIGKILL acts at once, but freeing the guest's memory takes its time.
const KILLED: std::time::Duration = std::time::Duration::from_secs(30);

fn lock(pid: &Mutex<Option<Pid>>) -> std::sync::MutexGuard<'_, Option<Pid>> {
    pid.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// Waits for the end without reaping, kills what is left of the group while its number is still taken, then reaps.
fn reap(mut child: Child, shared: &Mutex<Option<Pid>>, stderr: &Path) -> Exit {
    if let Some(pid) = pid_of(&child) {
        while let Err(rustix::io::Errno::INTR) =
            waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let mut pid = lock(shared);
    let status = child.wait();
    *pid = None;
    drop(pid);
    let status = status.ok();
    Exit {
        code: status.and_then(|s| s.code()),
        signal: status.and_then(|s| s.signal()),
        stderr: tail(stderr).unwrap_or_else(|e| format!("(its standard error cannot be read: {e})")),
    }
}

/// The last bytes of a file as text.
fn tail(path: &Path) -> io::Result<String> {
    const LAST: u64 = 4096;
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LAST)))?;
    let mut bytes = Vec::new();
    file.take(LAST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_string())
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
