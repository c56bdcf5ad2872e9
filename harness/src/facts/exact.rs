//! Every observable of a state that two guests which went the same way must agree in, as text: for comparing two runs.
//!
//! Left out is what differs from boot to boot: free memory (and shares of it, vm.user_reserve_kbytes and admin_reserve_kbytes) and counters of activity, sizes that the kernel tunes
//! while it runs, where the kernel itself lies (KASLR), and what it takes for a ROM.

use super::snapshot::Snapshot;
use super::watch::{ADMIN_RESERVE, USER_RESERVE};
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
        // What lies at the signature of a ROM and happens to sum up to zero is taken for one: firmware keeps variables
        // there, so that it is in some boots and not in others (arch/x86/kernel/probe_roms.c:romchecksum).
        let luck = |name: &str| name.starts_with("Kernel ") || name == "Adapter ROM";
        all.iter().filter(|r| !luck(&r.name)).map(ToString::to_string).collect::<Vec<_>>()
    });
    put("iomem".into(), &regions);
    put("firmware memory map".into(), &now.memmap);
    let knobs = now.knobs.iter().filter(|(path, _)| ![USER_RESERVE, ADMIN_RESERVE].contains(&path.as_str()));
    knobs.for_each(|(path, value)| put(path.clone(), value));
    put("ACPI slots".into(), &now.acpi);
    put("threads".into(), &now.threads);
    put("not there".into(), &now.absent);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::guest;

    #[test]
    fn a_rom_that_is_found_by_luck_is_no_difference_and_any_other_region_is() {
        let plain = guest("6.12", "one", 0, "");
        let with = |name: &str| {
            let region = format!("000e8000-000effff : {name}\n  000f0000-000fffff : System ROM");
            exact(&plain.clone().edit("/proc/iomem", "000f0000-000fffff : System ROM", &region).now())
        };
        let before = exact(&plain.now());
        assert_eq!(with("Adapter ROM"), before);
        let differing: Vec<String> =
            with("System RAM").into_iter().filter(|e| before.get(&e.0) != Some(&e.1)).map(|e| e.0).collect();
        assert_eq!(differing, ["iomem"]);
    }

    #[test]
    fn a_share_of_free_memory_is_no_difference_and_a_share_of_all_memory_is() {
        let mut plain = guest("6.12", "one", 0, "");
        let differing = |guest: &crate::facts::testing::Guest, before: &BTreeMap<String, String>| {
            let now = exact(&guest.now()).into_iter().filter(|e| before.get(&e.0) != Some(&e.1));
            now.map(|e| e.0).collect::<Vec<_>>()
        };
        plain.put(USER_RESERVE, Some("14000\n"));
        let before = exact(&plain.now());
        plain.put(USER_RESERVE, Some("14012\n"));
        assert_eq!(differing(&plain, &before), Vec::<String>::new());
        plain.put("/proc/sys/vm/min_free_kbytes", Some("1\n"));
        assert_eq!(differing(&plain, &before), ["/proc/sys/vm/min_free_kbytes"]);
    }
}
