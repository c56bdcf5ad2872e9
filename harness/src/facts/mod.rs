//! What was observed in the guest: raw text by path, and the same parsed. Reading never guesses: what is missing or odd is an error.

mod raw;

pub use raw::Raw;
