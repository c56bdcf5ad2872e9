//! What stands for a DIMM outside the memory blocks: /proc/iomem, the firmware's memory map, the ACPI device.

use super::super::parse_proc::Region;
use super::super::snapshot::MemmapEntry;
use super::{Scene, expect_eq, join};
use crate::finding::Finding;
use crate::policy::{Dimm, Layout};
use std::collections::BTreeSet;

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let (base, now) = (scene.base.snapshot, scene.now);
    if let (Some(before), Some(seen)) = (&base.iomem, &now.iomem) {
        let rule = "mm/memory_hotplug.c:register_memory_resource: one System RAM for each DIMM, nothing else changes";
        let of = |d: &Dimm| Region {
            start: d.addr,
            end: d.addr + d.size - 1,
            depth: 0,
            name: "System RAM".into(),
        };
        compare(scene, "iomem", before, seen, of, rule, findings);
    }
    if let (Some(before), Some(seen)) = (&base.memmap, &now.memmap) {
        let rule = "drivers/firmware/memmap.c:firmware_map_add_hotplug, firmware_map_remove: one entry for each DIMM";
        let of =
            |d: &Dimm| MemmapEntry { start: d.addr, end: d.addr + d.size - 1, kind: "System RAM".into() };
        compare(scene, "memmap", before, seen, of, rule, findings);
    }
    check_acpi(scene, findings);
}

impl std::fmt::Display for MemmapEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}-{:#x} {}", self.start, self.end, self.kind)
    }
}

/// Baseline, with the DIMMs of now in place of those of then, must be what is seen.
fn compare<T: Ord + Clone + std::fmt::Display>(
    scene: &Scene<'_>,
    what: &str,
    before: &[T],
    seen: &[T],
    of: impl Fn(&Dimm) -> T,
    rule: &str,
    findings: &mut Vec<Finding>,
) {
    let dimms = |l: &Layout| super::added(l).map(|(_, d)| of(d)).collect::<BTreeSet<T>>();
    let cold = dimms(scene.base.layout);
    let mut missing: Vec<T> = before.iter().filter(|e| !cold.contains(e)).cloned().collect();
    missing.extend(dimms(scene.layout));
    let mut extra = Vec::new();
    for entry in seen {
        match missing.iter().position(|m| m == entry) {
            Some(at) => drop(missing.swap_remove(at)),
            None => extra.push(entry),
        }
    }
    missing.sort();
    let missing =
        missing.iter().map(|e| Finding::new(format!("{what}.missing"), "", e.to_string().trim(), "-", rule));
    findings.extend(missing);
    findings.extend(
        extra.iter().map(|e| Finding::new(format!("{what}.extra"), "", "-", e.to_string().trim(), rule)),
    );
}

/// The slot's device links to exactly the DIMM's blocks, and they link back.
fn check_acpi(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    if scene.base.snapshot.acpi.is_empty() {
        return; // no CONFIG_ACPI_HOTPLUG_MEMORY
    }
    let rule = "drivers/acpi/acpi_memhotplug.c:acpi_bind_memory_blocks: the DIMM's device and its blocks";
    for (name, _) in super::added(scene.layout) {
        let blocks: BTreeSet<u32> = scene.layout.blocks_of(name).map(|(n, _)| n).collect();
        let device = scene.now.acpi.iter().find(|(_, links)| !links.is_disjoint(&blocks));
        let (device, links) = device.map_or(("none", BTreeSet::new()), |(d, l)| (d.as_str(), l.clone()));
        expect_eq(findings, "acpi.physical_node", name, join(&blocks), join(&links), rule);
        for number in blocks {
            let seen = scene.now.blocks.get(&number).and_then(|b| b.firmware_node.as_deref());
            let subject = format!("memory{number}");
            expect_eq(findings, "block.firmware_node", &subject, device, seen.unwrap_or("none"), rule);
        }
    }
    let known: BTreeSet<u32> =
        scene.layout.blocks.iter().filter(|(_, b)| b.dimm.is_some()).map(|(n, _)| *n).collect();
    for (device, links) in scene.now.acpi.iter().filter(|(_, l)| !l.is_empty() && l.is_disjoint(&known)) {
        findings.push(Finding::new("acpi.physical_node", device, "-", join(links), rule));
    }
}
