//! Which revision, or which packaged kernel, brought a change in.
//!
//! [`search`] (pure) decides how often to run what, by [`sprt`]; [`worktree`] lets git walk the history in a worktree of
//! its own; [`trials`] runs guests; [`journal`] keeps what was found, [`text`] tells it.

pub mod git;
pub mod search;
pub mod sprt;
pub mod tally;
pub mod worktree;
