//! The model's starting point, from the state at boot: what memory is early, which blocks there are, in which zones.
//!
//! DIMMs on QEMU's command line are not in the firmware's memory map; ACPI adds them during boot like hot-plugged
//! ones, so what they contribute is taken off the zones' numbers (kernel: present_early_pages does not count them).

use super::error::FactError;
use super::parse_blocks::BlockFacts;
use super::parse_proc::Region;
use super::snapshot::Snapshot;
use crate::finding::Finding;
use crate::policy::{Block, BlockState, Dimm, EarlyZone, Layout, PAGE_BYTES, Zone};
use std::collections::{BTreeMap, BTreeSet};

impl Layout {
    /// Derives the layout from a snapshot that was taken at boot, before anything was plugged or written.
    ///
    /// `dimms` are those on QEMU's command line. `vmemmap_pages` tells for a DIMM how many pages of each of its
    /// blocks hold the block's own memmap (memmap_on_memory in effect), 0 otherwise.
    ///
    /// # Errors
    /// [`FactError::Impossible`] where the state at boot is not one that boot alone can make (a boot block that is
    /// offline or has no node), [`FactError::Baseline`] where it does not tell enough.
    pub fn from_boot(
        snapshot: &Snapshot,
        dimms: &BTreeMap<String, Dimm>,
        vmemmap_pages: &dyn Fn(&Dimm) -> u64,
    ) -> Result<Self, FactError> {
        let mut layout = Self {
            block_bytes: snapshot.block_bytes,
            early: BTreeMap::new(),
            blocks: BTreeMap::new(),
            dimms: dimms.clone(),
            remembered: BTreeMap::new(),
        };
        for (&number, facts) in &snapshot.blocks {
            let dimm = dimms.iter().find(|(_, d)| layout.block_range(d.addr, d.size).contains(&number));
            if dimm.is_none() && facts.state != BlockState::Online {
                return Err(FactError::Impossible(format!(
                    "memory{number} of boot memory is {}",
                    facts.state
                )));
            }
            let block = Block {
                node: node_of(number, facts)?,
                state: facts.state,
                zone: zone_of(snapshot, &layout, number, facts)?,
                dimm: dimm.map(|(name, _)| name.clone()),
                vmemmap_pages: dimm.map_or(0, |(_, d)| vmemmap_pages(d)),
            };
            layout.blocks.insert(number, block);
        }
        for (key, facts) in &snapshot.zoneinfo.zones {
            let Some(zone) = Zone::parse(&key.1) else { continue };
            if facts.spanned > 0 && facts.start_pfn.is_none() {
                let (node, name) = key;
                return Err(FactError::Impossible(format!("node {node} {name} spans pages but has none")));
            }
            let whole = EarlyZone {
                start_pfn: facts.start_pfn.unwrap_or(0),
                spanned: facts.spanned,
                present: facts.present,
                managed: facts.managed,
                cma: facts.cma.unwrap_or(0),
            };
            let early = without_dimms(snapshot, &layout, (key.0, zone), whole)?;
            layout.early.insert((key.0, zone), early);
        }
        Ok(layout)
    }
}

impl Layout {
    /// Boot has made a block of each range in which there is RAM, and no other, and blocks are as large as they must be.
    pub fn check_boot(&self, snapshot: &Snapshot) -> Vec<Finding> {
        [self.check_boot_blocks(snapshot), self.check_block_size(snapshot)].into_iter().flatten().collect()
    }

    /// The size of a block follows from where RAM ends at boot; DIMMs do not count, which ACPI adds later.
    fn check_block_size(&self, snapshot: &Snapshot) -> Option<Finding> {
        let of_dimm = |r: &Region| self.dimms.values().any(|d| (d.addr..d.addr + d.size).contains(&r.start));
        let regions = snapshot.iomem.as_ref()?.iter();
        let ram = regions.filter(|r| r.name == "System RAM" && !of_dimm(r));
        // arch/x86/kernel/e820.c:e820_end_pfn: whole pages
        let end = ram.map(|r| r.end.saturating_add(1) / PAGE_BYTES * PAGE_BYTES).max()?;
        let (expected, seen) = (crate::policy::block_bytes(end), self.block_bytes);
        let rule = "arch/x86/mm/init_64.c:probe_memory_block_size: of 64 GiB and more, the largest size up to 2 GiB that memory ends at a multiple of";
        let hex = |bytes: u64| format!("{bytes:x}");
        (expected != seen).then(|| Finding::new("boot.block_size", "", hex(expected), hex(seen), rule))
    }

