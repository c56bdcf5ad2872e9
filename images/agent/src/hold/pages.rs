//! Pages that the process maps: anonymous, locked, huge, or of a tmpfs file.

use super::pattern::{Pattern, Rounds};
use super::{Held, page_size, whole_pages};
use crate::outbox::{failed, io_failed, refused};
use crate::sys::Region;
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use std::ffi::CStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use wire::{Failure, Hold};

/// Pages that are rewritten between two looks at the standard input.
const BUSY_CHUNK: u64 = 64;

/// Pages that are taken between two looks at the clock, where a pace is set.
const PACED_CHUNK: u64 = 64;

/// Pages of pagemap that are read at a time.
const PAGEMAP_CHUNK: usize = 8192;

/// Bytes of a huge page (PMD).
pub(super) const HUGE: usize = 2 << 20;

/// Bits of a /proc/PID/pagemap entry (Documentation/admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;

/// Mapped pages with a pattern in them.
pub(crate) struct Pages {
    region: Region,
    pages: u64,
    pattern: Pattern,
    rounds: Rounds,
    /// pages that have the same content
    alike: u64,
    /// what is mapped, where it is a file's
    file: Option<File>,
    /// pages found wrong when their turn to be rewritten came
    spoiled: u64,
}

impl Pages {
    /// Private anonymous base pages, locked or not.
    pub(crate) fn anonymous(what: &Hold, locked: bool) -> Result<Self, Failure> {
        let pages = whole_pages(what.bytes)?;
        let region = Region::anonymous(pages * page_size()).map_err(failed("mmap"))?;
        if locked {
            region.lock().map_err(failed("mlock2"))?;
        }
        Ok(Self::filled(region, pages * page_size(), what))
    }

    /// Private anonymous base pages of a mapping that the kernel may refuse (mm/util.c:__vm_enough_memory).
    pub(crate) fn accounted(what: &Hold) -> Result<Self, Failure> {
        let pages = whole_pages(what.bytes)?;
        let region = Region::accounted(pages * page_size()).map_err(failed("mmap of accounted memory"))?;
        Ok(Self::filled(region, pages * page_size(), what))
    }

    /// Private anonymous base pages on the last node that has memory.
    pub(crate) fn placed(what: &Hold) -> Result<Self, Failure> {
        let path = "/sys/devices/system/node/has_memory";
        let text = std::fs::read_to_string(path).map_err(io_failed(format_args!("read {path}")))?;
        let last = text.trim().rsplit(['-', ',']).next().and_then(|node| node.parse().ok());
        let node = last.ok_or_else(|| refused(format!("{path} reads {text:?}")))?;
        let held = Self::anonymous(what, false)?;
        held.region.move_to(node, page_size()).map_err(failed(format_args!("move_pages to node {node}")))?;
        Ok(held)
    }

    /// Private anonymous memory in folios as large as the kernel makes them.
    pub(crate) fn large(what: &Hold) -> Result<Self, Failure> {
        let bytes = whole_huge_pages(what.bytes)?;
        let region = Region::huge(bytes, HUGE).map_err(failed("mmap of huge pages"))?;
        Ok(Self::filled(region, bytes, what))
    }

    /// The same in transparent huge pages; an error where less than `what.bytes` became huge.
    pub(crate) fn thp(what: &Hold) -> Result<Self, Failure> {
        let held = Self::large(what)?;
        let bytes = whole_huge_pages(what.bytes)?;
        let path = "/proc/self/smaps_rollup";
        let text = std::fs::read_to_string(path).map_err(io_failed(format_args!("read {path}")))?;
        let huge = text
            .lines()
            .find_map(|l| l.strip_prefix("AnonHugePages:")?.trim().strip_suffix(" kB")?.parse().ok());
        let huge: u64 = huge.ok_or_else(|| refused(format!("no AnonHugePages in {path}")))?;
        if huge * 1024 >= bytes as u64 {
            return Ok(held);
        }
        Err(refused(format!("{huge} KiB of {} KiB are in transparent huge pages", bytes / 1024)))
    }

