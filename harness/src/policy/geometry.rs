//! Memory of a guest of QEMU's machine q35 with SeaBIOS, as the kernel sees it at boot: for predictions
//! without a guest.
//!
//! One node, no `mem=`, `kernelcore=` or `movablecore=`. The addresses are QEMU's
//! (hw/i386/pc_q35.c:pc_q35_init, hw/i386/pc.c:pc_memory_init; seen with 7.2); a guest that runs should be
//! observed instead.

use super::{Block, BlockState, EarlyZone, Layout, PAGE_BYTES, Unknown, Zone};
use std::collections::BTreeMap;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// Where memory goes on that does not fit below.
const ABOVE: u64 = 4 * GIB;
/// Memory of this size and more is split.
const SPLIT_FROM: u64 = 0xb000_0000;
/// Memory below 4 GiB, where it is split.
const SPLIT_AT: u64 = 2 * GIB;
/// SeaBIOS keeps the last 128 KiB below 4 GiB for its tables.
const TABLES: u64 = 128 << 10;
/// Pages below 1 MiB that are memory: 1 to 0x9e (e820 ends at 0x9fc00, and page 0 is reserved).
const LOW_PAGES: u64 = 0x9e;
/// First page of DMA32.
const DMA_END: u64 = 16 * MIB / PAGE_BYTES;
/// An address that DIMMs may begin at is a multiple of this.
const DIMM_ALIGN: u64 = 2 * MIB;

/// Memory at boot of a guest with `memory` bytes and no DIMMs.
///
/// # Errors
/// [`Unknown`] below 64 MiB and for what is no whole number of MiB.
pub fn guest(memory: u64) -> Result<Layout, Unknown> {
    if memory < 64 * MIB || !memory.is_multiple_of(MIB) {
        return Err(Unknown::because(format!("a guest of {memory} bytes: want whole MiB, 64 at least")));
    }
    let (below, above) = if memory >= SPLIT_FROM { (SPLIT_AT, memory - SPLIT_AT) } else { (memory, 0) };
    let low_end = (below - TABLES) / PAGE_BYTES;
    let high_end = (ABOVE + above) / PAGE_BYTES;
    let high_start = ABOVE / PAGE_BYTES;
    let mut early = BTreeMap::new();
    let mut zone = |zone, start_pfn: u64, end_pfn: u64, present| {
        let early_zone =
            EarlyZone { start_pfn, spanned: end_pfn - start_pfn, present, managed: present, cma: 0 };
        early.insert((0, zone), early_zone);
    };
    zone(Zone::Dma, 1, DMA_END, LOW_PAGES + (DMA_END - MIB / PAGE_BYTES));
    let dma32_end = if above > 0 { high_start } else { low_end };
    zone(Zone::Dma32, DMA_END, dma32_end, low_end - DMA_END);
    if above > 0 {
        zone(Zone::Normal, high_start, high_end, high_end - high_start);
    }
    let block_bytes = block_bytes(if above > 0 { high_end } else { low_end } * PAGE_BYTES);
    let mut layout = Layout {
        block_bytes,
        early,
        blocks: BTreeMap::new(),
        dimms: BTreeMap::new(),
        remembered: BTreeMap::new(),
    };
    for (start, end) in [(0, low_end * PAGE_BYTES), (ABOVE, ABOVE + above)] {
        add_boot_blocks(&mut layout, start, end);
    }
    Ok(layout)
}

/// Boot blocks: in the one zone whose span they touch, or in none
/// (drivers/base/memory.c:early_node_zone_for_memory_block).
fn add_boot_blocks(layout: &mut Layout, start: u64, end: u64) {
    for number in layout.block_range(start, end.next_multiple_of(layout.block_bytes) - start) {
        let first = layout.first_pfn(number);
        let last = first + layout.block_pages();
        let touching = layout
            .early
            .iter()
            .filter(|(_, e)| e.start_pfn < last && first < e.start_pfn + e.spanned)
            .map(|((_, zone), _)| *zone);
        let zones: Vec<Zone> = touching.collect();
        let zone = if let [zone] = zones[..] { Some(zone) } else { None };
        let block = Block { node: 0, state: BlockState::Online, zone, dimm: None, vmemmap_pages: 0 };
        layout.blocks.insert(number, block);
    }
}

