//! Taking pages until one is of some memory: when it is first in use.

use crate::hold::frames;
use crate::outbox::{Outbox, failed, io_failed, now_ns, refused};
use crate::sys::Region;
use std::ops::Range;
use wire::{Failure, JobOutcome};

/// Of the memory that is available, this part is taken at most (one of so many), so that nobody is short of it.
const PART: u64 = 4;

/// Takes, and reports the end.
pub(crate) fn run(id: u64, wanted: &Range<u64>, timeout_ms: u64, outbox: &Outbox) {
    let begun_ns = now_ns();
    let deadline_ns = begun_ns.saturating_add(timeout_ms.saturating_mul(1_000_000));
    outbox.job_done(id, begun_ns, take(wanted, deadline_ns));
}

/// Round after round: pages that were given back may be the first ones of the next.
fn take(wanted: &Range<u64>, deadline_ns: u64) -> Result<JobOutcome, Failure> {
    loop {
        if let Some(found) = round(wanted, deadline_ns)? {
            return Ok(found);
        }
        if now_ns() >= deadline_ns {
            let (first, end) = (wanted.start, wanted.end);
            return Err(refused(format!("no page of frames {first:#x} to {end:#x} came into use in time")));
        }
    }
}

/// Pages one by one, each looked at before the next is taken.
fn round(wanted: &Range<u64>, deadline_ns: u64) -> Result<Option<JobOutcome>, Failure> {
    let page = rustix::param::page_size();
    let pages = (available_bytes()? / PART / page as u64).max(1);
    let mut region = Region::anonymous(pages as usize * page).map_err(failed("mmap"))?;
    for number in 0..pages {
        region.words_mut(number as usize * (page / 8), 1)[0] = 1;
        let t_ns = now_ns();
        let frame = frames(region.address() + number * page as u64, 1)?;
        if let Some(pfn) = frame.first().filter(|pfn| wanted.contains(pfn)) {
            return Ok(Some(JobOutcome::Touched { pfn: *pfn, t_ns }));
        }
        if t_ns >= deadline_ns {
            break;
        }
    }
    Ok(None)
}

fn available_bytes() -> Result<u64, Failure> {
    let path = "/proc/meminfo";
    let text = std::fs::read_to_string(path).map_err(io_failed(format_args!("read {path}")))?;
    let kib =
        text.lines().find_map(|l| l.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map(|kib: u64| kib * 1024).ok_or_else(|| refused(format!("no MemAvailable in {path}")))
}
