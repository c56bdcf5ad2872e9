//! After a full unplug: everything exact is as at boot. No model is asked, so that its errors cannot hide anything.

use super::super::snapshot::Snapshot;
use crate::finding::Finding;
use crate::policy::Zone;
use std::fmt::Display;

const RULE: &str = "after a full unplug this is as at boot";
/// PAGES_PER_SECTION on x86_64: where a zone may end that ended in a section's hole at boot.
const SECTION_PAGES: u64 = 1 << 15;

/// What is not as at boot, though no DIMM is plugged that was not then, and no block has another state than then.
pub fn back(base: &Snapshot, now: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut same = |fact: &str, subject: &str, before: String, seen: String| {
        if before != seen {
            findings.push(Finding::new(format!("drift.{fact}"), subject, before, seen, RULE));
        }
    };
    let blocks = |s: &Snapshot| list(s.blocks.iter().map(|(n, b)| format!("{n}={}", b.state)));
    same("blocks", "", blocks(base), blocks(now));
    let names = |s: &Snapshot| list(&s.root_names);
    same("root", "", names(base), names(now));
    for (mask, nodes) in &base.masks {
        same("mask", mask, list(nodes), now.masks.get(mask).map(list).unwrap_or_default());
    }
    for (node, facts) in &base.nodes {
        let seen = now.nodes.get(node).map(|n| list(&n.blocks)).unwrap_or_default();
        same("node", &format!("node {node}"), list(&facts.blocks), seen);
    }
    let threads = |s: &Snapshot| list(&s.threads);
    same("threads", "", threads(base), threads(now));
    for row in ["MemTotal", "CommitLimit", "HardwareCorrupted", "CmaTotal"] {
        let value = |s: &Snapshot| s.meminfo.get(row).map(u64::to_string).unwrap_or_default();
        same("meminfo", row, value(base), value(now));
    }
    for counter in ["nr_memmap_pages", "nr_memmap_boot_pages"] {
        let value = |s: &Snapshot| s.vm(counter).map(|v| v.to_string()).unwrap_or_default();
        same("vmstat", counter, value(base), value(now));
    }
    let direct = |s: &Snapshot| -> u64 {
        ["DirectMap4k", "DirectMap2M", "DirectMap1G"].iter().filter_map(|n| s.meminfo.get(*n)).sum()
    };
    same("meminfo", "DirectMap", direct(base).to_string(), direct(now).to_string());
    let iomem = |s: &Snapshot| list(s.iomem.iter().flatten().map(|r| format!("\n{r}")));
    same("iomem", "", iomem(base), iomem(now));
    let memmap = |s: &Snapshot| list(s.memmap.iter().flatten().map(|e| format!("\n{e}")));
    same("memmap", "", memmap(base), memmap(now));
    let acpi = |s: &Snapshot| list(s.acpi.iter().map(|(d, b)| format!("{d}:{}", list(b))));
    same("acpi", "", acpi(base), acpi(now));
    zones(base, now, &mut same);
    findings
}

fn zones(base: &Snapshot, now: &Snapshot, same: &mut impl FnMut(&str, &str, String, String)) {
    let nodes = |s: &Snapshot| list(s.zoneinfo.zones.keys().map(|(n, z)| format!("{n}:{z}")));
    same("zones", "", nodes(base), nodes(now));
    for ((node, name), before) in &base.zoneinfo.zones {
        let Some(seen) = now.zoneinfo.zones.get(&(*node, name.clone())) else { continue };
        let subject = format!("node {node} {name}");
        let sizes = |z: &super::super::ZoneFacts| format!("{} {} {:?}", z.present, z.managed, z.start_pfn);
        same("zone", &subject, sizes(before), sizes(seen));
        let end = before.start_pfn.unwrap_or(0) + before.spanned;
        let seen_end = seen.start_pfn.unwrap_or(0) + seen.spanned;
        // mm/memory_hotplug.c:shrink_zone_span finds the end by sections that are online
        let hot = matches!(Zone::parse(name), Some(Zone::Normal | Zone::Movable)) && before.present > 0;
        let rounded = hot && (end..=end.next_multiple_of(SECTION_PAGES)).contains(&seen_end);
        if !rounded {
            same("zone", &format!("{subject} end"), end.to_string(), seen_end.to_string());
        }
    }
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{KERNELS, guest};
    use super::*;

    #[test]
    fn real_guests_come_back() {
        for kernel in KERNELS {
            for (scenario, stage) in [("one", 6), ("mom", 4), ("kc", 2)] {
                let guest = guest(kernel, scenario, stage, "");
                assert_eq!(back(&guest.base, &guest.now()), [], "{kernel} {scenario}");
            }
        }
    }

    #[test]
    fn a_plugged_dimm_is_seen_everywhere() {
        for kernel in KERNELS {
            let guest = guest(kernel, "one", 2, "");
            let mut facts: Vec<String> =
                back(&guest.base, &guest.now()).into_iter().map(|f| f.fact).collect();
            facts.dedup();
            let expected =
                ["blocks", "root", "node", "meminfo", "vmstat", "meminfo", "iomem", "memmap", "acpi", "zone"];
            let counted = guest.now().vm("nr_memmap_pages").is_some();
            let expected = expected.iter().filter(|f| counted || **f != "vmstat");
            let mut expected: Vec<String> = expected.map(|f| format!("drift.{f}")).collect();
            expected.dedup();
            assert_eq!(facts, expected, "{kernel}");
        }
    }
}
