//! Which blocks to count page flags of, and which flags say that a page cannot be moved.

use std::collections::BTreeMap;
use wire::{Snapshot, Value};

/// Blocks scanned for one settled state at most: a scan costs the guest about 50 ms of emulated time.
pub const MOST_AT_ONCE: usize = 16;

/// Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h) of pages that migration cannot move.
const UNMOVABLE: [u8; 2] = [7 /* KPF_SLAB */, 26 /* KPF_PGTABLE */];

/// Blocks whose directory changed, with a key that changes with state and zone.
pub fn changed_blocks(snapshot: &Snapshot) -> Vec<(u32, String)> {
    let blocks = snapshot.changed.iter().filter_map(|(dir, entries)| {
        let number = dir.strip_prefix("/sys/devices/system/memory/memory")?.parse().ok()?;
        let text = |name: &str| match entries.get(name) {
            Some(Value::Text(text)) => text.trim_end().to_string(),
            _ => String::new(),
        };
        let state = text("state");
        let zone = if state == "online" { text("valid_zones") } else { String::new() };
        Some((number, format!("{state} {zone}")))
    });
    blocks.collect()
}

/// KPF_LRU.
const LRU: u8 = 5;
/// KPF_SLAB.
const SLAB: u8 = 7;
/// KPF_BUDDY: free.
const BUDDY: u8 = 10;
/// KPF_NOPAGE, and the key under which pages without any flag are counted: pages of an offline block, up to 6.12 and later.
const NOT_THERE: [u8; 2] = [20, 255];

/// Is a block with these flags on its `pages` pages online?
pub fn is_there(flags: &BTreeMap<u8, u64>, pages: u64) -> bool {
    NOT_THERE.iter().all(|bit| flags.get(bit) != Some(&pages))
}

/// What keeps blocks of so many pages with these flags from going offline.
pub fn in_the_way(flags: &BTreeMap<u8, u64>, pages: u64) -> String {
    let with = |bit: u8| flags.get(&bit).copied().unwrap_or(0);
    let (used, slab) = (pages.saturating_sub(with(BUDDY)), with(SLAB));
    if used == slab && slab > 0 {
        return format!("{slab} slab pages are in the way, and nothing else");
    }
    let tables = with(UNMOVABLE[1]);
    format!("{used} pages are not free: {slab} of slab, {tables} page tables, {} on LRU lists", with(LRU))
}

/// Pages on an LRU list.
pub fn on_lru(flags: &BTreeMap<u8, u64>) -> u64 {
    flags.get(&LRU).copied().unwrap_or(0)
}

/// Pages with a flag that says they cannot be moved.
pub fn unmovable(flags: &BTreeMap<u8, u64>) -> u64 {
    UNMOVABLE.iter().filter_map(|bit| flags.get(bit)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_block_online_is_told() {
        let told = |flags: &[(u8, u64)]| in_the_way(&flags.iter().copied().collect(), 32768);
        assert_eq!(told(&[(7, 6), (10, 32762)]), "6 slab pages are in the way, and nothing else");
        assert_eq!(
            told(&[(5, 20), (7, 6), (10, 32700), (26, 2)]),
            "68 pages are not free: 6 of slab, 2 page tables, 20 on LRU lists"
        );
        assert_eq!(told(&[(10, 32768)]), "0 pages are not free: 0 of slab, 0 page tables, 0 on LRU lists");
    }

    #[test]
    fn offline_blocks_are_not_there() {
        let there = |bit: u8, pages: u64| is_there(&BTreeMap::from([(bit, pages)]), 32768);
        assert_eq!(
            [there(20, 32768), there(255, 32768), there(255, 9), there(10, 32768)],
            [false, false, true, true]
        );
    }
}
