//! What is read in the guest for every snapshot. Nothing is in here that is not judged.

use wire::{Ask, WatchSet};

/// Directory of the memory blocks.
pub const MEMORY: &str = "/sys/devices/system/memory";
/// Whether huge pages give most of their struct pages away (CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP, 5.18 and later).
pub(crate) const OPTIMIZE_VMEMMAP: &str = "/proc/sys/vm/hugetlb_optimize_vmemmap";
/// Directory of the NUMA nodes; not there without CONFIG_NUMA.
pub const NODE: &str = "/sys/devices/system/node";
/// Tiers of memory by speed, and the nodes in each (CONFIG_MIGRATION and CONFIG_NUMA, 6.1 and later).
pub(crate) const TIERS: &str = "/sys/devices/virtual/memory_tiering";
/// Memory map of the firmware, with hot-plugged DIMMs (CONFIG_FIRMWARE_MEMMAP).
pub(crate) const MEMMAP: &str = "/sys/firmware/memmap";
/// Parameters of mm/memory_hotplug.c (5.15 and later, CONFIG_MEMORY_HOTPLUG).
pub const PARAMETERS: &str = "/sys/module/memory_hotplug/parameters";
/// ACPI devices; the DIMM slots among them are `PNP0C80:*`.
pub(crate) const ACPI_DEVICES: &str = "/sys/bus/acpi/devices";
/// The slot that is listed.
const FIRST_SLOT: &str = "PNP0C80:00";
/// Page merging: `run` tells, beside what was written, that an offline is under way (mm/ksm.c:ksm_memory_callback sets
/// KSM_RUN_OFFLINE, and every notification of an end takes it back).
pub(crate) const KSM: &str = "/sys/kernel/mm/ksm";
/// Switch of the ACPI memory hotplug profile.
pub(crate) const ACPI_HOTPLUG: &str = "/sys/firmware/acpi/hotplug/memory";

/// The thread that makes huge pages. It is there while they are enabled (mm/khugepaged.c:start_stop_khugepaged): not at boot
/// with less than 512 MiB (mm/huge_memory.c:hugepage_init), and as a case or user space wants it.
pub(crate) const HUGE_PAGES: &str = "khugepaged";
/// Names of the kernel threads that are watched, by prefix. Those of nodes with memory are a fact; `khugepaged` tells which
/// formula of min_free_kbytes counts.
pub const THREADS: [&str; 3] = ["kswapd", "kcompactd", HUGE_PAGES];

/// Switches of the processors.
pub(crate) const CPUS: &str = "/sys/devices/system/cpu/";
/// Names of the parameters in [`PARAMETERS`].
pub(crate) const PARAMETER_NAMES: [&str; 4] =
    ["memmap_on_memory", "online_policy", "auto_movable_ratio", "auto_movable_numa_aware"];
/// Sysctls in /proc/sys/vm that go into a formula which is judged.
pub(crate) const VM_SYSCTLS: [&str; 11] = [
    "min_free_kbytes",
    "user_reserve_kbytes",
    "admin_reserve_kbytes",
    "watermark_scale_factor",
    "watermark_boost_factor",
    "percpu_pagelist_high_fraction",
    "overcommit_ratio",
    "overcommit_kbytes",
    "hugetlb_optimize_vmemmap",
    "dirty_ratio",
    "dirty_background_ratio",
];
/// Shares of higher zones that a zone keeps free, in /proc/sys/vm; [`watch`] tells why it is read once.
pub(crate) const RESERVE_RATIO: &str = "lowmem_reserve_ratio";
/// A share of the memory that was free when a block last came online.
pub const USER_RESERVE: &str = "/proc/sys/vm/user_reserve_kbytes";
/// A smaller share of it, for the administrator.
pub const ADMIN_RESERVE: &str = "/proc/sys/vm/admin_reserve_kbytes";
/// The floor of free memory, in kB.
pub const MIN_FREE: &str = "/proc/sys/vm/min_free_kbytes";
/// Attributes of a memory block.
pub(crate) const BLOCK_FILES: [&str; 6] =
    ["state", "online", "valid_zones", "removable", "phys_index", "phys_device"];
/// Attributes of a node.
const NODE_FILES: [&str; 4] = ["meminfo", "cpulist", "vmstat", "numastat"];
/// Masks in [`NODE`].
pub(crate) const NODE_MASKS: [&str; 5] = ["online", "possible", "has_memory", "has_normal_memory", "has_cpu"];
/// Files of /proc that describe all memory, in the order in which they are read. vmstat is the last: with zoneinfo it
/// tells by how much free memory moved while the free lists of pagetypeinfo were counted.
pub(crate) const PROC_FILES: [&str; 6] =
    ["zoneinfo", "meminfo", "iomem", "pagetypeinfo", "buddyinfo", "vmstat"];

