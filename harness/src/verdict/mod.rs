//! Verdicts: what the findings of a scenario and its console come to.

mod types;

pub use types::Verdict;
