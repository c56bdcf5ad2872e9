//! Messages between the harness and the agent (PID 1 of the guest), and their framing.
//!
//! One message is one line on the guest's second serial port: eight hex digits of CRC-32 (IEEE, of the JSON
//! text), a blank, and a JSON object; a long one is packed (`past.rs`). Messages are numbered from 1 in each
//! direction, so that a lost or damaged one is noticed ([`FrameError`]); what to make of that is for
//! the harness to say. The agent reports raw facts and judges nothing.
//!
//! Times are nanoseconds of the guest's `CLOCK_BOOTTIME`.

pub mod base64;
mod edit;
mod follow;
mod frame;
mod job;
mod message;
mod past;

pub use edit::Edit;
pub use follow::{Delta, Sent, State};
pub use frame::{FrameError, FrameReader, FrameWriter};
pub use job::*;
pub use message::*;

/// Version of this protocol; [`Hello`] carries it, and a harness refuses another one.
pub const PROTOCOL: u32 = 6;

/// The word that must stand on the guest's command line: the agent refuses to run as PID 1 without it.
pub const MARKER: &str = "memhp.agent=1";

/// Marks the uevents of a [`Job::Storm`] (SYNTH_UUID; Documentation/ABI/testing/sysfs-uevent).
pub const STORM_UUID: &str = "5706db2e-9c3a-4b51-8d1e-7f0a6c3e91b4";
