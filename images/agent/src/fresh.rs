//! Pages that were touched a moment ago: whether they wait in a CPU's batch for the LRU lists, or are there already.

use crate::hold::frames;
use crate::outbox::failed;
use crate::pageflags;
use crate::sys::Region;
use std::collections::BTreeMap;
use wire::{FRESH_PAGES, Failure};

/// Pages at a time: fewer than a batch holds, so that not each of several tries can end with an empty batch.
const AT_ONCE: u64 = 8;

/// Flags of [`FRESH_PAGES`] pages, read as soon as each [`AT_ONCE`] of them have been touched.
pub(crate) fn flags() -> Result<BTreeMap<u8, u64>, Failure> {
    let page = rustix::param::page_size();
    let mut sum = BTreeMap::new();
    for _ in 0..FRESH_PAGES / AT_ONCE {
        let mut region = Region::anonymous(AT_ONCE as usize * page).map_err(failed("mmap"))?;
        (0..AT_ONCE as usize).for_each(|number| region.words_mut(number * page / 8, 1)[0] = 1);
        let frames = frames(region.address(), AT_ONCE)?;
        for (flag, pages) in pageflags::of_frames(&frames)? {
            *sum.entry(flag).or_default() += pages;
        }
    }
    Ok(sum)
}
