//! Why a scenario came to no judgement by its steps, and what that makes of its verdict.

use crate::finding::Finding;
use crate::verdict;
use crate::vm::{self, ChannelError, Deadline};

/// What ended a scenario before its last step.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Trouble {
    /// a finding ended it; all findings are in the log
    #[error("a fact is not as it must be")]
    Found,
    /// the test broke; nothing is known of the kernel
    #[error("{0}")]
    Error(String),
    /// the harness or the host failed; the test did not run
    #[error("{0}")]
    Miss(String),
    /// the console said something fatal
    #[error("the console said: {0}")]
    Console(String),
    /// QEMU ended though nobody asked it to
    #[error("{0}")]
    Gone(String),
    /// the guest reset or powered off: QEMU ended by itself, with status 0
    #[error("the guest reset or powered off, waiting for {0}")]
    Reset(String),
    /// a deadline passed
    #[error("{what} did not come within {seconds} s")]
    Timeout {
        /// what was waited for
        what: String,
        /// how long
        seconds: u64,
    },
    /// the run was interrupted
    #[error("interrupted")]
    Interrupted,
}

impl Trouble {
    /// What is not the kernel's fault in it.
    pub fn not_the_kernels(&self) -> Option<verdict::Trouble> {
        match self {
            Self::Error(why) => Some(verdict::Trouble::Broke(why.clone())),
            Self::Miss(why) | Self::Gone(why) => Some(verdict::Trouble::NotRun(why.clone())),
            Self::Interrupted => Some(verdict::Trouble::NotRun("interrupted".into())),
            Self::Found | Self::Console(_) | Self::Reset(_) | Self::Timeout { .. } => None,
        }
    }

    /// What is the kernel's fault in it, beside what was found and what the console says.
    pub fn the_kernels(&self) -> Option<Finding> {
        match self {
            Self::Timeout { what, .. } => {
                let rule = "a guest that does not answer before a generous deadline hangs; its console has the diagnosis";
                Some(Finding::new("hang", what, "an answer", "none, and the guest does not answer", rule))
            }
            Self::Reset(what) => {
                let rule = "nothing asks the guest to end before its scenario does";
                Some(Finding::new("guest.runs", what, "running", "reset or powered off", rule))
            }
            Self::Console(line) => {
                let rule = "this message says that nothing that follows can be trusted";
                Some(Finding::new("console", "", "", verdict::stable(line), rule))
            }
            _ => None,
        }
    }
}

/// A wait that had no result by its deadline.
pub(super) fn timeout(what: String, deadline: Deadline) -> Trouble {
    Trouble::Timeout { what, seconds: deadline.span().as_secs() }
}

/// What an unanswered request says.
pub fn channel_trouble(error: ChannelError) -> Trouble {
    match error {
        ChannelError::Wait(wait) => wait_trouble(wait),
        other => Trouble::Error(other.to_string()),
    }
}

/// What a wait without result says.
pub fn wait_trouble(error: vm::WaitError) -> Trouble {
    match error {
        vm::WaitError::Timeout { what, deadline } => timeout(what, deadline),
        vm::WaitError::Alarm { line, .. } => Trouble::Console(line),
        vm::WaitError::Gone { what, gone } if by_itself(&gone) => Trouble::Reset(what),
        gone @ vm::WaitError::Gone { .. } => Trouble::Gone(gone.to_string()),
    }
}

/// What a monitor that does not do its work says: never anything about the kernel.
pub fn qmp_trouble(error: vm::QmpError) -> Trouble {
    match error {
        vm::QmpError::Gone { command, gone } if by_itself(&gone) => Trouble::Reset(command),
        gone @ vm::QmpError::Gone { .. } => Trouble::Gone(gone.to_string()),
        other => Trouble::Miss(other.to_string()),
    }
}

/// QEMU ended with status 0 though nobody asked it to: the guest reset (`-no-reboot`) or powered off.
pub(crate) fn by_itself(gone: &vm::Gone) -> bool {
    gone.exit.as_ref().is_some_and(|exit| exit.code == Some(0))
}