/// Bytes of a block in a virtual machine whose memory ends at `end`
/// (arch/x86/mm/init_64.c:probe_memory_block_size, 5.10 to 7.3).
///
/// No parameter of the kernel's changes it (set_memory_block_size_order is for UV systems), and neither does the advice of
/// the firmware that 6.15 and later take (memory_block_advised_max_size): it is of CXL windows, which these guests lack.
pub fn block_bytes(end: u64) -> u64 {
    if end < 64 * GIB {
        return 128 * MIB;
    }
    let sizes = [2 * GIB, GIB, 512 * MIB, 256 * MIB];
    sizes.into_iter().find(|size| end.is_multiple_of(*size)).unwrap_or(128 * MIB)
}

/// Where QEMU puts DIMMs, from below.
pub fn device_memory_base(memory: u64) -> u64 {
    let above = if memory >= SPLIT_FROM { memory - SPLIT_AT } else { 0 };
    (ABOVE + above).next_multiple_of(GIB)
}

/// The address QEMU gives the next DIMM: the first gap that is large enough
/// (hw/mem/memory-device.c:memory_device_get_free_addr).
pub fn free_address(layout: &Layout, base: u64, size: u64) -> u64 {
    let mut taken: Vec<(u64, u64)> = layout.dimms.values().map(|d| (d.addr, d.addr + d.size)).collect();
    taken.sort_unstable();
    let mut address = base.next_multiple_of(DIMM_ALIGN);
    for (start, end) in taken {
        if start < address + size && address < end {
            address = end.next_multiple_of(DIMM_ALIGN);
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(memory: u64) -> Vec<(Zone, u64, u64, u64)> {
        let early = guest(memory).unwrap().early;
        early.iter().map(|((_, zone), e)| (*zone, e.start_pfn, e.spanned, e.present)).collect()
    }

    #[test]
    fn small_guests_are_in_one_piece() {
        assert_eq!(guest(512 * MIB).unwrap(), crate::policy::testing::layout());
        let dma = (Zone::Dma, 1, 4095, 3998);
        assert_eq!(zones(512 * MIB), [dma, (Zone::Dma32, 4096, 126_944, 126_944)]);
        assert_eq!(zones(2 * GIB), [dma, (Zone::Dma32, 4096, 520_160, 520_160)]);
        assert_eq!(device_memory_base(2815 * MIB), 4 * GIB);
    }

    #[test]
    fn large_guests_are_split() {
        let dma = (Zone::Dma, 1, 4095, 3998);
        let dma32 = (Zone::Dma32, 4096, 1_044_480, 520_160);
        assert_eq!(zones(3 * GIB), [dma, dma32, (Zone::Normal, 1 << 20, 1 << 18, 1 << 18)]);
        assert_eq!(device_memory_base(2816 * MIB), 5 * GIB);
        assert_eq!(device_memory_base(3 * GIB), 5 * GIB);
        assert_eq!(device_memory_base(4 * GIB), 6 * GIB);
        let layout = guest(3 * GIB).unwrap();
        assert_eq!(layout.blocks.len(), 16 + 8);
        assert_eq!(layout.blocks[&15].zone, Some(Zone::Dma32));
        assert_eq!((layout.blocks[&0].zone, layout.blocks[&32].zone), (None, Some(Zone::Normal)));
    }

    #[test]
    fn blocks_grow_with_the_guest() {
        let bytes = |memory| guest(memory).unwrap().block_bytes;
        assert_eq!(bytes(61 * GIB), 128 * MIB, "memory ends at 63 GiB");
        assert_eq!(bytes(62 * GIB), 2 * GIB, "memory ends at 64 GiB");
        assert_eq!(bytes(63 * GIB), GIB);
        assert_eq!(bytes(64 * GIB + 128 * MIB), 128 * MIB);
    }

    #[test]
    fn gaps_are_filled() {
        let mut layout = guest(512 * MIB).unwrap();
        let put = |layout: &mut Layout, name: &str, addr, size| {
            let dimm = crate::policy::Dimm { addr, size, slot: 0, node: 0, cold: false };
            layout.dimms.insert(name.into(), dimm);
        };
        assert_eq!(free_address(&layout, 4 * GIB, GIB), 4 * GIB);
        put(&mut layout, "a", 4 * GIB, GIB);
        put(&mut layout, "b", 6 * GIB, GIB);
        assert_eq!(free_address(&layout, 4 * GIB, GIB), 5 * GIB);
        assert_eq!(free_address(&layout, 4 * GIB, 2 * GIB), 7 * GIB);
        assert!(guest(1).is_err());
    }
}
