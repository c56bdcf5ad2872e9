//! What could not be taken as a fact, and whether that is the kernel's fault.

use crate::facts::FactError;
use crate::finding::Finding;
use crate::run::errno;

/// What of an error is a fault of the kernel's. What the agent sends is checksummed: a text of an unknown shape is the
/// kernel's, and so is a file that was there when the guest had `booted` and now is not or cannot be read. Unless the guest
/// is `quiet`, the file may be of a block that just goes.
pub(super) fn of(error: &FactError, booted: bool, quiet: bool) -> Option<Finding> {
    use FactError::{Impossible, Missing, Shape, Unreadable};
    match error {
        Shape { path, line, why, text } => {
            let rule = format!("the format of this file is ABI (line {line}: {why})");
            Some(Finding::new("file.shape", path, "the documented format", format!("{text:?}"), rule))
        }
        Unreadable { path, errno } if (quiet || !error.is_race()) && !error.is_want() => {
            let rule = "a file that is there can be read";
            Some(Finding::new("file.unreadable", path, "its content", errno::name(*errno), rule))
        }
        Missing { path } if booted => {
            let rule = "every kernel with memory hotplug has this file, and it was there at boot";
            Some(Finding::new("file.missing", path, "there", "not there", rule))
        }
        Impossible(seen) => {
            let rule = "mm/mm_init.c, drivers/base/memory.c:memory_dev_init: boot memory is online, and of a zone and a node";
            Some(Finding::new("boot.state", "", "memory as boot makes it", seen, rule))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_the_kernels_fault_unless_it_may_be_going_or_the_guest_is_short_of_something() {
        use FactError::{Baseline, Impossible, Missing, Unreadable};
        let fact = |error: &FactError, booted, quiet| of(error, booted, quiet).map(|f| f.fact);
        let path = || "/p".to_string();
        let errno = |errno, quiet| fact(&Unreadable { path: path(), errno }, true, quiet);
        let unreadable = || Some("file.unreadable".to_string());
        // EIO, ENODEV, ENOMEM
        assert_eq!([5, 19, 12].map(|e| errno(e, true)), [unreadable(), unreadable(), None]);
        assert_eq!([5, 19, 12].map(|e| errno(e, false)), [unreadable(), None, None]);
        let missing = Missing { path: path() };
        assert_eq!([true, false].map(|b| fact(&missing, b, true)), [Some("file.missing".into()), None]);
        assert_eq!(fact(&Impossible("x".into()), false, true), Some("boot.state".into()));
        assert_eq!(fact(&Baseline("x".into()), false, true), None);
    }
}
