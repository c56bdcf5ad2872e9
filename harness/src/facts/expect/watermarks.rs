//! Watermarks, lowmem reserves and min_free_kbytes, by the kernel's own arithmetic from the managed pages seen.
//!
//! Every online and offline ends in init_per_zone_wmark_min(), which recomputes them all. At boot the kernel computes
//! them once and goes on freeing memory, so values of the baseline may stand as long as no zone's managed pages
//! differ from the baseline's.

use super::super::parse_zoneinfo::ZoneFacts;
use super::super::watch::HUGE_PAGES;
use super::{Scene, expect_eq, zone_subject};
use crate::finding::Finding;
use crate::policy::Zone;

const WMARKS: &str = "mm/page_alloc.c:__setup_per_zone_wmarks";
const RESERVE: &str =
    "mm/page_alloc.c:setup_per_zone_lowmem_reserve: managed pages of the higher zones / ratio";
const MIN_FREE: &str = "mm/page_alloc.c:calculate_min_free_kbytes: sqrt(16 * lowmem kB)";
const VM: &str = "/proc/sys/vm";

/// Is ZONE_MOVABLE treated like highmem? A change of the 6.x series; 6.1 does not have it and 6.12 has.
fn movable_apart(scene: &Scene<'_>) -> bool {
    let version = scene.context.version;
    if !version.at_least(6, 2) {
        return false;
    }
    if version.at_least(6, 12) {
        return true;
    }
    // between them: the boot-time value of a Movable zone tells (an empty one has min 0 by the old rule, 32 by the new)
    let movable = |((_, name), zone): &(&(u32, String), &ZoneFacts)| name == "Movable" && zone.managed == 0;
    let zones = &scene.base.snapshot.zoneinfo.zones;
    zones.iter().find(movable).is_none_or(|(_, z)| z.watermarks.get("min") == Some(&32))
}

/// What the formulas take in.
struct Inputs {
    min_free_kbytes: u64,
    scale: u64,
    lowmem_pages: u64,
    movable_apart: bool,
}

impl Inputs {
    fn of(scene: &Scene<'_>) -> Option<Self> {
        let number = |name: &str| scene.now.knobs.get(&format!("{VM}/{name}"))?.parse().ok();
        let movable_apart = movable_apart(scene);
        let zones = scene.now.zoneinfo.zones.iter();
        let low = zones.filter(|((_, name), _)| !(movable_apart && name == Zone::Movable.name()));
        Some(Self {
            min_free_kbytes: number("min_free_kbytes")?,
            scale: number("watermark_scale_factor")?,
            lowmem_pages: low.map(|(_, z)| z.managed).sum(),
            movable_apart,
        })
    }

    /// `min` without boost, and the step from each watermark to the next.
    fn marks(&self, name: &str, managed: u64) -> (u64, u64) {
        let share = u128::from(self.min_free_kbytes / 4) * u128::from(managed);
        let share = u64::try_from(share / u128::from(self.lowmem_pages.max(1))).unwrap_or(u64::MAX);
        let min = if self.movable_apart && name == Zone::Movable.name() {
            (managed / 1024).clamp(32, 128)
        } else {
            share
        };
        // mult_frac(managed, scale, 10000)
        let scaled = managed / 10000 * self.scale + managed % 10000 * self.scale / 10000;
        (min, (share / 4).max(scaled))
    }
}

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    check_reserves(scene, findings);
    if let Some(inputs) = Inputs::of(scene) {
        check_marks(scene, &inputs, findings);
        check_min_free(scene, &inputs, findings);
    }
}

fn check_marks(scene: &Scene<'_>, inputs: &Inputs, findings: &mut Vec<Finding>) {
    let mut found = Vec::new();
    let zones = &scene.now.zoneinfo.zones;
    for ((node, name), zone) in zones {
        // a node that came has no watermarks before something comes online
        let came = !scene.base.snapshot.zoneinfo.zones.contains_key(&(*node, name.clone()));
        let unused = |z: &ZoneFacts| z.managed == 0 && z.watermarks.values().all(|mark| *mark == 0);
        if came && zones.iter().filter(|((n, _), _)| n == node).all(|(_, z)| unused(z)) {
            continue;
        }
        let (min, step) = inputs.marks(name, zone.managed);
        let boost = boost(scene, zone, min, step);
        let subject = zone_subject(*node, name);
        for (mark, steps) in [("min", 0), ("low", 1), ("high", 2), ("promo", 3)] {
            if let Some(seen) = zone.watermarks.get(mark) {
                expect_eq(
                    &mut found,
                    &format!("zone.{mark}"),
                    &subject,
                    min + steps * step + boost,
                    *seen,
                    WMARKS,
                );
            }
        }
    }
    let of = |s: &super::Snapshot| -> Vec<_> {
        let marks = s.zoneinfo.zones.iter();
        let marks = marks.map(|(key, z)| (key.clone(), unboosted(z)));
        // zones of a node that came and went have no watermarks
        marks.filter(|(_, m)| m.iter().any(|v| *v != 0)).collect()
    };
    if !(scene.managed_as_at_boot() && of(scene.now) == of(scene.base.snapshot)) {
        findings.extend(found);
    }
}

