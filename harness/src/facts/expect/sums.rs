//! What the nodes have is, together, what there is: rows of their meminfo against /proc/meminfo.

use super::{Scene, off};
use crate::finding::Finding;

/// Pages by which the kernel's own work may move what two files tell that are read one after the other.
pub(super) const ONE_AFTER_THE_OTHER: u64 = 256;
/// The same of free memory, which lists of processors give back at once. Seen: 1143.
pub(super) const MOVED: u64 = 4096;
/// mm/vmstat.c: differences that a processor keeps fit a signed byte, and this is the highest threshold.
const LATE: u64 = 125;
/// Pages of a huge page of the page tables.
const HUGE: u64 = 512;

const RULE: &str = "drivers/base/node.c:node_read_meminfo: of this node alone";

/// Rows of a node's meminfo and of all memory's. Each is one or two counters of nodes (or zones) and their sum.
const ROWS: [&str; 21] = [
    "Active",
    "Inactive",
    "Active(anon)",
    "Inactive(anon)",
    "Active(file)",
    "Inactive(file)",
    "Unevictable",
    "Mlocked",
    "Dirty",
    "Writeback",
    "WritebackTmp",
    "AnonPages",
    "Mapped",
    "Shmem",
    "KernelStack",
    "PageTables",
    "SecPageTables",
    "KReclaimable",
    "Slab",
    "SReclaimable",
    "SUnreclaim",
];

/// Rows that move by whole huge pages: seldom by the kernel's own work (khugepaged), and not in several readings in a row.
const HUGE_ROWS: [&str; 5] =
    ["AnonHugePages", "ShmemHugePages", "ShmemPmdMapped", "FileHugePages", "FilePmdMapped"];

/// Rows that are one counter of the node.
const COUNTERS: [(&str, &str); 7] = [
    ("FilePages", "nr_file_pages"),
    ("Dirty", "nr_dirty"),
    ("Writeback", "nr_writeback"),
    ("Mapped", "nr_mapped"),
    ("AnonPages", "nr_anon_pages"),
    ("Shmem", "nr_shmem"),
    ("Unevictable", "nr_unevictable"),
];

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    check_free(scene, findings);
    check_counters(scene, findings);
    let left = left_behind(scene);
    for row in ROWS {
        check_row(scene, row, ONE_AFTER_THE_OTHER.max(left), findings);
    }
    // since 5.12 these count pages: a huge page is more than a processor keeps to itself
    let kept = if scene.context.version.at_least(5, 12) { 0 } else { left * HUGE };
    for row in HUGE_ROWS {
        check_row(scene, row, kept, findings);
    }
}

/// Of each node the free memory is that of its zones.
fn check_free(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for (node, facts) in &scene.now.nodes {
        let zones = || scene.now.zoneinfo.zones.iter().filter(|((n, _), _)| n == node).map(|(_, zone)| zone);
        let free: Option<u64> = zones().map(|zone| zone.counters.get("free").copied()).sum();
        let late: u64 = zones().flat_map(|z| z.pagesets.values()).filter_map(|p| p.get("threshold")).sum();
        if let (Some(free), Some(seen)) = (free, facts.meminfo.get("MemFree")) {
            let slack = (MOVED + late) * 4;
            findings.extend(off("node.MemFree", format!("node {node}"), free * 4, *seen, slack, RULE));
        }
    }
}

/// Of each node, what /proc/zoneinfo counts for it too.
fn check_counters(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for (node, facts) in &scene.now.nodes {
        let Some(counters) = scene.now.zoneinfo.node_stats.get(node) else { continue };
        for (row, counter) in COUNTERS {
            if let (Some(counted), Some(seen)) = (counters.get(counter), facts.meminfo.get(row)) {
                let (subject, slack) = (format!("node {node} {row}"), ONE_AFTER_THE_OTHER * 4);
                findings.extend(off("node.sum", subject, counted * 4, *seen, slack, RULE));
            }
        }
    }
}

/// A row that both files have; `slack` is in pages, the rows in kB.
fn check_row(scene: &Scene<'_>, row: &str, slack: u64, findings: &mut Vec<Finding>) {
    // one node's row that is found wrong by itself makes the sum wrong
    if findings.iter().any(|f| f.fact == "node.sum" && f.subject.rsplit(' ').next() == Some(row)) {
        return;
    }
    let nodes = scene.now.nodes.values();
    let sum: Option<u64> = nodes.map(|facts| facts.meminfo.get(row).copied()).sum();
    if let (Some(all), Some(sum)) = (scene.now.meminfo.get(row), sum) {
        findings.extend(off("node.sum", row.to_string(), *all, sum, slack * 4, RULE));
    }
}

/// Pages that a counter may have of nodes that are not there: what a processor has not added to a node's counters when the
/// node goes, it adds to no counter until the node is back (mm/vmstat.c:refresh_cpu_vm_stats goes through nodes that are
/// online). All memory's counters have the rest of that node's.
fn left_behind(scene: &Scene<'_>) -> u64 {
    let possible = scene.now.masks.get("possible");
    let gone = possible.into_iter().flatten().filter(|node| !scene.now.nodes.contains_key(node));
    let cpus = scene.now.zoneinfo.zones.values().map(|zone| zone.pagesets.len()).max().unwrap_or(1);
    LATE * (gone.count() * cpus) as u64
}
