//! Page flags of ranges of pages.

use super::super::scan;
use super::super::trouble::Trouble;
use super::{Guest, odd};
use crate::vm::Deadline;
use std::collections::BTreeMap;
use std::ops::Range;
use wire::{Answer, Ask};

/// How many pages of a range carry each flag (see [`wire::Answer::Flags`]).
pub type Flags = BTreeMap<u8, u64>;

impl Guest {
    /// Flag counts of ranges of pages, in this order.
    pub fn scan(&self, ranges: &[Range<u64>], deadline: Deadline) -> Result<Vec<Flags>, Trouble> {
        self.count_flags(ranges, false, deadline)
    }

    /// The same, and how many of [`wire::FRESH_PAGES`] pages that the agent has touched right after it are on an LRU list.
    pub fn scan_and_fresh_on_lru(
        &self,
        ranges: &[Range<u64>],
        deadline: Deadline,
    ) -> Result<(Vec<Flags>, u64), Trouble> {
        let mut all = self.count_flags(ranges, true, deadline)?;
        let fresh = all.pop().ok_or_else(|| Trouble::Error("no fresh pages were counted".into()))?;
        Ok((all, scan::on_lru(&fresh)))
    }

    fn count_flags(
        &self,
        ranges: &[Range<u64>],
        fresh: bool,
        deadline: Deadline,
    ) -> Result<Vec<Flags>, Trouble> {
        let wanted = ranges.len() + usize::from(fresh);
        let ranges = ranges.iter().map(|pfns| (pfns.start, pfns.end - pfns.start)).collect();
        match self.ask(Ask::CountFlags { ranges, fresh }, deadline)? {
            Answer::Flags(all) if all.len() == wanted => Ok(all),
            other => Err(odd("page flags", &other)),
        }
    }
}
