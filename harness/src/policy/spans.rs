//! What each zone spans and holds, from the layout.
//!
//! A zone's span is kept as the kernel keeps it: it grows with each block that comes online
//! (mm/memory_hotplug.c:resize_zone_range) and shrinks to the first and last memory that is left when a block
//! at its edge goes (shrink_zone_span; 5.10 to 7.3). So it is the hull of what is in the zone, whatever the
//! history.

use super::{Block, BlockState, Layout, Zone};
use std::collections::BTreeSet;
use std::ops::Range;

/// Pages in the span of a zone, or `None` for an empty zone.
///
/// Exact at block granularity, which is all that decides about zones. Where a boot zone ends in the middle of
/// a block and hot-plugged memory behind it was taken away again, the kernel may keep up to the rest of that
/// block in the span.
pub fn span(layout: &Layout, node: u32, zone: Zone) -> Option<Range<u64>> {
    let hot = arrivals(layout, node, zone).map(|(number, _)| block_pfns(layout, number));
    let hull = |a: Range<u64>, b: Range<u64>| a.start.min(b.start)..a.end.max(b.end);
    early_span(layout, node, zone).into_iter().chain(hot).reduce(hull)
}

/// present_pages of a zone.
pub fn present_pages(layout: &Layout, node: u32, zone: Zone) -> u64 {
    let hot = arrivals(layout, node, zone).count() as u64 * layout.block_pages();
    early_left(layout, node, zone) + hot
}

/// present_early_pages of a zone: the part of it that was there at boot
/// (mm/memory_hotplug.c:adjust_present_page_count, since 5.15). A boot block that was taken offline and
/// onlined elsewhere counts where it is now.
pub fn present_early_pages(layout: &Layout, node: u32, zone: Zone) -> u64 {
    let moved = arrivals(layout, node, zone).filter(|(_, b)| b.dimm.is_none()).count() as u64;
    early_left(layout, node, zone) + moved * layout.block_pages()
}

/// CMA pages of a zone (never on hot-plugged memory).
pub(super) fn cma_pages(layout: &Layout, node: u32, zone: Zone) -> u64 {
    layout.early.get(&(node, zone)).map_or(0, |early| early.cma)
}

/// Nodes that have any memory, sorted.
pub(super) fn nodes(layout: &Layout) -> impl Iterator<Item = u32> {
    let early = layout.early.keys().map(|(node, _)| *node);
    let nodes = early.chain(layout.blocks.values().map(|b| b.node));
    nodes.collect::<BTreeSet<_>>().into_iter()
}

/// Page frames of a block.
pub(super) fn block_pfns(layout: &Layout, number: u32) -> Range<u64> {
    let first = layout.first_pfn(number);
    first..first + layout.block_pages()
}

/// The zone that a boot block was wholly in at boot; `None` for hot-plugged blocks and for blocks at a zone's
/// ragged edge.
pub(super) fn home(layout: &Layout, number: u32, block: &Block) -> Option<Zone> {
    if block.dimm.is_some() {
        return None;
    }
    let pfns = block_pfns(layout, number);
    Zone::ALL.into_iter().find(|zone| {
        let early = layout.early.get(&(block.node, *zone));
        early.is_some_and(|e| e.start_pfn <= pfns.start && pfns.end <= e.start_pfn + e.spanned)
    })
}

/// The zone that a block is in: while online and while going offline.
fn zone_now(block: &Block) -> Option<Zone> {
    block.zone.filter(|_| block.state != BlockState::Offline)
}

/// Blocks that are in a zone and were not at boot.
fn arrivals(layout: &Layout, node: u32, zone: Zone) -> impl Iterator<Item = (u32, &Block)> {
    let blocks = layout.blocks.iter().map(|(number, block)| (*number, block));
    blocks.filter(move |(number, block)| {
        block.node == node
            && zone_now(block) == Some(zone)
            && (block.dimm.is_some() || home(layout, *number, block).is_some_and(|home| home != zone))
    })
}

/// Boot blocks of a zone that are no longer in it.
fn departures(layout: &Layout, node: u32, zone: Zone) -> impl Iterator<Item = u32> {
    let blocks = layout.blocks.iter().filter(move |(number, block)| {
        block.node == node
            && home(layout, **number, block) == Some(zone)
            && (block.state == BlockState::Offline || block.zone.is_some_and(|now| now != zone))
    });
    blocks.map(|(number, _)| *number)
}

/// Boot pages that are still in their zone.
fn early_left(layout: &Layout, node: u32, zone: Zone) -> u64 {
    let early = layout.early.get(&(node, zone)).map_or(0, |early| early.present);
    let gone = departures(layout, node, zone).count() as u64 * layout.block_pages();
    early.saturating_sub(gone)
}

