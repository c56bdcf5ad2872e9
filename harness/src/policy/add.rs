//! A DIMM appears: which blocks there are then, and what the kernel makes of them by itself.
//!
//! drivers/acpi/acpi_memhotplug.c:acpi_memory_enable_device, mm/memory_hotplug.c:add_memory_resource. The
//! same path serves DIMMs that are there at boot, in the order of their slots: they are in no e820 map, and
//! ACPI's scan adds them.

use super::zones::zone_for;
use super::{
    Block, BlockState, Dimm, Knobs, Layout, MemmapMode, OnlineType, PAGE_BYTES, Ruling, Subject, Unknown,
    Zone,
};

/// A huge page of the page tables: the vmemmap of a block must be a multiple of it.
const PMD_BYTES: u64 = 2 << 20;

const ADD: &str = "mm/memory_hotplug.c:add_memory_resource (5.10 to 7.3)";
const RANGE: &str = "mm/memory_hotplug.c:check_hotplug_memory_range (5.10 to 7.3)";
const LIMIT: &str = "mm/memory_hotplug.c:register_memory_resource (5.10 to 7.3)";
const ACPI: &str = "drivers/acpi/acpi_memhotplug.c:acpi_memory_hotplug_init (5.10 to 7.3)";

/// What a DIMM's arrival made. That memory for the memmap can be had is taken for granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// its blocks, ascending; empty where the kernel adds none
    pub blocks: Vec<AddedBlock>,
    /// why there are no blocks
    pub refused: Option<Ruling>,
    /// pages of each block that hold its own memmap; 0: the memmap was taken from the memory there was
    pub vmemmap_pages: u64,
    /// the node of the blocks
    pub node: u32,
    /// that node appeared with them
    pub new_node: bool,
}

/// One block of a new DIMM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedBlock {
    /// N of memoryN
    pub number: u32,
    /// online or offline
    pub state: BlockState,
    /// zone, while online
    pub zone: Option<Zone>,
    /// why
    pub ruling: Ruling,
}

/// Adds DIMM `name` to the layout and says what its blocks must be like when the kernel is done with it (the
/// insert _OST).
///
/// # Errors
/// [`Unknown`] for kernels below 5.10, and where a block or a DIMM of that name is there already; the layout
/// is then unchanged.
pub fn add(
    layout: &mut Layout,
    knobs: &Knobs,
    subject: &Subject,
    name: &str,
    dimm: Dimm,
) -> Result<Added, Unknown> {
    subject.known()?;
    let mut after = layout.clone();
    if after.dimms.insert(name.to_string(), dimm.clone()).is_some() {
        return Err(Unknown::because(format!("DIMM {name} is there already")));
    }
    let node = if subject.numa && !knobs.numa_off { dimm.node } else { 0 };
    let new_node = !node_online(layout, subject, node);
    let refused = refusal(layout, knobs, subject, &dimm);
    if refused.is_some() {
        *layout = after;
        return Ok(Added { blocks: Vec::new(), refused, vmemmap_pages: 0, node, new_node: false });
    }
    let vmemmap_pages = vmemmap_pages(layout.block_bytes, knobs, subject, dimm.size);
    let numbers = layout.block_range(dimm.addr, dimm.size);
    for number in numbers.clone() {
        let dimm = Some(name.to_string());
        let block = Block { node, state: BlockState::Offline, zone: None, dimm, vmemmap_pages };
        if after.blocks.insert(number, block).is_some() {
            return Err(Unknown::because(format!("memory{number} is there already")));
        }
    }
    let blocks = numbers.map(|number| auto_online(&mut after, knobs, subject, number));
    let blocks = blocks.collect::<Result<_, _>>()?;
    *layout = after;
    Ok(Added { blocks, refused: None, vmemmap_pages, node, new_node })
}

/// Onlines one new block if the kernel does so by itself; each block sees the zones as the ones before left
/// them.
fn auto_online(
    layout: &mut Layout,
    knobs: &Knobs,
    subject: &Subject,
    number: u32,
) -> Result<AddedBlock, Unknown> {
    if knobs.auto_online == OnlineType::Offline {
        let ruling =
            Ruling::new("add.offline", ADD, "auto_online_blocks is offline: new blocks stay offline");
        return Ok(AddedBlock { number, state: BlockState::Offline, zone: None, ruling });
    }
    let (zone, ruling) = zone_for(layout, knobs, subject, number, knobs.auto_online)?;
    set_online(layout, number, zone);
    Ok(AddedBlock { number, state: BlockState::Online, zone: Some(zone), ruling })
}

