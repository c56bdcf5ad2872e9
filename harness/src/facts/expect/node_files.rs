//! A node's vmstat and numastat, which tell counters of this node that other files tell too.
//!
//! vmstat is read first, then numastat, then /proc/zoneinfo. All print the same counters without what processors keep to
//! themselves, but for events: those are added up when a file is read.

use super::sums::{MOVED, ONE_AFTER_THE_OTHER};
use super::{Scene, off};
use crate::finding::Finding;
use std::collections::BTreeMap;

const VMSTAT: &str = "drivers/base/node.c:node_read_vmstat: sum_zone_node_page_state, node_page_state_pages of this node: as /proc/zoneinfo";
const NUMASTAT: &str = "drivers/base/node.c:node_read_numastat: sum_zone_numa_event_state of this node, as in its vmstat, which was read before";

const EVENT: &str = "mm/vmstat.c:zone_numa_event_add: an event of a zone is one of all memory";

/// Rows of numastat, and of vmstat.
const EVENTS: [(&str, &str); 6] = [
    ("numa_hit", "numa_hit"),
    ("numa_miss", "numa_miss"),
    ("numa_foreign", "numa_foreign"),
    ("interleave_hit", "numa_interleave"),
    ("local_node", "numa_local"),
    ("other_node", "numa_other"),
];

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for (node, facts) in &scene.now.nodes {
        let Some(vmstat) = &facts.vmstat else { continue };
        check_vmstat(scene, *node, vmstat, findings);
        if let Some(numastat) = &facts.numastat {
            check_numastat(*node, vmstat, numastat, findings);
        }
    }
    check_events(scene, findings);
}

/// What happened on the nodes that are there is no more than what happened: an event only ever counts once, and all
/// memory's counters, which have those of zones that were emptied too, are read last. Before 5.14 they lack what processors
/// keep to themselves, up to 65533 events each (mm/vmstat.c:global_numa_state), and a node's do not.
fn check_events(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    if !scene.context.version.at_least(5, 14) {
        return;
    }
    for (_, event) in EVENTS {
        let Some(all) = scene.now.vm(event) else { continue };
        let nodes = scene.now.nodes.values().filter_map(|facts| facts.vmstat.as_ref()?.get(event));
        let (sum, most) = (nodes.sum::<u64>(), all.saturating_add(ONE_AFTER_THE_OTHER));
        if sum > most {
            findings.push(Finding::new("node.events", event, format!("at most {most}"), sum, EVENT));
        }
    }
}

/// Rows that are in both files.
fn check_vmstat(scene: &Scene<'_>, node: u32, vmstat: &BTreeMap<String, u64>, findings: &mut Vec<Finding>) {
    for (row, seen) in vmstat {
        let Some(expected) = in_zoneinfo(scene, node, row) else { continue };
        let subject = || format!("node {node} {row}");
        if row.starts_with("numa_") {
            // a zone that was emptied has had events, and zoneinfo does not tell them
            if seen.saturating_add(MOVED) < expected {
                let at_least = format!("at least {}", expected - MOVED);
                findings.push(Finding::new("node.vmstat", subject(), at_least, seen, VMSTAT));
            }
        } else if let Some(slack) = slack(row) {
            findings.extend(off("node.vmstat", subject(), expected, *seen, slack, VMSTAT));
        }
    }
}

/// A counter of the node, or of its populated zones together. Without any the node has nothing in a zone, and zoneinfo does
/// not tell the node's own counters.
fn in_zoneinfo(scene: &Scene<'_>, node: u32, row: &str) -> Option<u64> {
    let info = &scene.now.zoneinfo;
    if let Some(own) = info.node_stats.get(&node).and_then(|stats| stats.get(row)) {
        return Some(*own);
    }
    let zones = info.zones.iter().filter_map(|((n, _), zone)| Some((*n, *zone.counters.get(row)?)));
    let add = |sum: Option<u64>, (of, pages): (u32, u64)| {
        Some(sum.unwrap_or(0).saturating_add(if of == node { pages } else { 0 }))
    };
    zones.fold(None, add)
}

