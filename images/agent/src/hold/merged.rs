//! Pages that the kernel has merged (mm/ksm.c): two each are alike.

use super::pages::Pages;
use crate::outbox::{io_failed, refused};
use std::time::{Duration, Instant};
use wire::{Failure, Hold};

/// How often the kernel has been through all mergeable memory.
const SCANS: &str = "/sys/kernel/mm/ksm/full_scans";
/// It merges at the second look at a page that did not change; the first of the scans may be under way already.
const ENOUGH: u64 = 3;
/// The kernel tells nobody when a scan has ended.
const LOOK: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(90);

/// Takes the memory and waits for the kernel to go through it.
pub(crate) fn take(what: &Hold) -> Result<Pages, Failure> {
    let pages = Pages::mergeable(what)?;
    let (from, deadline) = (scans()?, Instant::now() + LONGEST);
    while scans()? < from + ENOUGH {
        if Instant::now() > deadline {
            return Err(refused(format!(
                "{SCANS} did not grow by {ENOUGH} in {LONGEST:?}: does page merging run?"
            )));
        }
        std::thread::sleep(LOOK);
    }
    Ok(pages)
}

fn scans() -> Result<u64, Failure> {
    let text = std::fs::read_to_string(SCANS).map_err(io_failed(format_args!("read {SCANS}")))?;
    text.trim().parse().map_err(|_| refused(format!("{SCANS} is {text:?}")))
}