/// The memory that the kernel shows as a core file. The agent does not read it whole: it tells the segments of memory, by
/// address, as lines `ADDRESS SIZE` (images/agent/src/kcore.rs).
pub(crate) const KCORE: &str = "/proc/kcore";

/// The request that makes every snapshot complete.
///
/// Up to 6.12 (and 6.17 upstream) reading `valid_zones` while its block is being added may oops
/// (drivers/base/memory.c:valid_zones_show uses `mem->nid`, still -1), so take no snapshot before the DIMM's insertion is
/// reported finished. A node's `vmstat` and `numastat` go through the event counters that each processor keeps for a
/// zone, and offlining the zone's last page frees them (mm/page_alloc.c:zone_pcp_reset; 5.10 goes through those of empty
/// zones too): a snapshot is for a quiet guest.
///
/// `lowmem_reserve_ratio` is read once: whoever reads it has the kernel compute the protections of all zones anew, and the
/// reserve of all memory (mm/page_alloc.c:lowmem_reserve_ratio_sysctl_handler), which would mend what was forgotten.
///
/// Of a node `vmstat` is read first and then `numastat`, and /proc/zoneinfo after both: what is judged of counters that
/// only grow rests on that order.
///
/// `kcore` is opened for its program headers, and the kernel makes its list of them anew then, where memory came online or
/// went offline since (fs/proc/kcore.c:open_kcore): that changes nothing else. It comes behind the files that count memory,
/// because it takes some.
///
/// What is the same in each ACPI slot is listed in the first one: the permissions of their files are of one attribute in
/// the kernel, and there may be hundreds of slots.
///
/// What a kernel does not have (NUMA, hot-remove, ACPI hotplug) gives no entries, and
/// [`Snapshot::absent`](super::Snapshot) says so.
pub fn watch() -> Ask {
    let sets = vec![
        set(MEMORY, &["auto_online_blocks", "block_size_bytes", "crash_hotplug"], &[], true),
        set(&format!("{MEMORY}/memory*"), &BLOCK_FILES, &["node", "firmware_node"], true),
        set(NODE, &NODE_MASKS, &[], true),
        set(&format!("{NODE}/node*"), &NODE_FILES, &["memory"], true),
        set(&format!("{TIERS}/memory_tier*"), &["nodelist"], &[], false),
        set("/proc", &PROC_FILES, &[], false),
        set("/proc", &["kcore"], &[], false),
        set("/proc/sys/vm", &VM_SYSCTLS, &[], false),
        once("/proc/sys/vm", &[RESERVE_RATIO]),
        set("/proc/sys/kernel", &["tainted"], &[], false),
        set(KSM, &["run"], &[], false),
        set(&format!("{MEMMAP}/*"), &["start", "end", "type"], &[], true),
        set(PARAMETERS, &PARAMETER_NAMES, &[], true),
        set(&format!("{ACPI_DEVICES}/PNP0C80:*"), &[], &["physical_node"], false),
        set(&format!("{ACPI_DEVICES}/{FIRST_SLOT}"), &[], &[], true),
        set(ACPI_HOTPLUG, &["enabled"], &[], true),
    ];
    Ask::Watch { sets, threads: THREADS.map(String::from).to_vec() }
}

fn set(dir: &str, files: &[&str], links: &[&str], list: bool) -> WatchSet {
    let own = |names: &[&str]| names.iter().map(|n| (*n).to_string()).collect();
    WatchSet { dir: dir.into(), files: own(files), links: own(links), list, once: false }
}

fn once(dir: &str, files: &[&str]) -> WatchSet {
    WatchSet { once: true, ..set(dir, files, &[], false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_read_again_and_again_changes_the_kernel() {
        let Ask::Watch { sets, .. } = watch() else { panic!("not a watch") };
        let again = sets.iter().filter(|set| !set.once);
        assert!(again.flat_map(|set| &set.files).all(|file| file != RESERVE_RATIO));
        let once: Vec<_> =
            sets.iter().filter(|set| set.once).map(|set| (set.dir.as_str(), &set.files[..])).collect();
        assert_eq!(once, [("/proc/sys/vm", &[RESERVE_RATIO.to_string()][..])]);
    }

    #[test]
    fn counters_that_only_grow_are_read_in_the_order_that_the_facts_want() {
        let Ask::Watch { sets, .. } = watch() else { panic!("not a watch") };
        let at = |dir: &str| sets.iter().position(|set| set.dir.ends_with(dir)).expect("is watched");
        assert_eq!(sets[at("/node*")].files[2..], ["vmstat", "numastat"]);
        assert!(at("/node*") < at("/proc") && sets[at("/proc")].files[0] == "zoneinfo");
    }
}
