//! Pages of the process that something else refers to as well: migration finds a reference too many and leaves them.

use super::pages::Pages;
use super::pipes::{PER_PIPE, Pipe, allow};
use super::{Held, page_size};
use crate::outbox::{failed, refused};
use crate::sys::Ring;
use wire::{Failure, Hold};

/// Anonymous pages, and what refers to them.
pub(crate) struct Referred<R> {
    pages: Pages,
    _by: R,
}

impl Referred<Vec<Pipe>> {
    /// Takes the pages and splices them into as many pipes as it takes (vmsplice).
    pub(crate) fn by_pipes(what: &Hold) -> Result<Self, Failure> {
        let pages = Pages::anonymous(what, false)?;
        let count = pages.objects() as usize;
        allow(count)?;
        let mut pipes = Vec::new();
        for first in (0..count).step_by(PER_PIPE) {
            let bytes = PER_PIPE.min(count - first) * page_size();
            let pipe = Pipe::new()?;
            match pages.region().splice(first * page_size(), bytes, pipe.end()) {
                Ok(n) if n == bytes => pipes.push(pipe),
                Ok(n) => return Err(refused(format!("a pipe took {n} bytes of {bytes}"))),
                Err(e) => return Err(failed("vmsplice")(e)),
            }
        }
        Ok(Self { pages, _by: pipes })
    }
}

impl Referred<Ring> {
    /// Takes the pages and registers them with io_uring, which pins them for long (FOLL_LONGTERM): the kernel first moves
    /// them to where nobody will want them moved.
    pub(crate) fn by_ring(what: &Hold) -> Result<Self, Failure> {
        let pages = Pages::anonymous(what, false)?;
        let ring = pages.region().register().map_err(failed("register buffers with io_uring"))?;
        Ok(Self { pages, _by: ring })
    }
}

impl<R> Held for Referred<R> {
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
        Err(refused("pages that others refer to are not rewritten"))
    }
}