/// Span of the boot memory that is still in its zone. An edge moves only when the block at it goes: a zone
/// may be spanned beyond its memory (DMA32 up to 4 GiB where there is memory above), and stays so while
/// memory in its middle comes and goes.
fn early_span(layout: &Layout, node: u32, zone: Zone) -> Option<Range<u64>> {
    let early = layout.early.get(&(node, zone)).filter(|e| e.spanned > 0)?;
    let whole = early.start_pfn..early.start_pfn + early.spanned;
    let gone: BTreeSet<u32> = departures(layout, node, zone).collect();
    let at_edge = |pfn: u64| gone.iter().any(|number| block_pfns(layout, *number).contains(&pfn));
    let (first_gone, last_gone) = (at_edge(whole.start), at_edge(whole.end - 1));
    if !first_gone && !last_gone {
        return Some(whole);
    }
    let left = layout.blocks.iter().filter(|(number, block)| {
        block.dimm.is_none() && (block.node == node || block.zone.is_none()) && !gone.contains(number)
    });
    let parts = left.filter_map(|(number, _)| {
        let pfns = block_pfns(layout, *number);
        let part = pfns.start.max(whole.start)..pfns.end.min(whole.end);
        (!part.is_empty()).then_some(part)
    });
    let hull = parts.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))?;
    let start = if first_gone { hull.start } else { whole.start };
    let end = if last_gone { hull.end } else { whole.end };
    Some(start..end)
}

/// Does a block contain what is no memory? Only boot blocks can; `None`: blocks of its zone do, who knows
/// which.
pub(super) fn has_holes(layout: &Layout, number: u32, block: &Block) -> Option<bool> {
    if block.dimm.is_some() {
        return Some(false);
    }
    let Some(home) = home(layout, number, block) else {
        let pfns = block_pfns(layout, number);
        let mut early = layout.early.values();
        let touched = early.any(|e| e.start_pfn < pfns.end && pfns.start < e.start_pfn + e.spanned);
        return touched.then_some(true);
    };
    let early = layout.early.get(&(block.node, home))?;
    let boot = layout.blocks.iter().filter(|(_, b)| b.dimm.is_none() && b.node == block.node);
    let covered = boot.map(|(number, _)| {
        let pfns = block_pfns(layout, *number);
        pfns.end.min(early.start_pfn + early.spanned).saturating_sub(pfns.start.max(early.start_pfn))
    });
    (covered.sum::<u64>() == early.present).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::geometry::guest;
    use crate::policy::testing::*;

    #[test]
    fn hot_memory_spans_its_hull() {
        let mut guest = Guest::new(subject("6.12"), "memhp_default_state=offline");
        guest.plug(8, 0);
        let movable = |guest: &Guest| span(&guest.layout, 0, Zone::Movable);
        assert_eq!(movable(&guest), None);
        guest.write(34, "online_movable");
        guest.write(38, "online_movable");
        assert_eq!(movable(&guest), Some(34 * 32_768..39 * 32_768));
        guest.write(38, "offline");
        assert_eq!(movable(&guest), Some(34 * 32_768..35 * 32_768));
        assert_eq!(present_pages(&guest.layout, 0, Zone::Movable), 32_768);
        assert_eq!(present_early_pages(&guest.layout, 0, Zone::Movable), 0);
        assert_eq!(span(&guest.layout, 1, Zone::Movable), None);
    }

    /// 3 GiB: 2 below and 1 above 4 GiB; DMA32 is spanned up to 4 GiB.
    #[test]
    fn boot_zones_shrink_only_at_their_edges() {
        let mut layout = guest(3 << 30).unwrap();
        let set = |layout: &mut Layout, number: u32, state: BlockState, zone: Option<Zone>| {
            let block = layout.blocks.get_mut(&number).unwrap();
            (block.state, block.zone) = (state, zone);
        };
        assert_eq!(span(&layout, 0, Zone::Dma32), Some(4096..1 << 20));
        assert_eq!(span(&layout, 0, Zone::Normal), Some(1 << 20..(1 << 20) + (1 << 18)));
        set(&mut layout, 5, BlockState::Offline, None);
        assert_eq!(span(&layout, 0, Zone::Dma32), Some(4096..1 << 20));
        assert_eq!(present_pages(&layout, 0, Zone::Dma32), 520_160 - 32_768);
        set(&mut layout, 32, BlockState::Offline, None);
        set(&mut layout, 39, BlockState::Online, Some(Zone::Movable));
        assert_eq!(span(&layout, 0, Zone::Normal), Some(33 * 32_768..39 * 32_768));
        assert_eq!(span(&layout, 0, Zone::Movable), Some(39 * 32_768..40 * 32_768));
        assert_eq!(present_early_pages(&layout, 0, Zone::Normal), 6 * 32_768);
        assert_eq!(present_early_pages(&layout, 0, Zone::Movable), 32_768);
        (33..39).for_each(|number| set(&mut layout, number, BlockState::Offline, None));
        assert_eq!(span(&layout, 0, Zone::Normal), None);
        set(&mut layout, 35, BlockState::Online, Some(Zone::Normal));
        assert_eq!(span(&layout, 0, Zone::Normal), Some(35 * 32_768..36 * 32_768));
    }

    #[test]
    fn a_block_that_is_going_counts_until_it_is_gone() {
        let mut guest = Guest::new(subject("6.12"), "memhp_default_state=online_movable");
        guest.plug(1, 0);
        guest.layout.blocks.get_mut(&32).unwrap().state = BlockState::GoingOffline;
        assert_eq!(span(&guest.layout, 0, Zone::Movable), Some(32 * 32_768..33 * 32_768));
        assert_eq!(guest.valid_zones(32), "Movable Normal");
    }
}
