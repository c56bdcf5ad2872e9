//! A series of patches from strangers: read, refused or applied, built on its base. What the kernels do is compared
//! elsewhere; [`report`] says what came of it.
//!
//! The way: `input` copies, `split` has git decode the mails and checks them, `tree` makes a worktree of the base,
//! `apply` applies, `build` builds the base and, in the sandbox, the patched kernels.

mod apply;
mod b4;
mod build;
mod check;
mod error;
mod header;
mod input;
mod mail;
mod order;
mod prepare;
pub mod report;
mod shell;
mod split;
mod subject;
#[cfg(test)]
mod tests;
mod tree;
mod workspace;

pub use b4::{Found, find as find_b4};
pub use error::SeriesError;
pub use prepare::{Facts, Kernel, Prepared, Request, prepare};
pub use split::Bad;
pub use tree::Base;
