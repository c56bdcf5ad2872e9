//! Waiting for a file that a program makes, its socket for example.

use crate::outbox::{Outbox, failed, now_ns, refused};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;
use std::path::Path;
use wire::{Failure, JobOutcome};

/// Waits, and reports the end.
pub(crate) fn run(id: u64, path: &str, timeout_ms: u64, outbox: &Outbox) {
    let begun_ns = now_ns();
    let result = wait(Path::new(path), begun_ns.saturating_add(timeout_ms.saturating_mul(1_000_000)));
    outbox.job_done(id, begun_ns, result.map(|()| JobOutcome::Found));
}

fn wait(path: &Path, deadline_ns: u64) -> Result<(), Failure> {
    let dir = path.parent().ok_or_else(|| refused(format!("{}: no file", path.display())))?;
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watch = inotify::init(flags).map_err(failed("inotify_init1"))?;
    let events = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&watch, dir, events).map_err(failed(format_args!("watch {}", dir.display())))?;
    let mut sink = [0u8; 4096];
    // What comes between the watch and this look is in the watch's queue.
    while !path.exists() {
        let left = deadline_ns.saturating_sub(now_ns());
        if left == 0 {
            return Err(refused(format!("{} did not appear in time", path.display())));
        }
        let timeout = span(left);
        match poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(failed("poll")(e)),
        }
        while matches!(rustix::io::read(&watch, &mut sink), Ok(n) if n > 0) {}
    }
    Ok(())
}

/// Nanoseconds as poll takes them.
pub(super) fn span(ns: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % 1_000_000_000).expect("less than a second"),
    }
}
