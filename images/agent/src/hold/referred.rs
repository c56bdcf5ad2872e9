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
    by: R,
}

/// What refers to pages.
pub(crate) trait Refers {
    /// Pages in which it does not see what their process has written last.
    fn misses(&self, pages: &Pages) -> Result<u64, Failure>;
}

impl Refers for Vec<Pipe> {
    fn misses(&self, pages: &Pages) -> Result<u64, Failure> {
        let (mirror, mut content, mut wrong) = (Pipe::new()?, vec![0; page_size()], 0);
        let mut numbers = 0..pages.objects();
        for pipe in self {
            let count = PER_PIPE.min((numbers.end - numbers.start) as usize);
            pipe.show(&mirror, count * page_size())?;
            for number in numbers.by_ref().take(count) {
                mirror.get(&mut content)?;
                wrong += u64::from(!pages.is_of(&content, number));
            }
        }
        Ok(wrong)
    }
}

impl Refers for Ring {
    /// Only I/O would show.
    fn misses(&self, _: &Pages) -> Result<u64, Failure> {
        Ok(0)
    }
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
        Ok(Self { pages, by: pipes })
    }
}

/// Registers pages with io_uring, which pins them for long (FOLL_LONGTERM): the kernel first moves them to where nobody will
/// want them moved.
pub(crate) fn by_ring(pages: Pages) -> Result<Referred<Ring>, Failure> {
    let ring = pages.region().register().map_err(failed("register buffers with io_uring"))?;
    Ok(Referred { pages, by: ring })
}

impl<R: Refers> Held for Referred<R> {
    fn bytes(&self) -> u64 {
        self.pages.bytes()
    }

    fn objects(&self) -> u64 {
        self.pages.objects()
    }

    /// What refers to the pages must go on seeing what is written to them.
    fn verify(&mut self) -> Result<(u64, u64), Failure> {
        let (pages, wrong) = self.pages.verify()?;
        self.pages.rewrite();
        Ok((pages, wrong.max(self.by.misses(&self.pages)?)))
    }

    fn frames(&mut self) -> Result<Vec<(u64, u64)>, Failure> {
        self.pages.frames()
    }

    fn rewrite_some(&mut self) -> Result<(), Failure> {
        Err(refused("pages that others refer to are not rewritten"))
    }
}
