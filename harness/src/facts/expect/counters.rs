//! Counters that the kernel keeps twice: of each zone, and of the node that the zones are of.

use super::Scene;
use crate::finding::Finding;
use std::collections::BTreeMap;

const RULE: &str =
    "include/linux/mm_inline.h:update_lru_size counts a page on an LRU list for its zone and for its node";

/// Pages by which the kernel's own work may move what is read twice within one file.
const AT_ONCE: u64 = 64;

/// The LRU lists of a node are those of its zones together, but for what each CPU keeps to itself.
pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for (node, stats) in &scene.now.zoneinfo.node_stats {
        let zones = || scene.now.zoneinfo.zones.iter().filter(|((n, _), _)| n == node).map(|(_, zone)| zone);
        let mut late = AT_ONCE;
        let mut highest: BTreeMap<u32, u64> = BTreeMap::new();
        for (cpu, set) in zones().flat_map(|zone| &zone.pagesets) {
            let threshold = set.get("threshold").copied().unwrap_or(0);
            late += threshold;
            let own = highest.entry(*cpu).or_default();
            *own = threshold.max(*own);
        }
        // mm/vmstat.c:refresh_zone_stat_thresholds: the node's threshold is the highest of its zones
        late += highest.values().sum::<u64>();
        for list in ["inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"] {
            let Some(seen) = stats.get(&format!("nr_{list}")) else { continue };
            let of_zones =
                zones().filter_map(|zone| zone.counters.get(&format!("nr_zone_{list}"))).sum::<u64>();
            if seen.abs_diff(of_zones) > late {
                let subject = format!("node {node} nr_{list}");
                let expected = format!("{of_zones} within {late}, the sum of its zones");
                findings.push(Finding::new("node.lru", subject, expected, seen, RULE));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{KERNELS, guest};

    #[test]
    fn a_list_that_a_node_and_its_zones_count_differently() {
        for kernel in KERNELS {
            let guest = guest(kernel, "one", 2, "32-39=offline 33=Movable 35=Movable 38=Movable");
            let node = guest.now().zoneinfo.node_stats[&0]["nr_active_anon"];
            let row = |pages: u64| format!("      nr_active_anon {pages}\n");
            let guest = guest.edit("/proc/zoneinfo", &row(node), &row(node + 500));
            let found = guest.found();
            let [(fact, subject, _, seen)] = &found[..] else { panic!("{kernel} {found:#?}") };
            assert_eq!((fact.as_str(), subject.as_str()), ("node.lru", "node 0 nr_active_anon"));
            assert_eq!(*seen, (node + 500).to_string());
        }
    }
}
