//! What a kernel is, as far as it decides about memory blocks: version and configuration.

use super::{OnlineType, Unknown};
use crate::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A kernel, and the nodes of the machine that it may not remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// its version
    pub version: Version,
    /// the compiled-in default of `auto_online_blocks`
    pub default_online: OnlineType,
    /// CONFIG_NUMA
    pub numa: bool,
    /// CONFIG_MEMORY_HOTREMOVE
    pub hotremove: bool,
    /// CONFIG_ACPI_HOTPLUG_MEMORY: without it a DIMM is never added
    pub acpi_hotplug_memory: bool,
    /// CONFIG_MHP_MEMMAP_ON_MEMORY
    pub memmap_on_memory_built: bool,
    /// pages of a pageblock: 512, or 1024 without huge pages
    pub pageblock_pages: u64,
    /// bytes of a `struct page`
    pub struct_page_bytes: u64,
    /// added memory takes its memory map and few page tables, and nothing else in proportion: no shadow memory (KASAN,
    /// KMSAN), no page_ext, no direct map of small pages
    pub takes_memmap_only: bool,
    /// nodes that have a CPU: online from boot, never removed
    pub cpu_nodes: BTreeSet<u32>,
}

/// Options with which each page has more than its struct page (mm/page_ext.c:page_ext_ops, mm/kasan/shadow.c), or its own
/// entry in the direct map.
const SHADOWS: [&str; 6] =
    ["KASAN", "KMSAN", "DEBUG_PAGEALLOC", "PAGE_OWNER", "PAGE_TABLE_CHECK", "MEM_ALLOC_PROFILING"];

impl Subject {
    /// A kernel of this version with what distributions build: NUMA, hot removal, memmap_on_memory, huge
    /// pages; one CPU node.
    pub fn usual(version: Version, default_online: OnlineType) -> Self {
        Self {
            version,
            default_online,
            numa: true,
            hotremove: true,
            acpi_hotplug_memory: true,
            memmap_on_memory_built: version.at_least(5, 14),
            pageblock_pages: 512,
            struct_page_bytes: 64,
            takes_memmap_only: true,
            cpu_nodes: BTreeSet::from([0]),
        }
    }

    /// From a configuration: `value` answers for an option without `CONFIG_` (`y`, `m`, a number), `None`
    /// where it is not set.
    ///
    /// The default online type is `MHP_DEFAULT_ONLINE_TYPE_*` where one is set (upstream since 6.14, and in
    /// later stable releases of 6.12), else `MEMORY_HOTPLUG_DEFAULT_ONLINE` (mm/memory_hotplug.c:
    /// mhp_default_online_type).
    pub fn from_config<'a>(version: Version, value: impl Fn(&str) -> Option<&'a str>) -> Self {
        let on = |option: &str| value(option) == Some("y");
        let default_online = if on("MHP_DEFAULT_ONLINE_TYPE_ONLINE_AUTO") {
            OnlineType::Online
        } else if on("MHP_DEFAULT_ONLINE_TYPE_ONLINE_KERNEL") {
            OnlineType::OnlineKernel
        } else if on("MHP_DEFAULT_ONLINE_TYPE_ONLINE_MOVABLE") {
            OnlineType::OnlineMovable
        } else if on("MEMORY_HOTPLUG_DEFAULT_ONLINE") {
            OnlineType::Online
        } else {
            OnlineType::Offline
        };
        Self {
            numa: on("NUMA"),
            hotremove: on("MEMORY_HOTREMOVE"),
            acpi_hotplug_memory: on("ACPI_HOTPLUG_MEMORY"),
            memmap_on_memory_built: on("MHP_MEMMAP_ON_MEMORY"),
            pageblock_pages: {
                let pages = Self::pageblock(version, on("HUGETLB_PAGE"), on("TRANSPARENT_HUGEPAGE"));
                let limit = value("PAGE_BLOCK_MAX_ORDER").and_then(|order| order.parse::<u32>().ok());
                limit.and_then(|order| 1u64.checked_shl(order)).map_or(pages, |limit| pages.min(limit))
            },
            takes_memmap_only: !SHADOWS.iter().any(|option| on(option)),
            ..Self::usual(version, default_online)
        }
    }

    /// include/linux/pageblock-flags.h: the order of a huge page with CONFIG_HUGETLB_PAGE, and with THP in
    /// 6.12 and later, else the buddy's largest; 7.3 can limit it (CONFIG_PAGE_BLOCK_MAX_ORDER).
    fn pageblock(version: Version, hugetlb: bool, thp: bool) -> u64 {
        if hugetlb || (thp && version.at_least(6, 12)) { 512 } else { 1024 }
    }

    /// Are the rules known for this kernel?
    ///
    /// # Errors
    /// [`Unknown`] below 5.10.
    pub(super) fn known(&self) -> Result<(), Unknown> {
        if self.version.at_least(5, 10) {
            return Ok(());
        }
        Err(Unknown::because(format!("the rules were read for 5.10 and later, this is {}", self.version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_of(version: (u32, u32), set: &'static str) -> OnlineType {
        let version = Version::series(version.0, version.1);
        Subject::from_config(version, |option| (option == set).then_some("y")).default_online
    }

    #[test]
    fn compiled_default() {
        assert_eq!(default_of((5, 10), "NUMA"), OnlineType::Offline);
        assert_eq!(default_of((6, 1), "MEMORY_HOTPLUG_DEFAULT_ONLINE"), OnlineType::Online);
        assert_eq!(default_of((6, 12), "MHP_DEFAULT_ONLINE_TYPE_ONLINE_AUTO"), OnlineType::Online);
        assert_eq!(default_of((7, 3), "MHP_DEFAULT_ONLINE_TYPE_OFFLINE"), OnlineType::Offline);
        assert_eq!(default_of((7, 3), "MHP_DEFAULT_ONLINE_TYPE_ONLINE_KERNEL"), OnlineType::OnlineKernel);
        assert_eq!(default_of((7, 3), "MHP_DEFAULT_ONLINE_TYPE_ONLINE_MOVABLE"), OnlineType::OnlineMovable);
    }

    #[test]
    fn pageblocks() {
        let pages = |minor, set: &'static str| {
            let subject = Subject::from_config(Version::series(6, minor), |o| (o == set).then_some("y"));
            subject.pageblock_pages
        };
        assert_eq!((pages(1, "HUGETLB_PAGE"), pages(1, "TRANSPARENT_HUGEPAGE")), (512, 1024));
        assert_eq!((pages(12, "TRANSPARENT_HUGEPAGE"), pages(12, "NUMA")), (512, 1024));
    }
}
