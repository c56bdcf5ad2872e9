//! /proc/pagetypeinfo: nothing is left isolated, the Movable zone holds movable pageblocks only, every pageblock of a
//! zone is counted, free memory is in the largest pieces.

use super::super::parse_pagetypes::FreePages;
use super::zones::{expected, joined, left_early};
use super::{Scene, expect_eq, join, zone_subject};
use crate::finding::Finding;
use crate::policy::Zone;
use std::collections::BTreeMap;

const ISOLATE: &str = "mm/page_isolation.c:undo_isolate_page_range: nothing stays isolated";
const MOVABLE: &str = "mm/memory_hotplug.c: pageblocks of ZONE_MOVABLE are MIGRATE_MOVABLE, those of a block's own memmap MIGRATE_UNMOVABLE";
const COUNT: &str = "mm/vmstat.c:pagetypeinfo_showblockcount_print: online pageblocks of the zone";

const PIECES: &str = "mm/page_alloc.c:__free_one_page merges free buddies up to the largest order, as mm/page_isolation.c:unset_migratetype_isolate does for what was isolated";

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let (Some(base), Some(now)) = (&scene.base.snapshot.pagetypes, &scene.now.pagetypes) else { return };
    let populated = scene.now.zoneinfo.zones.iter().filter(|(_, z)| z.present > 0);
    let populated = populated.map(|((n, z), _)| zone_subject(*n, z)).collect::<Vec<_>>();
    let shown = now.blocks.keys().map(|(n, z)| zone_subject(*n, z)).collect::<Vec<_>>();
    let rule = "mm/vmstat.c:pagetypeinfo_show: the populated zones";
    expect_eq(findings, "pagetypes.zones", "", populated.join(", "), shown.join(", "), rule);
    for ((node, name), counts) in &now.blocks {
        let subject = zone_subject(*node, name);
        let isolated = counts.get("Isolate").copied().unwrap_or(0);
        expect_eq(findings, "pagetypes.isolated_blocks", &subject, 0, isolated, ISOLATE);
        let free = now.free.get(&(*node, name.clone())).and_then(|f| f.get("Isolate"));
        expect_eq(findings, "pagetypes.isolated_free", &subject, 0, free.map_or(0, |f| f.pages), ISOLATE);
        if let Some(zone) = Zone::parse(name) {
            let before = base.blocks.get(&(*node, name.clone()));
            check_counts(scene, (*node, zone), counts, before, findings);
            check_pieces(scene, (*node, zone), findings);
        }
    }
}

fn check_counts(
    scene: &Scene<'_>,
    key: (u32, Zone),
    counts: &BTreeMap<String, u64>,
    before: Option<&BTreeMap<String, u64>>,
    findings: &mut Vec<Finding>,
) {
    let subject = zone_subject(key.0, key.1.name());
    let pageblock = scene.now.pagetypes.as_ref().map_or(512, |p| p.pageblock_pages);
    let base = scene.base.layout;
    let per_block = scene.layout.block_pages() / pageblock;
    let joined_now = joined(scene.layout, base, key);
    let joined_then = joined(base, base, key);
    // a span that ends in the hole behind the last page counts the hole's pageblocks too
    let size = expected(scene, key);
    let seen = scene.now.zoneinfo.zones.get(&(key.0, key.1.name().to_string()));
    let seen_end = seen.map_or(0, |z| z.start_pfn.unwrap_or(0) + z.spanned);
    let aligned = scene.layout.block_pages().is_multiple_of(pageblock);
    if aligned && size.end == size.end_at_most && seen_end == size.end {
        let total = before.map_or(0, |b| b.values().sum::<u64>()) + joined_now.len() as u64 * per_block;
        let gone = (joined_then.len() + left_early(scene.layout, base, key).len()) as u64 * per_block;
        let sum = counts.values().sum::<u64>();
        expect_eq(findings, "pagetypes.blocks", &subject, total.saturating_sub(gone), sum, COUNT);
    }
    if key.1 == Zone::Movable {
        let own = |l: &crate::policy::Layout, blocks: &[u32]| -> u64 {
            blocks.iter().filter_map(|n| l.blocks.get(n)).map(|b| b.vmemmap_pages.div_ceil(pageblock)).sum()
        };
        let kinds =
            |c: &BTreeMap<String, u64>| ["Unmovable", "Reclaimable"].map(|k| c.get(k).copied().unwrap_or(0));
        let mut expected = before.map_or([0, 0], kinds);
        expected[0] = (expected[0] + own(scene.layout, &joined_now)).saturating_sub(own(base, &joined_then));
        expect_eq(findings, "pagetypes.movable", &subject, join(expected), join(kinds(counts)), MOVABLE);
    }
}

