//! What a case asks about by itself: blocks, files, memory that is held, loads, programs.

use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Explicit expectations of blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blocks {
    /// numbers, in the order of the selection
    pub blocks: Vec<u32>,
    /// wanted word of each
    pub states: Vec<String>,
    /// wanted zone of each, `-` for none
    pub zones: Vec<String>,
    /// wanted text of valid_zones of all
    pub valid_zones: Option<String>,
    /// all the same; the model takes over what it is
    pub uniform: bool,
}

/// A file's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// path
    pub path: String,
    /// content or errno
    pub value: wire::Value,
    /// wanted text (one trailing newline aside)
    pub want: Option<String>,
    /// regular expression that one line must match
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub want_line: Option<String>,
    /// wanted errno
    pub want_errno: Option<i32>,
}

impl File {
    /// Is it what was wanted?
    pub fn fits(&self) -> bool {
        match (&self.value, &self.want, &self.want_line) {
            (wire::Value::Errno(errno), _, _) => self.want_errno == Some(*errno),
            (wire::Value::Text(text), Some(want), _) => {
                let bare = |text: &str| text.strip_suffix('\n').unwrap_or(text).to_string();
                self.want_errno.is_none() && bare(text) == bare(want)
            }
            (wire::Value::Text(text), None, Some(line)) => {
                Regex::new(line).is_ok_and(|line| text.lines().any(|l| line.is_match(l)))
            }
            // only the errno counts, or nothing
            (wire::Value::Text(_), None, None) => self.want_errno.is_none(),
        }
    }
}

/// Memory that is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// name of the hold
    pub name: String,
    /// what the case says: `free-40M`
    pub size: String,
    /// MemFree before, in bytes
    pub free: u64,
    /// MemAvailable before, in bytes
    pub available: u64,
    /// what that made, in bytes
    pub asked: u64,
    /// what is held, in bytes
    pub bytes: u64,
}

/// A load, for the record: it is never judged. One that is not in force is an ERROR.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// its name; none: a proof of the guest as a whole
    pub name: Option<String>,
    /// what of it
    pub phase: Phase,
    /// figures by which that was seen, before and after where they grew
    pub figures: BTreeMap<String, String>,
}

/// What happened to a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// it was started and is in force
    Begun,
    /// it is in force
    Proved,
    /// it was ended, and nothing of it is left
    Ended,
}

/// A program's end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// program
    pub program: String,
    /// exit status or 128 + signal
    pub status: i32,
    /// killed at its time limit
    pub timed_out: bool,
    /// output
    pub stdout: String,
    /// errors
    pub stderr: String,
    /// wanted status
    pub want_status: i32,
    /// wanted output
    pub want_stdout: Option<String>,
}
