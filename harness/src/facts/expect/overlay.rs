//! The model with the blocks as they were seen.

use super::super::snapshot::Snapshot;
use crate::policy::{Block, BlockState, Layout, Zone};

/// `layout` with the set, states and zones of the blocks that `now` shows.
///
/// Where the zone of an online block cannot be seen (no `valid_zones`, or the block is going offline), the model's
/// stays.
pub fn overlay(layout: &Layout, now: &Snapshot) -> Layout {
    let mut seen = layout.clone();
    seen.blocks.retain(|number, _| now.blocks.contains_key(number));
    for (&number, facts) in &now.blocks {
        let dimm = layout.dimms.iter().find(|(_, d)| layout.block_range(d.addr, d.size).contains(&number));
        let unknown = || Block {
            node: facts.nodes.first().copied().unwrap_or(0),
            state: facts.state,
            zone: None,
            dimm: dimm.map(|(name, _)| name.clone()),
            vmemmap_pages: dimm
                .and_then(|(name, _)| layout.blocks_of(name).next())
                .map_or(0, |(_, b)| b.vmemmap_pages),
        };
        let block = seen.blocks.entry(number).or_insert_with(unknown);
        block.state = facts.state;
        match (facts.state, facts.valid_zones.as_deref()) {
            (BlockState::Offline, _) => block.zone = None,
            (BlockState::Online, Some(word)) => block.zone = Zone::parse(word),
            (BlockState::Online, None) | (BlockState::GoingOffline, _) => {}
        }
    }
    seen
}
