//! Why a series could not be judged. What its patches do wrong is an [`super::Outcome`], not an error.

use super::order::OrderError;
use crate::kernel::build::BuildError;
use crate::sandbox::SandboxError;
use std::io;
use std::path::{Path, PathBuf};

/// Fragments fit for "failed to …: {error}".
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// What was given holds no series.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// Nothing to read.
    #[error("no patches in {}: want files ending in .patch, .eml or .mbox", .0.display())]
    NoFiles(PathBuf),
    /// Too much to read.
    #[error("{from} is absurdly large: more than {} MiB of patches, or more than {} mails", bytes >> 20, mails)]
    TooLarge {
        /// where it came from
        from: String,
        /// limit
        bytes: u64,
        /// limit
        mails: usize,
    },
    /// git finds no mails.
    #[error("{from} is no mail and no mbox: {said}")]
    NoMail {
        /// where it came from
        from: String,
        /// git's words
        said: String,
    },
    /// No tree.
    #[error("{} is not a kernel source tree: {why}", path.display())]
    Tree {
        /// as typed
        path: PathBuf,
        /// what is wrong with it
        why: String,
    },
    /// No such revision.
    #[error("{} has no commit {rev:?}", path.display())]
    NoBase {
        /// the tree
        path: PathBuf,
        /// as typed
        rev: String,
    },
    /// A mail names a commit that the user has not checked out.
    #[error(
        "the series names {commit} as its base, which HEAD of {} did not come from: give --base {commit} if that commit is to be trusted and built, or another --base", path.display()
    )]
    StrayBase {
        /// the tree
        path: PathBuf,
        /// the commit
        commit: String,
    },
    /// b4 gave one message of a series, and nothing says where the others are.
    #[error("{0}")]
    B4(String),
    /// The base cannot be built: nothing can be said of the series.
    #[error("the base, without the series: {0}")]
    Base(#[source] BuildError),
    /// git failed where it must not.
    #[error("{what} failed: {said}")]
    Git {
        /// what was tried
        what: String,
        /// git's words
        said: String,
    },
    /// No sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A step did not come to its end.
    #[error(transparent)]
    Step(#[from] BuildError),
    /// A file.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// "reading"
        what: &'static str,
        /// which
        path: PathBuf,
        /// why
        source: io::Error,
    },
}

impl SeriesError {
    /// The command line is wrong, or what it names; everything else is the host's or git's fault.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Order(_) | Self::NoFiles(_) | Self::TooLarge { .. } | Self::NoMail { .. } => true,
            Self::Tree { .. } | Self::NoBase { .. } | Self::StrayBase { .. } => true,
            Self::Io { what, .. } => *what == INPUT,
            Self::Base(error) | Self::Step(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// What is being done to what the user named.
pub(super) const INPUT: &str = "reading patches from";

/// For `map_err`.
pub(super) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SeriesError {
    let path = path.to_path_buf();
    move |source| SeriesError::Io { what, path, source }
}
