//! QEMU's panic device (docs/specs/pvpanic) as a signal of the guest's: 1 stops the machine in the middle of the guest's
//! write, 2 is only told. A kernel that really panics does not use it here: its driver is not loaded.

use super::event::Event;
use super::hub::{Deadline, WaitError};
use super::inbox;
use super::start::Vm;

/// Where it listens (hw/misc/pvpanic-isa.c).
pub const PORT: u16 = 0x505;

/// What the machine needs for it.
pub const ARGS: [&str; 4] = ["-device", "pvpanic", "-action", "panic=pause"];

/// What the guest said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// it stopped the machine
    Stopped,
    /// it is at its end
    End,
    /// the job ended and did not stop it
    Never,
}

impl Vm {
    /// Waits for the guest's signal, from event `from` on, or for the end of the job that was to give it. When it stopped
    /// the machine, no processor runs any more.
    ///
    /// # Errors
    /// See [`WaitError`]: a console that says something fatal ends the wait.
    pub fn wait_signal(&self, from: u64, job: Option<u64>, deadline: Deadline) -> Result<Signal, WaitError> {
        self.hub.wait_guest("the guest's signal", deadline, |state| {
            let mut panicked = false;
            for stamped in state.qmp.events_from(from) {
                match &stamped.event {
                    Event::GuestPanicked { .. } => panicked = true,
                    Event::Stop if panicked => return Some(Signal::Stopped),
                    Event::Other { name, .. } if name == "GUEST_CRASHLOADED" => return Some(Signal::End),
                    _ => {}
                }
            }
            job.filter(|job| over(&state.agent, *job)).map(|_| Signal::Never)
        })
    }
}

/// A job that ended, or was refused.
fn over(agent: &inbox::Inbox, job: u64) -> bool {
    agent.jobs.contains_key(&job) || matches!(agent.answers.get(&job), Some((.., Err(_))))
}
