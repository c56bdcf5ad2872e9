//! Uevents without end: `change` written to `uevent` files, at a given pace, until interrupted.

use crate::files;
use crate::outbox::{Outbox, now_ns, refused};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use wire::{Failure, JobOutcome, STORM_UUID};

/// Writes between two looks at the clock.
const BURST: u32 = 10;

/// A storm, as [`crate::job::Jobs`] sees it.
#[derive(Default)]
pub(crate) struct Storming {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    interrupted: bool,
    ended: bool,
}

impl Storming {
    /// Ends it.
    pub(crate) fn interrupt(&self) -> Result<(), Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return Err(refused("the storm has ended"));
        }
        state.interrupted = true;
        self.changed.notify_all();
        Ok(())
    }

    /// Waits for the interruption, this long at most; true when it has come.
    fn interrupted_within(&self, span: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, span, |s| !s.interrupted);
        waited.unwrap_or_else(PoisonError::into_inner).0.interrupted
    }
}

/// Writes until interrupted, and reports how often.
pub(crate) fn run(id: u64, paths: &[String], per_second: u32, storming: &Storming, outbox: &Outbox) {
    let begun_ns = now_ns();
    crate::manner::nice(0).unwrap_or_else(|why| outbox.log(why));
    let pause = Duration::from_secs(1) * BURST / per_second.max(1);
    let text = format!("change {STORM_UUID}");
    let mut writes: u64 = 0;
    let result = 'storm: loop {
        for path in paths
            .iter()
            .cycle()
            .skip(usize::try_from(writes).unwrap_or(0) % paths.len().max(1))
            .take(BURST as usize)
        {
            if let Err(failure) = files::write(path, &text) {
                break 'storm Err(failure);
            }
            writes += 1;
        }
        if paths.is_empty() {
            break Err(refused("no file to write to"));
        }
        if storming.interrupted_within(pause) {
            break Ok(JobOutcome::Stormed { writes });
        }
    };
    storming.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
    crate::manner::nice(crate::setup::NICE).unwrap_or_else(|why| outbox.log(why));
    outbox.job_done(id, begun_ns, result);
}