/// Why the kernel would make no blocks of this DIMM.
fn refusal(layout: &Layout, knobs: &Knobs, subject: &Subject, dimm: &Dimm) -> Option<Ruling> {
    if !subject.acpi_hotplug_memory || knobs.acpi_no_memhotplug {
        let text =
            "ACPI memory hotplug is off: the DIMM is seen (_OST says success), its memory is not added";
        return Some(Ruling::new("add.no-memhotplug", ACPI, text));
    }
    if let Some(limit) = knobs.boot_memory_limit.filter(|l| dimm.cold && dimm.addr + dimm.size > *l) {
        let text = format!("there at boot, and ends above mem={limit}");
        return Some(Ruling::new("add.mem-limit", LIMIT, text));
    }
    let block = layout.block_bytes;
    let aligned = dimm.size != 0 && dimm.addr.is_multiple_of(block) && dimm.size.is_multiple_of(block);
    let text = format!("{:#x} bytes at {:#x} are not whole blocks of {block:#x}", dimm.size, dimm.addr);
    (!aligned).then(|| Ruling::new("add.unaligned", RANGE, text))
}

/// Pages at the beginning of each block that hold its memmap, 0 where the kernel does not do that
/// (mm/memory_hotplug.c:mhp_supports_memmap_on_memory: 5.14 to 6.7 only for a DIMM of one block, later for
/// each block of any DIMM; `force` since 6.6).
pub fn vmemmap_pages(block_bytes: u64, knobs: &Knobs, subject: &Subject, dimm_bytes: u64) -> u64 {
    if !knobs.has_memmap_on_memory || knobs.memmap_on_memory == MemmapMode::Off {
        return 0;
    }
    if !subject.version.at_least(6, 8) && dimm_bytes != block_bytes {
        return 0;
    }
    let block_pages = block_bytes / PAGE_BYTES;
    let bytes = block_pages * subject.struct_page_bytes;
    let exact = bytes.div_ceil(PAGE_BYTES);
    let forced = knobs.memmap_on_memory == MemmapMode::Force;
    let pages = if forced { exact.next_multiple_of(subject.pageblock_pages) } else { exact };
    let fits = bytes.is_multiple_of(PMD_BYTES)
        && pages.is_multiple_of(subject.pageblock_pages)
        && pages != block_pages;
    if fits { pages } else { 0 }
}

/// Is the node online before anything is added to it?
pub(super) fn node_online(layout: &Layout, subject: &Subject, node: u32) -> bool {
    subject.cpu_nodes.contains(&node)
        || layout.early.iter().any(|((n, _), early)| *n == node && early.present > 0)
        || layout.blocks.values().any(|block| block.node == node)
}

/// The block is online in `zone` now.
pub(super) fn set_online(layout: &mut Layout, number: u32, zone: Zone) {
    if let Some(block) = layout.blocks.get_mut(&number) {
        block.state = BlockState::Online;
        block.zone = Some(zone);
    }
    layout.remembered.remove(&number);
}

