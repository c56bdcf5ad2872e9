//! Flags of the pages of a block (/proc/kpageflags).

use super::expect_eq;
use crate::finding::Finding;
use crate::policy::{Block, BlockState, Layout};
use std::collections::BTreeMap;

/// KPF_HWPOISON (include/uapi/linux/kernel-page-flags.h).
const HWPOISON: u8 = 19;
/// KPF_NOPAGE.
const NOPAGE: u8 = 20;
/// KPF_RESERVED (fs/proc/page.c, kernel's own).
const RESERVED: u8 = 32;

/// Judges the flags of all pages of block `number` (what [`wire::Ask::ScanPages`] counts over exactly the block).
///
/// Online: every page has a struct page and none is poisoned; in a block of a DIMM only the block's own memmap is
/// reserved. Offline: no page is shown. Boot memory is judged for poison only (holes, firmware's reservations).
pub fn check_pages(layout: &Layout, number: u32, block: &Block, flags: &BTreeMap<u8, u64>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let subject = format!("memory{number}");
    let count = |bit: u8| flags.get(&bit).copied().unwrap_or(0);
    let rule = "mm/memory-failure.c: nothing was poisoned";
    expect_eq(&mut findings, "pages.hwpoison", &subject, 0, count(HWPOISON), rule);
    let hot = block.dimm.is_some();
    match block.state {
        BlockState::Online if hot => {
            let rule = "fs/proc/page.c:kpageflags_read: pfn_to_online_page finds every page of an online block";
            expect_eq(&mut findings, "pages.nopage", &subject, 0, count(NOPAGE), rule);
            let rule = "mm/memory_hotplug.c:online_pages_range: only the block's own memmap stays reserved";
            expect_eq(&mut findings, "pages.reserved", &subject, block.vmemmap_pages, count(RESERVED), rule);
        }
        BlockState::Offline => {
            let rule = "fs/proc/page.c:kpageflags_read: pfn_to_online_page finds no page of an offline block";
            expect_eq(&mut findings, "pages.nopage", &subject, layout.block_pages(), count(NOPAGE), rule);
        }
        BlockState::Online | BlockState::GoingOffline => {}
    }
    findings
}
