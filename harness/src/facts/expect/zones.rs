//! Sizes of zones: the early part, plus what blocks in it contribute.

use super::super::parse_zoneinfo::ZoneFacts;
use super::{Scene, expect_eq, off, zone_subject};
use crate::finding::Finding;
use crate::policy::{Block, BlockState, EarlyZone, Layout, Zone};
use std::collections::{BTreeMap, BTreeSet};

const SIZES: &str =
    "mm/memory_hotplug.c:online_pages, offline_pages: adjust_present_page_count, adjust_managed_page_count";
const SPAN: &str =
    "mm/memory_hotplug.c:resize_zone_range, shrink_zone_span: from the first to the last page of the zone";

/// What a zone must be, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ZoneSize {
    pub(super) start: u64,
    /// first page frame behind the zone
    pub(super) end: u64,
    /// the kernel may also end the zone behind the hole that follows its last page, up to here
    pub(super) end_at_most: u64,
    pub(super) present: u64,
    pub(super) managed: u64,
}

/// In memory while `going-offline` too.
pub(super) fn in_zone(block: &Block) -> Option<Zone> {
    (block.state != BlockState::Offline).then_some(block.zone).flatten()
}

/// Boot blocks that are no longer in the zone they were in at boot, by node and that zone.
pub(super) fn left_early(now: &Layout, base: &Layout, key: (u32, Zone)) -> Vec<u32> {
    let boot =
        base.blocks.iter().filter(|(_, b)| b.dimm.is_none() && (b.node, b.zone) == (key.0, Some(key.1)));
    boot.filter(|(n, _)| now.blocks.get(n).and_then(in_zone) != Some(key.1)).map(|(n, _)| *n).collect()
}

/// Blocks in the zone that were not part of it at boot as early memory.
pub(super) fn joined(now: &Layout, base: &Layout, key: (u32, Zone)) -> Vec<u32> {
    let early = |n: &u32| base.blocks.get(n).is_some_and(|b| b.dimm.is_none() && b.zone == Some(key.1));
    let here = now.blocks.iter().filter(|(_, b)| b.node == key.0 && in_zone(b) == Some(key.1));
    here.map(|(n, _)| *n).filter(|n| !early(n)).collect()
}

/// The size that zone `key` must have in layout `now`.
pub(super) fn expected(scene: &Scene<'_>, key: (u32, Zone)) -> ZoneSize {
    let (now, base) = (scene.layout, scene.base.layout);
    let early = base.early.get(&key).copied().unwrap_or_default();
    let (left, joined) = (left_early(now, base, key), joined(now, base, key));
    let pages = now.block_pages();
    let own_memmap: u64 = joined.iter().filter_map(|n| now.blocks.get(n)).map(|b| b.vmemmap_pages).sum();
    let count = |blocks: &[u32]| blocks.len() as u64 * pages;
    let (start, end) = early_range(now, base, early, key, &left);
    let first = joined.iter().map(|n| now.first_pfn(*n)).min();
    let last = joined.iter().map(|n| now.first_pfn(*n) + pages).max();
    let range = match (start < end, first.zip(last)) {
        (true, Some((f, l))) => (start.min(f), end.max(l)),
        (true, None) => (start, end),
        (false, Some(joined)) => joined,
        (false, None) => (0, 0),
    };
    let ends_early = start < end && range.1 == end && last != Some(end);
    let hot_zone = matches!(key.1, Zone::Normal | Zone::Movable);
    // mm/memory_hotplug.c:pfn_to_online_page asks pfn_section_valid since 5.12
    let piece = if scene.context.version.at_least(5, 12) { SUBSECTION_PAGES } else { SECTION_PAGES };
    ZoneSize {
        start: range.0,
        end: range.1,
        // shrink_zone_span finds the end by what is online, and the last piece of RAM may have a hole
        end_at_most: if ends_early && hot_zone { range.1.next_multiple_of(piece) } else { range.1 },
        present: (early.present + count(&joined)).saturating_sub(count(&left)),
        managed: (early.managed + count(&joined)).saturating_sub(count(&left) + own_memmap),
    }
}

/// PAGES_PER_SUBSECTION (include/linux/mmzone.h: SUBSECTION_SHIFT 21).
const SUBSECTION_PAGES: u64 = 512;

/// PAGES_PER_SECTION on x86_64 (SECTION_SIZE_BITS 27).
pub(super) const SECTION_PAGES: u64 = 1 << 15;