/// The block is offline now.
pub(super) fn set_offline(layout: &mut Layout, number: u32) {
    if let Some(block) = layout.blocks.get_mut(&number) {
        block.state = BlockState::Offline;
        block.zone = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::*;

    #[test]
    fn policy_decides_at_arrival() {
        for (online, pattern) in [
            (OnlineType::Offline, "--------"),
            (OnlineType::Online, "NNNNNNNN"),
            (OnlineType::OnlineKernel, "NNNNNNNN"),
            (OnlineType::OnlineMovable, "MMMMMMMM"),
        ] {
            let mut guest = Guest::new(subject("6.12"), "");
            guest.knobs.auto_online = online;
            guest.plug(8, 0);
            assert_eq!(guest.pattern(), pattern, "{online}");
        }
    }

    #[test]
    fn movable_node_decides_only_ties() {
        let mut guest = Guest::new(subject("5.10"), "movable_node memhp_default_state=online");
        guest.plug(2, 0);
        assert_eq!(guest.pattern(), "MM");
        let mut guest = Guest::new(subject("5.10"), "movable_node memhp_default_state=online_kernel");
        guest.plug(2, 0);
        assert_eq!(guest.pattern(), "NN");
    }

    /// 512 MiB guest, 130942 early pages: 4, 4, 8 and 4 blocks.
    #[test]
    fn auto_movable_ratios() {
        for (ratio, pattern) in [
            ("301", "MMMMMMMM NNNNNNNN MMMM"),
            ("100", "NNNNNNNN NNNNNNNN NNNN"),
            ("0", "NNNNNNNN NNNNNNNN NNNN"),
            ("800", "MMMMMMMM MMMMMMMM MMMM"),
        ] {
            for extra in ["", " movable_node"] {
                for version in ["6.1", "6.12", "6.18", "7.3"] {
                    let cmdline = format!(
                        "memhp_default_state=online memory_hotplug.online_policy=auto-movable \
                         memory_hotplug.auto_movable_ratio={ratio}{extra}"
                    );
                    let mut guest = Guest::new(subject(version), &cmdline);
                    for blocks in [4, 4, 8, 4] {
                        guest.plug(blocks, 0);
                    }
                    assert_eq!(guest.pattern(), pattern.replace(' ', ""), "{version} {cmdline}");
                }
            }
        }
    }

    /// 131072 early pages and ratio 100: four blocks are exactly as much, a page less is too little.
    #[test]
    fn auto_movable_takes_what_just_fits() {
        let cmdline = "memory_hotplug.online_policy=auto-movable memory_hotplug.auto_movable_ratio=100";
        for (early, pattern) in [(131_072 - 3998, "MMMM"), (131_071 - 3998, "NNNN")] {
            let mut guest = Guest::new(subject("6.12"), cmdline);
            guest.layout.early.get_mut(&(0, Zone::Dma32)).unwrap().present = early;
            guest.plug(4, 0);
            assert_eq!(guest.pattern(), pattern);
        }
        let mut guest = Guest::new(subject("6.12"), cmdline);
        let dma32 = guest.layout.early.get_mut(&(0, Zone::Dma32)).unwrap();
        (dma32.present, dma32.cma) = (131_072 - 3998 + 10, 5);
        guest.plug(4, 0);
        assert_eq!(guest.pattern(), "MMMM", "CMA counts as Movable on both sides");
        let mut guest = Guest::new(subject("6.12"), cmdline);
        let dma32 = guest.layout.early.get_mut(&(0, Zone::Dma32)).unwrap();
        (dma32.present, dma32.cma) = (131_072 - 3998 + 10, 6);
        guest.plug(4, 0);
        assert_eq!(guest.pattern(), "NNNN");
    }

    #[test]
    fn a_node_without_early_memory_gets_nothing_movable() {
        let cmdline = "memhp_default_state=online memory_hotplug.online_policy=auto-movable";
        let mut guest = Guest::new(subject("6.12"), cmdline);
        guest.plug(4, 1);
        assert_eq!(guest.pattern(), "NNNN");
        let unaware = format!("{cmdline} memory_hotplug.auto_movable_numa_aware=n");
        let mut guest = Guest::new(subject("6.12"), &unaware);
        let added = guest.plug(4, 1);
        assert_eq!(guest.pattern(), "MMMM");
        assert_eq!((added.node, added.new_node), (1, true));
        assert!(!guest.plug(1, 1).new_node, "the node is there now");
        let mut guest = Guest::new(subject("6.12"), &format!("{cmdline} numa=off"));
        let added = guest.plug(4, 1);
        assert_eq!((added.node, added.new_node), (0, false));
        assert_eq!(guest.pattern(), "MMMM");
    }

    #[test]
    fn memmap_on_memory_by_version() {
        for (version, mode, blocks, pages) in [
            ("5.10", "Y", 1, 0),
            ("6.1", "Y", 1, 512),
            ("6.1", "Y", 2, 0),
            ("6.1", "force", 1, 0),
            ("6.12", "Y", 1, 512),
            ("6.12", "Y", 8, 512),
            ("6.12", "force", 8, 512),
            ("6.12", "N", 8, 0),
            ("7.3", "1", 8, 512),
        ] {
            let cmdline = format!("memory_hotplug.memmap_on_memory={mode}");
            let mut guest = Guest::new(subject(version), &cmdline);
            assert_eq!(guest.plug(blocks, 0).vmemmap_pages, pages, "{version} {mode} {blocks}");
        }
        let mut small = subject("6.12");
        small.pageblock_pages = 1024;
        let mut guest = Guest::new(small.clone(), "memory_hotplug.memmap_on_memory=y");
        assert_eq!(guest.plug(1, 0).vmemmap_pages, 0, "512 pages are no pageblock of 1024");
        let mut guest = Guest::new(small, "memory_hotplug.memmap_on_memory=force");
        assert_eq!(guest.plug(1, 0).vmemmap_pages, 1024);
    }

    #[test]
    fn what_is_not_added() {
        let half = Dimm { addr: 4 << 30, size: 192 << 20, slot: 0, node: 0, cold: false };
        let mut guest = Guest::new(subject("6.12"), "memhp_default_state=online");
        let added = add(&mut guest.layout, &guest.knobs, &guest.subject, "half", half.clone()).unwrap();
        assert_eq!(added.refused.unwrap().rule, "add.unaligned");
        assert_eq!((added.blocks.len(), guest.layout.dimms.len()), (0, 1));

        let mut guest = Guest::new(subject("6.12"), "acpi_no_memhotplug");
        assert_eq!(guest.plug(2, 0).refused.unwrap().rule, "add.no-memhotplug");

        let mut guest = Guest::new(subject("6.12"), "mem=4G");
        assert_eq!(guest.plug(1, 0).refused, None, "mem= limits only what is there at boot");
        let cold = Dimm { addr: 5 << 30, size: 128 << 20, cold: true, ..half };
        let added = add(&mut guest.layout, &guest.knobs, &guest.subject, "cold", cold).unwrap();
        assert_eq!(added.refused.unwrap().rule, "add.mem-limit");
    }

    #[test]
    fn the_same_twice_is_not_decided() {
        let mut guest = Guest::new(subject("6.12"), "");
        guest.plug(1, 0);
        let before = guest.layout.clone();
        let dimm = before.dimms["dimm0"].clone();
        for name in ["dimm0", "other"] {
            assert!(add(&mut guest.layout, &guest.knobs, &guest.subject, name, dimm.clone()).is_err());
            assert_eq!(guest.layout, before);
        }
    }
}