    /// Pages of hugetlbfs, which the kernel makes for this (surplus pages) and takes back with it.
    pub(crate) fn hugetlb(what: &Hold) -> Result<Self, Failure> {
        let bytes = surplus(what)?;
        Ok(Self::filled(Region::hugetlb(bytes).map_err(failed("mmap of hugetlb"))?, bytes, what))
    }

    /// The same as pages of a file, shared.
    pub(crate) fn hugetlb_shared(what: &Hold) -> Result<Self, Failure> {
        let bytes = surplus(what)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        let file = rustix::fs::memfd_create("held", flags).map_err(failed("memfd_create of hugetlb"))?;
        Self::hugetlb_file(file, bytes, what)
    }

    /// The same, of this empty file.
    pub(super) fn hugetlb_file(file: OwnedFd, bytes: usize, what: &Hold) -> Result<Self, Failure> {
        rustix::fs::ftruncate(&file, bytes as u64).map_err(failed("ftruncate of hugetlb"))?;
        let region = Region::file(&file, bytes).map_err(failed("mmap of hugetlb"))?;
        Ok(Self { file: Some(file.into()), ..Self::filled(region, bytes, what) })
    }

    /// Pages of hugetlbfs out of the pool as it is, none of them taken yet.
    pub(super) fn of_the_pool(what: &Hold) -> Result<Self, Failure> {
        let bytes = whole_huge_pages(what.bytes)?;
        let region = Region::hugetlb(bytes).map_err(failed("mmap of hugetlb"))?;
        Ok(Self::new(region, bytes / page_size(), what))
    }

    fn filled(region: Region, bytes: usize, what: &Hold) -> Self {
        let mut held = Self::new(region, bytes / page_size(), what);
        let begun = Instant::now();
        for number in 0..held.pages {
            if number % PACED_CHUNK == 0 {
                let due = what.pace.map(|pace| due(number * page_size() as u64, pace));
                let early = due.and_then(|due| due.checked_sub(begun.elapsed()));
                if let Some(early) = early {
                    std::thread::sleep(early); // the pace is the clock's: there is nothing else to wait for
                }
            }
            let pattern = held.pattern;
            pattern.fill(held.page_mut(number), number, 0);
        }
        held
    }

    /// Base pages that may be merged, two each alike.
    pub(crate) fn mergeable(what: &Hold) -> Result<Self, Failure> {
        let pages = whole_pages(what.bytes)?;
        let region = Region::mergeable(pages * page_size()).map_err(failed("mmap of mergeable pages"))?;
        let mut held = Self::new(region, pages, what);
        held.alike = 2;
        for number in 0..held.pages {
            let pattern = held.pattern;
            pattern.fill(held.page_mut(number), number / 2, 0);
        }
        Ok(held)
    }

    /// Pages of a file on a tmpfs of its own, which is gone with the process.
    pub(crate) fn tmpfs(what: &Hold) -> Result<Self, Failure> {
        let pages = whole_pages(what.bytes)?;
        let dir = own_tmpfs()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, "held", flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(file.map_err(failed("create a file on tmpfs"))?);
        let pattern = Pattern::new(what.seed);
        let mut page = vec![0u64; page_size() / 8];
        let mut bytes = vec![0u8; page_size()];
        for number in 0..pages as u64 {
            pattern.fill(&mut page, number, 0);
            for (to, word) in bytes.chunks_exact_mut(8).zip(&page) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            let at = number * page_size() as u64;
            let written = file.write_all_at(&bytes, at);
            written.map_err(io_failed(format_args!("write page {number} of {pages} to tmpfs")))?;
        }
        let region = Region::file(&file, pages * page_size()).map_err(failed("mmap"))?;
        Ok(Self { file: Some(file), ..Self::new(region, pages, what) })
    }