/// By how much a row may differ that is read twice, in its own unit.
fn slack(row: &str) -> Option<u64> {
    match row {
        "nr_free_pages" => Some(MOVED),
        // a page that comes or goes counts for a whole pageblock, and a list of pages is of as many pageblocks
        "nr_free_pages_blocks" => None,
        // huge pages, which the kernel (khugepaged) does not make or split in several readings in a row
        _ if row.ends_with("hugepages") || row.ends_with("pmdmapped") => Some(0),
        _ => Some(ONE_AFTER_THE_OTHER),
    }
}

/// Each row counts what vmstat counts under another name, and has only grown since.
fn check_numastat(
    node: u32,
    vmstat: &BTreeMap<String, u64>,
    numastat: &BTreeMap<String, u64>,
    findings: &mut Vec<Finding>,
) {
    for (row, event) in EVENTS {
        let (Some(before), Some(seen)) = (vmstat.get(event), numastat.get(row)) else { continue };
        let most = before.saturating_add(ONE_AFTER_THE_OTHER);
        if !(*before..=most).contains(seen) {
            let (subject, expected) = (format!("node {node} {row}"), format!("{before} to {most}, {event}"));
            findings.push(Finding::new("node.numastat", subject, expected, seen, NUMASTAT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Guest, KERNELS, guest};
    use super::*;

    /// A node that a DIMM brought, and what the kernel would tell of each node.
    fn three_nodes(kernel: &str) -> Guest {
        let mut guest = guest(kernel, "numa", 2, "32-33=Movable");
        for node in 0..3 {
            let (vmstat, numastat) = (vmstat(&guest, node), numastat(&guest, node));
            put(&mut guest, node, "vmstat", &vmstat);
            put(&mut guest, node, "numastat", &numastat);
        }
        guest
    }

    fn put(guest: &mut Guest, node: u32, file: &str, rows: &BTreeMap<String, u64>) {
        let text: String = rows.iter().map(|(row, value)| format!("{row} {value}\n")).collect();
        guest.put(&format!("/sys/devices/system/node/node{node}/{file}"), Some(&text));
    }

    fn vmstat(guest: &Guest, node: u32) -> BTreeMap<String, u64> {
        let info = guest.now().zoneinfo;
        let mut rows = info.node_stats[&node].clone();
        for (_, zone) in info.zones.iter().filter(|((n, _), _)| *n == node) {
            for (row, value) in zone.counters.iter().filter(|(row, _)| *row != "free") {
                *rows.entry(row.clone()).or_default() += value;
            }
        }
        rows
    }

    fn numastat(guest: &Guest, node: u32) -> BTreeMap<String, u64> {
        let rows = vmstat(guest, node);
        EVENTS.iter().map(|(row, event)| ((*row).to_string(), rows[*event])).collect()
    }

    /// The findings where a file of node 2 has other rows.
    fn found(kernel: &str, file: &str, change: impl Fn(&mut BTreeMap<String, u64>)) -> Vec<String> {
        let mut guest = three_nodes(kernel);
        let mut rows = if file == "vmstat" { vmstat(&guest, 2) } else { numastat(&guest, 2) };
        change(&mut rows);
        put(&mut guest, 2, file, &rows);
        guest.found().into_iter().map(|(fact, subject, _, _)| format!("{fact} {subject}")).collect()
    }

    fn more(row: &'static str, by: u64) -> impl Fn(&mut BTreeMap<String, u64>) {
        move |rows| *rows.get_mut(row).expect(row) += by
    }

    #[test]
    fn files_of_nodes_that_are_right() {
        for kernel in KERNELS {
            assert_eq!(three_nodes(kernel).found(), [], "{kernel}");
            let later = |rows: &mut BTreeMap<String, u64>| rows.extend([("nr_later".to_string(), 1 << 40)]);
            assert_eq!(found(kernel, "vmstat", later), [""; 0], "{kernel}");
            assert_eq!(found(kernel, "vmstat", more("nr_slab_unreclaimable", 256)), [""; 0], "{kernel}");
            assert_eq!(found(kernel, "numastat", more("local_node", 256)), [""; 0], "{kernel}");
        }
    }

    #[test]
    fn events_of_all_nodes_on_each() {
        for kernel in KERNELS {
            let mut guest = three_nodes(kernel);
            let (mut events, mut rows) = (vmstat(&guest, 2), numastat(&guest, 2));
            for file in [&mut events, &mut rows] {
                file.insert("numa_hit".into(), 1 << 20);
            }
            put(&mut guest, 2, "vmstat", &events);
            put(&mut guest, 2, "numastat", &rows);
            let sum = (1 << 20) + [0, 1].map(|node| vmstat(&guest, node)["numa_hit"]).iter().sum::<u64>();
            let text = guest.text("/proc/vmstat");
            let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("numa_hit ")).collect();
            let mut told = |all: u64| {
                guest.put("/proc/vmstat", Some(&format!("{}\nnuma_hit {all}\n", kept.join("\n"))));
                let found = guest.found().into_iter();
                found.map(|(fact, subject, _, _)| format!("{fact} {subject}")).collect::<Vec<_>>()
            };
            assert_eq!(told(sum - ONE_AFTER_THE_OTHER), [""; 0], "{kernel}");
            let found = told(sum - ONE_AFTER_THE_OTHER - 1);
            let expected: &[&str] = if kernel == "5.10" { &[] } else { &["node.events numa_hit"] };
            assert_eq!(found, expected, "{kernel}");
        }
    }

    #[test]
    fn vmstat_of_another_node() {
        for kernel in KERNELS {
            let of_node_0 = vmstat(&three_nodes(kernel), 0);
            let found = found(kernel, "vmstat", |rows| rows.clone_from(&of_node_0));
            let row = "node.vmstat node 2 nr_slab_unreclaimable";
            assert!(found.iter().any(|f| f == row), "{kernel} {found:?}");
        }
    }

    #[test]
    fn rows_of_vmstat_that_are_wrong() {
        for kernel in KERNELS {
            for (row, by) in [
                ("nr_free_pages", 4097),
                ("nr_mlock", 257),
                ("nr_file_pages", 257),
                ("nr_kernel_stack", 257),
                ("nr_anon_transparent_hugepages", 1),
            ] {
                let expected = [format!("node.vmstat node 2 {row}")];
                assert_eq!(found(kernel, "vmstat", more(row, by)), expected, "{kernel}");
            }
            // zoneinfo tells of more events than the node's file
            let guest = three_nodes(kernel).zone("Node 0, zone    DMA32", "numa_hit     ", "2000000");
            let found = guest.found();
            let [(fact, subject, ..)] = &found[..] else { panic!("{kernel} {found:#?}") };
            assert_eq!((fact.as_str(), subject.as_str()), ("node.vmstat", "node 0 numa_hit"));
        }
    }

    #[test]
    fn misses_that_are_told_as_foreign() {
        for kernel in KERNELS {
            let mut guest = three_nodes(kernel);
            let mut rows = vmstat(&guest, 2);
            rows.insert("numa_miss".into(), rows["numa_miss"] + 3);
            put(&mut guest, 2, "vmstat", &rows);
            let mut rows = numastat(&guest, 2);
            rows.insert("numa_foreign".into(), rows["numa_foreign"] + 3);
            put(&mut guest, 2, "numastat", &rows);
            let found = guest.found();
            let [(fact, subject, expected, seen)] = &found[..] else { panic!("{kernel} {found:#?}") };
            assert_eq!((fact.as_str(), subject.as_str()), ("node.numastat", "node 2 numa_miss"));
            assert_eq!((expected.as_str(), seen.as_str()), ("3 to 259, numa_miss", "0"));
        }
    }

    #[test]
    fn numastat_that_counts_more_than_vmstat() {
        for kernel in KERNELS {
            let found = found(kernel, "numastat", more("interleave_hit", 257));
            assert_eq!(found, ["node.numastat node 2 interleave_hit"], "{kernel}");
        }
    }
}
