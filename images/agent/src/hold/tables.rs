//! Page tables: one touched page in every stretch of addresses that one table covers.

use super::{Held, page_size, whole_pages};
use crate::outbox::{failed, io_failed, refused};
use crate::sys::Region;
use wire::{Failure, Hold};

/// Tables filled between two readings of VmPTE.
const STRIDE: usize = 64;

/// Page tables of a mapping whose pages are all the zero page.
pub(crate) struct Tables {
    region: Region,
    touched: usize,
    bytes: u64,
}

impl Tables {
    /// Touches until VmPTE has grown by the bytes asked for.
    pub(crate) fn take(what: &Hold) -> Result<Self, Failure> {
        // The lowest tables alone make the sum; a few more for how VmPTE counts the levels above them.
        let tables = whole_pages(what.bytes)? + STRIDE;
        let span = tables.checked_mul(stretch()).ok_or_else(|| refused("more page tables than addresses"))?;
        let before = vm_pte()?;
        let region = Region::zero_pages(span).map_err(failed("mmap"))?;
        let mut held = Self { region, touched: 0, bytes: 0 };
        while held.bytes < what.bytes {
            if held.touched == tables {
                return Err(refused(format!("{tables} page tables are {} bytes of VmPTE", held.bytes)));
            }
            for _ in 0..STRIDE.min(tables - held.touched) {
                held.region.touch(held.touched * stretch() / 8);
                held.touched += 1;
            }
            held.bytes = vm_pte()?.saturating_sub(before);
        }
        Ok(held)
    }
}

impl Held for Tables {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn objects(&self) -> u64 {
        self.touched as u64
    }

    /// Every touched page must read as zero.
    fn verify(&mut self) -> Result<(u64, u64), Failure> {
        let wrong = (0..self.touched).filter(|n| self.region.touch(n * stretch() / 8) != 0).count();
        Ok((self.touched as u64, wrong as u64))
    }

    fn frames(&mut self) -> Result<Vec<(u64, u64)>, Failure> {
        Err(refused("the frames of page tables cannot be seen from user space"))
    }

    fn rewrite_some(&mut self) -> Result<(), Failure> {
        Err(refused("page tables cannot be kept busy"))
    }
}

/// Bytes of addresses that one table of the lowest level covers.
fn stretch() -> usize {
    page_size() / 8 * page_size()
}

/// VmPTE of /proc/self/status, in bytes: tables of all levels (mm_pgtables_bytes).
fn vm_pte() -> Result<u64, Failure> {
    let path = "/proc/self/status";
    let status = std::fs::read_to_string(path).map_err(io_failed(format_args!("read {path}")))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPTE:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| refused(format!("{path} has no VmPTE")))
}
