//! Flags of the pages of a block (/proc/kpageflags).

use super::expect_eq;
use crate::finding::Finding;
use crate::policy::{Block, BlockState, Layout};
use crate::version::Version;
use std::collections::BTreeMap;

/// KPF_HWPOISON (include/uapi/linux/kernel-page-flags.h).
const HWPOISON: u8 = 19;
/// KPF_NOPAGE.
const NOPAGE: u8 = 20;
/// KPF_OFFLINE: set by the kernel while a page of a block has not been onlined (6.12 and later).
const OFFLINE: u8 = 23;
/// KPF_RESERVED (include/linux/kernel-page-flags.h).
const RESERVED: u8 = 32;
/// KPF_OWNER_PRIVATE: PG_vmemmap_self_hosted is PG_owner_priv_1.
const SELF_HOSTED: u8 = 37;
/// No flag at all ([`wire::Answer::Flags`]).
const NO_FLAGS: u8 = 255;

/// Judges the flags of all pages of block `number` (what [`wire::Ask::CountFlags`] counts over exactly the block), of
/// which `poisoned` were poisoned on purpose.
///
/// Online: every page has a struct page and no other is poisoned; in a block of a DIMM only the block's own memmap is
/// self-hosted, and reserved before 6.11. Offline: no page is shown. Boot memory is judged for poison only (it has
/// holes and the firmware's reservations).
pub fn check_pages(
    version: Version,
    layout: &Layout,
    number: u32,
    block: &Block,
    flags: &BTreeMap<u8, u64>,
    poisoned: u64,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let subject = format!("memory{number}");
    let count = |bit: u8| flags.get(&bit).copied().unwrap_or(0);
    let poisoned = if block.state == BlockState::Offline { 0 } else { poisoned };
    let poison = "mm/memory-failure.c: exactly what was poisoned";
    expect_eq(&mut findings, "pages.hwpoison", &subject, poisoned, count(HWPOISON), poison);
    match block.state {
        BlockState::Online if block.dimm.is_some() => {
            let rule = "fs/proc/page.c: pfn_to_online_page finds every page of an online block";
            expect_eq(&mut findings, "pages.nopage", &subject, 0, count(NOPAGE), rule);
            let rule = "mm/memory_hotplug.c:mhp_init_memmap_on_memory: the block's own memmap";
            let reserved = if version.at_least(6, 11) { 0 } else { block.vmemmap_pages };
            expect_eq(&mut findings, "pages.reserved", &subject, reserved, count(RESERVED), rule);
            let rule = "mm/page_alloc.c:__free_pages_core: every page of an onlined block is handed over";
            expect_eq(&mut findings, "pages.offline", &subject, 0, count(OFFLINE), rule);
            if count(SELF_HOSTED) < block.vmemmap_pages {
                let expected = format!("at least {}", block.vmemmap_pages);
                findings.push(Finding::new("pages.memmap", subject, expected, count(SELF_HOSTED), rule));
            }
        }
        BlockState::Offline => {
            let rule = "fs/proc/page.c: pfn_to_online_page finds no page of an offline block";
            let hidden = hidden(version, flags);
            expect_eq(&mut findings, "pages.hidden", &subject, layout.block_pages(), hidden, rule);
            let rule = "fs/proc/page.c:kpagecount_read: 0 for a page that pfn_to_online_page does not find";
            expect_eq(&mut findings, "pages.counted", &subject, 0, count(wire::COUNTED), rule);
            if version.at_least(5, 14) {
                let rule =
                    "fs/proc/kcore.c:read_kcore: zeros for a page that pfn_to_online_page does not find";
                expect_eq(&mut findings, "pages.dumped", &subject, 0, count(wire::DUMPED), rule);
            }
        }
        BlockState::Online | BlockState::GoingOffline => {}
    }
    findings
}

