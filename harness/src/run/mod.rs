//! From a plan to verdicts: scenarios run in guests, observations are judged, everything is logged as events.
//!
//! [`plan`] decides, [`schedule`] runs several guests at once, [`attempt`] takes one scenario from boot to verdict,
//! [`engine`] does its steps on a [`guest`], and the [`judge`] (pure) says what is wrong.

pub mod attempt;
pub mod boot;
pub mod console_shell;
pub mod durations;
pub mod engine;
pub mod errno;
pub mod footprint;
pub mod guest;
pub mod host;
pub mod judge;
mod needs;
mod numbered;
pub mod observation;
mod plain;
pub mod plan;
pub mod probe;
pub mod proof;
pub(crate) mod put;
pub mod rejudge;
mod scan;
pub mod schedule;
pub mod select;
pub mod spec;
pub mod templates;
pub mod trail;
pub(crate) mod trouble;

pub use trouble::Trouble;
