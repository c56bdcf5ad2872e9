//! /proc/zoneinfo (mm/vmstat.c:zoneinfo_show_print).
//!
//! Shape, the same from 5.10 to 7.3: a head `Node N, zone NAME`, for the first populated zone of a node the counters
//! of the node, `pages free` with watermarks and sizes, `protection`, and for populated zones counters, per-CPU page
//! lists and trailing values.

use super::error::{FactError, Line};
use super::source::small;
use std::collections::BTreeMap;

/// One zone, in pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZoneFacts {
    /// spanned pages
    pub spanned: u64,
    /// present pages; a zone without is not populated
    pub present: u64,
    /// pages under the allocator
    pub managed: u64,
    /// CMA pages; 5.10 prints none
    pub cma: Option<u64>,
    /// zone_start_pfn; printed for populated zones only
    pub start_pfn: Option<u64>,
    /// `min`, `low`, `high`, and where the kernel prints them `boost` and `promo`
    pub watermarks: BTreeMap<String, u64>,
    /// lowmem_reserve for each zone that the kernel was built with
    pub protection: Vec<u64>,
    /// `pages free` and the counters `nr_*`, `numa_*`
    pub counters: BTreeMap<String, u64>,
    /// values after the per-CPU lists: `node_unreclaimable`, `reserved_highatomic`
    pub trailing: BTreeMap<String, u64>,
    /// per CPU: `count`, `high`, `batch`, `high_min`, `high_max`, and `threshold` of its statistics
    pub pagesets: BTreeMap<u32, BTreeMap<String, u64>>,
}

/// All zones of all online nodes, with the nodes' counters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZoneInfo {
    /// by node and name; the kernel's order within a node is in `order`
    pub zones: BTreeMap<(u32, String), ZoneFacts>,
    /// zone names in the kernel's order, the same for every node
    pub order: Vec<String>,
    /// `per-node stats` of nodes with a populated zone
    pub node_stats: BTreeMap<u32, BTreeMap<String, u64>>,
}

/// Where in a zone's text a line is.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    NodeStats,
    Sizes,
    Counters,
    PageSets,
    Trailing,
}

/// Parses the whole file.
pub(crate) fn parse(path: &str, text: &str) -> Result<ZoneInfo, FactError> {
    let mut info = ZoneInfo::default();
    let mut lines = Line::all(path, text).peekable();
    while let Some(head) = lines.next() {
        let (node, name) = parse_head(&head)?;
        let mut zone = Reading { part: Part::Sizes, facts: ZoneFacts::default(), node: None, cpu: None };
        while let Some(line) = lines.next_if(|l| !l.text.starts_with("Node ")) {
            zone.line(&line)?;
        }
        zone.complete(&head)?;
        if info.zones.keys().all(|(n, _)| *n == node) {
            info.order.push(name.clone());
        } else if !info.order.contains(&name) {
            return Err(head.shape("a zone that the first node does not have"));
        }
        if let Some(stats) = zone.node {
            info.node_stats.insert(node, stats);
        }
        if info.zones.insert((node, name), zone.facts).is_some() {
            return Err(head.shape("zone appears twice"));
        }
    }
    if info.zones.is_empty() {
        return Err(FactError::Shape { path: path.into(), line: 0, why: "no zones", text: String::new() });
    }
    check_shape(path, &info)?;
    Ok(info)
}

/// Every node prints every zone, and every zone a protection value for every zone.
fn check_shape(path: &str, info: &ZoneInfo) -> Result<(), FactError> {
    let zones = info.order.len();
    let whole = |why| FactError::Shape { path: path.into(), line: 0, why, text: String::new() };
    if info.zones.values().any(|z| z.protection.len() != zones) {
        return Err(whole("protection has not one value per zone"));
    }
    let mut per_node: BTreeMap<u32, usize> = BTreeMap::new();
    info.zones.keys().for_each(|(n, _)| *per_node.entry(*n).or_default() += 1);
    if per_node.values().any(|n| *n != zones) {
        return Err(whole("a node lacks zones"));
    }
    Ok(())
}

fn parse_head(line: &Line<'_>) -> Result<(u32, String), FactError> {
    let bad = || line.shape("not `Node N, zone NAME`");
    let rest = line.text.strip_prefix("Node ").ok_or_else(bad)?;
    let (node, zone) = rest.split_once(", zone ").ok_or_else(bad)?;
    let name = zone.trim_start();
    if name.is_empty() || name.contains(' ') {
        return Err(bad());
    }
    Ok((small(line, node)?, name.to_string()))
}

/// A zone being read.
struct Reading {
    part: Part,
    facts: ZoneFacts,
    node: Option<BTreeMap<String, u64>>,
    cpu: Option<u32>,
}

