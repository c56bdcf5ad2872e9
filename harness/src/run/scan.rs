//! Which blocks to count page flags of, and which flags say that a page cannot be moved.

use super::observation::Stuck;
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
/// KPF_OWNER_PRIVATE, on pages of hot memory without any other flag: their own memory map, which is not to be freed
/// (mm/memory_hotplug.c:mhp_init_memmap_on_memory, PG_vmemmap_self_hosted).
const SELF_HOSTED: u8 = 37;

/// What keeps blocks from going offline.
pub fn in_the_way(stuck: &Stuck) -> String {
    let with = |bit: u8| stuck.flags.get(&bit).copied().unwrap_or(0);
    let (used, slab) = (stuck.pages.saturating_sub(with(BUDDY) + with(SELF_HOSTED)), with(SLAB));
    let zones = stuck.zones.iter().map(String::as_str).collect::<Vec<_>>().join(" and ");
    if used == slab && slab > 0 {
        return format!("only {slab} slab pages of {zones} are in the way");
    }
    let tables = with(UNMOVABLE[1]);
    let lru = with(LRU);
    format!("{used} pages of {zones} are not free: {slab} of slab, {tables} page tables, {lru} on LRU lists")
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
        let told = |zones: &[&str], flags: &[(u8, u64)]| {
            let zones = zones.iter().map(|z| (*z).to_string()).collect();
            in_the_way(&Stuck { zones, pages: 32768, flags: flags.iter().copied().collect() })
        };
        let slab = "only 6 slab pages of Normal are in the way";
        assert_eq!(told(&["Normal"], &[(7, 6), (10, 32762)]), slab);
        assert_eq!(told(&["Normal"], &[(7, 6), (10, 32250), (37, 512)]), slab);
        assert_eq!(
            told(&["Movable", "Normal"], &[(5, 20), (7, 6), (10, 32700), (26, 2)]),
            "68 pages of Movable and Normal are not free: 6 of slab, 2 page tables, 20 on LRU lists"
        );
        assert_eq!(
            told(&["Movable"], &[(10, 32768)]),
            "0 pages of Movable are not free: 0 of slab, 0 page tables, 0 on LRU lists"
        );
    }
}
