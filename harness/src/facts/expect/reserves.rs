//! What the kernel computes from the sizes of all zones and shows only in the result: the pages that it never counts as
//! available, and the thresholds up to which a CPU keeps changes of counters to itself.

use super::super::parse_zoneinfo::ZoneFacts;
use super::{Scene, expect_eq, off, zone_subject};
use crate::finding::Finding;

const AVAILABLE: &str = "mm/show_mem.c:si_mem_available, mm/page_alloc.c:calculate_totalreserve_pages";
const THRESHOLD: &str = "mm/vmstat.c:refresh_zone_stat_thresholds, calculate_normal_threshold";
const FREE_LISTS: &str = "mm/page_alloc.c:account_freepages: nr_free_pages counts what is on the free lists";

const ALL_FREE: &str =
    "mm/vmstat.c: what goes to a zone's counter, or comes from it, goes to all memory's too";

const BUDDIES: &str =
    "mm/page_alloc.c:__add_to_free_list, __del_page_from_free_list: nr_free counts what is on a list";

/// Pages by which the kernel's own work may move what is read twice within one file.
pub(super) const AT_ONCE: u64 = 64;
/// The same for two files that are read one after the other.
const ONE_AFTER_THE_OTHER: u64 = 256;
/// mm/vmstat.c: no threshold is higher.
const HIGHEST: u64 = 125;

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    check_available(scene, findings);
    check_thresholds(scene, findings);
    check_all_free(scene, findings);
    check_free_lists(scene, findings);
}

/// MemAvailable gives away the total of the reserves, which the kernel shows nowhere.
///
/// Computed with the watermarks while they carried no boost, or, where allocations were short of memory at that moment, with
/// it: a zone is boosted between setup_per_zone_wmarks, which takes the boost away, and the sum. Kernels that do not print
/// the boost are not judged.
fn check_available(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let row = |name: &str| scene.now.meminfo.get(name).map(|kb| kb / 4);
    let (Some(seen), Some(free), Some(active), Some(inactive), Some(reclaimable)) = (
        row("MemAvailable"),
        row("MemFree"),
        row("Active(file)"),
        row("Inactive(file)"),
        row("KReclaimable").or_else(|| row("SReclaimable")),
    ) else {
        return;
    };
    let Some(reserved) = all_reserved(scene) else { return };
    let low: u64 = scene.now.zoneinfo.zones.values().filter_map(|z| z.watermarks.get("low")).sum();
    let usable = |pages: u64| pages - (pages / 2).min(low);
    let expected = (free + usable(active + inactive) + usable(reclaimable)).saturating_sub(reserved);
    let wrong = seen.abs_diff(expected) > AT_ONCE && !boosted(scene, expected.saturating_sub(seen));
    if wrong && !inputs_wrong(findings) {
        let expected = format!("{} within {}", expected * 4, AT_ONCE * 4);
        findings.push(Finding::new("meminfo.MemAvailable", "", expected, seen * 4, AVAILABLE));
    }
}

/// What mm/page_alloc.c:boost_watermark can add to all zones together: none to those of less than four pageblocks.
fn most_boost(scene: &Scene<'_>, pageblock: u64) -> u64 {
    let knob = scene.now.knobs.get("/proc/sys/vm/watermark_boost_factor");
    let factor: u64 = knob.and_then(|f| f.parse().ok()).unwrap_or(0);
    let zones = scene.now.zoneinfo.zones.values().filter(|z| factor > 0 && z.managed >= 4 * pageblock);
    let mark = |zone: &ZoneFacts, name: &str| zone.watermarks.get(name).copied().unwrap_or(0);
    zones.map(|z| (mark(z, "high").saturating_sub(mark(z, "boost")) * factor / 10000).max(pageblock)).sum()
}

/// Wrong watermarks or protections are findings of their own, and so is what is computed with them.
pub(super) fn inputs_wrong(findings: &[Finding]) -> bool {
    findings.iter().any(|f| ["zone.protection", "zone.high"].contains(&f.fact.as_str()))
}

/// Are so many pages missing by boosts?
pub(super) fn boosted(scene: &Scene<'_>, missing: u64) -> bool {
    let pageblock = scene.now.pagetypes.as_ref().map_or(512, |p| p.pageblock_pages);
    are_boosts(missing, pageblock, most_boost(scene, pageblock))
}

/// They come in pageblocks.
fn are_boosts(missing: u64, pageblock: u64, most: u64) -> bool {
    let blocks = (missing + AT_ONCE) / pageblock;
    blocks > 0 && missing.abs_diff(blocks * pageblock) <= AT_ONCE && blocks * pageblock <= most
}

/// Pages that the kernel keeps of all zones (totalreserve_pages); `None` where the boosts are not shown.
pub(super) fn all_reserved(scene: &Scene<'_>) -> Option<u64> {
    scene.now.zoneinfo.zones.iter().map(|((_, name), zone)| reserved(scene, name, zone)).sum()
}

/// What `zone` adds to the total: its largest protection and its high watermark, but no more than it has.
fn reserved(scene: &Scene<'_>, name: &str, zone: &ZoneFacts) -> Option<u64> {
    let index = scene.now.zoneinfo.order.iter().position(|n| n == name)?;
    let protection = zone.protection.get(index..)?.iter().max()?;
    let high = zone.watermarks.get("high")?.checked_sub(*zone.watermarks.get("boost")?)?;
    Some((protection + high).min(zone.managed))
}