impl Reading {
    fn line(&mut self, line: &Line<'_>) -> Result<(), FactError> {
        let text = line.text.trim();
        match text {
            "per-node stats" if self.node.is_none() => {
                self.node = Some(BTreeMap::new());
                self.part = Part::NodeStats;
                return Ok(());
            }
            "pagesets" => {
                self.part = Part::PageSets;
                return Ok(());
            }
            _ => {}
        }
        if let Some(list) = text.strip_prefix("protection: (").and_then(|l| l.strip_suffix(')')) {
            let values = list.split(", ").map(|w| line.number(w));
            self.facts.protection = values.collect::<Result<_, _>>()?;
            self.part = Part::Counters;
            return Ok(());
        }
        let (name, value) = text
            .rsplit_once(' ')
            .map(|(n, v)| (n.trim_end(), v))
            .ok_or_else(|| line.shape("not `NAME VALUE`"))?;
        let value = line.number(value)?;
        self.value(line, name, value)
    }

    fn value(&mut self, line: &Line<'_>, name: &str, value: u64) -> Result<(), FactError> {
        if name == "pages free" {
            self.part = Part::Sizes;
            return put(line, &mut self.facts.counters, "free", value);
        }
        match self.part {
            Part::NodeStats => put(line, self.node.get_or_insert_default(), name, value),
            Part::Sizes => self.size(line, name, value),
            Part::Counters => put(line, &mut self.facts.counters, name, value),
            Part::PageSets | Part::Trailing => self.tail(line, name, value),
        }
    }

    fn size(&mut self, line: &Line<'_>, name: &str, value: u64) -> Result<(), FactError> {
        match name {
            "spanned" => self.facts.spanned = value,
            "present" => self.facts.present = value,
            "managed" => self.facts.managed = value,
            "cma" => self.facts.cma = Some(value),
            "min" | "low" | "high" | "boost" | "promo" => {
                return put(line, &mut self.facts.watermarks, name, value);
            }
            _ => return Err(line.shape("unknown size of a zone")),
        }
        Ok(())
    }

    fn tail(&mut self, line: &Line<'_>, name: &str, value: u64) -> Result<(), FactError> {
        let name = name.strip_suffix(':').ok_or_else(|| line.shape("not `NAME: VALUE`"))?;
        match (name, self.cpu) {
            ("cpu", _) if self.part == Part::PageSets => {
                let cpu = u32::try_from(value).map_err(|_| line.shape("number too large"))?;
                self.cpu = Some(cpu);
                self.facts.pagesets.insert(cpu, BTreeMap::new());
                Ok(())
            }
            ("vm stats threshold", Some(cpu)) => {
                put(line, self.facts.pagesets.entry(cpu).or_default(), "threshold", value)
            }
            ("count" | "high" | "batch" | "high_min" | "high_max", Some(cpu)) => {
                put(line, self.facts.pagesets.entry(cpu).or_default(), name, value)
            }
            ("start_pfn", _) => {
                self.part = Part::Trailing;
                self.facts.start_pfn = Some(value);
                Ok(())
            }
            ("node_unreclaimable" | "reserved_highatomic" | "free_highatomic", _) => {
                self.part = Part::Trailing;
                put(line, &mut self.facts.trailing, name, value)
            }
            _ => Err(line.shape("unknown value after the page sets")),
        }
    }

    /// A populated zone prints all its parts, another one stops after `protection`.
    fn complete(&self, head: &Line<'_>) -> Result<(), FactError> {
        let f = &self.facts;
        if f.protection.is_empty() || ["min", "low", "high"].iter().any(|w| !f.watermarks.contains_key(*w)) {
            return Err(head.shape("a zone without watermarks or protection"));
        }
        if (f.present > 0) != f.start_pfn.is_some() {
            return Err(head.shape("a populated zone without start_pfn, or an empty one with it"));
        }
        Ok(())
    }
}

fn put(line: &Line<'_>, map: &mut BTreeMap<String, u64>, name: &str, value: u64) -> Result<(), FactError> {
    match map.insert(name.to_string(), value) {
        None => Ok(()),
        Some(_) => Err(line.shape("value appears twice")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "Node 0, zone  Movable\n  pages free     0\n        min      32\n        low      32\n        high     32\n        spanned  0\n        present  0\n        managed  0\n        protection: (0)\n";

    #[test]
    fn an_empty_zone() {
        let info = parse("/proc/zoneinfo", EMPTY).unwrap();
        let zone = &info.zones[&(0, "Movable".to_string())];
        assert_eq!((zone.present, zone.start_pfn, zone.watermarks["min"]), (0, None, 32));
        assert_eq!(info.order, ["Movable"]);
    }

    #[test]
    fn odd_text_is_an_error_that_names_its_line() {
        let error = |from: &str, to: &str| parse("/z", &EMPTY.replace(from, to)).unwrap_err().to_string();
        assert_eq!(
            error("  32\n        low", "  x\n        low"),
            "/z:3: not a decimal number: \"        min      x\""
        );
        assert!(error("spanned", "spannned").contains("/z:6: unknown size"));
        assert!(error("present  0", "present  1").contains("start_pfn"));
        assert!(error("protection: (0)", "protection: (0, 0)").contains("one value per zone"));
        assert!(parse("/z", &EMPTY.repeat(2)).unwrap_err().to_string().contains("twice"));
        assert!(parse("/z", "").is_err());
    }
}
