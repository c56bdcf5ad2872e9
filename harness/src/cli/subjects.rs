//! What must be known of each kernel: from its configuration, else from a probe boot.

use super::failure::Failure;
use super::sources;
use crate::kernel::Kernel;
use crate::policy::{OnlineType, Subject};
use crate::run::boot::Dead;
use crate::run::host::Host;
use crate::run::probe::{Probed, probe};
use std::sync::Arc;

/// A kernel as it was met.
pub struct Met {
    /// the kernel; what a probe boot shows of its configuration is in it
    pub kernel: Arc<Kernel>,
    /// as the oracle sees it
    pub subject: Subject,
    /// it does not boot: none of its scenarios needs to try again
    pub dead: Option<Arc<Dead>>,
}

/// One for each kernel. Kernels without a configuration at hand are booted once if a host is given, and are taken for a
/// usual build of their version without one.
pub fn of(kernels: &[Arc<Kernel>], host: Option<&Host>) -> Result<Vec<Met>, Failure> {
    kernels.iter().map(|kernel| one(kernel, host)).collect()
}

fn one(kernel: &Arc<Kernel>, host: Option<&Host>) -> Result<Met, Failure> {
    let usual = || Subject::usual(kernel.version, OnlineType::Offline);
    let alive = |kernel: &Arc<Kernel>, subject| Met { kernel: Arc::clone(kernel), subject, dead: None };
    match (sources::subject(kernel), host) {
        (Some(subject), _) => Ok(alive(kernel, subject)),
        (None, Some(host)) => match probe(host, kernel).map_err(Failure::host)? {
            Probed::Subject(subject, config) => {
                let kernel = Kernel { config: Some(config), ..Kernel::clone(kernel) };
                Ok(alive(&Arc::new(kernel), *subject))
            }
            Probed::Dead(dead) => Ok(Met { dead: Some(dead), ..alive(kernel, usual()) }),
        },
        (None, None) => {
            say!(
                "memhp: {}: no configuration at hand; taken for a usual build of {}",
                kernel.name,
                kernel.version
            );
            Ok(alive(kernel, usual()))
        }
    }
}
