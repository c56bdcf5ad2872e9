//! /proc/meminfo, /proc/vmstat, the same of a node, and /proc/iomem.

use super::error::{FactError, Line};
use std::collections::BTreeMap;

/// `/proc/meminfo` (fs/proc/meminfo.c): values in kB, `HugePages_*` in pages. Names as the kernel has them.
pub(crate) fn meminfo(path: &str, text: &str) -> Result<BTreeMap<String, u64>, FactError> {
    let mut map = BTreeMap::new();
    for line in Line::all(path, text) {
        let (name, rest) = line.text.split_once(':').ok_or_else(|| line.shape("not `NAME: VALUE`"))?;
        let value = line.number(rest.trim().trim_end_matches(" kB"))?;
        if map.insert(name.trim().to_string(), value).is_some() {
            return Err(line.shape("value appears twice"));
        }
    }
    Ok(map)
}

/// `nodeN/meminfo` (drivers/base/node.c:node_read_meminfo): every line begins with `Node N `.
pub(crate) fn node_meminfo(path: &str, text: &str, node: u32) -> Result<BTreeMap<String, u64>, FactError> {
    let head = format!("Node {node} ");
    if let Some(line) = Line::all(path, text).find(|l| !l.text.starts_with(&head)) {
        return Err(line.shape("not a line of this node"));
    }
    let stripped: String = text.lines().map(|l| format!("{}\n", &l[head.len()..])).collect();
    meminfo(path, &stripped)
}

/// `/proc/vmstat`, and a node's `vmstat` and `numastat`: counters by name. A counter below zero is printed as a large number and kept so.
pub(crate) fn vmstat(path: &str, text: &str) -> Result<BTreeMap<String, u64>, FactError> {
    let mut map = BTreeMap::new();
    for line in Line::all(path, text) {
        let (name, value) = line.text.split_once(' ').ok_or_else(|| line.shape("not `NAME VALUE`"))?;
        if map.insert(name.to_string(), line.number(value)?).is_some() {
            return Err(line.shape("value appears twice"));
        }
    }
    Ok(map)
}

/// A line of /proc/iomem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    /// first address
    pub start: u64,
    /// last address, inclusive
    pub end: u64,
    /// nesting, 0 at the top
    pub depth: usize,
    /// the resource's name
    pub name: String,
}

impl std::fmt::Display for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:1$}{2:08x}-{3:08x} : {4}", "", 2 * self.depth, self.start, self.end, self.name)
    }
}

/// `/proc/iomem` (kernel/resource.c:r_show). All addresses zero (no CAP_SYS_ADMIN) is an error.
pub(crate) fn iomem(path: &str, text: &str) -> Result<Vec<Region>, FactError> {
    let mut regions = Vec::new();
    for line in Line::all(path, text) {
        let bad = || line.shape("not `START-END : NAME`");
        let rest = line.text.trim_start_matches(' ');
        let indent = line.text.len() - rest.len();
        let (range, name) = rest.split_once(" : ").ok_or_else(bad)?;
        let (start, end) = range.split_once('-').ok_or_else(bad)?;
        let region = Region {
            start: line.hex(start)?,
            end: line.hex(end)?,
            depth: indent / 2,
            name: name.to_string(),
        };
        if region.start > region.end || indent % 2 != 0 {
            return Err(bad());
        }
        regions.push(region);
    }
    if regions.iter().all(|r| r.end == 0) {
        let why = "addresses are hidden";
        return Err(FactError::Shape { path: path.into(), line: 0, why, text: String::new() });
    }
    Ok(regions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_lines() {
        let map = meminfo("/m", "MemTotal:        402408 kB\nHugePages_Total:     0\nActive(anon):  7 kB\n")
            .unwrap();
        assert_eq!((map["MemTotal"], map["HugePages_Total"], map["Active(anon)"]), (402_408, 0, 7));
        for bad in ["MemTotal 4 kB\n", "MemTotal: -4 kB\n", "A: 1 kB\nA: 1 kB\n", "A: 1 MB\n"] {
            assert!(meminfo("/m", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_node_prints_only_about_itself() {
        let text = "Node 1 MemTotal:        42 kB\nNode 1 MemFree:  7 kB\n";
        assert_eq!(node_meminfo("/m", text, 1).unwrap()["MemTotal"], 42);
        assert!(node_meminfo("/m", text, 0).is_err());
    }

    #[test]
    fn iomem_lines() {
        let text = "00100000-1ffdffff : System RAM\n  0c600000-0d76f05f : Kernel code\n";
        let regions = iomem("/i", text).unwrap();
        assert_eq!((regions[1].depth, regions[1].start, regions[0].end), (1, 0xc60_0000, 0x1ffd_ffff));
        assert_eq!(regions.iter().map(|r| format!("{r}\n")).collect::<String>(), text);
        assert!(iomem("/i", "00000000-00000000 : System RAM\n").is_err());
        assert!(iomem("/i", "2-1 : System RAM\n").is_err());
    }
}
