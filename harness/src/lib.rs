//! memhp boots Linux kernels in QEMU, hot-plugs memory over QMP and judges what the kernel did with it.
//!
//! Data flows one way: kernels, cases and the command line make a plan (a list of scenarios); a scenario
//! runs in a guest and leaves events; a verdict is a fold over the events; reports are folds over events too.

/// A line on stderr. Unlike `eprintln!` it does not panic where nobody reads any more: what is under way (a run, the end
/// of one) goes on.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

pub mod bisect;
pub mod case;
pub mod cli;
pub mod compare;
pub mod event;
pub mod facts;
pub mod finding;
pub mod image;
pub mod kernel;
pub mod measure;
pub mod policy;
pub mod report;
pub mod run;
pub mod sandbox;
pub mod series;
pub mod svg;
pub mod sys;
pub mod timeline;
pub mod verdict;
pub mod version;
pub mod vm;
