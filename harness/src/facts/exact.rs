//! Every observable of a state that two guests which went the same way must agree in, as text: for comparing two runs.
//!
//! Left out is what differs from boot to boot: free memory and counters of activity, sizes that the kernel tunes
//! while it runs, and where the kernel itself lies (KASLR).

use super::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Rows of /proc/meminfo and of a node's meminfo.
const TOTALS: [&str; 2] = ["MemTotal", "CommitLimit"];
/// Counters of /proc/vmstat: pages of memory maps (6.11 and later).
const COUNTERS: [&str; 2] = ["nr_memmap_pages", "nr_memmap_boot_pages"];
/// Fields of a per-CPU list that follow from the zone's size.
const PAGESET: [&str; 3] = ["batch", "high_min", "high_max"];

/// Name of the observable to its value.
pub fn exact(now: &Snapshot) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |name: String, value: &dyn Debug| drop(all.insert(name, format!("{value:?}")));
    put("block size".into(), &now.block_bytes);
    put("names beside the blocks".into(), &now.root_names);
    now.blocks.iter().for_each(|(number, block)| put(format!("memory{number}"), block));
    now.masks.iter().for_each(|(name, mask)| put(format!("nodes {name}"), mask));
    for (number, node) in &now.nodes {
        put(format!("node{number}"), &(&node.cpus, &node.blocks));
        put(format!("node{number} MemTotal"), &node.meminfo.get("MemTotal"));
    }
    for ((node, name), zone) in &now.zoneinfo.zones {
        let zone_name = format!("node{node} zone {name}");
        let pages = (zone.start_pfn, zone.spanned, zone.present, zone.managed, zone.cma);
        put(format!("{zone_name}: start, spanned, present, managed, CMA"), &pages);
        put(format!("{zone_name}: protection"), &zone.protection);
        let boost = zone.watermarks.get("boost").copied().unwrap_or(0);
        for (mark, pages) in zone.watermarks.iter().filter(|(mark, _)| *mark != "boost") {
            // Fragmentation raises the marks for a while.
            put(format!("{zone_name}: watermark {mark}"), &pages.saturating_sub(boost));
        }
        for (cpu, set) in &zone.pagesets {
            let fields: Vec<_> = PAGESET.iter().map(|field| set.get(*field)).collect();
            put(format!("{zone_name}: list of CPU {cpu}"), &fields);
        }
    }
    TOTALS.iter().for_each(|row| put((*row).into(), &now.meminfo.get(*row)));
    COUNTERS.iter().for_each(|row| put((*row).into(), &now.vm(row)));
    let regions = now.iomem.as_ref().map(|all| {
        let own = |name: &str| name.starts_with("Kernel ");
        all.iter().filter(|r| !own(&r.name)).map(ToString::to_string).collect::<Vec<_>>()
    });
    put("iomem".into(), &regions);
    put("firmware memory map".into(), &now.memmap);
    now.knobs.iter().for_each(|(path, value)| put(path.clone(), value));
    put("ACPI slots".into(), &now.acpi);
    put("threads".into(), &now.threads);
    put("not there".into(), &now.absent);
    all
}
