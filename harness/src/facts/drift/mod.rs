//! What must come back, and what must not creep, when memory is plugged and unplugged again and again.
//!
//! [`back`] compares one snapshot with the baseline, without any model: after a full unplug all of that is exact.
//! [`accounted`] adds up what memory is used for, and tells what nothing accounts for, while memory is plugged too.
//! What is never exact (free memory, slab objects) is sampled after every round ([`Sample`]) and tested as a series
//! ([`flat`]).

mod back;
mod sample;
mod series;

pub use back::{accounted, back};
pub use sample::{PATHS, SLABINFO, Sample, cache_names, settle};
pub use series::{Short, WARM_UP, doubtful, flat, stride};
