//! Why a verb could not do its work, with the exit status that says so.

use std::fmt;

/// A message for stderr and an exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// what was wrong and what to do
    pub message: String,
    /// 2: usage or nothing selected; 3: the host or the harness; 128 and a signal's number: ended by it
    pub status: i32,
    /// a program is missing: the same for every kernel, so that a bisection must stop
    pub no_tool: bool,
}

impl Failure {
    /// The command line, a case file or a kernel path is wrong.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), status: 2, no_tool: false }
    }

    /// The host cannot do it.
    pub fn host(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), status: 3, no_tool: false }
    }

    /// SIGINT or SIGTERM came.
    pub fn ended(signal: i32) -> Self {
        Self { message: format!("ended by signal {signal}"), status: 128 + signal, no_tool: false }
    }

    /// A kernel cannot be had: usage where the spec is wrong, the host's fault where fetching failed.
    pub fn kernel(error: crate::kernel::KernelError) -> Self {
        use crate::kernel::{KernelError, build::BuildError};
        let build = if let KernelError::Build(error) = &error { Some(&**error) } else { None };
        match build {
            Some(BuildError::NoTool { .. }) => Self { no_tool: true, ..Self::host(error) },
            Some(BuildError::Stopped(signal)) => Self { status: 128 + signal, ..Self::host(error) },
            _ if error.is_usage() => Self::usage(error),
            _ => Self::host(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
