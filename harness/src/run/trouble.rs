//! Why a scenario came to no judgement by its steps, and what that makes of its verdict.

use crate::finding::Finding;
use crate::verdict;

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
