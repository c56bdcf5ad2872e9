//! The guest's initramfs, built in memory: the agent as `/init`, and whatever a run puts beside it.

mod agent;
mod initramfs;
mod newc;

pub use agent::AGENT;
pub use initramfs::{ImageError, Initramfs};
