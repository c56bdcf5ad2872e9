//! The watch over a running step: what all its processes take together, and what they leave on disk.
//!
//! A process that leaves its parent stays a descendant of the sandbox's first process, whatever it does: that one is the
//! init of its process namespace. So the tree below the step's leader is all of it.

use super::limits::Limits;
use crate::kernel::build::Trouble;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a process is and takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: u32,
    threads: u64,
    resident: u64,
}

/// A look at the processes below a leader, itself included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// threads
    pub threads: u64,
    /// resident memory, bytes; what processes share counts for each
    pub resident: u64,
}

/// Why a step is ended.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Exceeded {
    /// Too many.
    #[error("more than {limit} threads ({seen})")]
    Threads {
        /// allowed
        limit: u64,
        /// counted
        seen: u64,
    },
    /// Too much.
    #[error("more than {} MiB of memory ({} MiB)", limit >> 20, seen >> 20)]
    Memory {
        /// allowed, bytes
        limit: u64,
        /// counted, bytes
        seen: u64,
    },
    /// Too much.
    #[error("more than {} MiB written to {} ({} MiB)", limit >> 20, dir.display(), seen >> 20)]
    Disk {
        /// where
        dir: PathBuf,
        /// allowed, bytes
        limit: u64,
        /// counted, bytes
        seen: u64,
    },
    /// The host must keep some.
    #[error("less than {} MiB left on the file system of {}", reserve >> 20, dir.display())]
    Full {
        /// where
        dir: PathBuf,
        /// to keep, bytes
        reserve: u64,
    },
    /// What cannot be measured cannot be limited.
    #[error("cannot be watched: {0}")]
    Blind(String),
}

impl From<Exceeded> for Trouble {
    fn from(exceeded: Exceeded) -> Self {
        let why = exceeded.to_string();
        match exceeded {
            Exceeded::Threads { .. } | Exceeded::Memory { .. } | Exceeded::Disk { .. } => Self::Step(why),
            // Others write to the same disk; and what cannot be seen cannot be blamed.
            Exceeded::Full { .. } | Exceeded::Blind(_) => Self::Host(why),
        }
    }
}

/// Watches one step.
#[derive(Debug)]
pub struct Watch {
    limits: Limits,
    /// with what was in them before the step
    dirs: Vec<(PathBuf, u64)>,
    looks: u64,
}

/// Directories are measured once in so many looks: a large one takes its time.
const MEASURED: u64 = 5;

impl Watch {
    /// Measures the directories that the step will write to.
    pub fn begin(limits: &Limits, writes: &[PathBuf]) -> Result<Self, Exceeded> {
        let dirs = writes.iter().map(|dir| Ok((dir.clone(), size(dir).map_err(blind(dir))?)));
        Ok(Self { limits: limits.clone(), dirs: dirs.collect::<Result<_, _>>()?, looks: 0 })
    }

    /// Looks once at the processes below `leader`, and now and then at the directories.
    pub fn look(&mut self, leader: u32) -> Result<(), Exceeded> {
        let taken = taken(leader).map_err(|e| Exceeded::Blind(format!("/proc: {e}")))?;
        let Limits { threads, memory, .. } = self.limits;
        if taken.threads > threads {
            return Err(Exceeded::Threads { limit: threads, seen: taken.threads });
        }
        if taken.resident > memory {
            return Err(Exceeded::Memory { limit: memory, seen: taken.resident });
        }
        self.looks += 1;
        let measure = self.looks % MEASURED == 1;
        self.dirs.iter().try_for_each(|(dir, before)| self.room(dir, *before, measure))
    }

    /// A last look at the directories when the step has ended: short steps are over before they are measured.
    pub fn end(&self) -> Result<(), Exceeded> {
        self.dirs.iter().try_for_each(|(dir, before)| self.room(dir, *before, true))
    }

    fn room(&self, dir: &Path, before: u64, measure: bool) -> Result<(), Exceeded> {
        let Limits { disk, reserve, .. } = self.limits;
        let fs = rustix::fs::statvfs(dir).map_err(|e| blind(dir)(e.into()))?;
        if fs.f_bavail.saturating_mul(fs.f_frsize) < reserve {
            return Err(Exceeded::Full { dir: dir.into(), reserve });
        }
        let seen = if measure { size(dir).map_err(blind(dir))?.saturating_sub(before) } else { 0 };
        if seen > disk { Err(Exceeded::Disk { dir: dir.into(), limit: disk, seen }) } else { Ok(()) }
    }
}

fn blind(path: &Path) -> impl Fn(io::Error) -> Exceeded + '_ {
    move |e| Exceeded::Blind(format!("{}: {e}", path.display()))
}

