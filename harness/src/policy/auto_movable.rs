//! The policy auto-movable (mm/memory_hotplug.c:auto_movable_zone_for_pfn; 5.15 and later, read in 6.1, 6.12
//! and 7.3).
//!
//! A DIMM is a static memory group: it goes to Movable as a whole if all of it fits in the ratio when its
//! first block is onlined. Dynamic groups (virtio-mem) are not modelled: this is about DIMMs.

use super::spans::{cma_pages, nodes, present_early_pages, present_pages};
use super::zones::kernel_zone;
use super::{Block, BlockState, Knobs, Layout, PAGE_BYTES, Ruling, Unknown, Zone};

const ZONE: &str = "mm/memory_hotplug.c:auto_movable_zone_for_pfn (5.15 to 7.3)";
const RATIO: &str = "mm/memory_hotplug.c:auto_movable_can_online_movable (5.15 to 7.3)";

/// What plain `online` means for this block under auto-movable.
pub(super) fn auto_movable_zone(
    layout: &Layout,
    knobs: &Knobs,
    number: u32,
    block: &Block,
) -> Result<(Zone, Ruling), Unknown> {
    let first = layout.first_pfn(number);
    let kernel = |pages: u64| kernel_zone(layout, block.node, &(first..first.saturating_add(pages)));
    if knobs.auto_movable_ratio == 0 {
        let ruling = Ruling::new("zone.auto-movable.never", ZONE, "ratio 0: nothing goes to Movable");
        return Ok((kernel(layout.block_pages()), ruling));
    }
    let group = group(layout, block)?;
    if let Some(group) = group.as_ref().filter(|group| group.kernel_pages > 0) {
        let text = format!("the DIMM has {} pages in kernel zones: so goes the rest", group.kernel_pages);
        let ruling = Ruling::new("zone.auto-movable.group", ZONE, text);
        return Ok((kernel(layout.block_pages()), ruling));
    }
    let need = group.map_or(layout.block_pages(), |g| g.max_pages.wrapping_sub(g.movable_pages));
    let mut said = Vec::new();
    for scope in scopes(knobs, block) {
        let (fits, text) = fits(layout, knobs, scope, need);
        if !fits {
            let ruling = Ruling::new("zone.auto-movable.ratio", RATIO, text);
            return Ok((kernel(need), ruling));
        }
        said.push(text);
    }
    Ok((Zone::Movable, Ruling::new("zone.auto-movable.fits", RATIO, said.join("; "))))
}

/// The whole guest, and the block's node where the kernel looks at nodes too.
fn scopes(knobs: &Knobs, block: &Block) -> impl Iterator<Item = Option<u32>> {
    let node = (knobs.has_numa_aware && knobs.auto_movable_numa_aware).then_some(Some(block.node));
    std::iter::once(None).chain(node)
}

/// A DIMM's pages, as its memory group counts them.
struct Group {
    max_pages: u64,
    kernel_pages: u64,
    movable_pages: u64,
}

/// The group of a block: its DIMM's, none for boot memory.
fn group(layout: &Layout, block: &Block) -> Result<Option<Group>, Unknown> {
    let Some(name) = &block.dimm else { return Ok(None) };
    let missing = || Unknown::because(format!("DIMM {name} is not in the layout"));
    let dimm = layout.dimms.get(name).ok_or_else(missing)?;
    let pages = |movable: bool| {
        let online = layout.blocks_of(name).filter(|(_, b)| b.state != BlockState::Offline);
        let zones = online.filter_map(|(_, b)| b.zone);
        zones.filter(|zone| (*zone == Zone::Movable) == movable).count() as u64 * layout.block_pages()
    };
    Ok(Some(Group {
        max_pages: dimm.size.div_ceil(PAGE_BYTES),
        kernel_pages: pages(false),
        movable_pages: pages(true),
    }))
}

/// Would `need` more Movable pages stay in the ratio to the kernel memory of boot, in the whole guest or on
/// one node?
fn fits(layout: &Layout, knobs: &Knobs, node: Option<u32>, need: u64) -> (bool, String) {
    let mut kernel = 0u64;
    let mut movable = 0u64;
    for node in nodes(layout).filter(|n| node.is_none_or(|only| only == *n)) {
        movable = movable.wrapping_add(present_pages(layout, node, Zone::Movable));
        for zone in Zone::KERNEL.into_iter().filter(|zone| present_pages(layout, node, *zone) > 0) {
            let cma = cma_pages(layout, node, zone);
            kernel = kernel.wrapping_add(present_early_pages(layout, node, zone)).wrapping_sub(cma);
            movable = movable.wrapping_add(cma);
        }
    }
    let limit = u64::from(knobs.auto_movable_ratio).wrapping_mul(kernel) / 100;
    let fits = kernel != 0 && movable.wrapping_add(need) <= limit;
    let place = node.map_or("in all".to_string(), |n| format!("on node {n}"));
    let text = format!(
        "{place}: {movable} Movable pages and {need} more {} {limit} ({} % of {kernel} boot pages)",
        if fits { "are within" } else { "exceed" },
        knobs.auto_movable_ratio
    );
    (fits, text)
}
