//! What the oracle must know of each kernel: from its configuration, else from a probe boot.

use super::failure::Failure;
use super::sources;
use crate::kernel::Kernel;
use crate::policy::Subject;
use crate::run::host::Host;
use std::sync::Arc;

/// One subject for each kernel. Kernels without a configuration at hand are booted once if a host is given, and are
/// taken for a usual build of their version without one.
pub fn of(kernels: &[Arc<Kernel>], host: Option<&Host>) -> Result<Vec<Subject>, Failure> {
    kernels.iter().map(|kernel| one(kernel, host)).collect()
}

fn one(kernel: &Arc<Kernel>, host: Option<&Host>) -> Result<Subject, Failure> {
    match (sources::subject(kernel), host) {
        (Some(subject), _) => Ok(subject),
        (None, Some(host)) => crate::run::probe::probe(host, kernel).map_err(Failure::host),
        (None, None) => {
            eprintln!(
                "memhp: {}: no configuration at hand; taken for a usual build of {}",
                kernel.name, kernel.version
            );
            Ok(Subject::usual(kernel.version, crate::policy::OnlineType::Offline))
        }
    }
}
