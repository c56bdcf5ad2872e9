//! One moment of the guest, parsed.

use super::error::{FactError, Line};
use super::parse_blocks::{self, BlockFacts, NodeFacts};
use super::parse_kcore::{self, Segment};
use super::parse_pagetypes::{self, PageTypes};
use super::parse_proc::{self, Region};
use super::parse_threads;
use super::parse_zoneinfo::{self, ZoneInfo};
use super::raw::Raw;
use super::source::{Source, single};
use super::watch::{
    ACPI_DEVICES, ACPI_HOTPLUG, KSM, MEMMAP, MEMORY, NODE, PARAMETER_NAMES, PARAMETERS, RESERVE_RATIO,
    VM_SYSCTLS,
};
use std::collections::{BTreeMap, BTreeSet};

/// An entry of /sys/firmware/memmap. Its number means nothing: the kernel never uses one twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemmapEntry {
    /// first address
    pub start: u64,
    /// last address, inclusive
    pub end: u64,
    /// `System RAM`, `Reserved`, ...
    pub kind: String,
}

/// All that [`watch`](super::watch()) reads, as types. Units are those of the files (zones in pages, meminfo in kB).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// `block_size_bytes`
    pub block_bytes: u64,
    /// permissions of the parameters of mm/memory_hotplug.c
    pub parameter_modes: BTreeMap<String, String>,
    /// names in /sys/devices/system/memory
    pub root_names: BTreeSet<String>,
    /// permissions of the files there
    pub root_modes: BTreeMap<String, String>,
    /// permissions of the files of nodes, ACPI slots and the firmware's memory map, by what a finding calls their directory
    pub modes: BTreeMap<String, BTreeMap<String, String>>,
    /// memory blocks by number
    pub blocks: BTreeMap<u32, BlockFacts>,
    /// node masks by name; empty without CONFIG_NUMA
    pub masks: BTreeMap<String, BTreeSet<u32>>,
    /// nodes; empty without CONFIG_NUMA
    pub nodes: BTreeMap<u32, NodeFacts>,
    /// nodes of each memory tier; empty where the kernel has none
    pub tiers: BTreeMap<String, BTreeSet<u32>>,
    /// /proc/zoneinfo
    pub zoneinfo: ZoneInfo,
    /// /proc/meminfo, kB
    pub meminfo: BTreeMap<String, u64>,
    /// /proc/vmstat
    pub vmstat: Option<BTreeMap<String, u64>>,
    /// /proc/iomem, in the file's order
    pub iomem: Option<Vec<Region>>,
    /// segments of memory in /proc/kcore, by address; `None`: the kernel has none, or does not let it be read
    pub kcore: Option<Vec<Segment>>,
    /// /proc/pagetypeinfo
    pub pagetypes: Option<PageTypes>,
    /// /proc/buddyinfo: free pages by node and zone
    pub buddies: Option<BTreeMap<(u32, String), u64>>,
    /// /sys/firmware/memmap, sorted
    pub memmap: Option<Vec<MemmapEntry>>,
    /// files whose content is a setting: path to content, with blanks for tabs
    pub knobs: BTreeMap<String, String>,
    /// blocks that the ACPI device of a DIMM slot links to, by the device's name
    pub acpi: BTreeMap<String, BTreeSet<u32>>,
    /// names of the watched kernel threads
    pub threads: BTreeSet<String>,
    /// those of them that sleep and cannot be interrupted (state D of /proc/PID/stat)
    pub blocked: BTreeSet<String>,
    /// where they may run, by name; not in old logs
    pub affinity: BTreeMap<String, BTreeSet<u32>>,
    /// paths that were asked for and are not there: what this kernel was built without
    pub absent: BTreeSet<String>,
}

impl Snapshot {
    /// Parses a raw state, as [`watch`](super::watch()) has it read.
    ///
    /// # Errors
    /// A file that every kernel has is missing, a file cannot be read, or has an unknown shape. No default is ever
    /// put in place of what could not be read.
    pub fn parse(raw: &Raw) -> Result<Self, FactError> {
        let mut source = Source::new(raw);
        let s = &mut source;
        let path = format!("{MEMORY}/block_size_bytes");
        let line = single(&path, s.required(&path)?)?;
        let block_bytes = line.hex(line.text)?;
        if block_bytes == 0 {
            return Err(line.shape("no block size"));
        }
        let zoneinfo = parse_zoneinfo::parse("/proc/zoneinfo", s.required("/proc/zoneinfo")?)?;
        let meminfo = parse_proc::meminfo("/proc/meminfo", s.required("/proc/meminfo")?)?;
        let threads = parse_threads::parse(s.threads())?;
        let mut snapshot = Self {
            block_bytes,
            parameter_modes: s.modes(PARAMETERS),
            root_names: s.listing(MEMORY)?.unwrap_or_default(),
            root_modes: s.modes(MEMORY),
            modes: modes(s),
            blocks: parse_blocks::blocks(s)?,
            masks: parse_blocks::masks(s)?,
            nodes: parse_blocks::nodes(s)?,
            tiers: parse_blocks::tiers(s)?,
            zoneinfo,
            meminfo,
            vmstat: optional(s, "/proc/vmstat", parse_proc::vmstat)?,
            iomem: optional(s, "/proc/iomem", parse_proc::iomem)?,
            kcore: parse_kcore::kcore(s)?,
            pagetypes: optional(s, "/proc/pagetypeinfo", parse_pagetypes::parse)?,
            buddies: optional(s, "/proc/buddyinfo", parse_pagetypes::buddies)?,
            memmap: memmap(s)?,
            knobs: knobs(s)?,
            acpi: acpi(s)?,
            threads: threads.names,
            blocked: threads.blocked,
            affinity: threads.affinity,
            absent: BTreeSet::new(),
        };
        snapshot.absent = source.absent;
        Ok(snapshot)
    }