/// What is left of the early range when `left` blocks have gone: an end moves only if the block at it has gone.
fn early_range(now: &Layout, base: &Layout, early: EarlyZone, key: (u32, Zone), left: &[u32]) -> (u64, u64) {
    let (start, end) = (early.start_pfn, early.start_pfn + early.spanned);
    let pages = now.block_pages();
    let touches = |n: &u32| now.first_pfn(*n) < end && start < now.first_pfn(*n) + pages;
    let boot = base.blocks.iter().filter(|(_, b)| b.dimm.is_none() && b.node == key.0);
    let stays: Vec<u32> = boot
        .filter(|(_, b)| b.zone.is_none() || b.zone == Some(key.1))
        .map(|(n, _)| *n)
        .filter(|n| touches(n) && !left.contains(n))
        .collect();
    if left.is_empty() {
        return (start, end);
    }
    let (Some(first), Some(last)) = (stays.first(), stays.last()) else { return (0, 0) };
    let start_left = left.iter().any(|n| now.first_pfn(*n) == start);
    let end_left = left.iter().any(|n| now.first_pfn(*n) + pages == end);
    (
        if start_left { now.first_pfn(*first).max(start) } else { start },
        if end_left { (now.first_pfn(*last) + pages).min(end) } else { end },
    )
}

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    check_isolated(scene, findings);
    check_node_stats(scene, findings);
    for ((node, name), seen) in &scene.now.zoneinfo.zones {
        let subject = zone_subject(*node, name);
        match Zone::parse(name) {
            Some(zone) => {
                let size = expected(scene, (*node, zone));
                check_size(&subject, size, seen, findings);
                check_rest(scene, &subject, (*node, name), seen, findings);
                check_locked(&subject, isolated(scene, *node), seen, findings);
                if zone == Zone::Movable {
                    check_lost(scene, &subject, *node, seen, findings);
                }
            }
            None => check_other(scene, &subject, (*node, name), seen, findings),
        }
    }
    check_zone_names(scene, findings);
}

fn check_size(subject: &str, size: ZoneSize, seen: &ZoneFacts, findings: &mut Vec<Finding>) {
    expect_eq(findings, "zone.present", subject, size.present, seen.present, SIZES);
    expect_eq(findings, "zone.managed", subject, size.managed, seen.managed, SIZES);
    let start = match seen.start_pfn {
        Some(start) => {
            expect_eq(findings, "zone.start_pfn", subject, size.start, start, SPAN);
            start
        }
        None => size.start,
    };
    // a wrong start alone is one finding: spanned is compared by where the zone ends
    let end = start + seen.spanned;
    if !(size.end..=size.end_at_most).contains(&end) {
        let expected = size.end.saturating_sub(size.start);
        findings.push(Finding::new("zone.spanned", subject, expected, seen.spanned, SPAN));
    }
}

/// CMA, free pages and flags of a zone that the model knows.
fn check_rest(
    scene: &Scene<'_>,
    subject: &str,
    key: (u32, &str),
    seen: &ZoneFacts,
    findings: &mut Vec<Finding>,
) {
    let early = Zone::parse(key.1).and_then(|z| scene.base.layout.early.get(&(key.0, z)));
    if let Some(cma) = seen.cma {
        let rule = "mm/cma.c: CMA areas are made at boot only";
        expect_eq(findings, "zone.cma", subject, early.map_or(0, |e| e.cma), cma, rule);
    }
    // the counter is summed up from per-CPU differences that may be late by the zone's threshold on each CPU
    let late: u64 = seen.pagesets.values().filter_map(|p| p.get("threshold")).sum();
    let free = seen.counters.get("free").copied().unwrap_or(0);
    if free > seen.managed + late {
        let rule = "mm/page_alloc.c: only managed pages can be free";
        findings.push(Finding::new("zone.free", subject, format!("at most {}", seen.managed), free, rule));
    }
}

/// Every managed page of a Movable zone is free, on a per-CPU list, or on an LRU list.
///
/// Not seen there: pages in the CPUs' batches for the LRU lists (mm/swap.c: at most 31 new and 31 mlocked ones each),
/// pages isolated for migration, and what the counters' per-CPU differences hide. A pageblock that was counted but
/// never freed (or freed twice) is more than that on guests with few CPUs.
fn check_lost(scene: &Scene<'_>, subject: &str, node: u32, seen: &ZoneFacts, findings: &mut Vec<Finding>) {
    // the second row is of all sizes, and not in every kernel
    let rows = ["HugePages_Total", "Hugetlb"];
    let huge = rows.iter().any(|row| scene.now.meminfo.get(*row).is_some_and(|n| *n > 0));
    if seen.present == 0 || huge {
        return;
    }
    let counter = |name: &&str| seen.counters.get(*name).copied().unwrap_or(0);
    let lists = ["inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"];
    let lru: u64 = lists.iter().map(|l| counter(&format!("nr_zone_{l}").as_str())).sum();
    let own = |p: &BTreeMap<String, u64>, field: &str| p.get(field).copied().unwrap_or(0);
    let on_cpus: u64 = seen.pagesets.values().map(|p| own(p, "count")).sum();
    let isolated = isolated(scene, node);
    let counters = 2 + lists.len() as u64;
    let slack =
        isolated + seen.pagesets.values().map(|p| 2 * 31 + counters * own(p, "threshold")).sum::<u64>();
    let known = counter(&"free") + on_cpus + lru + counter(&"nr_zspages");
    let rule =
        "mm/memory_hotplug.c:online_pages_range frees every page of a block to the allocator exactly once";
    findings.extend(off("zone.lost", subject.to_string(), seen.managed, known, slack, rule));
}

