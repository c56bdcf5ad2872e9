//! Totals of /proc/meminfo, and the counters of memory maps in /proc/vmstat.

use super::{Scene, expect_eq};
use crate::finding::Finding;
use crate::policy::{Block, Dimm, Layout, PAGE_BYTES, Zone};
use std::collections::BTreeMap;

/// Pages of memory map for one section: 2^15 struct pages of 64 bytes.
const SECTION_MEMMAP_PAGES: u64 = (super::zones::SECTION_PAGES * 64) / PAGE_BYTES;

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let get = |name: &str| scene.now.meminfo.get(name).copied();
    let total = get("MemTotal").unwrap_or(0);
    let rule = "mm/page_alloc.c:adjust_managed_page_count: totalram is the sum of the zones' managed pages";
    expect_eq(findings, "meminfo.MemTotal", "", scene.now.managed_pages() * 4, total, rule);
    if let Some(free) = get("MemFree").filter(|f| *f > total) {
        let rule = "mm/page_alloc.c: only managed pages can be free";
        findings.push(Finding::new("meminfo.MemFree", "", format!("at most {total}"), free, rule));
    }
    check_huge_pages(scene, findings);
    check_commit_limit(scene, total, findings);
    check_direct_map(scene, findings);
    check_memmap_pages(scene, findings);
    if let Some(corrupted) = get("HardwareCorrupted") {
        let before = scene.base.snapshot.meminfo.get("HardwareCorrupted").copied().unwrap_or(0);
        let expected = before + scene.context.poisoned.len() as u64 * PAGE_BYTES / 1024;
        let rule = "mm/memory-failure.c:num_poisoned_pages: what was poisoned, until its memory is removed";
        expect_eq(findings, "meminfo.HardwareCorrupted", "", expected, corrupted, rule);
    }
}

/// The pool of huge pages adds up, of all memory and of each node: what is free, promised or surplus is part of it; and the
/// nodes' pools are all of it.
fn check_huge_pages(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let rule =
        "mm/hugetlb.c: pages that are free or surplus are of the pool, and each that is promised is free";
    let row = |of: &BTreeMap<String, u64>, name: &str| of.get(&format!("HugePages_{name}")).copied();
    let mut parts = |of: &BTreeMap<String, u64>, node: &str| {
        for (part, whole) in [("Free", "Total"), ("Surp", "Total"), ("Rsvd", "Free")] {
            let (Some(seen), Some(most)) = (row(of, part), row(of, whole)) else { continue };
            if seen > most {
                let expected = format!("at most HugePages_{whole}, {most}");
                findings.push(Finding::new(
                    "meminfo.HugePages",
                    format!("{node}{part}"),
                    expected,
                    seen,
                    rule,
                ));
            }
        }
    };
    parts(&scene.now.meminfo, "");
    for (number, node) in &scene.now.nodes {
        parts(&node.meminfo, &format!("node{number} "));
    }
    for part in ["Total", "Free", "Surp"] {
        let sum: Option<u64> = scene.now.nodes.values().map(|node| row(&node.meminfo, part)).sum();
        if let (Some(all), Some(sum)) =
            (row(&scene.now.meminfo, part), sum.filter(|_| !scene.now.nodes.is_empty()))
        {
            let rule = "mm/hugetlb.c:hugetlb_report_node_meminfo: each page of the pool is of one node";
            expect_eq(findings, "node.HugePages", part, all, sum, rule);
        }
    }
}

/// mm/util.c:vm_commit_limit.
fn check_commit_limit(scene: &Scene<'_>, total: u64, findings: &mut Vec<Finding>) {
    let knob =
        |name: &str| -> Option<u64> { scene.now.knobs.get(&format!("/proc/sys/vm/{name}"))?.parse().ok() };
    let get = |name: &str| scene.now.meminfo.get(name).copied();
    let (Some(limit), Some(ratio), Some(by_kbytes)) =
        (get("CommitLimit"), knob("overcommit_ratio"), knob("overcommit_kbytes"))
    else {
        return;
    };
    // all sizes of huge pages; kernels before 4.18 and those without hugetlb print none
    let huge = get("Hugetlb").unwrap_or(0);
    let allowed = match by_kbytes {
        0 => (total / 4).saturating_sub(huge / 4) * ratio / 100,
        kbytes => kbytes / 4,
    };
    let expected = allowed * 4 + get("SwapTotal").unwrap_or(0);
    expect_eq(findings, "meminfo.CommitLimit", "", expected, limit, "mm/util.c:vm_commit_limit");
}

/// The kernel's mapping of all memory grows and shrinks by exactly the DIMMs; splitting pages keeps the sum.
fn check_direct_map(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let sum = |s: &super::Snapshot| -> Option<i128> {
        let sizes = ["DirectMap4k", "DirectMap2M", "DirectMap1G"].iter();
        let kb: Vec<u64> = sizes.filter_map(|n| s.meminfo.get(*n).copied()).collect();
        (!kb.is_empty()).then(|| kb.iter().map(|v| i128::from(*v)).sum())
    };
    let dimms = |l: &Layout| -> i128 { super::added(l).map(|(_, d)| i128::from(d.size / 1024)).sum() };
    let (Some(before), Some(seen)) = (sum(scene.base.snapshot), sum(scene.now)) else { return };
    let expected = before + dimms(scene.layout) - dimms(scene.base.layout);
    let rule = "arch/x86/mm: kernel_physical_mapping_init, remove_pagetable: update_page_count";
    expect_eq(findings, "meminfo.DirectMap", "", expected, seen, rule);
    check_gigabyte_mappings(scene, findings);
}

