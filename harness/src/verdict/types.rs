//! The six verdicts.

use serde::{Deserialize, Serialize};
use std::fmt;

/// KCIDB's test statuses. The order is their weight: the heaviest of several wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// does not apply
    Skip,
    /// a measurement, nothing judged
    Done,
    /// the kernel did right
    Pass,
    /// the harness or the host failed, the test did not run
    Miss,
    /// the test broke, the kernel is unknown
    Error,
    /// the kernel did wrong
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skip => "SKIP",
            Self::Done => "DONE",
            Self::Pass => "PASS",
            Self::Miss => "MISS",
            Self::Error => "ERROR",
            Self::Fail => "FAIL",
        })
    }
}
