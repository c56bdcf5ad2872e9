//! The oracle: what a kernel must do with memory blocks, from its version, configuration, command line, knobs
//! and history.
//!
//! Pure: no process, no file, no clock. Every rule names the kernel function it was read from ([`Ruling`]),
//! and what cannot be decided from outside is [`Unknown`], never a guess. The rules were read in Linux 5.10,
//! 6.1, 6.12 and 7.3; older kernels are `Unknown`, newer ones are taken to be like 7.3.
//!
//! A [`Layout`] (what the guest's memory looks like) and [`Knobs`] (its settings) are kept by the caller;
//! each operation is asked for its outcome and then applied, so that the next prediction starts from there:
//! - [`add`]: a DIMM appears, its blocks are created and onlined by the kernel ([`Knobs::auto_online`]);
//! - [`write_state`], [`write_online`]: user space writes `memoryN/state` or `memoryN/online`;
//! - [`valid_zones`]: what `memoryN/valid_zones` reads;
//! - [`unplug`]: a DIMM is asked back; [`rollback`] is what kernels do after a refusal.

mod add;
mod auto_movable;
mod cmdline;
mod errno;
mod geometry;
mod knobs;
mod layout;
mod number;
mod predict;
mod ruling;
mod spans;
mod state;
mod subject;
mod types;
mod uevents;
mod unplug;
mod valid_zones;
mod writes;
mod zones;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

pub use add::{Added, AddedBlock, add, vmemmap_pages};
pub use errno::Errno;
pub use geometry::{block_bytes, device_memory_base, free_address, guest};
pub use knobs::{Knobs, MemmapMode, OnlinePolicy};
pub use layout::{Block, Dimm, EarlyZone, Layout, PAGE_BYTES};
pub use predict::{Line, PlugSpec, PredictError, predict};
pub use ruling::{Ruling, Unknown};
pub use spans::{present_early_pages, present_pages, span};
pub use state::{
    Allowed, Outcome, Permitted, apply_write_online, apply_write_state, write_online, write_state,
};
pub use subject::Subject;
pub use types::{BlockState, OnlineType, Zone};
pub use uevents::{
    Event, Expected, brought_back, check_all_uevents, check_environments, check_uevents, expect_contested,
    expect_plug, expect_refusal, expect_unplug, expect_write,
};
pub use unplug::{
    Ending, UnplugPermitted, apply_rollback, apply_unplugged, refusal_for_a_reason_of_the_case, rollback,
    unplug,
};
pub use valid_zones::valid_zones;
pub use writes::Refusal;
pub use zones::zone_for;
