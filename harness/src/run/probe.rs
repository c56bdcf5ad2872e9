//! One boot of a kernel whose configuration is not at hand: what the oracle must know is read from the guest.

use super::boot::{Dead, NoBoot};
use super::host::Host;
use super::spec;
use super::trouble::{Trouble, channel_trouble};
use crate::case::schema;
use crate::event::Kind;
use crate::kernel::{Config, Kernel};
use crate::policy::{OnlineType, Subject};
use crate::vm::{Boot, ChannelError, Deadline, Spec, Vm};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::Duration;
use wire::{Answer, Ask};

/// What a probe boot came to.
pub enum Probed {
    /// the kernel as the oracle sees it
    Subject(Box<Subject>),
    /// it does not boot, three times in a row: the kernel's fault
    Dead(Arc<Dead>),
}

/// Boots `kernel` without any parameter that concerns memory and asks it. /proc/config.gz says all; without it the
/// files that are there, and what `auto_online_blocks` reads, say enough.
///
/// # Errors
/// The host cannot boot it, it does not answer what it is asked, or it has no memory hotplug.
pub fn probe(host: &Host, kernel: &Kernel) -> Result<Probed, Trouble> {
    let boot = Boot {
        kernel: kernel.boot.clone(),
        initrd: Some(host.plain_initramfs()?.path),
        cmdline: spec::PROBE.to_string(),
    };
    let mut spec = || {
        let machine = spec::machine(&schema::Machine::default(), host).map_err(Trouble::Error)?;
        let mut spec = Spec::new(host.qemu.clone(), host.accel, machine, Some(boot.clone()));
        let alarm = crate::verdict::Alarm::default();
        spec.alarm = Some(Box::new(move |line| alarm.is_fatal(line)));
        Ok(spec)
    };
    let name = kernel.image.display();
    let mut log = |kind| {
        if let Kind::Retry { reason } = kind {
            say!("memhp: {name}: the probe boot is tried again: {reason}");
        }
    };
    let (vm, _) = match super::boot::boot(host, &mut spec, &mut log) {
        Ok(up) => up,
        Err(NoBoot::Trouble(trouble)) => return Err(trouble),
        Err(NoBoot::Again(dead)) => return Ok(Probed::Dead(Arc::new(*dead))),
    };
    let _guard = host.watch_over(&vm);
    let asked = Asked { vm: &vm, deadline: Deadline::within(Duration::from_secs(30).mul_f64(host.scale)) };
    let not = |t: Trouble| Trouble::Error(format!("{name}: the probe boot failed: {t}"));
    asked.subject(kernel).map(|subject| Probed::Subject(Box::new(subject))).map_err(not)
}

/// A probed guest.
struct Asked<'a> {
    vm: &'a Vm,
    deadline: Deadline,
}

impl Asked<'_> {
    /// `None`: there is no such file.
    fn ask(&self, ask: Ask) -> Result<Option<Answer>, Trouble> {
        match self.vm.channel().call(ask, self.deadline) {
            Ok(answer) => Ok(Some(answer)),
            Err(ChannelError::Refused { failure, .. }) if failure.errno == Errno::NOENT.raw_os_error() => {
                Ok(None)
            }
            Err(other) => Err(channel_trouble(other)),
        }
    }

    fn text(&self, path: &str) -> Result<Option<String>, Trouble> {
        match self.ask(Ask::Read { path: path.into() })? {
            Some(Answer::Text(text)) => Ok(Some(text)),
            Some(other) => Err(Trouble::Error(format!("{path}: not a text: {other:?}"))),
            None => Ok(None),
        }
    }

    fn exists(&self, path: &str) -> Result<bool, Trouble> {
        self.ask(Ask::List { path: path.into() }).map(|names| names.is_some())
    }

    fn subject(&self, kernel: &Kernel) -> Result<Subject, Trouble> {
        if let Some(Answer::Bytes(base64)) = self.ask(Ask::ReadBytes { path: "/proc/config.gz".into() })? {
            let config = config(&base64).map_err(Trouble::Error)?;
            return Ok(Subject::from_config(kernel.version, |name| config.get(name)));
        }
        let auto = self.text("/sys/devices/system/memory/auto_online_blocks")?;
        let none = || Trouble::Error("it is without memory hotplug (no auto_online_blocks)".into());
        let auto = auto.ok_or_else(none)?;
        let odd = || Trouble::Error(format!("auto_online_blocks reads {auto:?}"));
        let default_online = OnlineType::parse(&auto).ok_or_else(odd)?;
        let usual = Subject::usual(kernel.version, default_online);
        let order = self.text("/proc/pagetypeinfo")?;
        let order =
            order.and_then(|t| t.lines().next()?.strip_prefix("Page block order: ")?.trim().parse().ok());
        Ok(Subject {
            numa: self.exists("/sys/devices/system/node/node0")?,
            hotremove: self.exists("/sys/devices/system/memory/memory0")?
                && self.text("/sys/devices/system/memory/memory0/valid_zones")?.is_some(),
            acpi_hotplug_memory: self.exists("/sys/firmware/acpi/hotplug/memory")?,
            memmap_on_memory_built: self
                .text("/sys/module/memory_hotplug/parameters/memmap_on_memory")?
                .is_some(),
            pageblock_pages: order.map_or(usual.pageblock_pages, |order: u32| 1 << order.min(20)),
            ..usual
        })
    }
}

fn config(base64: &str) -> Result<Config, String> {
    use std::io::Read;
    let packed = wire::base64::decode(base64).ok_or("/proc/config.gz came damaged")?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .map_err(|e| format!("/proc/config.gz: {e}"))?;
    Config::parse(&text).map_err(|e| format!("/proc/config.gz: {e}"))
}
