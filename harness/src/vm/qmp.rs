//! The client of QEMU's machine protocol.
//!
//! Own, because unknown events must pass through and QEMU's death must be an answer. A thread reads; commands are
//! matched by id; events queue up with the time they came. Every line of both directions is kept for `qmp.log`.

use super::event::Event;
use super::hub::{Deadline, Hub};
use super::process::Gone;
use super::record::Record;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why a command has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QmpError {
    /// QEMU said no
    #[error("{command}: {desc}")]
    Refused {
        /// the command
        command: String,
        /// class of the error: `GenericError`, `DeviceNotFound`, ...
        class: String,
        /// QEMU's words
        desc: String,
    },
    /// no answer in time
    #[error("QEMU did not answer {command} within {deadline}")]
    Timeout {
        /// the command
        command: String,
        /// how long
        deadline: Deadline,
    },
    /// QEMU, or the connection to it, is no more
    #[error("{command}: {gone}")]
    Gone {
        /// the command
        command: String,
        /// how it ended
        gone: Gone,
    },
    /// what came is not QMP
    #[error("QEMU sent what is not QMP: {line:?}")]
    Garbage {
        /// what came (its beginning)
        line: String,
    },
    /// the answer has not the documented shape
    #[error("{command}: answer not understood: {answer}")]
    Shape {
        /// the command
        command: String,
        /// what came
        answer: String,
    },
}

/// An event with its times.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamped {
    /// position among all events of this QEMU
    pub number: u64,
    /// arrival on the host
    pub at: Instant,
    /// QEMU's own stamp, since 1970
    pub qemu: Duration,
    /// the event
    pub event: Event,
}

/// What came over QMP so far.
#[derive(Debug)]
pub(super) struct Inbox {
    greeting: Option<Value>,
    awaited: BTreeSet<u64>,
    answers: BTreeMap<u64, Value>,
    events: VecDeque<Stamped>,
    garbage: Option<String>,
    closed: bool,
    pub(super) record: Record,
}

/// A QEMU that takes no command for so long does not answer any either.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of `qmp.log` that are kept.
const RECORD: usize = 4 << 20;
/// A longer line is cut in the log.
const LOG_LINE: usize = 4096;

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            greeting: None,
            awaited: BTreeSet::new(),
            answers: BTreeMap::new(),
            events: VecDeque::new(),
            garbage: None,
            closed: false,
            record: Record::new(RECORD),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Events from position `from` on.
    pub(super) fn events_from(&self, from: u64) -> impl Iterator<Item = &Stamped> {
        self.events.iter().skip(usize::try_from(from).unwrap_or(usize::MAX))
    }

    pub(super) fn events_end(&self) -> u64 {
        self.events.len() as u64
    }

    fn log(&mut self, arrow: char, line: &str) {
        let end = (0..=line.len().min(LOG_LINE)).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
        self.record.push(format!("{arrow} {}", &line[..end]));
    }

    fn take(&mut self, line: &str) {
        self.log('<', line);
        let Ok(Value::Object(message)) = serde_json::from_str::<Value>(line) else {
            let line = line.chars().take(200).collect();
            self.garbage.get_or_insert(line);
            return;
        };
        if let Some(greeting) = message.get("QMP") {
            self.greeting = Some(greeting.clone());
        } else if let Some(name) = message.get("event").and_then(Value::as_str) {
            let event = Event::read(name, message.get("data").unwrap_or(&Value::Null));
            let qemu = message.get("timestamp").map(stamp).unwrap_or_default();
            let number = self.events_end();
            self.events.push_back(Stamped { number, at: Instant::now(), qemu, event });
        } else if let Some(id) = message.get("id").and_then(Value::as_u64) {
            if self.awaited.remove(&id) {
                self.answers.insert(id, Value::Object(message));
            }
        } else {
            self.garbage.get_or_insert(line.chars().take(200).collect());
        }
    }
}

fn stamp(timestamp: &Value) -> Duration {
    let part = |key| timestamp.get(key).and_then(Value::as_u64).unwrap_or(0);
    Duration::from_secs(part("seconds")) + Duration::from_micros(part("microseconds"))
}

/// A connection. Commands may be given from any thread.
#[derive(Debug)]
pub struct Qmp {
    hub: Arc<Hub>,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    stream: UnixStream,
    last_id: u64,
}

impl Qmp {
    /// Starts to read. [`Qmp::negotiate`] must follow before any command.
    pub(super) fn start(hub: Arc<Hub>, stream: UnixStream) -> std::io::Result<Self> {
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let reader = stream.try_clone()?;
        let posts = Arc::clone(&hub);
        std::thread::Builder::new().name("qmp".into()).spawn(move || read(reader, &posts))?;
        Ok(Self { hub, writer: Mutex::new(Writer { stream, last_id: 0 }) })
    }

