//! The kernel's console: collected, bounded, watched.
//!
//! A thread reads as fast as the guest prints, so that a flood never blocks the guest. The first line that a
//! caller's predicate finds alarming ends every wait for the guest at once (see [`super::WaitError::Alarm`]).

use super::hub::{Deadline, Hub, State, WaitError};
use super::line::{self, Line as Port};
use super::record::{Line, Lines, Record, Splitter};
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Says of a line whether it ends the scenario.
pub type Predicate = Box<dyn Fn(&str) -> bool + Send>;

/// Bytes of console that are kept, half of them from the beginning.
const RECORD: usize = 16 << 20;

/// A line that somebody in the guest writes to see when all before it has come; it is not kept.
pub const MARK: &str = "memhp: all before this has come";

/// What came over the console so far.
pub(super) struct Inbox {
    record: Record,
    watch: Option<Predicate>,
    alarm: Option<Line>,
    muted: bool,
    closed: bool,
    marks: u64,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "console at line {}, alarm {:?}", self.record.next(), self.alarm)
    }
}

impl Inbox {
    pub(super) fn new(watch: Option<Predicate>) -> Self {
        Self { record: Record::new(RECORD), watch, alarm: None, muted: false, closed: false, marks: 0 }
    }

    /// The alarm that ends waits.
    pub(super) fn alarm(&self) -> Option<&Line> {
        self.alarm.as_ref().filter(|_| !self.muted)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn take(&mut self, text: String) {
        if text == MARK {
            self.marks += 1;
            return;
        }
        let alarming = self.alarm.is_none() && self.watch.as_ref().is_some_and(|watch| watch(&text));
        let number = self.record.next();
        self.record.push(text);
        if alarming {
            self.alarm = self.record.iter_from(number).next().cloned();
        }
    }
}

/// The console of a VM.
#[derive(Debug)]
pub struct Console {
    hub: Arc<Hub>,
    input: Mutex<File>,
}

impl Console {
    pub(super) fn start(hub: Arc<Hub>, Port { from_guest, to_guest }: Port) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&to_guest, true)?; // a guest that takes no input is not waited for
        let posts = Arc::clone(&hub);
        std::thread::Builder::new().name("console".into()).spawn(move || read(from_guest, &posts))?;
        Ok(Self { hub, input: Mutex::new(to_guest) })
    }

    /// Number of the next line to come: a position to look from later.
    pub fn end(&self) -> u64 {
        self.look(|console| console.record.next())
    }

    /// Lines from number `from` on.
    pub fn lines_since(&self, from: u64) -> Lines {
        self.look(|console| console.record.since(from))
    }

    /// All of it, the gap of a flood marked.
    pub fn text(&self) -> String {
        self.look(|console| console.record.text(false))
    }

    /// The line that set off the alarm.
    pub fn alarm(&self) -> Option<Line> {
        self.look(|console| console.alarm.clone())
    }

    /// From now on an alarm is still noted, but ends no wait: the guest is asked what is the matter with it.
    pub fn mute(&self) {
        self.hub.post(|state| state.console.muted = true);
    }

    /// Puts another predicate in the place of the one there was, and forgets an alarm. Lines that came before are not
    /// looked at again.
    pub fn watch(&self, watch: Option<Predicate>) {
        self.hub.post(|state| {
            state.console.watch = watch;
            state.console.alarm = None;
            state.console.muted = false;
        });
    }

    /// Waits for a whole line, number `from` or later, that `matches`.
    ///
    /// # Errors
    /// See [`WaitError`]; an alarming line that matches is found, not an error.
    pub fn wait_line(
        &self,
        what: &str,
        from: u64,
        deadline: Deadline,
        matches: impl Fn(&str) -> bool,
    ) -> Result<Line, WaitError> {
        let mut from = from;
        self.hub.wait_guest(what, deadline, |state| {
            let found = state.console.record.iter_from(from).find(|line| matches(&line.text)).cloned();
            from = state.console.record.next();
            found
        })
    }

    /// Lines that were [`MARK`] so far.
    pub fn marks(&self) -> u64 {
        self.look(|console| console.marks)
    }

    /// Waits for a [`MARK`] beyond the first `marks`: all that was printed before it has come then.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn wait_mark(&self, marks: u64, deadline: Deadline) -> Result<(), WaitError> {
        let find = |state: &mut State| (state.console.marks > marks).then_some(());
        self.hub.wait_guest("the console to come to its end", deadline, find)
    }

    /// Waits until nothing came for `quiet`, at most until the deadline: for the rest of an oops, or of a report that
    /// was asked for. Says whether it became quiet.
    pub fn wait_quiet(&self, quiet: Duration, deadline: Deadline) -> bool {
        let mut seen = self.end();
        while !deadline.left().is_zero() {
            let step = deadline.at_most(quiet);
            let more = |state: &mut State| {
                (state.console.record.next() != seen || state.console.closed).then_some(())
            };
            let moved = self.hub.wait(step, more).is_some();
            let now = self.look(|console| (console.record.next(), console.closed));
            if now.1 || (!moved && step != deadline) {
                return true;
            }
            seen = now.0;
        }
        false
    }

    /// Types something into the console.
    ///
    /// # Errors
    /// The pipe is closed: QEMU is gone; or full: the guest does not read.
    pub fn type_in(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)
    }

    fn look<T>(&self, look: impl FnOnce(&mut Inbox) -> T) -> T {
        self.hub.look(|state| look(&mut state.console))
    }
}

fn read(mut from_guest: File, hub: &Hub) {
    let mut splitter = Splitter::default();
    let mut bytes = [0u8; 16 * 1024];
    loop {
        let lines = match line::read(&mut from_guest, &mut bytes) {
            0 => break,
            n => splitter.push(&bytes[..n]),
        };
        if !lines.is_empty() {
            hub.post(|state| lines.into_iter().for_each(|line| state.console.take(line)));
        }
    }
    hub.post(|state| {
        splitter.rest().into_iter().for_each(|line| state.console.take(line));
        state.console.closed = true;
    });
}

#[cfg(test)]
#[path = "console_tests.rs"]
mod tests;
