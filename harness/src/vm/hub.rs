//! Where everything that comes from a guest meets: one state, one condition variable.
//!
//! QMP, console, agent and the process each have a thread that reads and posts here. Whoever waits, waits here, so
//! that an answer, a panic on the console and the death of QEMU wake it alike. There is no other way to wait.

use super::starved::Waited;
use super::{console, inbox, process, qmp};
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// End of a wait, and how long that was from the start (for the error's text).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    at: Instant,
    span: Duration,
}

/// A span that no clock can hold.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

impl Deadline {
    /// `span` from now.
    pub fn within(span: Duration) -> Self {
        let now = Instant::now();
        Self { at: now.checked_add(span).unwrap_or(now + FOR_EVER), span }
    }

    /// How long it was from its beginning.
    pub fn span(&self) -> Duration {
        self.span
    }

    /// What is left of it; zero when it is over.
    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// The same, and `more`.
    fn later(&self, more: Duration) -> Self {
        Self { at: self.at.checked_add(more).unwrap_or(self.at), span: self.span }
    }

    /// The earlier of this one and `span` from now.
    pub fn at_most(&self, span: Duration) -> Self {
        if self.left() <= span { *self } else { Self::within(span) }
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.span.as_secs_f64())
    }
}

/// Why a wait ended without what it waited for. Each says something else about the kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// the time was up; all is alive
    #[error("{what} did not come within {deadline}")]
    Timeout {
        /// what was waited for
        what: String,
        /// how long
        deadline: Deadline,
    },
    /// the console said something that ends the scenario
    #[error("waiting for {what}, the console said: {line}")]
    Alarm {
        /// what was waited for
        what: String,
        /// the line
        line: String,
    },
    /// QEMU, or the connection to it, is no more
    #[error("waiting for {what}: {gone}")]
    Gone {
        /// what was waited for
        what: String,
        /// how QEMU ended
        gone: process::Gone,
    },
}

/// All that came so far.
#[derive(Debug)]
pub(super) struct State {
    pub(super) qmp: qmp::Inbox,
    pub(super) console: console::Inbox,
    pub(super) agent: inbox::Inbox,
    pub(super) exit: Option<process::Exit>,
}

/// The meeting point. Shared by the threads of one VM.
#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    changed: Condvar,
    /// QEMU's process id, once it runs
    pid: OnceLock<u32>,
}

impl Hub {
    pub(super) fn new(state: State) -> Self {
        Self { state: Mutex::new(state), changed: Condvar::new(), pid: OnceLock::new() }
    }

    /// QEMU has begun to run.
    pub(super) fn runs_as(&self, pid: u32) {
        self.pid.get_or_init(|| pid);
    }

    /// A thread that panicked while it held the lock left whole messages or none: going on is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes whoever waits.
    pub(super) fn post<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Looks at the state.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.lock())
    }

    /// Waits until `find` finds something; `None` when the time is up.
    pub(super) fn wait<T>(
        &self,
        deadline: Deadline,
        mut find: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(found) = find(&mut state) {
                return Some(found);
            }
            let left = deadline.left();
            if left.is_zero() {
                return None;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// As [`Hub::wait`], for what the guest does: time in which the host gave it no processor does not count, up to
    /// [`MOST_STARVED`] times the deadline.
    fn wait_fed<T>(&self, deadline: Deadline, mut find: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        if let Some(found) = self.wait(deadline.at_most(SOON), &mut find) {
            return Some(found);
        }
        let Some(pid) = self.pid.get() else { return self.wait(deadline, find) };
        let before = Waited::of(*pid);
        let mut until = deadline;
        loop {
            if let Some(found) = self.wait(until, &mut find) {
                return Some(found);
            }
            let starved = Waited::of(*pid).since(&before);
            until = deadline.later(starved.min(deadline.span.saturating_mul(MOST_STARVED)));
            if until.left().is_zero() {
                return None;
            }
        }
    }

    /// Waits for something of the guest: an alarm on the console and the end of QEMU end the wait. What is already
    /// there is found first, so an alarm never hides an answer that came before it.
    pub(super) fn wait_guest<T>(
        &self,
        what: &str,
        deadline: Deadline,
        mut find: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, WaitError> {
        enum End<T> {
            Found(T),
            Alarm(String),
            Gone,
        }
        let end = self.wait_fed(deadline, |state| {
            if let Some(found) = find(state) {
                return Some(End::Found(found));
            }
            if let Some(line) = state.console.alarm() {
                return Some(End::Alarm(line.text.clone()));
            }
            state.qmp.is_closed().then_some(End::Gone)
        });
        match end {
            Some(End::Found(found)) => Ok(found),
            Some(End::Alarm(line)) => Err(WaitError::Alarm { what: what.to_string(), line }),
            Some(End::Gone) => {
                // What QEMU sent last may still be on its way from another socket: all readers run to their ends.
                self.wait(Deadline::within(LAST_WORDS), |s| s.all_closed().then_some(()));
                let (found, alarm) =
                    self.look(|s| (find(s), s.console.alarm().map(|line| line.text.clone())));
                match (found, alarm) {
                    (Some(found), _) => Ok(found),
                    (None, Some(line)) => Err(WaitError::Alarm { what: what.to_string(), line }),
                    (None, None) => Err(WaitError::Gone { what: what.to_string(), gone: self.gone() }),
                }
            }
            None => Err(WaitError::Timeout { what: what.to_string(), deadline }),
        }
    }

    /// How QEMU ended, once it is known to be gone.
    pub(super) fn gone(&self) -> process::Gone {
        let exit = self.wait(Deadline::within(LAST_WORDS), |state| state.exit.clone());
        process::Gone { exit }
    }
}

/// Most answers are there sooner, and how the guest fares is not asked for them.
const SOON: Duration = Duration::from_secs(1);

/// A guest on a host that is this much too small is given up: [`super::Vm::starved`] tells it from one that is slow itself.
const MOST_STARVED: u32 = 3;

/// The kernel closes a dead process's sockets and reports its end at once; this is for a host out of breath.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl State {
    pub(super) fn all_closed(&self) -> bool {
        self.qmp.is_closed() && self.console.is_closed() && self.agent.is_closed()
    }
}

#[cfg(test)]
pub(super) fn silent(watch: Option<console::Predicate>) -> std::sync::Arc<Hub> {
    std::sync::Arc::new(Hub::new(State {
        qmp: qmp::Inbox::new(),
        console: console::Inbox::new(watch),
        agent: inbox::Inbox::new(),
        exit: None,
    }))
}
