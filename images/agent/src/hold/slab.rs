//! Slab objects that stay: inodes and dentries of device nodes on a tmpfs, which pins both.
//!
//! An inode's content to be verified is its device number, taken from the pattern.

use super::Held;
use super::pages::own_tmpfs;
use super::pattern::Pattern;
use crate::outbox::{failed, io_failed, refused};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, makedev, mknodat, statat};
use rustix::io::Errno;
use wire::{Failure, Hold};

/// Nodes made between two readings of /proc/meminfo.
const BATCH: u64 = 256;

/// Nodes on a tmpfs of its own.
pub(crate) struct Slab {
    dir: OwnedFd,
    nodes: u64,
    bytes: u64,
    pattern: Pattern,
}

impl Slab {
    /// Makes nodes until the slabs have grown by the bytes asked for.
    pub(crate) fn take(what: &Hold) -> Result<Self, Failure> {
        let before = slab_bytes()?;
        let mut held = Self { dir: own_tmpfs()?, nodes: 0, bytes: 0, pattern: Pattern::new(what.seed) };
        while held.bytes < what.bytes {
            for _ in 0..BATCH {
                let (name, device) = (held.nodes.to_string(), held.device(held.nodes));
                mknodat(&held.dir, name.as_str(), FileType::CharacterDevice, Mode::RUSR, device)
                    .map_err(failed(format_args!("make node {}", held.nodes)))?;
                held.nodes += 1;
            }
            held.bytes = slab_bytes()?.saturating_sub(before);
        }
        Ok(held)
    }

    /// 12 bits of major and 20 of minor number, as the kernel keeps them.
    fn device(&self, number: u64) -> u64 {
        let word = self.pattern.first(number, 0);
        makedev((word >> 20) as u32 & 0xfff, word as u32 & 0xf_ffff)
    }
}

impl Held for Slab {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn objects(&self) -> u64 {
        self.nodes
    }

    fn verify(&mut self) -> Result<(u64, u64), Failure> {
        let mut wrong = 0;
        for number in 0..self.nodes {
            match statat(&self.dir, number.to_string().as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if stat.st_rdev == self.device(number) => {}
                Ok(_) | Err(Errno::NOENT) => wrong += 1,
                Err(e) => return Err(failed(format_args!("stat node {number}"))(e)),
            }
        }
        Ok((self.nodes, wrong))
    }

    fn frames(&mut self) -> Result<Vec<(u64, u64)>, Failure> {
        Err(refused("the frames of slab objects cannot be seen from user space"))
    }

    fn rewrite_some(&mut self) -> Result<(), Failure> {
        Err(refused("slab objects cannot be kept busy"))
    }
}

/// SReclaimable + SUnreclaim of /proc/meminfo, in bytes.
fn slab_bytes() -> Result<u64, Failure> {
    let path = "/proc/meminfo";
    let meminfo = std::fs::read_to_string(path).map_err(io_failed(format_args!("read {path}")))?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("Slab:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| refused(format!("{path} has no Slab")))
}
