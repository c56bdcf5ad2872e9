//! Why a kernel could not be built. Fragments fit for "failed to …: {error}".

use super::took::NotTaken;
use crate::kernel::KernelError;
use std::fmt;
use std::path::PathBuf;

/// Why there is no kernel.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Nothing is there.
    #[error("no such directory: {}", .0.display())]
    Missing(PathBuf),
    /// A directory without a kernel's source.
    #[error("{} is not a kernel source tree: it has no {lacks}", path.display())]
    NotASource {
        /// the directory
        path: PathBuf,
        /// the file or line that every kernel source has
        lacks: &'static str,
    },
    /// Someone built in the source tree itself, which then cannot serve for a build elsewhere (the kernel's own rule).
    #[error(
        "{} was built in place ({found} is there) and cannot be built elsewhere: run `make mrproper` there, or use the build in it with -k tree:{}",
        path.display(), path.display()
    )]
    InTreeBuild {
        /// the source
        path: PathBuf,
        /// what shows it
        found: &'static str,
    },
    /// A directory in which nothing was configured.
    #[error(
        "{} is no build directory: it has no .config (`memhp kernels build --tree {}` builds elsewhere)",
        .0.display(), .0.display()
    )]
    NotConfigured(PathBuf),
    /// A fragment that is neither shipped nor a file.
    #[error("no fragment {name:?}: neither one of {names} nor a file")]
    NoFragment {
        /// as typed
        name: String,
        /// those that are shipped
        names: String,
    },
    /// A fragment with a line that is none.
    #[error("fragment {name}, line {line}: {why}")]
    BadFragment {
        /// name or path
        name: String,
        /// from 1
        line: usize,
        /// what is wrong with it
        why: String,
    },
    /// Options that were asked for and are not so in the configuration.
    #[error("{}", not_taken(.0))]
    NotTaken(Vec<NotTaken>),
    /// A program that building needs.
    #[error("{program} not found on PATH: building a kernel needs it (package {package})")]
    NoTool {
        /// program
        program: &'static str,
        /// Debian's package
        package: &'static str,
    },
    /// make said no.
    #[error("{what} failed: {message}\nthe whole log: {}", log.display())]
    Make {
        /// `make vmlinux`
        what: String,
        /// the compiler's own message, or the end of what was written
        message: String,
        /// everything that was written
        log: PathBuf,
    },
    /// No room.
    #[error("{what} failed: no space left on the file system of {}", dir.display())]
    NoSpace {
        /// `make vmlinux`
        what: String,
        /// where it was building
        dir: PathBuf,
    },
    /// It did not end.
    #[error("{what} did not end within {seconds} s; the whole log: {}", log.display())]
    Timeout {
        /// `make vmlinux`
        what: String,
        /// the limit
        seconds: u64,
        /// everything that was written
        log: PathBuf,
    },
    /// The runner's watch ended it.
    #[error("{what} was ended: {why}; the whole log: {}", log.display())]
    Watch {
        /// `make vmlinux`
        what: String,
        /// which limit was passed
        why: String,
        /// everything that was written
        log: PathBuf,
    },
    /// The runner's watch ended it, and what was run is not to blame.
    #[error("{what} was ended, which is the host's fault: {why}; the whole log: {}", log.display())]
    Host {
        /// `make vmlinux`
        what: String,
        /// what is wrong with the host
        why: String,
        /// everything that was written
        log: PathBuf,
    },
    /// Ctrl-C or SIGTERM.
    #[error("ended by signal {0}")]
    Stopped(i32),
    /// Somebody edits.
    #[error("{} changed while it was built; build again", .0.display())]
    SourceChanged(PathBuf),
    /// git said no.
    #[error("{command} failed: {stderr}")]
    Git {
        /// command line
        command: String,
        /// its complaint
        stderr: String,
    },
    /// What fetching, the cache or a file said.
    #[error(transparent)]
    Kernel(#[from] Box<KernelError>),
}

impl From<KernelError> for BuildError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(Box::new(error))
    }
}

impl BuildError {
    /// What was asked for is wrong; everything else is the source's or the host's fault.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Missing(_)
            | Self::NotASource { .. }
            | Self::InTreeBuild { .. }
            | Self::NotConfigured(_)
            | Self::NoFragment { .. }
            | Self::BadFragment { .. } => true,
            Self::Kernel(error) => error.is_usage(),
            _ => false,
        }
    }
}

fn not_taken(all: &[NotTaken]) -> impl fmt::Display {
    let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
    match lines.as_slice() {
        [one] => format!("the configuration is not as wanted: {one}"),
        _ => format!("the configuration is not as wanted:\n  {}", lines.join("\n  ")),
    }
}