/// Watermarks without what 5.13 and later show as `boost`.
fn unboosted(zone: &ZoneFacts) -> Vec<u64> {
    let boost = zone.watermarks.get("boost").copied().unwrap_or(0);
    let marks = ["min", "low", "high"].map(|m| zone.watermarks.get(m).copied().unwrap_or(0));
    marks.iter().map(|m| m.saturating_sub(boost)).collect()
}

/// The temporary boost that all watermarks of a zone carry (mm/page_alloc.c:boost_watermark): shown since 5.13;
/// before, a surplus of `min` is taken for it if boosting can have made it.
fn boost(scene: &Scene<'_>, zone: &ZoneFacts, min: u64, step: u64) -> u64 {
    if let Some(shown) = zone.watermarks.get("boost") {
        return *shown;
    }
    let surplus = zone.watermarks.get("min").copied().unwrap_or(0).saturating_sub(min);
    let pageblock = scene.now.pagetypes.as_ref().map_or(512, |p| p.pageblock_pages);
    let factor = scene.now.knobs.get(&format!("{VM}/watermark_boost_factor"));
    let factor: u64 = factor.and_then(|f| f.parse().ok()).unwrap_or(0);
    let high = min + 2 * step;
    let max = (high / 10000 * factor + high % 10000 * factor / 10000).max(pageblock);
    let possible = factor > 0 && surplus <= max && zone.managed >= 4 * pageblock;
    if possible && (surplus % pageblock == 0 || surplus == max) { surplus } else { 0 }
}

fn check_reserves(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let Some(text) = scene.now.knobs.get(&format!("{VM}/lowmem_reserve_ratio")) else { return };
    let ratios: Vec<u64> = text.split(' ').filter_map(|w| w.parse().ok()).collect();
    let order = &scene.now.zoneinfo.order;
    let mut found = Vec::new();
    let mut nodes: Vec<u32> = scene.now.zoneinfo.zones.keys().map(|(n, _)| *n).collect();
    nodes.dedup();
    for node in nodes {
        let zones: Vec<&ZoneFacts> =
            order.iter().filter_map(|z| scene.now.zoneinfo.zones.get(&(node, z.clone()))).collect();
        for (i, zone) in zones.iter().enumerate() {
            let expected = super::join(reserve(&zones, i, ratios.get(i).copied()));
            let subject = zone_subject(node, &order[i]);
            expect_eq(
                &mut found,
                "zone.protection",
                &subject,
                expected,
                super::join(&zone.protection),
                RESERVE,
            );
        }
    }
    let of = |s: &super::Snapshot| -> Vec<_> {
        let all = s.zoneinfo.zones.iter().map(|(key, z)| (key.clone(), z.protection.clone()));
        all.filter(|(_, p)| p.iter().any(|v| *v != 0)).collect()
    };
    if !(scene.managed_as_at_boot() && of(scene.now) == of(scene.base.snapshot)) {
        findings.extend(found);
    }
}

/// lowmem_reserve of zone `i`: for each higher zone the managed pages from there down to it, by the ratio.
fn reserve(zones: &[&ZoneFacts], i: usize, ratio: Option<u64>) -> Vec<u64> {
    let mut above = 0;
    let mut reserve = vec![0; zones.len()];
    for j in i + 1..zones.len() {
        above += zones[j].managed;
        if zones[i].managed > 0 {
            reserve[j] = ratio.filter(|r| *r > 0).map_or(0, |r| above / r);
        }
    }
    reserve
}