    /// Waits for the greeting and leaves the negotiation mode.
    ///
    /// # Errors
    /// See [`QmpError`]; the command is called `greeting` while nothing was asked yet.
    pub(super) fn negotiate(&self, deadline: Deadline) -> Result<(), QmpError> {
        self.wait("greeting", deadline, |inbox| inbox.greeting.clone())?;
        self.execute("qmp_capabilities", Value::Null, deadline)?;
        Ok(())
    }

    /// Gives a command and waits for its result (`return`).
    ///
    /// # Errors
    /// See [`QmpError`].
    pub fn execute(&self, command: &str, arguments: Value, deadline: Deadline) -> Result<Value, QmpError> {
        self.execute_with(command, arguments, None, deadline)
    }

    /// The same, with a descriptor for QEMU (`getfd`, `add-fd`).
    ///
    /// # Errors
    /// See [`QmpError`].
    pub fn execute_with(
        &self,
        command: &str,
        arguments: Value,
        fd: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<Value, QmpError> {
        let id = self.send(command, arguments, fd);
        let answer = self.wait(command, deadline, |inbox| inbox.answers.remove(&id));
        let mut answer = answer.inspect_err(|_| {
            self.hub.post(|state| state.qmp.awaited.remove(&id)); // an answer that comes later is only logged
        })?;
        if let Some(result) = answer.get_mut("return") {
            return Ok(result.take());
        }
        let text = |key: &str| answer["error"].get(key).and_then(Value::as_str).map(str::to_string);
        match (text("class"), text("desc")) {
            (Some(class), Some(desc)) => Err(QmpError::Refused { command: command.into(), class, desc }),
            _ => Err(QmpError::Shape { command: command.into(), answer: answer.to_string() }),
        }
    }

    /// Sends; a failure to write means that QEMU is gone, which the reader notices.
    fn send(&self, command: &str, arguments: Value, fd: Option<BorrowedFd<'_>>) -> u64 {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.last_id += 1;
        let id = writer.last_id;
        let mut message = json!({ "execute": command, "id": id });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        let line = message.to_string();
        self.hub.post(|state| {
            state.qmp.awaited.insert(id);
            state.qmp.log('>', &line);
        });
        let sent = match fd {
            None => writer.stream.write_all(line.as_bytes()),
            Some(fd) => send_with(&mut writer.stream, line.as_bytes(), fd),
        };
        if let Err(e) = sent {
            self.hub.post(|state| state.qmp.log('!', &format!("write: {e}")));
        }
        id
    }

    fn wait<T>(
        &self,
        command: &str,
        deadline: Deadline,
        mut find: impl FnMut(&mut Inbox) -> Option<T>,
    ) -> Result<T, QmpError> {
        let command = command.to_string();
        // An answer behind garbage may be as wrong.
        let found = self.hub.wait(deadline, |state| match &state.qmp.garbage {
            Some(line) => Some(Err(Some(line.clone()))),
            None => match find(&mut state.qmp) {
                Some(found) => Some(Ok(found)),
                None => state.qmp.closed.then_some(Err(None)),
            },
        });
        match found {
            Some(Ok(found)) => Ok(found),
            Some(Err(Some(line))) => Err(QmpError::Garbage { line }),
            Some(Err(None)) => Err(QmpError::Gone { command, gone: self.hub.gone() }),
            None => Err(QmpError::Timeout { command, deadline }),
        }
    }

    /// Position after the last event: look from here for what comes next.
    pub fn events_end(&self) -> u64 {
        self.hub.look(|state| state.qmp.events_end())
    }

    /// Events from position `from` on.
    pub fn events_from(&self, from: u64) -> Vec<Stamped> {
        self.hub.look(|state| state.qmp.events_from(from).cloned().collect())
    }

    /// Every line of both directions so far, with seconds since the start.
    pub fn log(&self) -> String {
        self.hub.look(|state| state.qmp.record.text(true))
    }
}

/// The first byte carries the descriptor.
fn send_with(stream: &mut UnixStream, line: &[u8], fd: BorrowedFd<'_>) -> std::io::Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(&*stream, &[IoSlice::new(line)], &mut control, SendFlags::NOSIGNAL)?;
    stream.write_all(&line[sent..])
}

fn read(stream: UnixStream, hub: &Hub) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break, // an error to read is the end of the connection as well
            Ok(_) => hub.post(|state| state.qmp.take(String::from_utf8_lossy(&line).trim_end())),
        }
    }
    hub.post(|state| state.qmp.closed = true);
}

#[cfg(test)]
#[path = "qmp_tests.rs"]
mod tests;
