//! Where worker threads leave messages for the main thread, which alone writes to the port.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::sync::{Mutex, PoisonError};
use wire::{Answer, Failure, JobOutcome, Message};

/// A queue that wakes its reader through a pipe (eventfd is an option of the kernel's configuration, pipes are not).
pub(crate) struct Outbox {
    queue: Mutex<Vec<Message>>,
    wake_read: OwnedFd,
    wake_write: OwnedFd,
}

impl Outbox {
    /// An empty queue.
    pub(crate) fn new() -> Result<Self, Errno> {
        let (wake_read, wake_write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { queue: Mutex::new(Vec::with_capacity(64)), wake_read, wake_write })
    }

    /// Becomes readable when something was left.
    pub(crate) fn wake(&self) -> BorrowedFd<'_> {
        self.wake_read.as_fd()
    }

    /// Leaves a message.
    pub(crate) fn post(&self, message: Message) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push(message);
        // A full pipe is a wake-up too.
        let _ = rustix::io::write(&self.wake_write, &[0]);
    }

    /// Leaves the answer to a request, with the present time.
    pub(crate) fn answer(&self, id: u64, result: Result<Answer, Failure>) {
        self.post(Message::Answer { id, t_ns: now_ns(), result });
    }

    /// Leaves the end of a job, with the present time.
    pub(crate) fn job_done(&self, id: u64, begun_ns: u64, result: Result<JobOutcome, Failure>) {
        self.post(Message::JobDone { id, begun_ns, t_ns: now_ns(), result });
    }

    /// Leaves a line for the log.
    pub(crate) fn log(&self, text: impl Into<String>) {
        self.post(Message::Log { t_ns: now_ns(), text: text.into() });
    }

    /// Takes all that was left.
    pub(crate) fn take(&self) -> Vec<Message> {
        let mut sink = [0u8; 256];
        while matches!(rustix::io::read(&self.wake_read, &mut sink), Ok(n) if n == sink.len()) {}
        std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `CLOCK_BOOTTIME`.
pub(crate) fn now_ns() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(t.tv_sec).expect("time since boot is not negative");
    let nanos = u64::try_from(t.tv_nsec).expect("nanoseconds are not negative");
    seconds * 1_000_000_000 + nanos
}

/// Turns an errno into a [`Failure`] that names what failed.
pub(crate) fn failed(what: impl std::fmt::Display) -> impl FnOnce(Errno) -> Failure {
    move |errno| Failure { errno: errno.raw_os_error(), why: what.to_string() }
}

/// The same for errors of the standard library.
pub(crate) fn io_failed(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| match error.raw_os_error() {
        Some(errno) => Failure { errno, why: what.to_string() },
        None => Failure { errno: 0, why: format!("{what}: {error}") },
    }
}

/// A [`Failure`] without an errno.
pub(crate) fn refused(why: impl Into<String>) -> Failure {
    Failure { errno: 0, why: why.into() }
}
