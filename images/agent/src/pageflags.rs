//! Counting /proc/kpageflags.

use crate::kcore;
use crate::outbox::{failed, io_failed, refused};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use wire::Failure;

/// Where the flags of page frames are.
pub(crate) const PATH: &str = "/proc/kpageflags";

/// How often page frames are mapped: 8 bytes each, as their flags.
const COUNTS: &str = "/proc/kpagecount";

/// The key under which pages without any flag are counted.
const NO_FLAG: u8 = 255;

/// KPF_NOPAGE (include/uapi/linux/kernel-page-flags.h).
const NOPAGE: u64 = 1 << 20;

/// Frames of which one is looked at in /proc/kcore.
const LOOK_EVERY: u64 = 512;

/// Pages per read: 128 KiB of it.
const CHUNK: u64 = 16 << 10;

/// How many of the `count` pages from `pfn` on carry each flag.
///
/// The file ends at the highest frame that was ever there (max_pfn): pages behind it count as KPF_NOPAGE, as the holes
/// before it do.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn count(pfn: u64, count: u64) -> Result<BTreeMap<u8, u64>, Failure> {
    let file = File::open(PATH).map_err(io_failed(format_args!("open {PATH}")))?;
    let end = pfn.checked_add(count).filter(|end| end.checked_mul(8).is_some());
    let end = end.ok_or_else(|| refused("range of page frames overflows"))?;
    let (mut counts, mut counted, mut hidden) = (Counts::new(), 0, 0);
    let mut bytes = vec![0u8; 8 * CHUNK as usize];
    let mut at = pfn;
    while at < end {
        let want = 8 * CHUNK.min(end - at) as usize;
        let got = file
            .read_at(&mut bytes[..want], at * 8)
            .map_err(io_failed(format_args!("read {PATH} at page frame {at:#x}")))?;
        if got == 0 {
            (at..end).for_each(|_| counts.add(NOPAGE));
            break;
        }
        let flags = words(&bytes[..got]);
        flags.clone().for_each(|flags| counts.add(flags));
        if flags.clone().any(is_hidden) {
            let mut mapped = vec![0u8; got];
            let read = File::open(COUNTS).and_then(|file| file.read_exact_at(&mut mapped, at * 8));
            read.map_err(io_failed(format_args!("read {COUNTS} at page frame {at:#x}")))?;
            hidden += flags.clone().filter(|flags| is_hidden(*flags)).count() as u64;
            let both = flags.zip(words(&mapped));
            counted += both.filter(|(flags, mapped)| is_hidden(*flags) && *mapped != 0).count() as u64;
        }
        at += (got / 8) as u64;
    }
    let mut by_flag = counts.by_flag();
    by_flag.extend((counted > 0).then_some((wire::COUNTED, counted)));
    // Only where all is hidden, as of an offline block: whoever opens /proc/kcore has the kernel make its list, which is not to
    // happen in the middle of an offline.
    let looked_at = (pfn..end).filter(|pfn| hidden == count && pfn % LOOK_EVERY == LOOK_EVERY - 1);
    let dumped = kcore::dumped(&looked_at.collect::<Vec<_>>());
    let dumped = dumped.map_err(failed("read what /proc/kcore shows of pages"))?;
    by_flag.extend((dumped > 0).then_some((wire::DUMPED, dumped)));
    Ok(by_flag)
}

/// Numbers of eight bytes.
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> + Clone + '_ {
    bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("chunks are of eight bytes")))
}

/// Shown as not there (KPF_NOPAGE up to 6.12, nothing at all later). A free page may have no flag either; it is not mapped.
fn is_hidden(flags: u64) -> bool {
    flags == 0 || flags == NOPAGE
}

/// How many of these page frames carry each flag.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn of_frames(frames: &[u64]) -> Result<BTreeMap<u8, u64>, Failure> {
    let file = File::open(PATH).map_err(io_failed(format_args!("open {PATH}")))?;
    let mut counts = Counts::new();
    for frame in frames {
        let mut flags = [0; 8];
        let read = file.read_exact_at(&mut flags, frame * 8);
        read.map_err(io_failed(format_args!("read {PATH} at page frame {frame:#x}")))?;
        counts.add(u64::from_ne_bytes(flags));
    }
    Ok(counts.by_flag())
}

/// Pages with the same flags come in long runs: they are counted by the run, not by the bit.
struct Counts {
    by_bit: [u64; 64],
    none: u64,
    run: u64,
    flags: u64,
}

impl Counts {
    fn new() -> Self {
        Self { by_bit: [0; 64], none: 0, run: 0, flags: 0 }
    }

    fn add(&mut self, flags: u64) {
        if flags != self.flags {
            self.close_run();
            self.flags = flags;
        }
        self.run += 1;
    }

    fn close_run(&mut self) {
        if self.flags == 0 {
            self.none += self.run;
        }
        let mut rest = self.flags;
        while rest != 0 {
            self.by_bit[rest.trailing_zeros() as usize] += self.run;
            rest &= rest - 1;
        }
        self.run = 0;
    }

    fn by_flag(mut self) -> BTreeMap<u8, u64> {
        self.close_run();
        let bits = (0u8..64).zip(self.by_bit).chain([(NO_FLAG, self.none)]);
        bits.filter(|&(_, pages)| pages > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_of_a_page_counts_once() {
        let mut counts = Counts::new();
        for flags in [0, 0, 1 << 63 | 1, 1, 0, 1 << 10] {
            counts.add(flags);
        }
        assert_eq!(counts.by_flag(), BTreeMap::from([(0, 2), (10, 1), (63, 1), (NO_FLAG, 3)]));
    }

    #[test]
    fn no_page_no_count() {
        assert_eq!(Counts::new().by_flag(), BTreeMap::new());
    }
}
