//! User space changes the settings while the guest runs.

use super::number::{c_string, unsigned};
use super::{Errno, Knobs, MemmapMode, OnlineType, Ruling, Subject, Unknown};
use serde::Serialize;

const STORE: &str = "drivers/base/memory.c:auto_online_blocks_store (5.10 to 7.3)";
const SYSFS: &str = "fs/sysfs/file.c:sysfs_kf_write (5.10 to 7.3)";
const ATTR: &str = "kernel/params.c:param_attr_store (5.10 to 7.3)";

/// A write that the kernel refused; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{errno}: {ruling}")]
pub struct Refusal {
    /// what open or write answered
    pub errno: Errno,
    /// why
    pub ruling: Ruling,
}

impl Knobs {
    /// User space writes `/sys/devices/system/memory/auto_online_blocks`; blocks that are there already do
    /// not change.
    ///
    /// # Errors
    /// EINVAL for anything but the four words, each with at most one newline behind it.
    pub fn write_auto_online(&mut self, text: &str) -> Result<Ruling, Refusal> {
        if text.is_empty() {
            return Ok(empty_write());
        }
        let Some(online) = OnlineType::parse(c_string(text)) else {
            let ruling = Ruling::new("default.sysfs-bad", STORE, format!("{text:?} is no online type"));
            return Err(Refusal { errno: Errno::Einval, ruling });
        };
        self.auto_online = online;
        Ok(Ruling::new("default.sysfs", STORE, format!("blocks added from now on: {online}")))
    }

    /// User space writes `/sys/module/memory_hotplug/parameters/NAME`.
    ///
    /// # Errors
    /// [`Unknown`] as [`boot`](Self::boot); in it a [`Refusal`]: ENOENT where the kernel has no such
    /// parameter, EACCES at open for `memmap_on_memory` (0444, even for root), EINVAL or ERANGE for a bad
    /// value.
    pub fn write_param(
        &mut self,
        subject: &Subject,
        name: &str,
        text: &str,
    ) -> Result<Result<Ruling, Refusal>, Unknown> {
        let refuse = |errno, rule, text: &str| {
            let ruling = Ruling::new(rule, ATTR, format!("memory_hotplug.{name}: {text}"));
            Ok(Err(Refusal { errno, ruling }))
        };
        if !self.has(name) {
            return refuse(Errno::Enoent, "param.absent", "this kernel does not have it");
        }
        if name == "memmap_on_memory" {
            return refuse(Errno::Eacces, "param.read-only", "mode 0444, open for writing fails");
        }
        if text.is_empty() {
            return Ok(Ok(empty_write()));
        }
        match self.set(subject, name, Some(text))? {
            Ok(()) => Ok(Ok(Ruling::new("param.set", ATTR, format!("memory_hotplug.{name} = {text:?}")))),
            Err(errno) => refuse(errno, "param.bad", "not a value of it"),
        }
    }

    /// What a parameter's file reads, without its newline; `None` where the kernel has no such parameter.
    pub fn param(&self, name: &str) -> Option<String> {
        let letter = |on| if on { "Y".to_string() } else { "N".to_string() };
        self.has(name).then(|| match name {
            "online_policy" => self.online_policy.word().to_string(),
            "auto_movable_ratio" => self.auto_movable_ratio.to_string(),
            "auto_movable_numa_aware" => letter(self.auto_movable_numa_aware),
            _ if self.memmap_on_memory == MemmapMode::Force => "force".to_string(),
            _ => letter(self.memmap_on_memory == MemmapMode::On),
        })
    }

    /// User space writes `/sys/firmware/acpi/hotplug/memory/enabled`.
    ///
    /// # Errors
    /// EINVAL for anything but 0 or 1 in decimal.
    pub fn write_eject_enabled(&mut self, text: &str) -> Result<Ruling, Refusal> {
        const SOURCE: &str = "drivers/acpi/sysfs.c:hotplug_enabled_store (5.10 to 7.3)";
        if text.is_empty() {
            return Ok(empty_write());
        }
        match unsigned(text, 10) {
            Ok(value @ (0 | 1)) => {
                self.acpi_eject_enabled = value == 1;
                Ok(Ruling::new("eject.enabled", SOURCE, format!("ejection enabled: {value}")))
            }
            _ => {
                let ruling = Ruling::new("eject.enabled-bad", SOURCE, format!("{text:?} is neither 0 nor 1"));
                Err(Refusal { errno: Errno::Einval, ruling })
            }
        }
    }
}

/// Writing nothing reaches no store function.
pub(super) fn empty_write() -> Ruling {
    Ruling::new("sysfs.empty", SYSFS, "an empty write succeeds and does nothing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::OnlinePolicy;
    use crate::policy::testing::subject;

    #[test]
    fn writes() {
        let subject = subject("6.12");
        let mut knobs = Knobs::defaults(&subject);
        for bad in ["bogus", "Online", "online ", "1", "\n", "online\n\n"] {
            assert_eq!(knobs.write_auto_online(bad).unwrap_err().errno, Errno::Einval, "{bad:?}");
            assert_eq!(knobs, Knobs::defaults(&subject));
        }
        assert_eq!(knobs.write_auto_online("").unwrap().rule, "sysfs.empty");
        knobs.write_auto_online("online_kernel\n").unwrap();
        assert_eq!(knobs.auto_online, OnlineType::OnlineKernel);
        let mut write = |name, text| knobs.write_param(&subject, name, text).unwrap().err().map(|r| r.errno);
        assert_eq!(write("online_policy", "auto-movable\n"), None);
        assert_eq!(write("online_policy", "bogus"), Some(Errno::Einval));
        assert_eq!(write("auto_movable_ratio", "99999999999"), Some(Errno::Erange));
        assert_eq!(write("auto_movable_ratio", "0\n"), None);
        assert_eq!(write("memmap_on_memory", "Y"), Some(Errno::Eacces));
        assert_eq!(write("nothing", "Y"), Some(Errno::Enoent));
        assert_eq!((knobs.online_policy, knobs.auto_movable_ratio), (OnlinePolicy::AutoMovable, 0));
        assert_eq!(knobs.write_eject_enabled("2").unwrap_err().errno, Errno::Einval);
        knobs.write_eject_enabled("0\n").unwrap();
        assert!(!knobs.acpi_eject_enabled);
    }
}