/// What the processes below `leader` take. Processes that end meanwhile are left out.
fn taken(leader: u32) -> io::Result<Taken> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Some(text) = gone(fs::read_to_string(format!("/proc/{pid}/status")))? else { continue };
        let process = status(&text).ok_or_else(|| io::Error::other(format!("{pid}/status: {text:?}")))?;
        all.insert(pid, process);
    }
    Ok(sum(leader, &all))
}

/// `None`: it is no more.
fn gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    let ended = |e: &io::Error| {
        e.kind() == io::ErrorKind::NotFound
            || e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
    };
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if ended(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// `PPid:`, `Threads:`, `VmRSS:` of proc_pid_status(5). What is ending, and the kernel's own threads, have no memory.
fn status(text: &str) -> Option<Process> {
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.split_whitespace().next());
    let resident: u64 = field("VmRSS:").map_or(Some(0), |kib| kib.parse().ok())?;
    Some(Process {
        parent: field("PPid:")?.parse().ok()?,
        threads: field("Threads:")?.parse().ok()?,
        resident: resident.saturating_mul(1024),
    })
}

fn sum(leader: u32, all: &BTreeMap<u32, Process>) -> Taken {
    let mut below = vec![leader];
    let mut taken = Taken::default();
    while let Some(pid) = below.pop() {
        if let Some(process) = all.get(&pid) {
            taken.threads += process.threads;
            taken.resident = taken.resident.saturating_add(process.resident);
        }
        below.extend(
            all.iter().filter(|(child, p)| p.parent == pid && **child != pid).map(|(child, _)| *child),
        );
    }
    taken
}

/// Bytes on disk of all that is in a directory; links are not followed.
fn size(dir: &Path) -> io::Result<u64> {
    let mut total: u64 = 0;
    let mut rest = vec![dir.to_path_buf()];
    while let Some(dir) = rest.pop() {
        let Some(entries) = gone(fs::read_dir(&dir))? else { continue };
        for entry in entries {
            let Some(entry) = gone(entry)? else { continue };
            let Some(meta) = gone(entry.metadata())? else { continue };
            total = total.saturating_add(meta.blocks().saturating_mul(512));
            if meta.is_dir() {
                rest.push(entry.path());
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_status() {
        let text = "Name:\tx\nPid:\t77\nPPid:\t12\nVmRSS:\t      42 kB\nThreads:\t3\n";
        assert_eq!(status(text), Some(Process { parent: 12, threads: 3, resident: 42 * 1024 }));
        assert_eq!(status("PPid:\t2\nThreads:\t1\n"), Some(Process { parent: 2, threads: 1, resident: 0 }));
        assert_eq!(status("Name:\tx\n"), None);
    }

    #[test]
    fn only_what_is_below_the_leader_counts() {
        let p = |parent, threads, resident| Process { parent, threads, resident };
        let all = BTreeMap::from([
            (1, p(0, 1, 5)),
            (7, p(1, 1, 10)),
            (8, p(7, 4, 20)),
            (9, p(8, 1, 40)),
            (10, p(1, 9, 80)),
        ]);
        assert_eq!(sum(7, &all), Taken { threads: 6, resident: 70 });
        assert_eq!(sum(11, &all), Taken::default());
    }

    #[test]
    fn this_process_is_seen_and_growth_is_told_from_what_was_there() {
        let me = taken(std::process::id()).unwrap();
        assert!(me.threads >= 2 && me.resident > 1 << 20, "{me:?}");
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("old"), vec![1; 1 << 20]).unwrap();
        let limits = Limits { disk: 1 << 19, reserve: 0, ..Limits::of_build() };
        let watch = Watch::begin(&limits, &[dir.path().to_path_buf()]).unwrap();
        watch.end().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/new"), vec![1; 1 << 20]).unwrap();
        assert!(matches!(watch.end(), Err(Exceeded::Disk { seen, .. }) if seen >= 1 << 20));
    }

    #[test]
    fn a_full_disk_is_not_what_the_step_did() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { reserve: u64::MAX, ..Limits::of_build() };
        let watch = Watch::begin(&limits, &[dir.path().to_path_buf()]).unwrap();
        assert!(
            matches!(Trouble::from(watch.end().unwrap_err()), Trouble::Host(why) if why.starts_with("less than "))
        );
        let gone = Watch::begin(&limits, &[dir.path().join("none")]).map(|_| ());
        drop(dir);
        assert_eq!(gone, Ok(()), "what is not there holds nothing");
        let unseen = watch.end().unwrap_err();
        assert!(matches!(unseen, Exceeded::Blind(_)) && matches!(Trouble::from(unseen), Trouble::Host(_)));
        let threads = Exceeded::Threads { limit: 1, seen: 2 };
        assert_eq!(Trouble::from(threads), Trouble::Step("more than 1 threads (2)".into()));
    }
}
