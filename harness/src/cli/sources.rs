//! Kernels and cases as the command line names them, shared by the verbs.

use super::args::Sources;
use super::failure::Failure;
use super::progress::Told;
use super::signals::with_stop;
use crate::case::{self, Chosen, Pattern};
use crate::kernel::{self, Kernel};
use crate::policy::Subject;
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

/// Resolved kernels, and what the user should know of how they were.
pub struct Kernels {
    /// in the order named
    pub all: Vec<Arc<Kernel>>,
    /// lines for the log
    pub notices: Vec<String>,
}

/// Resolves `-k` specs; fetches and builds what is not in the cache.
pub fn kernels(specs: &[String], dir: Option<&Path>) -> Result<Kernels, Failure> {
    let notices = RefCell::new(Vec::new());
    let notify = |notice: kernel::Notice| {
        say!("memhp: {notice}");
        notices.borrow_mut().push(notice.to_string());
    };
    let mut context = kernel::Context::new(&notify).map_err(Failure::kernel)?;
    context.kernels_dir = dir.map(Path::to_path_buf);
    let told = Told::new();
    context.tools.progress = &told;
    let stop = context.tools.stop.clone();
    let all = with_stop(&stop, || kernel::resolve(specs, &context).map_err(Failure::kernel))?;
    drop(context);
    Ok(Kernels { all: all.into_iter().map(Arc::new).collect(), notices: notices.into_inner() })
}

/// Scenarios that the patterns choose on these kernels.
pub fn scenarios(
    patterns: &[String],
    sources: &Sources,
    kernels: &[Arc<Kernel>],
) -> Result<Vec<Chosen>, Failure> {
    let corpus = case::corpus(sources.cases.as_deref()).map_err(Failure::usage)?;
    let patterns: Vec<Pattern> = patterns.iter().map(Pattern::new).collect();
    let names: Vec<&str> = kernels.iter().map(|k| k.name.as_str()).collect();
    case::choose(&corpus, &patterns, &names).map_err(Failure::usage)
}

/// The kernel as the oracle sees it, if its configuration is at hand.
pub fn subject(kernel: &Kernel) -> Option<Subject> {
    let config = kernel.config.as_ref()?;
    Some(Subject::from_config(kernel.version, |name| config.get(name)))
}

/// Whether every pattern is one of a case; kernels come later.
pub fn check(patterns: &[String]) -> Result<(), Failure> {
    let corpus = case::corpus(None).map_err(Failure::usage)?;
    let patterns: Vec<Pattern> = patterns.iter().map(Pattern::new).collect();
    case::choose(&corpus, &patterns, &["base"]).map(|_| ()).map_err(Failure::usage)
}
