//! Level 1: the set of blocks, their states and zones, and what `valid_zones` says.

use super::super::snapshot::Snapshot;
use super::{Base, Context};
use crate::finding::Finding;
use crate::policy::{BlockState, Layout};

pub(super) fn check(
    layout: &Layout,
    base: Base<'_>,
    now: &Snapshot,
    context: &Context<'_>,
    findings: &mut Vec<Finding>,
) {
    let readable = base.snapshot.blocks.values().any(|b| b.valid_zones.is_some());
    for (number, block) in &layout.blocks {
        let subject = format!("memory{number}");
        let Some(seen) = now.blocks.get(number) else {
            let rule = "drivers/base/memory.c:create_memory_block_devices: one device per block of the range";
            findings.push(Finding::new("block.missing", subject, block.state, "no such block", rule));
            continue;
        };
        if seen.state != block.state {
            let rule = "drivers/base/memory.c:memory_block_change_state";
            findings.push(Finding::new("block.state", subject, block.state, seen.state, rule));
            continue; // zone and valid_zones follow from the state
        }
        let Some(text) = seen.valid_zones.as_deref() else {
            if readable {
                let rule = "drivers/base/memory.c:valid_zones_show";
                findings.push(Finding::new("block.valid_zones", subject, "readable", "not there", rule));
            }
            continue;
        };
        if block.state == BlockState::Online {
            let zone = block.zone.map_or("none", |z| z.name());
            let rule = "mm/memory_hotplug.c:zone_for_pfn_range: the zone that the block was onlined to";
            super::expect_eq(findings, "block.zone", &subject, zone, text, rule);
        } else if let Some(expected) = context.valid_zones.get(number) {
            let rule = "drivers/base/memory.c:valid_zones_show: the default zone first";
            super::expect_eq(findings, "block.valid_zones", &subject, expected.as_str(), text, rule);
        }
    }
    for (number, seen) in now.blocks.iter().filter(|(n, _)| !layout.blocks.contains_key(n)) {
        let rule = "drivers/base/memory.c:remove_memory_block_devices: blocks go with their DIMM";
        findings.push(Finding::new(
            "block.extra",
            format!("memory{number}"),
            "no such block",
            seen.state,
            rule,
        ));
    }
}
