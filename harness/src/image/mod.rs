//! The guest's initramfs, built in memory: the agent as `/init`, whatever a run puts beside it, and real programs of
//! the host's distribution behind it.

mod agent;
mod initramfs;
mod newc;
mod rules;
mod userspace;

pub use agent::AGENT;
pub use initramfs::{ImageError, Initramfs};
pub use rules::{Machine, Rules, all as all_rules, rules};
pub use userspace::{Part, part};
