//! The oracle: what a kernel must do with memory blocks, from its version, configuration, command line, knobs and history.
//!
//! Pure: no process, no file, no clock. Every rule names the kernel function it was read from.

mod layout;
mod types;

pub use layout::{Block, Dimm, EarlyZone, Layout, PAGE_BYTES};
pub use types::{BlockState, OnlineType, Zone};
