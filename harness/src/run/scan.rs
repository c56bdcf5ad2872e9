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

/// Pages on an LRU list.
pub fn on_lru(flags: &BTreeMap<u8, u64>) -> u64 {
    flags.get(&LRU).copied().unwrap_or(0)
}

/// Pages with a flag that says they cannot be moved.
pub fn unmovable(flags: &BTreeMap<u8, u64>) -> u64 {
    UNMOVABLE.iter().filter_map(|bit| flags.get(bit)).sum()
}
