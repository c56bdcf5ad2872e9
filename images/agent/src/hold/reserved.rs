//! Huge pages that were promised and not yet taken.

use super::Held;
use super::pages::Pages;
use crate::outbox::refused;
use wire::{Failure, Hold};

/// A mapping of hugetlbfs that nobody has touched: the pool keeps pages for it.
pub(crate) struct Reserved(Pages);

impl Reserved {
    /// Maps; an error where the pool has not that many pages that are free and promised to no one.
    pub(crate) fn take(what: &Hold) -> Result<Self, Failure> {
        Pages::of_the_pool(what).map(Self)
    }
}

impl Held for Reserved {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn objects(&self) -> u64 {
        self.0.objects()
    }

    /// Takes what was promised (where it is not there, SIGBUS ends the process) and looks at it.
    fn verify(&mut self) -> Result<(u64, u64), Failure> {
        self.0.rewrite();
        // before that there was nothing in them, which is not what had been written
        self.0.forget_spoiled();
        self.0.verify()
    }

    fn frames(&mut self) -> Result<Vec<(u64, u64)>, Failure> {
        Err(refused("pages that were not taken have no frames"))
    }

    fn rewrite_some(&mut self) -> Result<(), Failure> {
        Err(refused("pages that were not taken are not rewritten"))
    }
}
