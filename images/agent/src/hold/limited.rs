//! Huge pages of a hugetlbfs that allows just as many (mount option `size`).

use super::Held;
use super::pages::{Pages, own_mount, surplus};
use crate::outbox::{failed, refused};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::ffi::CString;
use wire::{Failure, Hold};

/// The pages, and the file system that they fill.
pub(crate) struct Limited {
    pages: Pages,
    root: OwnedFd,
}

impl Limited {
    /// Mounts it, and fills a file of it.
    pub(crate) fn take(what: &Hold) -> Result<Self, Failure> {
        let bytes = surplus(what)?;
        let data = CString::new(format!("pagesize=2M,size={bytes}"));
        let data = data.map_err(|_| refused("a number with a zero byte"))?;
        let root = own_mount("hugetlbfs", &data)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&root, "held", flags, Mode::RUSR | Mode::WUSR);
        let file = file.map_err(failed("create a file on hugetlbfs"))?;
        Ok(Self { pages: Pages::hugetlb_file(file, bytes, what)?, root })
    }

    /// Huge pages that the file system would give still (fs/hugetlbfs/inode.c:hugetlbfs_statfs).
    fn left(&self) -> Result<u64, Failure> {
        Ok(rustix::fs::fstatfs(&self.root).map_err(failed("fstatfs of hugetlbfs"))?.f_bfree)
    }
}

impl Held for Limited {
    fn bytes(&self) -> u64 {
        self.pages.bytes()
    }

    fn objects(&self) -> u64 {
        self.pages.objects()
    }

    /// What is not counted against the limit counts as wrong.
    fn verify(&mut self) -> Result<(u64, u64), Failure> {
        let left = self.left()?;
        let (pages, wrong) = self.pages.verify()?;
        Ok((pages, wrong + left))
    }

    fn frames(&mut self) -> Result<Vec<(u64, u64)>, Failure> {
        self.pages.frames()
    }

    fn rewrite_some(&mut self) -> Result<(), Failure> {
        self.pages.rewrite_some()
    }
}
