//! /proc/pagetypeinfo: nothing is left isolated, the Movable zone holds movable pageblocks only, every pageblock of a
//! zone is counted.

use super::zones::{expected, joined, left_early};
use super::{Scene, expect_eq, join, zone_subject};
use crate::finding::Finding;
use crate::policy::Zone;
use std::collections::BTreeMap;

const ISOLATE: &str = "mm/page_isolation.c:undo_isolate_page_range: nothing stays isolated";
const MOVABLE: &str = "mm/memory_hotplug.c: pageblocks of ZONE_MOVABLE are MIGRATE_MOVABLE, those of a block's own memmap MIGRATE_UNMOVABLE";
const COUNT: &str = "mm/vmstat.c:pagetypeinfo_showblockcount_print: online pageblocks of the zone";

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
    let size = expected(scene.layout, base, key);
    let seen = scene.now.zoneinfo.zones.get(&(key.0, key.1.name().to_string()));
    let seen_end = seen.map_or(0, |z| z.start_pfn.unwrap_or(0) + z.spanned);
    let aligned = scene.layout.block_pages() % pageblock == 0;
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
