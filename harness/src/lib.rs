//! memhp boots Linux kernels in QEMU, hot-plugs memory over QMP and judges what the kernel did with it.
//!
//! Data flows one way: kernels, cases and the command line make a plan (a list of scenarios); a scenario
//! runs in a guest and leaves events; a verdict is a fold over the events; reports are folds over events too.

pub mod case;
pub mod event;
pub mod facts;
pub mod finding;
pub mod policy;
pub mod report;
pub mod verdict;
pub mod version;
