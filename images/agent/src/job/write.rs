//! Writes that may block, in a thread that can be interrupted.
//!
//! `echo offline > state` has two places where it stays: `offline_pages`, which tries again until it succeeds or a
//! signal is pending, and, while another such write is under way, `lock_device_hotplug_sysfs`, which sleeps and has
//! the kernel start the system call again (`restart_syscall`), signal or not, for as long as the thread lives. The
//! first ends with EINTR on any signal with a handler. For the second the handler replaces the descriptor by one that
//! is not open for writing ([`crate::sys`]), so that the call, started again, fails with EBADF. One signal does for
//! both, and for a write that has not begun; what the kernel had begun and what not is told apart by the errno.

use crate::files::{open_for_write, write_once};
use crate::outbox::{Outbox, failed, now_ns, refused};
use crate::sys;
use rustix::io::Errno;
use std::sync::{Mutex, PoisonError};
use wire::{Failure, JobOutcome};

/// A write, as [`crate::job::Jobs`] sees it.
#[derive(Default)]
pub(crate) struct Writing {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    interrupted: bool,
    thread: Thread,
}

#[derive(Default)]
enum Thread {
    #[default]
    NotYet,
    Is(i32),
    Ended,
}

impl Writing {
    /// Ends the write with EINTR, at once or as soon as the kernel looks.
    pub(crate) fn interrupt(&self) -> Result<(), Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.interrupted = true;
        match state.thread {
            Thread::NotYet => Ok(()),
            Thread::Is(tid) => sys::interrupt_thread(tid).map_err(failed("tgkill")),
            Thread::Ended => Err(refused("the write has ended")),
        }
    }

    /// The calling thread is the one from now on; returns whether it was interrupted before.
    fn begin(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.thread = Thread::Is(rustix::thread::gettid().as_raw_nonzero().get());
        state.interrupted
    }

    /// The thread is not to be signalled any more; returns whether it was interrupted.
    fn end(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.thread = Thread::Ended;
        state.interrupted
    }
}

/// Writes with the priority of an ordinary process, and reports the end.
pub(crate) fn run(id: u64, path: &str, text: &str, writing: &Writing, outbox: &Outbox) {
    let fd = match open_for_write(path) {
        Ok(fd) => fd,
        Err(failure) => {
            writing.end();
            return outbox.job_done(id, now_ns(), Err(failure));
        }
    };
    sys::set_writing(Some(&fd));
    let ordinary = crate::manner::nice(0);
    let begun_ns = now_ns();
    let result = if writing.begin() { Err(never_begun(path)) } else { write_once(&fd, path, text) };
    let t_ns = now_ns();
    let ordinary = ordinary.and_then(|()| crate::manner::nice(crate::setup::NICE));
    ordinary.unwrap_or_else(|why| outbox.log(why));
    let interrupted = writing.end();
    sys::set_writing(None::<&rustix::fd::OwnedFd>);
    drop(fd);
    let result = match result {
        Err(failure) if interrupted && failure.errno == Errno::BADF.raw_os_error() => Err(never_begun(path)),
        other => other.map(|()| JobOutcome::Written),
    };
    outbox.post(wire::Message::JobDone { id, begun_ns, t_ns, result });
}

fn never_begun(path: &str) -> Failure {
    failed(format_args!("write {path}: interrupted before the kernel began"))(Errno::INTR)
}
