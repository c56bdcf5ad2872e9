//! The directories of memory blocks (drivers/base/memory.c) and of NUMA nodes (drivers/base/node.c).

use super::error::{FactError, Line};
use super::parse_proc;
use super::source::{Source, number_list, single, small};
use super::watch::{MEMORY, NODE, NODE_MASKS, TIERS};
use crate::policy::BlockState;
use std::collections::{BTreeMap, BTreeSet};

/// One memory block as sysfs shows it. `None`: the kernel has no such attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFacts {
    /// `state`
    pub state: BlockState,
    /// `online`
    pub online: Option<u64>,
    /// `valid_zones` without newline
    pub valid_zones: Option<String>,
    /// `removable` without newline
    pub removable: Option<String>,
    /// `phys_index` without newline
    pub phys_index: Option<String>,
    /// `phys_device` without newline
    pub phys_device: Option<String>,
    /// nodes that it links to
    pub nodes: BTreeSet<u32>,
    /// ACPI device that `firmware_node` leads to
    pub firmware_node: Option<String>,
    /// names in the directory
    pub names: BTreeSet<String>,
    /// permissions of its files
    pub modes: BTreeMap<String, String>,
}

/// One NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFacts {
    /// `meminfo`, kB
    pub meminfo: BTreeMap<String, u64>,
    /// `cpulist`
    pub cpus: Option<BTreeSet<u32>>,
    /// names in the directory, but for links to blocks and CPUs
    pub names: BTreeSet<String>,
    /// blocks that it links to
    pub blocks: BTreeSet<u32>,
    /// `vmstat`; `None` where it was not read
    pub vmstat: Option<BTreeMap<String, u64>>,
    /// `numastat`; `None` where it was not read
    pub numastat: Option<BTreeMap<String, u64>>,
}

/// All blocks, with the names in their root directory.
pub(crate) fn blocks(source: &mut Source<'_>) -> Result<BTreeMap<u32, BlockFacts>, FactError> {
    let mut blocks = BTreeMap::new();
    for (rest, dir) in source.children(MEMORY, "memory") {
        let line = Line { path: &dir, number: 0, text: &rest };
        blocks.insert(small(&line, &rest)?, block(source, &dir)?);
    }
    Ok(blocks)
}

fn block(source: &mut Source<'_>, dir: &str) -> Result<BlockFacts, FactError> {
    let mut attribute = |name: &str| -> Result<Option<String>, FactError> {
        let path = format!("{dir}/{name}");
        source.optional(&path)?.map(|text| Ok(single(&path, text)?.text.to_string())).transpose()
    };
    let state_path = format!("{dir}/state");
    let state = attribute("state")?.ok_or(FactError::Missing { path: state_path.clone() })?;
    let state = BlockState::parse(&state).ok_or(FactError::Shape {
        path: state_path,
        line: 1,
        why: "unknown state",
        text: state,
    })?;
    let online = attribute("online")?;
    let online_path = format!("{dir}/online");
    let online = online.map(|o| Line { path: &online_path, number: 1, text: &o }.number(&o)).transpose()?;
    let (valid_zones, removable) = (attribute("valid_zones")?, attribute("removable")?);
    let (phys_index, phys_device) = (attribute("phys_index")?, attribute("phys_device")?);
    let (names, modes) = (source.listing(dir)?.unwrap_or_default(), source.modes(dir));
    let nodes = source.links(dir, "node").into_iter();
    let nodes = nodes.map(|(name, target)| link_number(dir, "node", name, target));
    let nodes = nodes.collect::<Result<_, _>>()?;
    let firmware_node = source.links(dir, "firmware_node").first().map(|(_, t)| (*t).to_string());
    Ok(BlockFacts {
        state,
        online,
        valid_zones,
        removable,
        phys_index,
        phys_device,
        nodes,
        firmware_node,
        names,
        modes,
    })
}

/// N of a link `nodeN` or `memoryN`, which must lead to a directory of the same name.
fn link_number(dir: &str, prefix: &str, name: &str, target: &str) -> Result<u32, FactError> {
    let path = format!("{dir}/{name}");
    let line = Line { path: &path, number: 0, text: target };
    if name != target {
        return Err(line.shape("a link that leads to another name"));
    }
    small(&line, name.strip_prefix(prefix).unwrap_or_default())
}

/// `PREFIX` and a number.
fn numbered(name: &str, prefix: &str) -> bool {
    let number = name.strip_prefix(prefix).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// Nodes of each memory tier (mm/memory-tiers.c, 6.1 and later), by the tier's name.
pub(crate) fn tiers(source: &mut Source<'_>) -> Result<BTreeMap<String, BTreeSet<u32>>, FactError> {
    let mut tiers = BTreeMap::new();
    for (rest, dir) in source.children(TIERS, "memory_tier") {
        let path = format!("{dir}/nodelist");
        tiers.insert(format!("memory_tier{rest}"), number_list(&single(&path, source.required(&path)?)?)?);
    }
    Ok(tiers)
}

/// Masks of nodes by name (`online`, `has_memory`, ...); empty without CONFIG_NUMA.
pub(crate) fn masks(source: &mut Source<'_>) -> Result<BTreeMap<String, BTreeSet<u32>>, FactError> {
    let mut masks = BTreeMap::new();
    for name in NODE_MASKS {
        let path = format!("{NODE}/{name}");
        if let Some(text) = source.optional(&path)? {
            masks.insert(name.to_string(), number_list(&single(&path, text)?)?);
        }
    }
    Ok(masks)
}

/// All nodes; empty without CONFIG_NUMA.
pub(crate) fn nodes(source: &mut Source<'_>) -> Result<BTreeMap<u32, NodeFacts>, FactError> {
    let mut nodes = BTreeMap::new();
    for (rest, dir) in source.children(NODE, "node") {
        let number = small(&Line { path: &dir, number: 0, text: &rest }, &rest)?;
        let path = format!("{dir}/meminfo");
        let meminfo = parse_proc::node_meminfo(&path, source.required(&path)?, number)?;
        let cpus_path = format!("{dir}/cpulist");
        let cpus = source.optional(&cpus_path)?;
        let cpus = cpus.map(|text| number_list(&single(&cpus_path, text)?)).transpose()?;
        let blocks = source.links(&dir, "memory").into_iter();
        // `memory_side_cache` is a directory, not a link: only links to blocks come here
        let blocks = blocks.map(|(name, target)| link_number(&dir, "memory", name, target));
        let blocks = blocks.collect::<Result<_, _>>()?;
        let mut names = source.listing(&dir)?.unwrap_or_default();
        names.retain(|name| !numbered(name, "memory") && !numbered(name, "cpu"));
        let (vmstat, numastat) = (counters(source, &dir, "vmstat")?, counters(source, &dir, "numastat")?);
        nodes.insert(number, NodeFacts { meminfo, cpus, names, blocks, vmstat, numastat });
    }
    Ok(nodes)
}

/// Counters of a node by name, where they were asked for.
fn counters(
    source: &mut Source<'_>,
    dir: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, u64>>, FactError> {
    let path = format!("{dir}/{name}");
    if !source.asked(&path) {
        return Ok(None);
    }
    source.optional(&path)?.map(|text| parse_proc::vmstat(&path, text)).transpose()
}
