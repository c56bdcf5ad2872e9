//! The raw state of all watched files, kept up to date by the agent's snapshots (which hold differences only).

use std::collections::BTreeMap;
use wire::{Snapshot, Value};

/// Directory -> entry -> value, as the last snapshot left it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Raw {
    dirs: BTreeMap<String, BTreeMap<String, Value>>,
    threads: Vec<String>,
}

impl Raw {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what a snapshot says has changed.
    pub fn apply(&mut self, snapshot: &Snapshot) {
        for dir in &snapshot.gone {
            self.dirs.remove(dir);
        }
        for (dir, entries) in &snapshot.changed {
            self.dirs.insert(dir.clone(), entries.clone());
        }
        self.threads.clone_from(&snapshot.threads);
    }

    /// Entries of one directory.
    pub fn dir(&self, dir: &str) -> Option<&BTreeMap<String, Value>> {
        self.dirs.get(dir)
    }

    /// Directories whose path begins with `prefix`, with the rest of the path.
    pub fn dirs<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a BTreeMap<String, Value>)> {
        self.dirs.iter().filter_map(move |(d, e)| Some((d.strip_prefix(prefix)?, e)))
    }

    /// Content or errno of a file, `None` where it was not watched or does not exist.
    pub fn file(&self, path: &str) -> Option<&Value> {
        let (dir, name) = path.rsplit_once('/')?;
        self.dirs.get(dir)?.get(name)
    }

    /// Names of the watched kernel threads.
    pub fn threads(&self) -> &[String] {
        &self.threads
    }
}
