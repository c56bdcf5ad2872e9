//! Child processes: those that a job started are its own to wait for, all others are reaped here.

use crate::outbox::{failed, io_failed};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use wire::Failure;

/// The children of jobs.
#[derive(Default)]
pub(crate) struct Children {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// of jobs, not yet waited for
    own: BTreeSet<i32>,
    /// jobs that are just starting one, whose number is not known yet
    starting: usize,
    /// how many were ever started
    started: u64,
}

/// A running child of a job; whoever has it must call [`Kid::wait`] soon after the child has ended.
pub(crate) struct Kid {
    child: Child,
    pidfd: OwnedFd,
    children: Arc<Children>,
}

/// Kills a child, at any time: a pidfd never means another process.
pub(crate) struct Killer(OwnedFd);

impl Children {
    /// Starts a program in a process group of its own.
    pub(crate) fn spawn(self: &Arc<Self>, command: &mut Command) -> Result<Kid, Failure> {
        self.lock().starting += 1;
        let spawned = command.spawn();
        let mut state = self.lock();
        state.starting -= 1;
        state.started += 1;
        if let Ok(child) = &spawned {
            state.own.insert(pid_of(child).as_raw_pid());
        }
        drop(state);
        self.changed.notify_all();
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = spawned.map_err(io_failed(format_args!("spawn {program}")))?;
        match pidfd_open(pid_of(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Kid { child, pidfd, children: Arc::clone(self) }),
            Err(errno) => {
                // Nobody could interrupt it: better none at all. The error that counts is pidfd_open's.
                let _ = child.kill().and_then(|()| child.wait());
                self.forget(pid_of(&child).as_raw_pid());
                Err(failed(format_args!("pidfd_open of {program}"))(errno))
            }
        }
    }

    /// Waits for orphans, for ever. To be run in a thread of its own.
    pub(crate) fn reap_orphans(&self) {
        loop {
            let started = self.lock().started;
            match crate::sys::peek_dead_child() {
                Ok(pid) => self.reap(pid),
                Err(Errno::CHILD) => {
                    let state = self.lock();
                    let none_new = |s: &mut State| s.started == started;
                    drop(self.changed.wait_while(state, none_new).unwrap_or_else(PoisonError::into_inner));
                }
                Err(_) => {}
            }
        }
    }

    /// Reaps one that has ended, or waits until the job whose child it is has done so.
    fn reap(&self, pid: i32) {
        let undecided = |s: &mut State| s.own.contains(&pid) || s.starting > 0;
        let state = self.changed.wait_while(self.lock(), undecided).unwrap_or_else(PoisonError::into_inner);
        // Not there any more where the job was the one to reap it.
        let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
        drop(state);
    }

    fn forget(&self, pid: i32) {
        self.lock().own.remove(&pid);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kid {
    /// The process, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Becomes readable when the process has ended.
    pub(crate) fn ended(&self) -> impl AsFd {
        &self.pidfd
    }

    /// Something that can kill it.
    pub(crate) fn killer(&self) -> Result<Killer, Failure> {
        self.pidfd.try_clone().map(Killer).map_err(io_failed("duplicate a pidfd"))
    }

    /// Its number.
    pub(crate) fn pid(&self) -> i32 {
        pid_of(&self.child).as_raw_pid()
    }

    /// Kills it and everything in its group.
    pub(crate) fn kill_group(&self) -> Result<(), Errno> {
        rustix::process::kill_process_group(pid_of(&self.child), Signal::KILL)
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait();
        self.children.forget(pid_of(&self.child).as_raw_pid());
        status
    }
}

impl Killer {
    /// SIGKILL.
    pub(crate) fn kill(&self) -> Result<(), Errno> {
        self.send(Signal::KILL)
    }

    /// Any signal.
    pub(crate) fn send(&self, signal: Signal) -> Result<(), Errno> {
        pidfd_send_signal(&self.0, signal)
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}
