//! /proc/kcore, through which debuggers see the memory of the running kernel.
//!
//! The kernel lists System RAM up to where the last node with memory ends, and does so at the first open after a block came
//! online or went offline (fs/proc/kcore.c:kcore_callback, open_kcore, kcore_ram_list; 5.10 to 7.3 alike). So no more is
//! wanted than the two facts here: what is offline below that end is listed too, the removal of a DIMM that is offline is
//! told to nobody (its segment stays until the next block comes or goes), and reserved ranges cut boot memory into pieces.
//!
//! An offlining is told just before its zone and node shrink (mm/memory_hotplug.c:offline_pages), so that whoever opens the
//! file in between has the old end listed until the next block comes or goes. Nobody does: a snapshot is of a quiet guest.

use super::super::parse_kcore::Segment;
use super::{Scene, expect_eq, join};
use crate::finding::Finding;
use crate::policy::{BlockState, PAGE_BYTES};

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let Some(segments) = &scene.now.kcore else { return };
    check_online(scene, segments, findings);
    check_end(scene, segments, findings);
}

/// Every block of a DIMM that is online lies in them, whole.
fn check_online(scene: &Scene<'_>, segments: &[Segment], findings: &mut Vec<Finding>) {
    let rule =
        "fs/proc/kcore.c:kcore_callback, kcore_ram_list: what has come online is listed at the next open";
    let layout = scene.layout;
    for name in layout.dimms.keys() {
        let online = layout.blocks_of(name).filter(|(_, b)| b.state == BlockState::Online);
        let online: Vec<u32> = online.map(|(number, _)| number).collect();
        let start = |number: u32| u64::from(number) * layout.block_bytes;
        let listed = online.iter().filter(|n| covered(segments, start(**n), start(**n) + layout.block_bytes));
        expect_eq(findings, "kcore.missing", name, join(&online), join(listed), rule);
    }
}

/// Do `segments`, which are in order, hold all of this range?
fn covered(segments: &[Segment], start: u64, end: u64) -> bool {
    let reached = segments.iter().fold(start, |at, s| if s.start <= at { at.max(s.end) } else { at });
    reached >= end
}

/// None of them goes beyond the end of all zones.
fn check_end(scene: &Scene<'_>, segments: &[Segment], findings: &mut Vec<Finding>) {
    // a zone that spans pages and has none does not tell where they are
    let ends = scene.now.zoneinfo.zones.values().filter(|z| z.spanned > 0);
    let ends: Option<Vec<u64>> = ends.map(|z| Some((z.start_pfn? + z.spanned) * PAGE_BYTES)).collect();
    let Some(end) = ends.and_then(|ends| ends.into_iter().max()) else { return };
    let rule = "fs/proc/kcore.c:kcore_callback, kcore_ram_list: the list ends with the last node that has memory, and what went offline is off it at the next open";
    for segment in segments.iter().filter(|s| s.end > end) {
        findings.push(Finding::new("kcore.extra", "", format!("none above {end:#x}"), segment, rule));
    }
}
