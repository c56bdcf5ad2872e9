//! Memory of transparent huge pages that was only read: the kernel has one huge page of zeros for all of it.

use super::pages::{HUGE, whole_huge_pages};
use super::{Held, page_size};
use crate::outbox::{failed, refused};
use crate::sys::Region;
use wire::{Failure, Hold};

/// The mapping.
pub(crate) struct Zeros {
    region: Region,
    bytes: usize,
}

impl Zeros {
    /// Maps, and reads a word of each huge page (mm/huge_memory.c:do_huge_pmd_anonymous_page).
    pub(crate) fn take(what: &Hold) -> Result<Self, Failure> {
        let bytes = whole_huge_pages(what.bytes)?;
        let region = Region::huge(bytes, HUGE).map_err(failed("mmap of huge pages"))?;
        for number in 0..bytes / HUGE {
            region.touch(number * HUGE / 8);
        }
        Ok(Self { region, bytes })
    }
}

impl Held for Zeros {
    fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    fn objects(&self) -> u64 {
        (self.bytes / page_size()) as u64
    }

    fn verify(&mut self) -> Result<(u64, u64), Failure> {
        let words = page_size() / 8;
        let pages = self.bytes / page_size();
        let zero = |number: &usize| self.region.words(number * words, words).iter().all(|word| *word == 0);
        Ok((pages as u64, (0..pages).filter(|number| !zero(number)).count() as u64))
    }

    fn frames(&mut self) -> Result<Vec<(u64, u64)>, Failure> {
        Err(refused("the page of zeros is not the process's own"))
    }

    fn rewrite_some(&mut self) -> Result<(), Failure> {
        Err(refused("what is to stay zero is not written"))
    }
}