/// min_free_kbytes is not a pure function of what can be seen: the kernel takes off the high watermarks as they were
/// *before* it computes the new ones. They are less than a fifth of any zone, and twice what watermark_scale_factor asks for
/// beyond its default; the root halves that.
fn check_min_free(scene: &Scene<'_>, inputs: &Inputs, findings: &mut Vec<Finding>) {
    let path = format!("{VM}/min_free_kbytes");
    let seen = inputs.min_free_kbytes;
    let at_boot = scene.base.snapshot.knobs.get(&path).and_then(|k| k.parse().ok()) == Some(seen);
    let written: Option<u64> = scene.context.written.get(&path).and_then(|k| k.parse().ok());
    if written == Some(seen) && scene.context.min_free_written || at_boot && scene.managed_as_at_boot() {
        return;
    }
    let kernel = |(_, name): &(u32, String)| Zone::parse(name).is_some_and(|z| Zone::KERNEL.contains(&z));
    let zones = scene.now.zoneinfo.zones.iter().filter(|(key, _)| kernel(key));
    let (pages, populated) =
        zones.fold((0, 0), |(pages, n), (_, z)| (pages + z.managed, n + u64::from(z.present > 0)));
    let factor = scene.base.snapshot.knobs.get(&format!("{VM}/watermark_scale_factor"));
    let factor = factor.and_then(|f| f.parse().ok()).unwrap_or(0).max(inputs.scale);
    let left = 8100u64.saturating_sub(2 * factor.saturating_sub(10));
    let huge_pages = scene.now.threads.contains(HUGE_PAGES);
    let pageblock = scene.now.pagetypes.as_ref().map_or(512, |p| p.pageblock_pages);
    let computed = |pages: u64| (pages * 4 * 16).isqrt().clamp(128, 262_144);
    let figure = |pages: u64| {
        // mm/khugepaged.c:set_recommended_min_free_kbytes: more where huge pages are made, at most 5% of lowmem
        let recommended = (pageblock * populated * (2 + 3 * 3)).min(pages / 20) * 4;
        if huge_pages { computed(pages).max(recommended) } else { computed(pages) }
    };
    // mm/page_alloc.c:calculate_min_free_kbytes: what was written stays where less is computed
    let expected = match written.filter(|written| *written > computed(pages)) {
        Some(written) => written..=written.max(figure(pages)),
        None => figure(pages * left / 10000)..=figure(pages),
    };
    let stays = written == Some(seen) && seen > *expected.start();
    if !(stays || expected.contains(&seen)) {
        let expected = format!("{} to {}", expected.start(), expected.end());
        findings.push(Finding::new("vm.min_free_kbytes", "", expected, seen, MIN_FREE));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{KERNELS, guest};
    use super::VM;

    #[test]
    fn min_free_follows_the_memory_and_the_scale_factor() {
        for kernel in KERNELS {
            let guest = guest(kernel, "one", 4, "32-39=offline 33=Movable 38=Movable 40-47=Movable");
            let min_free = format!("{VM}/min_free_kbytes");
            let seen: u64 = guest.text(&min_free).trim().parse().unwrap();
            let found = |scale: &str, min_free_kbytes: u64| {
                let mut guest = guest.clone();
                guest.put(&format!("{VM}/watermark_scale_factor"), Some(&format!("{scale}\n")));
                guest.put(&min_free, Some(&format!("{min_free_kbytes}\n")));
                guest.found().iter().any(|f| f.0 == "vm.min_free_kbytes")
            };
            assert!(!found("10", seen), "{kernel}");
            // a tenth less memory is seen by its root; with high watermarks of a fifth and more it may be so
            assert!(found("10", seen * 85 / 100) && !found("1000", seen * 85 / 100), "{kernel}");
            assert!(found("1000", seen * 60 / 100) && found("3000", seen * 120 / 100), "{kernel}");
            let huge = |min_free_kbytes: u64| {
                let mut guest = guest.clone();
                guest.put(&min_free, Some(&format!("{min_free_kbytes}\n")));
                guest.base.threads.insert("khugepaged".into());
                guest.with_thread("khugepaged").found()
            };
            // 5 % of what the kernel's zones have; the watermarks of the fixture are others
            let only = |found: &[(String, String, String, String)]| {
                found.iter().filter(|f| f.0 == "vm.min_free_kbytes").count()
            };
            let now = guest.now();
            let managed = now.zoneinfo.zones.iter().filter(|((_, name), _)| name != "Movable");
            let five_percent = managed.map(|(_, z)| z.managed).sum::<u64>() / 20 * 4;
            assert_eq!([only(&huge(seen)), only(&huge(five_percent * 95 / 100))], [1, 0], "{kernel}");
            assert_eq!(only(&huge(five_percent + 200)), 1, "{kernel}");
        }
    }

    /// Seen: huge pages were switched on, so that the boot's watermarks did not stand any more, and a node came.
    #[test]
    fn a_node_that_has_just_come_has_no_watermarks_yet() {
        for kernel in KERNELS {
            let mut guest = guest(kernel, "numa", 1, "");
            let now = guest.now();
            let came = |(node, _): &&(u32, String)| !guest.base.nodes.contains_key(node);
            assert!(now.zoneinfo.zones.keys().any(|zone| came(&zone)), "{kernel}");
            let dma = guest.base.zoneinfo.zones.get_mut(&(0, "DMA".into())).unwrap();
            *dma.watermarks.get_mut("min").unwrap() += 1;
            let found = guest.found();
            assert!(found.iter().all(|f| !f.1.contains("node 2")), "{kernel} {found:?}");
            // and once one of its zones has some, the others must have theirs
            if guest.version.at_least(6, 12) {
                let found = guest.zone("Node 2, zone   Normal", "min      ", "1").found();
                let movable = ("zone.min".to_string(), "node 2 Movable".to_string());
                assert!(found.iter().any(|f| (&f.0, &f.1) == (&movable.0, &movable.1)), "{kernel} {found:?}");
            }
        }
    }
}
