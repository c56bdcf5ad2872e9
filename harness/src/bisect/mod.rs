//! Which revision, or which packaged kernel, brought a change in.
//!
//! [`search`] (pure) decides how often to run what, by [`sprt`]; [`worktree`] lets git walk the history in a worktree of
//! its own; [`workspace`] builds there, [`guests`] runs what was built; [`journal`] keeps runs, [`text`] tells the
//! answer. [`interval`] (pure) walks kernels that need no compiler.

mod count;
pub mod git;
pub mod guests;
pub mod interval;
pub mod journal;
pub mod search;
pub mod sprt;
pub mod tally;
pub mod text;
pub mod workspace;
pub mod worktree;