    fn new(region: Region, pages: usize, what: &Hold) -> Self {
        let (pattern, rounds) = (Pattern::new(what.seed), Rounds::default());
        Self { region, pages: pages as u64, pattern, rounds, alike: 1, file: None, spoiled: 0 }
    }

    /// The mapping.
    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    /// Writes all pages anew, in another round.
    pub(super) fn rewrite(&mut self) {
        while self.rounds.next().0 != 0 {
            self.rewrite_next();
        }
        for _ in 0..self.pages {
            self.rewrite_next();
        }
    }

    /// Nothing was in the pages before they were written.
    pub(super) fn forget_spoiled(&mut self) {
        self.spoiled = 0;
    }

    fn rewrite_next(&mut self) {
        let (number, round) = self.rounds.next();
        let pattern = self.pattern;
        let intact = pattern.holds(self.page(number), number, self.rounds.of(number));
        self.spoiled += u64::from(!intact);
        pattern.fill(self.page_mut(number), number, round);
        self.rounds.step(self.pages);
    }

    /// Does this content belong to the page?
    pub(super) fn is_of(&self, content: &[u8], number: u64) -> bool {
        let words: Vec<u64> = content.chunks_exact(8).filter_map(word).collect();
        self.pattern.holds(&words, number / self.alike, self.rounds.of(number))
    }

    /// Pages that read(2) gives otherwise than they were written: it asks the page cache whether a page is up to date, which
    /// a mapping that is there does not.
    fn misread(&self) -> Result<u64, Failure> {
        let Some(file) = &self.file else { return Ok(0) };
        let (mut content, mut wrong) = (vec![0u8; page_size()], 0);
        for number in 0..self.pages {
            let read = file.read_exact_at(&mut content, number * page_size() as u64);
            read.map_err(io_failed(format_args!("read page {number} of the file")))?;
            wrong += u64::from(!self.is_of(&content, number));
        }
        Ok(wrong)
    }

    fn page(&self, number: u64) -> &[u64] {
        let words = page_size() / 8;
        self.region.words(number as usize * words, words)
    }

    fn page_mut(&mut self, number: u64) -> &mut [u64] {
        let words = page_size() / 8;
        self.region.words_mut(number as usize * words, words)
    }
}

impl Held for Pages {
    fn bytes(&self) -> u64 {
        self.pages * page_size() as u64
    }

    fn objects(&self) -> u64 {
        self.pages
    }

    fn verify(&mut self) -> Result<(u64, u64), Failure> {
        let intact = |number: &u64| {
            self.pattern.holds(self.page(*number), *number / self.alike, self.rounds.of(*number))
        };
        let wrong = (0..self.pages).filter(|number| !intact(number)).count();
        let wrong = (wrong as u64).max(self.misread()?);
        Ok((self.pages, wrong + self.spoiled))
    }

    fn frames(&mut self) -> Result<Vec<(u64, u64)>, Failure> {
        let words = page_size() / 8;
        for number in 0..self.pages as usize {
            self.region.touch(number * words);
        }
        let frames = frames(self.region.address(), self.pages)?;
        Ok(ranges(frames))
    }

    fn rewrite_some(&mut self) -> Result<(), Failure> {
        for _ in 0..BUSY_CHUNK {
            self.rewrite_next();
        }
        Ok(())
    }
}

/// The size in whole huge pages, which the kernel may make beyond its pool from now on.
pub(super) fn surplus(what: &Hold) -> Result<usize, Failure> {
    let bytes = whole_huge_pages(what.bytes)?;
    let path = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages";
    std::fs::write(path, (bytes / HUGE).to_string()).map_err(io_failed(format_args!("write {path}")))?;
    Ok(bytes)
}

/// Eight bytes as the number that they are in memory.
pub(super) fn word(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_ne_bytes)
}

