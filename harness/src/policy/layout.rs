//! What the oracle believes the guest's memory looks like: the state that predictions start from and end in.

use super::types::{BlockState, OnlineType, Zone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Pages of 4 KiB: x86_64 has no other base page.
pub const PAGE_BYTES: u64 = 4096;

/// A zone's memory that was there at boot, in pages; hot-plugged memory is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EarlyZone {
    /// zone_start_pfn, 0 where nothing is spanned
    pub start_pfn: u64,
    /// spanned pages
    pub spanned: u64,
    /// present pages (also present_early_pages)
    pub present: u64,
    /// managed pages
    pub managed: u64,
    /// CMA pages
    pub cma: u64,
}

/// One memory block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// NUMA node
    pub node: u32,
    /// state
    pub state: BlockState,
    /// zone while online; `None` while offline, and for an online block that spans several zones (`none` in sysfs)
    pub zone: Option<Zone>,
    /// the DIMM it belongs to; `None` for boot memory
    pub dimm: Option<String>,
    /// pages of the block that hold its own memmap (memmap_on_memory), 0 otherwise
    pub vmemmap_pages: u64,
}

/// A DIMM as QEMU has it. It is also a static memory group of the kernel (since 5.15).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimm {
    /// guest physical address
    pub addr: u64,
    /// bytes
    pub size: u64,
    /// QEMU's slot
    pub slot: u32,
    /// NUMA node
    pub node: u32,
    /// present at boot (on QEMU's command line)
    pub cold: bool,
}

/// Memory of the whole guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// bytes of a memory block
    pub block_bytes: u64,
    /// boot memory by node and zone
    pub early: BTreeMap<(u32, Zone), EarlyZone>,
    /// every block, by number (physical address / block size)
    pub blocks: BTreeMap<u32, Block>,
    /// DIMMs by their name in the case
    pub dimms: BTreeMap<String, Dimm>,
    /// online types that the kernel remembers of *rejected* writes, by block: writing `online*` to the
    /// `state` of an online block is EINVAL, but sets `mem->online_type`, which the next onlining without a
    /// type of its own obeys (drivers/base/memory.c:state_store, memory_subsys_online; 5.10 to 7.3); empty on
    /// a fresh guest
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub remembered: BTreeMap<u32, OnlineType>,
}

impl Layout {
    /// Pages of a block.
    pub fn block_pages(&self) -> u64 {
        self.block_bytes / PAGE_BYTES
    }

    /// First page frame of block `number`.
    pub fn first_pfn(&self, number: u32) -> u64 {
        u64::from(number) * self.block_pages()
    }

    /// Numbers of the blocks that a range of addresses covers.
    pub fn block_range(&self, addr: u64, size: u64) -> std::ops::Range<u32> {
        let number = |bytes: u64| u32::try_from(bytes / self.block_bytes).unwrap_or(u32::MAX);
        number(addr)..number(addr + size)
    }

    /// Blocks of DIMM `name`, ascending.
    pub fn blocks_of<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = (u32, &'a Block)> {
        self.blocks.iter().filter(move |(_, b)| b.dimm.as_deref() == Some(name)).map(|(n, b)| (*n, b))
    }
}
