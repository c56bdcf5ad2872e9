//! What was observed in the guest: raw text by path, the same parsed, and every deviation from what the model demands.
//!
//! [`watch()`] says what to read, [`Snapshot::parse`] makes types of it, [`Layout::from_boot`](crate::policy::Layout::from_boot) the model's starting
//! point, [`expect`] lists what is not as it must be. Pure: no process, no file, no clock.
//! Reading never guesses: what is missing or odd is an error.

mod baseline;
pub mod drift;
mod error;
mod exact;
pub mod expect;
mod parse_blocks;
mod parse_kcore;
mod parse_pagetypes;
mod parse_proc;
mod parse_threads;
mod parse_zoneinfo;
mod raw;
mod snapshot;
mod source;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_findings;
#[cfg(test)]
mod tests_kcore;
#[cfg(test)]
mod tests_nodes;
#[cfg(test)]
mod tests_sums;
mod watch;

pub use error::FactError;
pub use exact::exact;
pub use parse_blocks::{BlockFacts, NodeFacts};
pub use parse_kcore::Segment;
pub use parse_pagetypes::{FreePages, PageTypes};
pub use parse_proc::Region;
pub use parse_zoneinfo::{ZoneFacts, ZoneInfo};
pub use raw::Raw;
pub use snapshot::{MemmapEntry, Snapshot};
pub(crate) use watch::CPUS;
pub use watch::{ADMIN_RESERVE, MEMORY, MIN_FREE, NODE, PARAMETERS, THREADS, USER_RESERVE, watch};