/// When so many bytes may have been taken, `pace` in a second.
fn due(bytes: u64, pace: u64) -> Duration {
    Duration::from_nanos((u128::from(bytes) * 1_000_000_000 / u128::from(pace.max(1))) as u64)
}

/// `bytes`, rounded up to whole huge pages.
pub(super) fn whole_huge_pages(bytes: u64) -> Result<usize, Failure> {
    let pages = whole_pages(bytes)?;
    (pages * page_size())
        .checked_next_multiple_of(HUGE)
        .ok_or_else(|| refused("more memory than there are addresses"))
}

/// Page frames of present pages of this process, from an address on.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn frames(address: u64, pages: u64) -> Result<Vec<u64>, Failure> {
    let path = "/proc/self/pagemap";
    let pagemap = File::open(path).map_err(io_failed(format_args!("open {path}")))?;
    let first = address / page_size() as u64;
    let mut frames = Vec::with_capacity(pages as usize);
    let mut chunk = vec![0u8; PAGEMAP_CHUNK.min(pages as usize) * 8];
    let mut at = 0;
    while at < pages {
        let count = (PAGEMAP_CHUNK as u64).min(pages - at);
        let bytes = &mut chunk[..count as usize * 8];
        pagemap.read_exact_at(bytes, (first + at) * 8).map_err(io_failed(format_args!("read {path}")))?;
        frames.extend(bytes.chunks_exact(8).filter_map(frame));
        at += count;
    }
    Ok(frames)
}

/// The frame of a pagemap entry, `None` where no page is present (it may be under migration).
fn frame(entry: &[u8]) -> Option<u64> {
    let entry = u64::from_ne_bytes(entry.try_into().ok()?);
    (entry & PRESENT != 0).then_some(entry & FRAME)
}

/// Ascending inclusive ranges.
fn ranges(mut frames: Vec<u64>) -> Vec<(u64, u64)> {
    frames.sort_unstable();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for frame in frames {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == frame => *last = frame,
            _ => ranges.push((frame, frame)),
        }
    }
    ranges
}

/// The root of a new tmpfs without limits, which only this descriptor keeps alive.
pub(crate) fn own_tmpfs() -> Result<OwnedFd, Failure> {
    own_mount("tmpfs", c"size=100%,nr_inodes=0,huge=never")
}

/// The root of a mount of its own, which is gone with the last file of it that is open.
pub(super) fn own_mount(kind: &str, data: &CStr) -> Result<OwnedFd, Failure> {
    let point = format!("/tmp/hold-{}", std::process::id());
    std::fs::create_dir(&point).map_err(io_failed(format_args!("mkdir {point}")))?;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("hold", point.as_str(), kind, flags, data)
        .map_err(failed(format_args!("mount {kind}")))?;
    let opened =
        crate::files::open_dir(rustix::fs::CWD, &point).map_err(failed(format_args!("open {point}")));
    let detach = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(point.as_str(), detach).map_err(failed(format_args!("umount {point}")))?;
    std::fs::remove_dir(&point).map_err(io_failed(format_args!("rmdir {point}")))?;
    opened
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_become_ranges() {
        assert_eq!(ranges(vec![7, 3, 5, 4, 9]), [(3, 5), (7, 7), (9, 9)]);
        assert_eq!(ranges(vec![]), []);
    }

    #[test]
    fn a_pace_says_when_bytes_are_due() {
        assert_eq!(due(0, 5), Duration::ZERO);
        assert_eq!(due(30 << 20, 20 << 20), Duration::from_millis(1500));
    }

    #[test]
    fn only_a_present_page_has_a_frame() {
        assert_eq!(frame(&(PRESENT | 1 << 61 | 0x1234).to_ne_bytes()), Some(0x1234));
        assert_eq!(frame(&(1u64 << 62 | 0x1234).to_ne_bytes()), None);
        assert_eq!(frame(&0u64.to_ne_bytes()), None);
    }
}