    fn check_boot_blocks(&self, snapshot: &Snapshot) -> Option<Finding> {
        let ram = snapshot.iomem.as_ref()?.iter().filter(|r| r.name == "System RAM");
        // mm/sparse.c:memblocks_present: whole pages
        let pages =
            ram.map(|r| r.start.div_ceil(PAGE_BYTES)..(r.end + 1) / PAGE_BYTES).filter(|r| !r.is_empty());
        let numbers = pages.flat_map(|r| r.start / self.block_pages()..=(r.end - 1) / self.block_pages());
        let numbers: BTreeSet<u64> = numbers.collect();
        let of_dimms = |n: &u64| {
            self.dimms.values().any(|d| self.block_range(d.addr, d.size).any(|b| u64::from(b) == *n))
        };
        let expected: Vec<u64> = numbers.into_iter().filter(|n| !of_dimms(n)).collect();
        let boot = self.blocks.iter().filter(|(_, b)| b.dimm.is_none());
        let seen: Vec<u64> = boot.map(|(n, _)| u64::from(*n)).collect();
        let rule = "drivers/base/memory.c:memory_dev_init: a block for each section that is present, by memblock's regions";
        let text = |all: &[u64]| all.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        (expected != seen).then(|| Finding::new("boot.blocks", "", text(&expected), text(&seen), rule))
    }
}

/// Zones of `node` whose span touches block `number`, in the kernel's order.
fn spans_over(snapshot: &Snapshot, layout: &Layout, node: u32, number: u32) -> Vec<Zone> {
    let (first, pages) = (layout.first_pfn(number), layout.block_pages());
    let touches = |zone: &Zone| {
        let facts = snapshot.zoneinfo.zones.get(&(node, zone.name().to_string()));
        let start = facts.and_then(|f| Some((f.start_pfn?, f.spanned)));
        start.is_some_and(|(start, spanned)| start < first + pages && first < start + spanned)
    };
    Zone::ALL.into_iter().filter(touches).collect()
}

/// The lowest node of a block: boot blocks may link to several; without CONFIG_NUMA there is no link and node 0.
fn node_of(number: u32, facts: &BlockFacts) -> Result<u32, FactError> {
    let without_numa = facts.names.iter().all(|n| !n.starts_with("node"));
    match facts.nodes.first() {
        Some(node) => Ok(*node),
        None if without_numa => Ok(0),
        None => Err(FactError::Impossible(format!("memory{number} has a node that is not a link"))),
    }
}

/// `valid_zones` of an online block; without CONFIG_MEMORY_HOTREMOVE the only zone that spans it.
fn zone_of(
    snapshot: &Snapshot,
    layout: &Layout,
    number: u32,
    facts: &BlockFacts,
) -> Result<Option<Zone>, FactError> {
    if facts.state != BlockState::Online {
        return Ok(None);
    }
    match facts.valid_zones.as_deref() {
        Some("none") => Ok(None),
        Some(word) => Zone::parse(word)
            .map(Some)
            .ok_or_else(|| FactError::Impossible(format!("memory{number} is online in zone {word:?}"))),
        None => match spans_over(snapshot, layout, node_of(number, facts)?, number).as_slice() {
            [zone] => Ok(Some(*zone)),
            _ => Ok(None),
        },
    }
}

/// Takes the online blocks of DIMMs off a zone.
fn without_dimms(
    snapshot: &Snapshot,
    layout: &Layout,
    key: (u32, Zone),
    whole: EarlyZone,
) -> Result<EarlyZone, FactError> {
    let in_zone = |b: &&Block| b.dimm.is_some() && (b.node, b.zone) == (key.0, Some(key.1));
    let cold: Vec<&Block> = layout.blocks.values().filter(in_zone).collect();
    if cold.is_empty() {
        return Ok(whole);
    }
    let odd = || FactError::Impossible(format!("node {} {} is smaller than its DIMM blocks", key.0, key.1));
    let pages = cold.len() as u64 * layout.block_pages();
    let own_memmap: u64 = cold.iter().map(|b| b.vmemmap_pages).sum();
    let present = whole.present.checked_sub(pages).ok_or_else(odd)?;
    let managed = whole.managed.checked_sub(pages - own_memmap).ok_or_else(odd)?;
    if present == 0 {
        return match managed {
            0 => Ok(EarlyZone { cma: whole.cma, ..EarlyZone::default() }),
            _ => Err(odd()),
        };
    }
    let end = early_end(snapshot, layout, key)?;
    if end <= whole.start_pfn {
        return Err(odd());
    }
    Ok(EarlyZone { spanned: end - whole.start_pfn, present, managed, ..whole })
}

/// Where the boot memory of a zone ends: DIMMs lie above all RAM that the firmware reports, so this is the end of RAM
/// in the last boot block of the node.
fn early_end(snapshot: &Snapshot, layout: &Layout, key: (u32, Zone)) -> Result<u64, FactError> {
    let unknown = || FactError::Baseline(format!("cannot tell where node {} {} ended at boot", key.0, key.1));
    let boot = |(_, b): &(&u32, &Block)| b.dimm.is_none() && b.node == key.0;
    let (&number, _) = layout.blocks.iter().rev().find(boot).ok_or_else(unknown)?;
    let first = layout.first_pfn(number) * crate::policy::PAGE_BYTES;
    let last = first + layout.block_bytes - 1;
    let regions = snapshot.iomem.as_ref().ok_or_else(unknown)?.iter();
    let ram = regions.filter(|r| r.name == "System RAM" && r.start <= last && r.end >= first);
    let end = ram.map(|r| r.end.min(last) + 1).max().ok_or_else(unknown)?;
    Ok(end / crate::policy::PAGE_BYTES)
}
