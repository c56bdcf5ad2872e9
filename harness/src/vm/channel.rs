//! The line to the agent: requests, answers, and what the agent says unasked.
//!
//! A thread takes messages apart: answers and ended jobs are kept by id, uevents and ends of jobs also in the order
//! they came. The first damaged or missing message damages the channel for good: nothing later can be trusted.

use super::hub::{Deadline, Hub, State, WaitError};
use super::inbox::{self, Counters, JobEnd, Push, brief};
use super::line::{self, Line};
use std::fs::File;
use std::io::Write;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wire::{Answer, Ask, Failure, FrameError, FrameReader, FrameWriter, Hello, Job, Message, Request};

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// time up, an alarm, or QEMU is gone
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// a message was lost or damaged on its way: nothing can be said of the kernel
    #[error("the agent's line is damaged: {0}")]
    Damaged(FrameError),
    /// the agent could not do what it was asked: the errno is the kernel's answer
    #[error("{what}: {} (errno {})", failure.why, failure.errno)]
    Refused {
        /// what was asked
        what: String,
        /// why not
        failure: Failure,
    },
    /// the answer is not one to this question, or the agent speaks another protocol
    #[error("{what}: the agent answered {answer}")]
    Unexpected {
        /// what was asked
        what: String,
        /// what came
        answer: String,
    },
}

/// An answer with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// guest time when it was made, nanoseconds of CLOCK_BOOTTIME
    pub t_ns: u64,
    /// arrival on the host
    pub at: Instant,
    /// the answer
    pub answer: Answer,
}

/// The channel of a VM. Requests may be made from any thread.
#[derive(Debug)]
pub struct Channel {
    hub: Arc<Hub>,
    writer: Mutex<Writer>,
}

/// Bytes go out in a thread of their own: a guest that does not read must not block whoever asks.
#[derive(Debug)]
struct Writer {
    bytes: Sender<Vec<u8>>,
    frames: FrameWriter,
    last_id: u64,
}

impl Channel {
    /// Starts to read; `counters` are those of the guest's past ([`Counters::default`] for a guest that boots).
    pub(super) fn start(hub: Arc<Hub>, line: Line, counters: Counters) -> std::io::Result<Self> {
        let Line { from_guest, to_guest } = line;
        let posts = Arc::clone(&hub);
        hub.post(|state| state.agent.received = counters.received);
        let mut frames = FrameReader::after(counters.received, counters.heard);
        frames.push(&counters.partial);
        std::thread::Builder::new().name("agent".into()).spawn(move || read(from_guest, frames, &posts))?;
        let (bytes, queue) = mpsc::channel();
        std::thread::Builder::new().name("agent-out".into()).spawn(move || write(to_guest, &queue))?;
        let frames = FrameWriter::after(counters.sent, counters.said);
        let writer = Writer { bytes, frames, last_id: counters.last_id };
        Ok(Self { hub, writer: Mutex::new(writer) })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn call(&self, ask: Ask, deadline: Deadline) -> Result<Answer, ChannelError> {
        self.ask(ask, deadline).map(|reply| reply.answer)
    }

    /// The same, with times.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn ask(&self, ask: Ask, deadline: Deadline) -> Result<Reply, ChannelError> {
        let what = describe(&ask);
        let id = self.send(ask);
        let (t_ns, at, result) = self.await_answer(id, &what, deadline)?;
        match result {
            Ok(answer) => Ok(Reply { t_ns, at, answer }),
            Err(failure) => Err(ChannelError::Refused { what, failure }),
        }
    }

    /// Says hello to an agent that starts at an unknown time. Bytes that reach a port before the guest opens it are
    /// lost, so the same message is sent again until the first whole message comes back; the agent takes a repeated
    /// first message for the same one.
    ///
    /// # Errors
    /// See [`ChannelError`]; another version of the protocol is [`ChannelError::Unexpected`].
    pub fn hello(&self, deadline: Deadline) -> Result<Hello, ChannelError> {
        let what = "the agent's first message".to_string();
        let id = self.send(Ask::Hello);
        (1..HELLO_AT_ONCE).for_each(|_| self.resend_hello(id));
        let result = loop {
            let step = deadline.at_most(HELLO_AGAIN);
            match self.await_answer(id, &what, step) {
                Err(ChannelError::Wait(WaitError::Timeout { .. })) if !deadline.left().is_zero() => {
                    self.resend_hello(id);
                }
                Err(ChannelError::Wait(WaitError::Timeout { .. })) => {
                    return Err(WaitError::Timeout { what, deadline }.into());
                }
                other => break other?,
            }
        };
        match result.2 {
            Ok(Answer::Hello(hello)) if hello.protocol == wire::PROTOCOL => Ok(hello),
            other => Err(ChannelError::Unexpected { what, answer: brief(&other) }),
        }
    }

