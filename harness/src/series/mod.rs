//! A series of patches from strangers: read, refused or applied, built, run, reported.

pub mod check;
pub mod header;
pub mod mail;
pub mod order;
pub mod subject;