/// Each whole GiB of a DIMM is mapped by one entry where the processor can (the row is printed then). Judged where nothing
/// may have split such an entry: text and data of the kernel's in its zones.
fn check_gigabyte_mappings(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let row = |s: &super::Snapshot| s.meminfo.get("DirectMap1G").copied();
    let (Some(0), Some(seen)) = (row(scene.base.snapshot), row(scene.now)) else { return };
    // a block with its own memory map is mapped alone; kernel memory may be anywhere in the others
    let plain = |b: &Block| b.vmemmap_pages == 0 && b.zone.is_none_or(|z| z == Zone::Movable);
    // arch/x86/kernel/cpu/mce: what is poisoned may be taken out of the mapping
    let poisoned = !scene.context.poisoned.is_empty();
    if poisoned || !scene.layout.blocks.values().filter(|b| b.dimm.is_some()).all(plain) {
        return;
    }
    let whole = |d: &Dimm| ((d.addr + d.size) >> 30).saturating_sub(d.addr.div_ceil(1 << 30));
    let expected: u64 = super::added(scene.layout).map(|(_, d)| whole(d) << 20).sum();
    let rule = "arch/x86/mm/init_64.c:phys_pud_init: PG_LEVEL_1G for each aligned GiB of what is added";
    expect_eq(findings, "meminfo.DirectMap1G", "", expected, seen, rule);
}

/// nr_memmap_pages counts what add_memory() allocates, nr_memmap_boot_pages what boot did (6.11 and later).
///
/// Exact only where the baseline shows that nothing else is counted (page_ext) and struct page has 64 bytes;
/// elsewhere both must be back at the baseline when no more DIMMs are plugged than then.
fn check_memmap_pages(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let (base, now) = (scene.base.snapshot, scene.now);
    let Some(boot) = base.vm("nr_memmap_boot_pages") else { return };
    let switch = super::super::watch::OPTIMIZE_VMEMMAP;
    if scene.context.written.contains_key(switch) || base.knobs.get(switch).is_some_and(|on| on != "0") {
        return check_given_away(scene, boot, findings);
    }
    let rule = "mm/sparse-vmemmap.c, mm/sparse.c: memmap_pages_add with every section added and removed";
    expect_eq(
        findings,
        "vmstat.nr_memmap_boot_pages",
        "",
        boot,
        now.vm("nr_memmap_boot_pages").unwrap_or(0),
        rule,
    );
    let before = base.vm("nr_memmap_pages").unwrap_or(0);
    let seen = now.vm("nr_memmap_pages").unwrap_or(0);
    let (hot_before, hot) = (sections(scene.base.layout, true), sections(scene.layout, true));
    let plain = boot == sections(scene.base.layout, false) * SECTION_MEMMAP_PAGES
        && before == hot_before * SECTION_MEMMAP_PAGES;
    if plain {
        expect_eq(findings, "vmstat.nr_memmap_pages", "", hot * SECTION_MEMMAP_PAGES, seen, rule);
    } else if hot == hot_before {
        expect_eq(findings, "vmstat.nr_memmap_pages", "", before, seen, rule);
    }
}

/// Sections of memory that was plugged, or of boot's.
fn sections(l: &Layout, hot: bool) -> u64 {
    let blocks = l.blocks.values().filter(|b| b.dimm.is_some() == hot).count() as u64;
    blocks * (l.block_pages() / super::zones::SECTION_PAGES)
}

/// Once huge pages may have given struct pages away: of the eight pages of struct pages of each 2 MiB no more than those are
/// missing, and none where there are no huge pages. What boot made comes back as what came later.
fn check_given_away(scene: &Scene<'_>, boot: u64, findings: &mut Vec<Finding>) {
    let sum =
        |s: &super::Snapshot| Some(s.vm("nr_memmap_boot_pages").unwrap_or(0) + s.vm("nr_memmap_pages")?);
    let (Some(before), Some(seen)) = (sum(scene.base.snapshot), sum(scene.now)) else { return };
    let (hot_before, hot) = (sections(scene.base.layout, true), sections(scene.layout, true));
    let plain = boot == sections(scene.base.layout, false) * SECTION_MEMMAP_PAGES;
    if !plain && hot != hot_before {
        return;
    }
    let most = (before + hot * SECTION_MEMMAP_PAGES).saturating_sub(hot_before * SECTION_MEMMAP_PAGES);
    let given = scene.now.meminfo.get("Hugetlb").map_or(0, |kb| kb / 2048 * 8);
    if !(most.saturating_sub(given)..=most).contains(&seen) {
        let rule = "mm/hugetlb_vmemmap.c: free_vmemmap_page and alloc_vmemmap_page_list count what they give back and take";
        let expected = format!("{most}, less by {given} at most");
        findings.push(Finding::new("vmstat.nr_memmap_pages", "", expected, seen, rule));
    }
}
