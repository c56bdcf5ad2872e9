//! Jobs: what the harness started and may interrupt.

mod await_file;
mod exec;
mod hold;
mod storm;
mod touch;
mod trial;
mod write;

use crate::children::Children;
use crate::outbox::{Outbox, io_failed, refused};
use crate::workers::Workers;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::{Failure, Job};

pub(crate) use hold::{Command, HoldReply, Outcome, Request};
pub(crate) use trial::{END, signal, under_way as trial_under_way};

/// What jobs run with.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) workers: Workers,
    pub(crate) children: Arc<Children>,
}

/// A job that was started.
enum Handle {
    Write(Arc<write::Writing>),
    Exec(Arc<exec::Running>),
    Storm(Arc<storm::Storming>),
    Hold(Arc<hold::Holding>),
    /// ends by itself
    Wait,
}

/// All jobs, by the id of the request that started them.
pub(crate) struct Jobs {
    means: Means,
    handles: BTreeMap<u64, Handle>,
}

impl Jobs {
    /// None yet.
    pub(crate) fn new(means: Means) -> Self {
        Self { means, handles: BTreeMap::new() }
    }

    /// Starts one; its end comes through the outbox.
    pub(crate) fn start(&mut self, id: u64, job: Job) -> Result<(), Failure> {
        if self.handles.contains_key(&id) {
            return Err(refused(format!("job {id} exists")));
        }
        let means = self.means.clone();
        let handle = match job {
            Job::Write { path, text } => {
                let writing = Arc::new(write::Writing::default());
                let own = Arc::clone(&writing);
                self.submit(move || write::run(id, &path, &text, &own, &means.outbox))?;
                Handle::Write(writing)
            }
            Job::Exec { argv, env, timeout_ms, manner } => {
                let running = Arc::new(exec::Running::default());
                let own = Arc::clone(&running);
                self.submit(move || exec::run(id, &argv, &env, timeout_ms, &manner, &own, &means))?;
                Handle::Exec(running)
            }
            Job::Storm { paths, per_second } => {
                let storming = Arc::new(storm::Storming::default());
                let own = Arc::clone(&storming);
                self.submit(move || storm::run(id, &paths, per_second, &own, &means.outbox))?;
                Handle::Storm(storming)
            }
            Job::AwaitFile { path, timeout_ms } => {
                self.submit(move || await_file::run(id, &path, timeout_ms, &means.outbox))?;
                Handle::Wait
            }
            Job::Touch { pfn, count, timeout_ms } => {
                self.submit(move || {
                    touch::run(id, &(pfn..pfn.saturating_add(count)), timeout_ms, &means.outbox)
                })?;
                Handle::Wait
            }
            Job::Trial(trial) => {
                self.submit(move || trial::run(id, &trial, &means.outbox))?;
                Handle::Wait
            }
            Job::Hold(what) => {
                let holding = Arc::new(hold::Holding::default());
                let own = Arc::clone(&holding);
                self.submit(move || hold::run(id, &what, &own, &means))?;
                Handle::Hold(holding)
            }
        };
        self.handles.insert(id, handle);
        Ok(())
    }

    fn submit(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
        self.means.workers.submit(work).map_err(io_failed("start a thread"))
    }

    /// Interrupts one that has not ended.
    pub(crate) fn interrupt(&self, id: u64) -> Result<(), Failure> {
        match self.handles.get(&id) {
            Some(Handle::Write(writing)) => writing.interrupt(),
            Some(Handle::Exec(running)) => running.interrupt(),
            Some(Handle::Hold(holding)) => holding.interrupt(),
            Some(Handle::Storm(storming)) => storming.interrupt(),
            Some(Handle::Wait) => Err(refused(format!("job {id} ends by itself"))),
            None => Err(refused(format!("no job {id}"))),
        }
    }

    /// The program of a job.
    pub(crate) fn program(&self, id: u64) -> Result<&exec::Running, Failure> {
        match self.handles.get(&id) {
            Some(Handle::Exec(running)) => Ok(running),
            Some(_) => Err(refused(format!("job {id} runs no program"))),
            None => Err(refused(format!("no job {id}"))),
        }
    }

    /// Passes a command on to a hold. The answer to the request `asked_by` comes through the outbox, unless this fails.
    pub(crate) fn command(&self, id: u64, asked_by: u64, command: Command) -> Result<(), Failure> {
        match self.handles.get(&id) {
            Some(Handle::Hold(holding)) => holding.command(Request { id: asked_by, command }),
            Some(_) => Err(refused(format!("job {id} holds no memory"))),
            None => Err(refused(format!("no job {id}"))),
        }
    }
}
