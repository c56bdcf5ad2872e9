//! Verdicts: what the findings of a scenario and its console come to. Pure: no process, no file, no clock.

mod exit;
mod judge;
pub mod known;
pub mod triage;
mod types;

pub use exit::{ExitOptions, Mode, NOT_JUDGED, STOP_BISECTION, Signal, USAGE, exit_status, usage_status};
pub use judge::{Judgement, Purpose, Trouble, judge, title};
pub use known::Known;
pub use triage::{Alarm, Class, Complaint, Provokes, messages, stable, triage};
pub use types::Verdict;
