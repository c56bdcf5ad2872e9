//! The only unsafe code of this crate: what must happen in a child between fork and exec.
#![allow(unsafe_code)]

use rustix::process::Signal;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// Starts `command` in a process group of its own, sent `last` by the kernel when the calling *thread* ends,
/// with the descriptors `inherit` left open in it (they stay close-on-exec in this process, so that no other
/// child gets them).
///
/// PR_SET_PDEATHSIG is bound to the thread that called this, not to the process: call it from a thread that
/// lives as long as the child shall.
///
/// # Errors
/// What fork, the calls in the child, or exec say.
pub(crate) fn spawn_bound(command: &mut Command, inherit: &[RawFd], last: Signal) -> io::Result<Child> {
    let parent = rustix::process::getpid();
    let inherit = inherit.to_vec();
    command.process_group(0);
    let prepare = move || {
        rustix::process::set_parent_process_death_signal(Some(last))?;
        if rustix::process::getppid() != Some(parent) {
            return Err(io::Error::from(rustix::io::Errno::SRCH)); // the parent ended before the line above
        }
        for &fd in &inherit {
            // SAFETY: the caller keeps these descriptors open while this function runs, and a child starts with a copy of all.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: `prepare` makes system calls only (prctl, getppid, fcntl); it takes no lock and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}
