//! Which zone a block goes to when it is onlined (mm/memory_hotplug.c:zone_for_pfn_range).

use super::auto_movable::auto_movable_zone;
use super::spans::{block_pfns, span};
use super::{Block, Knobs, Layout, OnlinePolicy, OnlineType, Ruling, Subject, Unknown, Zone};
use std::ops::Range;

const ZONE_FOR: &str = "mm/memory_hotplug.c:zone_for_pfn_range (5.10 to 7.3)";
const CONTIG: &str = "mm/memory_hotplug.c:default_zone_for_pfn (5.10 to 7.3)";

/// The zone that block `number` would go to if it were onlined now with this type, and why. `Offline` counts
/// as `Online` (drivers/base/memory.c:memory_subsys_online).
///
/// # Errors
/// [`Unknown`] for kernels below 5.10 and for blocks that the layout does not have.
pub fn zone_for(
    layout: &Layout,
    knobs: &Knobs,
    subject: &Subject,
    number: u32,
    online: OnlineType,
) -> Result<(Zone, Ruling), Unknown> {
    subject.known()?;
    let block = block(layout, number)?;
    let pfns = block_pfns(layout, number);
    Ok(match online {
        OnlineType::OnlineKernel => {
            let zone = kernel_zone(layout, block.node, &pfns);
            let text = format!("online_kernel: memory{number} goes to {zone}, never to Movable");
            (zone, Ruling::new("zone.online-kernel", ZONE_FOR, text))
        }
        OnlineType::OnlineMovable => {
            let text = format!("online_movable: memory{number} goes to Movable, wherever it is");
            (Zone::Movable, Ruling::new("zone.online-movable", ZONE_FOR, text))
        }
        OnlineType::Online | OnlineType::Offline => {
            if knobs.has_online_policy && knobs.online_policy == OnlinePolicy::AutoMovable {
                auto_movable_zone(layout, knobs, number, block)?
            } else {
                contig_zone(layout, knobs, number, block)
            }
        }
    })
}

/// The block, or why nothing can be said of it.
pub(super) fn block(layout: &Layout, number: u32) -> Result<&Block, Unknown> {
    let missing = || Unknown::because(format!("memory{number} is not in the layout"));
    layout.blocks.get(&number).ok_or_else(missing)
}

/// The first kernel zone below Normal whose span touches these pages, else Normal
/// (default_kernel_zone_for_pfn).
pub(super) fn kernel_zone(layout: &Layout, node: u32, pfns: &Range<u64>) -> Zone {
    let touched = [Zone::Dma, Zone::Dma32].into_iter().find(|z| touches(layout, node, *z, pfns));
    touched.unwrap_or(Zone::Normal)
}

/// Does the zone's span touch these pages (include/linux/mmzone.h:zone_intersects)?
fn touches(layout: &Layout, node: u32, zone: Zone, pfns: &Range<u64>) -> bool {
    span(layout, node, zone).is_some_and(|span| pfns.start < span.end && span.start < pfns.end)
}

/// contig-zones, and all that 5.10 has: the one zone that spans the block; neither or both make a tie.
fn contig_zone(layout: &Layout, knobs: &Knobs, number: u32, block: &Block) -> (Zone, Ruling) {
    let pfns = block_pfns(layout, number);
    let kernel = kernel_zone(layout, block.node, &pfns);
    let in_kernel = touches(layout, block.node, kernel, &pfns);
    let in_movable = touches(layout, block.node, Zone::Movable, &pfns);
    let (zone, rule, text) = match (in_kernel, in_movable) {
        (true, false) => (kernel, "zone.contig.inherit", format!("only {kernel} spans memory{number}")),
        (false, true) => (Zone::Movable, "zone.contig.inherit", format!("only Movable spans memory{number}")),
        (both, _) => {
            let spanned = if both { "both span" } else { "neither spans" };
            let zone = if knobs.movable_node { Zone::Movable } else { kernel };
            let given = if knobs.movable_node { "with" } else { "without" };
            let text = format!("{spanned} memory{number} ({kernel}, Movable): {zone} {given} movable_node");
            (zone, "zone.contig.tie", text)
        }
    };
    (zone, Ruling::new(rule, CONTIG, text))
}
