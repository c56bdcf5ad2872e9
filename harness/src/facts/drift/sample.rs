//! One sample of what a leak would move, and what to write before taking it.

use super::super::error::{FactError, Line};
use super::super::{parse_proc, parse_zoneinfo};
use std::collections::BTreeMap;

/// Files that [`Sample::parse`] takes: the first two are needed, the third only where the kernel has it.
pub const PATHS: [&str; 3] = ["/proc/zoneinfo", "/proc/meminfo", SLABINFO];

/// Slab caches and their objects; its names go into [`settle`].
pub const SLABINFO: &str = "/proc/slabinfo";

/// Directory with one directory per slab cache (SLUB), and a link for each alias of a merged one.
const SLAB_DIR: &str = "/sys/kernel/slab";

/// What to write before each sample: path and text. A path that is not there is to be skipped.
///
/// Caches are dropped, per-CPU lists drained (compaction does that), and every slab cache shrunk, so that objects
/// that are free but on a CPU's own slab do not count as active: what is left of the noise is a few pages.
pub fn settle(caches: &[String]) -> Vec<(String, String)> {
    let mut writes = vec![
        ("/proc/sys/vm/drop_caches".to_string(), "3".to_string()),
        ("/proc/sys/vm/compact_memory".to_string(), "1".to_string()),
    ];
    writes.extend(caches.iter().map(|c| (format!("{SLAB_DIR}/{c}/shrink"), "1".to_string())));
    writes
}

/// Quantities by name, all counted so that a leak makes them grow.
///
/// `pages taken`: managed pages that are neither free nor on a per-CPU list. The other names are a row of meminfo (kB),
/// or `slab NAME` (active objects).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sample {
    /// value by name
    pub values: BTreeMap<String, i64>,
}

/// Rows of meminfo, in kB, that hotplug may leak into. Slab is not among them: its objects are counted one by one.
const ROWS: [&str; 5] = ["SUnreclaim", "Percpu", "PageTables", "VmallocUsed", "KernelStack"];

/// A cache whose objects outlive what they stand for: areas of vmalloc, thread stacks among them, are given back by the
/// thousand (mm/vmalloc.c:free_vmap_area_noflush, lazy_max_pages). Their pages are counted at once, in VmallocUsed.
const LAZY: &str = "vmap_area";

/// The name of the quantity that counts pages.
pub(super) const TAKEN: &str = "pages taken";

impl Sample {
    /// Takes a sample from the texts of [`PATHS`].
    ///
    /// # Errors
    /// /proc/zoneinfo or /proc/meminfo is missing, or a file has an unknown shape.
    pub fn parse(texts: &BTreeMap<String, String>) -> Result<Self, FactError> {
        let need = |path: &str| texts.get(path).ok_or_else(|| FactError::Missing { path: path.into() });
        let zones = parse_zoneinfo::parse(PATHS[0], need(PATHS[0])?)?;
        let taken = zones.zones.values().map(|zone| {
            let on_cpus: u64 = zone.pagesets.values().filter_map(|p| p.get("count")).sum();
            let free = zone.counters.get("free").copied().unwrap_or(0);
            signed(zone.managed) - signed(free + on_cpus)
        });
        let mut values = BTreeMap::from([(TAKEN.to_string(), taken.sum())]);
        let meminfo = parse_proc::meminfo(PATHS[1], need(PATHS[1])?)?;
        for row in ROWS {
            if let Some(kb) = meminfo.get(row) {
                values.insert(row.to_string(), signed(*kb));
            }
        }
        if let Some(text) = texts.get(PATHS[2]) {
            slabinfo(PATHS[2], text, &mut values)?;
        }
        Ok(Self { values })
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Names of the caches in [`SLABINFO`]: each cache once, under the name that its directory or a link to it has.
///
/// # Errors
/// An unknown shape.
pub fn cache_names(text: &str) -> Result<Vec<String>, FactError> {
    let mut values = BTreeMap::new();
    slabinfo(SLABINFO, text, &mut values)?;
    Ok(values.into_keys().filter_map(|name| name.strip_prefix("slab ").map(str::to_string)).collect())
}

/// `/proc/slabinfo` version 2.1 (mm/slab_common.c:cache_show): name, active objects, all objects, ...
fn slabinfo(path: &str, text: &str, values: &mut BTreeMap<String, i64>) -> Result<(), FactError> {
    for line in Line::all(path, text) {
        match line.number {
            1 if line.text == "slabinfo - version: 2.1" => continue,
            1 => return Err(line.shape("unknown version of slabinfo")),
            2 if line.text.starts_with("# name ") => continue,
            2 => return Err(line.shape("not the names of the columns")),
            _ => {}
        }
        let mut words = line.text.split_whitespace();
        let (Some(name), Some(active)) = (words.next(), words.next()) else {
            return Err(line.shape("not `NAME ACTIVE ...`"));
        };
        if name == LAZY {
            continue;
        }
        let name = format!("slab {name}");
        // two caches may have one name: their objects are counted together
        *values.entry(name).or_default() += signed(line.number(active)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "Node 0, zone   Normal\n  pages free     90\n        min      1\n        low      1\n        high     1\n        spanned  128\n        present  128\n        managed  100\n        protection: (0)\n      nr_free_pages 90\n  pagesets\n    cpu: 0\n              count:    4\n  vm stats threshold: 1\n  node_unreclaimable:  0\n  start_pfn:           4096\n";
    const SLAB: &str = "slabinfo - version: 2.1\n# name            <active_objs> <num_objs>\nkmalloc-64   10 20 64 64 1\nkmalloc-64   1 20 64 64 1\nvmap_area 7 9 64 64 1\n";

    fn texts() -> BTreeMap<String, String> {
        let all = [(PATHS[0], ZONE), (PATHS[1], "SUnreclaim: 7 kB\nMemFree: 1 kB\n"), (PATHS[2], SLAB)];
        all.map(|(p, t)| (p.to_string(), t.to_string())).into()
    }

    #[test]
    fn what_a_sample_holds() {
        let sample = Sample::parse(&texts()).unwrap();
        let expected = [("SUnreclaim", 7), (TAKEN, 6), ("slab kmalloc-64", 11)];
        assert_eq!(sample.values, expected.map(|(n, v)| (n.to_string(), v)).into());
    }

    #[test]
    fn slabinfo_may_be_missing_and_zoneinfo_not() {
        let mut few = texts();
        few.remove(PATHS[2]);
        assert_eq!(Sample::parse(&few).unwrap().values.len(), 2);
        few.remove(PATHS[0]);
        assert_eq!(Sample::parse(&few), Err(FactError::Missing { path: PATHS[0].into() }));
        let mut odd = texts();
        odd.insert(PATHS[2].into(), SLAB.replace("2.1", "3.0"));
        assert!(Sample::parse(&odd).is_err());
    }
}
