//! Cases: files, loading with positions, matrix expansion, ids and patterns. Pure but for reading files.

pub mod axes;
pub mod schema;

/// Axes of these names are also put on the kernel's command line: `NAME=VALUE`, `absent` leaves it away.
pub const KERNEL_PARAMETERS: [&str; 6] = [
    "memhp_default_state",
    "movable_node",
    "memory_hotplug.online_policy",
    "memory_hotplug.auto_movable_ratio",
    "memory_hotplug.auto_movable_numa_aware",
    "memory_hotplug.memmap_on_memory",
];
