//! One boot of a kernel whose configuration is not at hand: what the oracle must know is read from the guest.

use super::guest::channel_trouble;
use super::host::Host;
use super::spec;
use super::trouble::Trouble;
use crate::case::schema;
use crate::kernel::{Config, Kernel};
use crate::policy::{OnlineType, Subject};
use crate::vm::{Boot, Deadline, Spec, Vm};
use std::time::Duration;
use wire::{Answer, Ask};

/// Boots `kernel` without any parameter that concerns memory and asks it. /proc/config.gz says all; without it the
/// files that are there, and what `auto_online_blocks` reads, say enough.
///
/// # Errors
/// It does not boot, does not answer, or has no memory hotplug.
pub fn probe(host: &Host, kernel: &Kernel) -> Result<Subject, Trouble> {
    let machine = spec::machine(&schema::Machine::default(), host).map_err(Trouble::Error)?;
    let boot = Boot {
        kernel: kernel.boot.clone(),
        initrd: Some(host.plain_initramfs()?.path),
        cmdline: spec::PROBE.to_string(),
    };
    let mut spec = Spec::new(host.qemu.clone(), host.accel, machine, Some(boot));
    let alarm = crate::verdict::Alarm::default();
    spec.alarm = Some(Box::new(move |line| alarm.is_fatal(line)));
    let vm = Vm::start(spec).map_err(|e| Trouble::Miss(e.to_string()))?;
    let _guard = host.watch_over(&vm);
    let deadline = Deadline::within(Duration::from_secs(90).mul_f64(host.scale));
    let not = |t: Trouble| Trouble::Error(format!("{}: the probe boot failed: {t}", kernel.image.display()));
    vm.channel().hello(deadline).map_err(|e| not(channel_trouble(e)))?;
    let read = |path: &str| match vm.channel().call(Ask::Read { path: path.into() }, deadline) {
        Ok(Answer::Text(text)) => Some(text),
        _ => None,
    };
    let exists = |path: &str| {
        matches!(vm.channel().call(Ask::List { path: path.into() }, deadline), Ok(Answer::Names(_)))
    };
    if let Ok(Answer::Bytes(base64)) =
        vm.channel().call(Ask::ReadBytes { path: "/proc/config.gz".into() }, deadline)
    {
        let config = config(&base64).map_err(|e| not(Trouble::Error(e)))?;
        return Ok(Subject::from_config(kernel.version, |name| config.get(name)));
    }
    let auto = read("/sys/devices/system/memory/auto_online_blocks");
    let none = || {
        Trouble::Error(format!(
            "{} is without memory hotplug (no auto_online_blocks)",
            kernel.image.display()
        ))
    };
    let default_online = OnlineType::parse(&auto.ok_or_else(none)?).ok_or_else(none)?;
    let usual = Subject::usual(kernel.version, default_online);
    let order = read("/proc/pagetypeinfo")
        .and_then(|t| t.lines().next()?.strip_prefix("Page block order: ")?.trim().parse().ok());
    Ok(Subject {
        numa: exists("/sys/devices/system/node/node0"),
        hotremove: read("/sys/devices/system/memory/memory0/valid_zones").is_some(),
        acpi_hotplug_memory: exists("/sys/firmware/acpi/hotplug/memory"),
        memmap_on_memory_built: read("/sys/module/memory_hotplug/parameters/memmap_on_memory").is_some(),
        pageblock_pages: order.map_or(usual.pageblock_pages, |order: u32| 1 << order.min(20)),
        ..usual
    })
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
