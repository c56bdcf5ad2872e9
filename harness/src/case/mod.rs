//! Cases: files, loading with positions, matrix expansion, ids and patterns. Pure but for reading files.

pub mod axes;
pub mod check;
mod check_steps;
#[cfg(test)]
mod check_tests;
pub mod choose;
#[cfg(test)]
mod corpus_tests;
mod each;
pub mod embedded;
pub mod errno;
pub mod load;
pub mod matrix;
pub mod pattern;
pub mod requires;
pub mod schema;
pub mod select;
pub mod substitute;
pub mod units;
pub mod yaml;

pub use choose::{ChooseError, Chosen, choose};
pub use load::{LoadError, Loaded, corpus};
pub use matrix::{Scenario, ScenarioId};
pub use pattern::Pattern;
pub use requires::{SkipReason, applies};

/// Axes of these names are also put on the kernel's command line: `NAME=VALUE`, `absent` leaves it away.
pub const KERNEL_PARAMETERS: [&str; 6] = [
    "memhp_default_state",
    "movable_node",
    "memory_hotplug.online_policy",
    "memory_hotplug.auto_movable_ratio",
    "memory_hotplug.auto_movable_numa_aware",
    "memory_hotplug.memmap_on_memory",
];

/// The JSON schema of case files, as it is checked in as `cases/case.schema.json`.
pub fn schema_json() -> String {
    let schema = schemars::schema_for!(schema::Case);
    let text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    format!("{text}\n")
}
