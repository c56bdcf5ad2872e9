//! Sizes of the per-CPU page lists, which follow from managed pages and the low watermark.
//!
//! Offlining sets them to 0 and 1 while it isolates (mm/page_alloc.c:zone_pcp_disable, 5.11 and later) and must put
//! them back, also when it fails.

use super::super::parse_zoneinfo::ZoneFacts;
use super::{Scene, expect_eq, zone_subject};
use crate::finding::Finding;
use crate::version::Version;
use std::collections::BTreeMap;

const RULE: &str = "mm/page_alloc.c:zone_set_pageset_high_and_batch, zone_pcp_enable";

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let version = scene.context.version;
    let mut found = Vec::new();
    for ((node, name), zone) in &scene.now.zoneinfo.zones {
        let subject = zone_subject(*node, name);
        let cpus = local_cpus(scene, *node, zone);
        for (cpu, seen) in &zone.pagesets {
            if stands(scene, &(*node, name.clone()), zone, *cpu) {
                continue;
            }
            let subject = format!("{subject} cpu {cpu}");
            for (field, expected) in expected(scene, zone, cpus) {
                if let Some(seen) = seen.get(field) {
                    expect_eq(&mut found, &format!("zone.pageset.{field}"), &subject, expected, *seen, RULE);
                }
            }
        }
    }
    if !(scene.managed_as_at_boot() && limits(scene.now, version) == limits(scene.base.snapshot, version)) {
        findings.extend(found);
    }
}

/// Before 5.14 only the zone that pages join or leave is computed anew (mm/page_alloc.c:zone_pcp_update). Others keep what
/// they had at boot, when memory that was not yet freed (a large initramfs) did not count.
fn stands(scene: &Scene<'_>, key: &(u32, String), zone: &ZoneFacts, cpu: u32) -> bool {
    let before = scene.base.snapshot.zoneinfo.zones.get(key);
    let same = |before: &ZoneFacts| {
        let values = |z: &ZoneFacts| ["batch", "high"].map(|f| z.pagesets.get(&cpu)?.get(f).copied());
        before.managed == zone.managed && values(before) == values(zone)
    };
    !scene.context.version.at_least(5, 14) && before.is_some_and(same)
}

/// CPUs that share a zone: those of its node, or all if it has none (mm/page_alloc.c:zone_highsize).
fn local_cpus(scene: &Scene<'_>, node: u32, zone: &ZoneFacts) -> Option<u64> {
    let all = zone.pagesets.len() as u64;
    match scene.now.nodes.get(&node) {
        Some(facts) if facts.cpus.as_ref()?.is_empty() => Some(all),
        Some(facts) => Some(facts.cpus.as_ref()?.len() as u64),
        None => Some(all),
    }
}

/// The fields whose value is known, for this version.
fn expected(scene: &Scene<'_>, zone: &ZoneFacts, cpus: Option<u64>) -> Vec<(&'static str, u64)> {
    let version = scene.context.version;
    let batch = batch(zone.managed);
    let mut fields = vec![("batch", batch)];
    let Some(cpus) = cpus.filter(|c| *c > 0) else { return fields };
    let boost = zone.watermarks.get("boost").copied().unwrap_or(0);
    let low = zone.watermarks.get("low").copied().unwrap_or(0).saturating_sub(boost);
    let split = |pages: u64| (pages / cpus).max(4 * batch);
    // 5.14 and later: both limits are this share of the zone where it was written
    let fraction = scene.now.knobs.get("/proc/sys/vm/percpu_pagelist_high_fraction");
    if let Some(fraction) = fraction.and_then(|f| f.parse::<u64>().ok()).filter(|f| *f > 0) {
        let share = split(zone.managed / fraction);
        let highs: &[&str] = if tuned(version) { &["high_min", "high_max"] } else { &["high"] };
        fields.extend(highs.iter().map(|high| (*high, share)));
        return fields;
    }
    if !version.at_least(5, 11) {
        // mm/page_alloc.c:pageset_set_high_and_batch: six batches before the batch is made at least 1
        fields.push(("high", 6 * batch_or_none(zone.managed)));
    } else if version.at_least(6, 1) && !tuned(version) {
        fields.push(("high", split(low)));
    }
    fields.push(("high_min", split(low)));
    fields.push(("high_max", split(zone.managed / 8)));
    fields
}

/// At least one page.
fn batch(managed: u64) -> u64 {
    batch_or_none(managed).max(1)
}

/// mm/page_alloc.c:zone_batchsize: a quarter of a thousandth of the zone, at most 256 KiB, made 2^n - 1.
fn batch_or_none(managed: u64) -> u64 {
    let batch = (managed >> 12).clamp(1, 64);
    (1u64 << (batch + batch / 2).ilog2()) - 1
}

/// `high` moves between limits by use, and only later kernels print those (mm/page_alloc.c:nr_pcp_high, 6.7).
fn tuned(version: Version) -> bool {
    version.at_least(6, 7)
}

/// What does not change by use, of the zones that are populated.
fn limits(snapshot: &super::Snapshot, version: Version) -> BTreeMap<(u32, String, u32), Vec<u64>> {
    let mut limits = BTreeMap::new();
    for ((node, name), zone) in &snapshot.zoneinfo.zones {
        for (cpu, set) in &zone.pagesets {
            let fields = ["batch", "high", "high_min", "high_max"];
            let values = fields.iter().filter(|f| !(tuned(version) && **f == "high"));
            let values = values.filter_map(|f| set.get(*f).copied()).collect();
            limits.insert((*node, name.clone(), *cpu), values);
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::batch;

    #[test]
    fn batch_sizes() {
        // as Debian's kernels print them: DMA of 16 MiB, 378 MiB, 128 MiB, 1 GiB
        assert_eq!([3840, 96780, 32768, 262_144].map(batch), [1, 31, 7, 63]);
    }
}
