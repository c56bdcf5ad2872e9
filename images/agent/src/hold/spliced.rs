//! Pages of the process that pipes refer to (vmsplice): migration finds a reference too many and leaves them.

use super::pages::Pages;
use super::pipes::{PER_PIPE, Pipe, allow};
use super::{Held, page_size};
use crate::outbox::{failed, refused};
use wire::{Failure, Hold};

/// Anonymous pages, and the pipes that refer to them.
pub(crate) struct Spliced {
    pages: Pages,
    _pipes: Vec<Pipe>,
}

impl Spliced {
    /// Takes the pages and splices them into as many pipes as it takes.
    pub(crate) fn take(what: &Hold) -> Result<Self, Failure> {
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
        Ok(Self { pages, _pipes: pipes })
    }
}

impl Held for Spliced {
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
        Err(refused("pages in pipes are not rewritten"))
    }
}