    /// Starts a job and waits until the agent has taken it; returns the job's id.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn start_job(&self, job: Job, deadline: Deadline) -> Result<u64, ChannelError> {
        let ask = Ask::Job(job);
        let what = describe(&ask);
        let id = self.send(ask);
        match self.await_answer(id, &what, deadline)?.2 {
            Ok(Answer::Done) => Ok(id),
            Ok(other) => Err(ChannelError::Unexpected { what, answer: format!("{other:?}") }),
            Err(failure) => Err(ChannelError::Refused { what, failure }),
        }
    }

    /// Starts a job that may stop the machine before the agent's answer is out: nothing is waited for.
    pub fn begin_job(&self, job: Job) -> u64 {
        self.send(Ask::Job(job))
    }

    /// Waits for the end of a job. It is told once: a second wait for the same job times out.
    ///
    /// # Errors
    /// See [`ChannelError`]; a job that failed is not an error here.
    pub fn wait_job(&self, id: u64, deadline: Deadline) -> Result<JobEnd, ChannelError> {
        self.wait(&format!("the end of job {id}"), deadline, |inbox| inbox.jobs.remove(&id))
    }

    /// The next thing that the agent said unasked.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn next_push(&self, deadline: Deadline) -> Result<Push, ChannelError> {
        self.wait("anything from the agent", deadline, |inbox| inbox.pushes.pop_front())
    }

    /// Takes all that the agent said unasked so far, in order. What was sent before an answer is there once the
    /// answer is.
    pub fn pushes(&self) -> Vec<Push> {
        self.hub.look(|state| state.agent.pushes.drain(..).collect())
    }

    /// Where both directions stand, once the connection has ended.
    pub fn counters(&self) -> Counters {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (sent, said) = (writer.frames.sent(), writer.frames.past().to_string());
        self.hub.look(|state| Counters {
            sent,
            received: state.agent.received,
            last_id: writer.last_id,
            partial: state.agent.partial.clone(),
            said,
            heard: state.agent.heard.clone(),
        })
    }

    /// Every message of both directions so far in short, with seconds since the start.
    pub fn log(&self) -> String {
        self.hub.look(|state| state.agent.record.text(true))
    }

    fn send(&self, ask: Ask) -> u64 {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.last_id += 1;
        let id = writer.last_id;
        self.hub.post(|state| {
            state.agent.awaited.insert(id);
            state.agent.log('>', &format!("#{id} {}", describe(&ask)));
        });
        // The writing thread ends with the connection, which the reader reports.
        let line = writer.frames.encode(&Request { id, ask });
        let _ = writer.bytes.send(line);
        id
    }

    fn resend_hello(&self, id: u64) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut frame = b"\n".to_vec(); // ends what may be left of the last try
        frame.extend(FrameWriter::new().encode(&Request { id, ask: Ask::Hello }));
        let _ = writer.bytes.send(frame);
    }

    #[allow(clippy::type_complexity)]
    fn await_answer(
        &self,
        id: u64,
        what: &str,
        deadline: Deadline,
    ) -> Result<(u64, Instant, Result<Answer, Failure>), ChannelError> {
        self.wait(what, deadline, |inbox| inbox.answers.remove(&id))
    }

    fn wait<T>(
        &self,
        what: &str,
        deadline: Deadline,
        mut find: impl FnMut(&mut inbox::Inbox) -> Option<T>,
    ) -> Result<T, ChannelError> {
        let find = |state: &mut State| match find(&mut state.agent) {
            Some(found) => Some(Ok(found)),
            None => state.agent.damaged.clone().map(Err),
        };
        self.hub.wait_guest(what, deadline, find)?.map_err(ChannelError::Damaged)
    }
}

/// So often hello is said at once: what is sent before the port is open queues up on the host, but for the first bytes,
/// and arrives when it opens; only the first message is likely to be damaged by that.
const HELLO_AT_ONCE: usize = 3;
/// A hello that is not answered is repeated after this time.
const HELLO_AGAIN: Duration = Duration::from_secs(1);

/// A request in a few words, without what may be long.
fn describe(ask: &Ask) -> String {
    match ask {
        Ask::Put { path, offset, base64, .. } => {
            format!("put {path} at {offset} ({} bytes of base64)", base64.len())
        }
        Ask::Reseed { .. } => "reseed".to_string(),
        Ask::Read { path } => format!("read {path}"),
        Ask::ReadMany { paths } => format!("read {} files, first {:?}", paths.len(), paths.first()),
        Ask::WriteMany { writes } => format!("write {} files, first {:?}", writes.len(), writes.first()),
        Ask::Watch { sets, .. } => format!("watch {} sets", sets.len()),
        other => format!("{other:?}"),
    }
}

fn write(mut to_guest: File, queue: &Receiver<Vec<u8>>) {
    while let Ok(bytes) = queue.recv() {
        if to_guest.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn read(mut from_guest: File, mut frames: FrameReader, hub: &Hub) {
    let mut bytes = [0u8; 64 * 1024];
    loop {
        match line::read(&mut from_guest, &mut bytes) {
            0 => break,
            n => frames.push(&bytes[..n]),
        }
        let mut messages = Vec::new();
        while let Some(message) = frames.take::<Message>() {
            messages.push(message);
        }
        // Nobody is woken for less than a message.
        if !messages.is_empty() {
            hub.post(|state| messages.into_iter().for_each(|message| state.agent.take(message)));
        }
    }
    hub.post(|state| {
        state.agent.partial = frames.partial().to_vec();
        state.agent.heard = frames.past().to_string();
        state.agent.closed = true;
    });
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