    /// A counter of /proc/vmstat, `None` where this kernel has none of that name.
    pub fn vm(&self, name: &str) -> Option<u64> {
        self.vmstat.as_ref()?.get(name).copied()
    }

    /// Pages under the allocator in all zones.
    pub fn managed_pages(&self) -> u64 {
        self.zoneinfo.zones.values().map(|z| z.managed).sum()
    }
}

fn optional<T>(
    source: &mut Source<'_>,
    path: &str,
    parse: impl Fn(&str, &str) -> Result<T, FactError>,
) -> Result<Option<T>, FactError> {
    source.optional(path)?.map(|text| parse(path, text)).transpose()
}

fn knobs(source: &mut Source<'_>) -> Result<BTreeMap<String, String>, FactError> {
    let root = ["auto_online_blocks", "block_size_bytes", "crash_hotplug"].map(|n| format!("{MEMORY}/{n}"));
    let parameters = PARAMETER_NAMES.map(|n| format!("{PARAMETERS}/{n}"));
    let sysctls = VM_SYSCTLS.iter().chain([&RESERVE_RATIO]).map(|n| format!("/proc/sys/vm/{n}"));
    let files =
        ["/proc/sys/kernel/tainted".to_string(), format!("{ACPI_HOTPLUG}/enabled"), format!("{KSM}/run")];
    let mut knobs = BTreeMap::new();
    for path in root.into_iter().chain(parameters).chain(sysctls).chain(files) {
        if let Some(text) = source.optional(&path)? {
            let words = single(&path, text)?.text.replace('\t', " ");
            knobs.insert(path, words);
        }
    }
    Ok(knobs)
}

/// Permissions in the directories that are listed beside those of blocks and parameters.
fn modes(source: &Source<'_>) -> BTreeMap<String, BTreeMap<String, String>> {
    let alone = [("node", NODE), ("hotplug/memory", ACPI_HOTPLUG)];
    let mut dirs: Vec<_> = alone.map(|(name, dir)| (name.to_string(), dir.to_string())).into();
    for (parent, prefix) in [(NODE, "node"), (ACPI_DEVICES, "PNP0C80:"), (MEMMAP, "")] {
        let shown = if parent == MEMMAP { "memmap/" } else { prefix };
        let children = source.children(parent, prefix).into_iter();
        dirs.extend(children.map(|(rest, dir)| (format!("{shown}{rest}"), dir)));
    }
    dirs.into_iter().map(|(name, dir)| (name, source.modes(&dir))).collect()
}

fn memmap(source: &mut Source<'_>) -> Result<Option<Vec<MemmapEntry>>, FactError> {
    let mut entries = Vec::new();
    for (_, dir) in source.children(MEMMAP, "") {
        let mut address = |name: &str| {
            let path = format!("{dir}/{name}");
            let line = single(&path, source.required(&path)?)?;
            line.hex(line.text.strip_prefix("0x").unwrap_or_default())
        };
        let (start, end) = (address("start")?, address("end")?);
        let path = format!("{dir}/type");
        let kind = single(&path, source.required(&path)?)?.text.to_string();
        entries.push(MemmapEntry { start, end, kind });
    }
    entries.sort();
    Ok(Some(entries).filter(|e| !e.is_empty()))
}

/// DIMM slots whose device links to blocks.
fn acpi(source: &mut Source<'_>) -> Result<BTreeMap<String, BTreeSet<u32>>, FactError> {
    let mut slots = BTreeMap::new();
    for (rest, dir) in source.children(ACPI_DEVICES, "PNP0C80:") {
        let mut blocks = BTreeSet::new();
        let links = source.links(&dir, "physical_node");
        for (name, target) in &links {
            let path = format!("{dir}/{name}");
            let line = Line { path: &path, number: 0, text: target };
            // drivers/acpi/glue.c:acpi_physnode_link_name: the first has no number, the others count on
            let number = if *name == "physical_node" { "0" } else { &name["physical_node".len()..] };
            if line.number(number)? >= links.len() as u64 || (number.starts_with('0') && number.len() > 1) {
                return Err(line.shape("not the name of one of so many links"));
            }
            let number = target.strip_prefix("memory").ok_or_else(|| line.shape("not a memory block"))?;
            blocks.insert(super::source::small(&line, number)?);
        }
        slots.insert(format!("PNP0C80:{rest}"), blocks);
    }
    Ok(slots)
}
