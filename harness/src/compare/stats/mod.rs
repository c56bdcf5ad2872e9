//! The tests that tell a difference from chance. Exact where the counts are small, which they are here; no files, no clock.

mod fisher;
mod holm;
mod ranks;

pub use fisher::fisher;
pub use holm::holm;
pub use ranks::{Ranks, least_p, rank_test};