/// Judges how many of [`wire::FRESH_PAGES`] pages that were just touched are on an LRU list: all of them cannot be.
pub fn check_fresh(on_lru: u64) -> Vec<Finding> {
    if on_lru < wire::FRESH_PAGES {
        return Vec::new();
    }
    let rule = "mm/swap.c:folio_add_lru: a page waits in its CPU's batch unless batches are disabled; \
                mm/memory_hotplug.c:offline_pages: lru_cache_enable on every way out";
    let expected = format!("fewer than {} of fresh pages", wire::FRESH_PAGES);
    vec![Finding::new("pages.batches", "", expected, format!("{on_lru} on LRU lists at once"), rule)]
}

/// Pages shown as not there: KPF_NOPAGE up to 6.12, zero in 6.18 and later; between them either.
fn hidden(version: Version, flags: &BTreeMap<u8, u64>) -> u64 {
    let count = |bit: u8| flags.get(&bit).copied().unwrap_or(0);
    match version {
        v if !v.at_least(6, 13) => count(NOPAGE),
        v if v.at_least(6, 18) => count(NO_FLAGS),
        _ => count(NOPAGE).max(count(NO_FLAGS)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{KERNELS, guest};
    use super::*;

    /// Facts that the flags of block `number` show.
    fn facts(
        kernel: &str,
        stage: (&str, usize, &str),
        number: u32,
        edit: &dyn Fn(&mut BTreeMap<u8, u64>),
    ) -> Vec<String> {
        let guest = guest(kernel, stage.0, stage.1, stage.2);
        let mut flags = guest.pages[&number].clone();
        edit(&mut flags);
        let block = &guest.layout.blocks[&number];
        check_pages(guest.version, &guest.layout, number, block, &flags, 0)
            .into_iter()
            .map(|f| f.fact)
            .collect()
    }

    const MIXED: (&str, usize, &str) = ("one", 2, "32-39=offline 33=Movable 35=Movable 38=Movable");
    const OWN_MEMMAP: (&str, usize, &str) = ("mom", 3, "32-36=Movable 34=offline");

    #[test]
    fn pages_of_healthy_blocks() {
        for kernel in KERNELS {
            for number in [32, 33, 34, 35] {
                assert_eq!(facts(kernel, MIXED, number, &|_| ()), [""; 0], "{kernel} memory{number}");
            }
            for number in [34, 35] {
                assert_eq!(facts(kernel, OWN_MEMMAP, number, &|_| ()), [""; 0], "{kernel} memory{number}");
            }
        }
    }

    #[test]
    fn each_odd_page_is_a_finding() {
        for kernel in KERNELS {
            let odd =
                |bit: u8, number: u32| facts(kernel, MIXED, number, &|f| *f.entry(bit).or_default() += 1);
            assert_eq!(odd(HWPOISON, 33), ["pages.hwpoison"]);
            assert_eq!(odd(NOPAGE, 33), ["pages.nopage"]);
            assert_eq!(odd(RESERVED, 33), ["pages.reserved"]);
            assert_eq!(odd(OFFLINE, 33), ["pages.offline"]);
            assert_eq!(odd(wire::COUNTED, 34), ["pages.counted"]);
            let dumped: &[&str] = if kernel.contains("5.10") { &[] } else { &["pages.dumped"] };
            assert_eq!(odd(wire::DUMPED, 34), dumped, "{kernel}");
            let shown = facts(kernel, MIXED, 34, &|f| f.values_mut().for_each(|n| *n -= 1));
            assert_eq!(shown, ["pages.hidden"], "{kernel}");
        }
    }

    #[test]
    fn a_block_must_hold_its_own_memmap() {
        for kernel in ["6.12", "6.18", "7.3"] {
            let found = facts(kernel, OWN_MEMMAP, 35, &|f| {
                f.insert(SELF_HOSTED, 511);
            });
            assert_eq!(found, ["pages.memmap"], "{kernel}");
        }
    }
}