fn check_thresholds(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for ((node, name), zone) in &scene.now.zoneinfo.zones {
        let cpus = zone.pagesets.len() as u64;
        let before = scene.base.snapshot.zoneinfo.zones.get(&(*node, name.clone()));
        for (cpu, set) in &zone.pagesets {
            let Some(seen) = set.get("threshold") else { continue };
            let at_boot = before.and_then(|z| z.pagesets.get(cpu)?.get("threshold"));
            if scene.managed_as_at_boot() && at_boot == Some(seen) {
                continue;
            }
            let expected = threshold(zone.managed, cpus);
            // while kswapd is awake: mm/vmstat.c:calculate_pressure_threshold
            let mark = |name: &str| zone.watermarks.get(name).copied().unwrap_or(0);
            let pressed = ((mark("low") - mark("min").min(mark("low"))) / cpus).clamp(1, HIGHEST);
            if *seen != expected && *seen != pressed {
                let subject = format!("{} cpu {cpu}", zone_subject(*node, name));
                expect_eq(findings, "zone.pageset.threshold", &subject, expected, *seen, THRESHOLD);
            }
        }
    }
}

/// Twice the digits of the number of CPUs, times one more than the digits of the zone's size in 128 MiB.
fn threshold(managed: u64, cpus: u64) -> u64 {
    let digits = |n: u64| u64::from(u64::BITS - n.leading_zeros());
    (2 * digits(cpus) * (1 + digits(managed >> 15))).min(HIGHEST)
}

fn free(zone: &ZoneFacts) -> u64 {
    zone.counters.get("free").copied().unwrap_or(0)
}

/// Free pages of all zones, each by its own counter.
fn all_free(scene: &Scene<'_>) -> u64 {
    scene.now.zoneinfo.zones.values().map(free).sum()
}

/// All memory's counter of free pages is the sum of the zones', unless one of these is found wrong by itself.
fn check_all_free(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    if findings.iter().any(|f| ["zone.free", "zone.lost"].contains(&f.fact.as_str())) {
        return;
    }
    if let Some(seen) = scene.now.vm("nr_free_pages") {
        let (fact, sum) = ("vmstat.nr_free_pages", all_free(scene));
        findings.extend(off(fact, String::new(), sum, seen, ONE_AFTER_THE_OTHER, ALL_FREE));
    }
}

/// The free lists of a zone hold what the zone counts as free.
///
/// /proc/pagetypeinfo is read between /proc/zoneinfo and /proc/vmstat; by how much all free memory moved from the one to
/// the other tells how quiet the guest is.
fn check_free_lists(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let (Some(types), Some(then)) = (&scene.now.pagetypes, scene.now.vm("nr_free_pages")) else { return };
    let all = all_free(scene);
    for ((node, name), zone) in &scene.now.zoneinfo.zones {
        let Some(lists) = types.free.get(&(*node, name.clone())) else { continue };
        if lists.values().any(|l| l.at_least) {
            continue;
        }
        let listed: u64 = lists.values().map(|l| l.pages).sum();
        let late: u64 = zone.pagesets.values().filter_map(|p| p.get("threshold")).sum();
        let slack = ONE_AFTER_THE_OTHER + late + 8 * all.abs_diff(then);
        if let Some(said) = scene.now.buddies.as_ref().and_then(|b| b.get(&(*node, name.clone()))) {
            let subject = zone_subject(*node, name);
            findings.extend(off("zone.buddies", subject, listed, *said, slack, BUDDIES));
        }
        findings.extend(off(
            "zone.free_lists",
            zone_subject(*node, name),
            free(zone),
            listed,
            slack,
            FREE_LISTS,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{KERNELS, guest};
    use super::{are_boosts, threshold};

    #[test]
    fn thresholds() {
        // the table in mm/vmstat.c
        assert_eq!(
            [(1, 3), (2, 0), (2, 10), (16, 8), (64, 16)].map(|(c, m)| threshold(m << 15, c)),
            [6, 4, 20, 50, 84]
        );
    }

    #[test]
    fn boosts_come_in_pageblocks() {
        assert!(are_boosts(512, 512, 512) && are_boosts(480, 512, 512) && are_boosts(1040, 512, 1024));
        assert!(!are_boosts(0, 512, 512) && !are_boosts(300, 512, 512) && !are_boosts(600, 512, 2048));
        assert!(!are_boosts(1024, 512, 1023));
    }

    #[test]
    fn what_is_reserved_shows_in_what_is_available() {
        for kernel in KERNELS.into_iter().filter(|k| *k != "5.10") {
            let guest = guest(kernel, "one", 4, "32-39=offline 33=Movable 38=Movable 40-47=Movable");
            let available = guest.now().meminfo["MemAvailable"];
            let (from, to) = (format!("{available} kB"), format!("{} kB", available - 1000));
            let found = guest.edit("/proc/meminfo", &from, &to).found();
            let facts: Vec<&str> = found.iter().map(|f| f.0.as_str()).collect();
            assert_eq!(facts, ["meminfo.MemAvailable"], "{kernel}");
        }
    }

    #[test]
    fn a_stale_threshold_and_a_lost_pageblock() {
        for kernel in KERNELS {
            let blocks = "32-39=offline 33=Movable 38=Movable 40-47=Movable";
            let stale = guest(kernel, "one", 4, blocks).zone("zone  Movable", "threshold: ", "8");
            let facts: Vec<String> = stale.found().into_iter().map(|f| f.0).collect();
            assert_eq!(facts, ["zone.pageset.threshold"], "{kernel}");
        }
    }
}
