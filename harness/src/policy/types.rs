//! The kernel's own words for states, zones and online types.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What is to be done with a block: `MMOP_*` in the kernel (include/linux/memory_hotplug.h).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnlineType {
    /// `offline`
    Offline,
    /// `online`: the kernel picks the zone
    Online,
    /// `online_kernel`
    OnlineKernel,
    /// `online_movable`
    OnlineMovable,
}

impl OnlineType {
    /// All, in the kernel's order.
    pub const ALL: [Self; 4] = [Self::Offline, Self::Online, Self::OnlineKernel, Self::OnlineMovable];

    /// The word in sysfs and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Online => "online",
            Self::OnlineKernel => "online_kernel",
            Self::OnlineMovable => "online_movable",
        }
    }

    /// As the kernel parses it: exact word, one trailing newline tolerated (lib/string_helpers.c:sysfs_streq).
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.strip_suffix('\n').unwrap_or(text);
        Self::ALL.into_iter().find(|t| t.word() == word)
    }
}

impl fmt::Display for OnlineType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Zones that a memory block can be in, in the kernel's order (include/linux/mmzone.h).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum Zone {
    /// ZONE_DMA
    #[serde(rename = "DMA")]
    Dma,
    /// ZONE_DMA32
    #[serde(rename = "DMA32")]
    Dma32,
    /// ZONE_NORMAL
    Normal,
    /// ZONE_MOVABLE
    Movable,
}

impl Zone {
    /// All, in the kernel's order.
    pub const ALL: [Self; 4] = [Self::Dma, Self::Dma32, Self::Normal, Self::Movable];
    /// Zones that kernel allocations may use, in the kernel's order.
    pub const KERNEL: [Self; 3] = [Self::Dma, Self::Dma32, Self::Normal];

    /// The name in /proc/zoneinfo and valid_zones.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dma => "DMA",
            Self::Dma32 => "DMA32",
            Self::Normal => "Normal",
            Self::Movable => "Movable",
        }
    }

    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|z| z.name() == name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What `memoryN/state` reads.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum BlockState {
    /// MEM_ONLINE
    Online,
    /// MEM_OFFLINE
    Offline,
    /// MEM_GOING_OFFLINE
    GoingOffline,
}

impl BlockState {
    /// The word in sysfs (drivers/base/memory.c:state_show).
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::GoingOffline => "going-offline",
        }
    }

    /// By its word, without newline.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Online, Self::Offline, Self::GoingOffline].into_iter().find(|s| s.word() == word)
    }
}

impl fmt::Display for BlockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