/// In a zone without boot memory free pages are in pieces of the largest order, but for those that a page in use breaks.
fn check_pieces(scene: &Scene<'_>, key: (u32, Zone), findings: &mut Vec<Finding>) {
    let named = (key.0, key.1.name().to_string());
    let lists = scene.now.pagetypes.as_ref().and_then(|types| types.free.get(&named));
    let (Some(zone), Some(lists)) = (scene.now.zoneinfo.zones.get(&named), lists) else { return };
    if scene.base.layout.early.get(&key).is_some_and(|early| early.present > 0) {
        return;
    }
    let joined = joined(scene.layout, scene.base.layout, key);
    let blocks = joined.iter().filter_map(|number| scene.layout.blocks.get(number));
    let own_memmaps: Vec<u64> = blocks.map(|b| b.vmemmap_pages).collect();
    let Some(pieces) = pieces(zone.managed, lists, scene.layout.block_pages(), &own_memmaps) else { return };
    if pieces.1 < pieces.0 {
        let (subject, expected) = (zone_subject(key.0, key.1.name()), format!("at least {}", pieces.0));
        findings.push(Finding::new("pagetypes.largest", subject, expected, pieces.1, PIECES));
    }
}

/// Pieces of the largest order that there must be at least and that are, in a zone of whole blocks: each page that is not on
/// the free lists can break one of them, and beside a block's own memory map half a piece may be left over.
fn pieces(
    managed: u64,
    lists: &BTreeMap<String, FreePages>,
    block: u64,
    own_memmaps: &[u64],
) -> Option<(u64, u64)> {
    let largest = lists.values().map(|l| l.largest).max()?;
    if !block.is_multiple_of(largest) || lists.values().any(|l| l.at_least) {
        return None;
    }
    let taken = managed.checked_sub(lists.values().map(|l| l.pages).sum())?;
    let whole: u64 = own_memmaps.iter().map(|own| (block - own) / largest).sum();
    let seen: u64 = lists.values().map(|l| l.in_largest / largest).sum();
    Some((whole.saturating_sub(taken), seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_in_small_pieces() {
        let list = |pages, in_largest| FreePages { pages, in_largest, largest: 1024, at_least: false };
        let of = |unmovable, movable, managed, own: &[u64]| {
            let lists = [("Unmovable".to_string(), unmovable), ("Movable".to_string(), movable)];
            pieces(managed, &lists.into(), 32768, own)
        };
        let none = list(0, 0);
        assert_eq!(of(none, list(65536, 65536), 65536, &[0, 0]), Some((64, 64)));
        assert_eq!(of(none, list(65536, 0), 65536, &[0, 0]), Some((64, 0)));
        assert_eq!(of(list(1024, 1024), list(64512, 64512), 65536, &[0, 0]), Some((64, 64)));
        // pages that are in use, or on the list of a processor
        assert_eq!(of(none, list(65497, 0), 65536, &[0, 0]), Some((25, 0)));
        assert_eq!(of(none, list(30000, 0), 65536, &[0, 0]), Some((0, 0)));
        // 512 pages of a block are its own memory map, and so many more are half a piece
        assert_eq!(of(list(512, 0), list(31744, 31744), 32256, &[512]), Some((31, 31)));
        // read while pages came back
        assert_eq!(of(none, list(65537, 65536), 65536, &[0, 0]), None);
    }
}
