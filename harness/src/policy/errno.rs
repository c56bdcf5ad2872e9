//! The errors that the memory interfaces answer with.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An errno of x86_64 (include/uapi/asm-generic/errno*.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Errno {
    /// no such file: the block or the parameter does not exist
    Enoent,
    /// a signal stopped an offline
    Eintr,
    /// no memory for onlining
    Enomem,
    /// the file may not be opened for writing
    Eacces,
    /// the block holds pages that cannot be moved
    Ebusy,
    /// an unknown word, or an operation that does not apply
    Einval,
    /// a number that does not fit
    Erange,
}

impl Errno {
    /// All that the oracle knows.
    pub const ALL: [Self; 7] =
        [Self::Enoent, Self::Eintr, Self::Enomem, Self::Eacces, Self::Ebusy, Self::Einval, Self::Erange];

    /// The number.
    pub const fn code(self) -> i32 {
        match self {
            Self::Enoent => 2,
            Self::Eintr => 4,
            Self::Enomem => 12,
            Self::Eacces => 13,
            Self::Ebusy => 16,
            Self::Einval => 22,
            Self::Erange => 34,
        }
    }

    /// By its number.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.code() == code)
    }

    /// The name in C.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enoent => "ENOENT",
            Self::Eintr => "EINTR",
            Self::Enomem => "ENOMEM",
            Self::Eacces => "EACCES",
            Self::Ebusy => "EBUSY",
            Self::Einval => "EINVAL",
            Self::Erange => "ERANGE",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