/// Pages of the node that are off the LRU lists, on their way elsewhere.
fn isolated(scene: &Scene<'_>, node: u32) -> u64 {
    let stats = scene.now.zoneinfo.node_stats.get(&node);
    ["nr_isolated_anon", "nr_isolated_file"].iter().filter_map(|n| stats?.get(*n)).sum()
}

/// A locked page counts as locked once, and it is on the list of those that are not evicted, or on the way there.
fn check_locked(subject: &str, isolated: u64, seen: &ZoneFacts, findings: &mut Vec<Finding>) {
    let counter = |name: &str| seen.counters.get(name).copied();
    let (Some(locked), Some(listed)) = (counter("nr_mlock"), counter("nr_zone_unevictable")) else { return };
    // new pages and locked ones in the batches of each CPU, and two counters whose differences are late
    let own = |p: &BTreeMap<String, u64>| 2 * 31 + 2 * p.get("threshold").copied().unwrap_or(0);
    let most = listed + isolated + seen.pagesets.values().map(own).sum::<u64>();
    if locked > most {
        let rule =
            "mm/mlock.c:mlock_folio, munlock_folio; mm/rmap.c: a page that moves takes its lock with it";
        findings.push(Finding::new("zone.mlock", subject, format!("at most {most}"), locked, rule));
    }
}

/// What is counted by node stands at the node's first zone that has memory.
fn check_node_stats(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let zones = scene.now.zoneinfo.zones.iter().filter(|(_, zone)| zone.present > 0);
    let with_memory: BTreeSet<u32> = zones.map(|((node, _), _)| *node).collect();
    let told: BTreeSet<u32> = scene.now.zoneinfo.node_stats.keys().copied().collect();
    let rule = "mm/vmstat.c:is_zone_first_populated: one zone of each node with memory";
    let (expected, seen) = (super::join(with_memory), super::join(told));
    expect_eq(findings, "zoneinfo.node_stats", "", expected, seen, rule);
}

/// Nothing is isolated in a guest at rest: who takes pages off the LRU lists to move them puts them back.
fn check_isolated(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    /// mm/vmstat.c: differences on a CPU fit a signed byte
    const LATE: u64 = 125;
    let cpus = scene.now.zoneinfo.zones.values().map(|z| z.pagesets.len() as u64).max().unwrap_or(1);
    for (node, stats) in &scene.now.zoneinfo.node_stats {
        for name in ["nr_isolated_anon", "nr_isolated_file"] {
            let (seen, most) = (stats.get(name).copied().unwrap_or(0), LATE * cpus);
            if seen > most {
                let rule = "mm/migrate.c, mm/vmscan.c: a page that was isolated is put back, whether it moved or not";
                let subject = format!("node {node} {name}");
                findings.push(Finding::new("node.isolated", subject, format!("at most {most}"), seen, rule));
            }
        }
    }
}

/// Zones that no block can be in (Device): nothing ever changes.
fn check_other(
    scene: &Scene<'_>,
    subject: &str,
    key: (u32, &str),
    seen: &ZoneFacts,
    findings: &mut Vec<Finding>,
) {
    let base = scene.base.snapshot.zoneinfo.zones.get(&(key.0, key.1.to_string()));
    let size = |z: &ZoneFacts| join_sizes(z);
    let expected = base.map_or_else(|| "0 0 0".to_string(), size);
    expect_eq(findings, "zone.other", subject, expected, size(seen), "no memory block is in this zone");
}

fn join_sizes(zone: &ZoneFacts) -> String {
    super::join([zone.spanned, zone.present, zone.managed])
}

/// The kernel has the zones that it was built with, and a zone that holds blocks is among them.
fn check_zone_names(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let rule = "mm/vmstat.c:zoneinfo_show: all zones of all online nodes";
    let order = |s: &super::Snapshot| s.zoneinfo.order.join(" ");
    expect_eq(findings, "zone.names", "", order(scene.base.snapshot), order(scene.now), rule);
    let mut needed: BTreeMap<(u32, Zone), u32> = BTreeMap::new();
    for (number, block) in &scene.layout.blocks {
        if let Some(zone) = in_zone(block) {
            needed.entry((block.node, zone)).or_insert(*number);
        }
    }
    for ((node, zone), number) in needed {
        if !scene.now.zoneinfo.zones.contains_key(&(node, zone.name().to_string())) {
            let subject = zone_subject(node, zone.name());
            findings.push(Finding::new(
                "zone.missing",
                subject,
                format!("has memory{number}"),
                "not there",
                rule,
            ));
        }
    }
}
