//! Pages of the process that io_uring refers to for as long as it likes (FOLL_LONGTERM): the kernel first moves them to where
//! nobody will want them moved.

use super::Held;
use super::pages::Pages;
use crate::outbox::{failed, refused};
use rustix::fd::OwnedFd;
use wire::{Failure, Hold};

/// Anonymous pages, and the ring that has them as buffers.
pub(crate) struct Registered {
    pages: Pages,
    _ring: OwnedFd,
}

impl Registered {
    /// Takes the pages and registers them.
    pub(crate) fn take(what: &Hold) -> Result<Self, Failure> {
        let pages = Pages::anonymous(what, false)?;
        let ring = pages.region().register().map_err(failed("register buffers with io_uring"))?;
        Ok(Self { pages, _ring: ring })
    }
}

impl Held for Registered {
    fn bytes(&self) -> u64 {
        self.pages.bytes()
    }

    fn objects(&self) -> u64 {
        self.pages.objects()
    }

    fn verify(&mut self) -> Result<(u64, u64), Failure> {
        self.pages.verify()
    }

    fn frames(&mut self) -> Result<Vec<(u64, u64)>, Failure> {
        self.pages.frames()
    }

    fn rewrite_some(&mut self) -> Result<(), Failure> {
        Err(refused("registered pages are not rewritten"))
    }
}
