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

mod kept;

/// What a probe boot came to.
pub enum Probed {
    /// the kernel as the oracle sees it, and the configuration as far as it shows
    Subject(Box<Subject>, Config),
    /// it does not boot, three times in a row: the kernel's fault
    Dead(Arc<Dead>),
}

/// An option that shows in what a directory holds.
struct Sign {
    option: &'static str,
    dir: &'static str,
    name: &'static str,
    /// the name is there whenever the option is set
    always: bool,
}

const fn sign(option: &'static str, dir: &'static str, name: &'static str) -> Sign {
    Sign { option, dir, name, always: true }
}

/// Where options show, in 5.10 to 7.x.
const SIGNS: [Sign; 20] = [
    // drivers/base/node.c; the second node of the probe's machine is in its SRAT only (arch/x86/mm/numa.c)
    sign("NUMA", "/sys/devices/system/node", "node0"),
    sign("ACPI_NUMA", "/sys/devices/system/node", "node1"),
    // drivers/base/memory.c: memory_root_attrs
    sign("MEMORY_FAILURE", "/sys/devices/system/memory", "hard_offline_page"),
    // kernel/sched/psi.c:psi_proc_init; as absent where it is built in and switched off
    sign("PSI", "/proc", "pressure"),
    // mm/hugetlb.c, mm/ksm.c, mm/huge_memory.c
    sign("HUGETLBFS", "/proc/sys/vm", "nr_hugepages"),
    // mm/hugetlb_vmemmap.c; fs/proc/base.c, where CONFIG_PROC_PID_CPUSET is as it is by default
    sign("HUGETLB_PAGE_OPTIMIZE_VMEMMAP", "/proc/sys/vm", "hugetlb_optimize_vmemmap"),
    sign("CPUSETS", "/proc/1", "cpuset"),
    sign("KSM", "/sys/kernel/mm", "ksm"),
    // kernel/cpu.c:cpuhp_cpu_root_attr_group; kernel/sysctl.c, later mm/compaction.c
    sign("HOTPLUG_CPU", "/sys/devices/system/cpu", "hotplug"),
    sign("COMPACTION", "/proc/sys/vm", "compact_memory"),
    sign("TRANSPARENT_HUGEPAGE", "/sys/kernel/mm", "transparent_hugepage"),
    sign("PROC_PAGE_MONITOR", "/proc", "kpageflags"),
    // kernel/ksysfs.c: where debugfs is to be mounted
    sign("DEBUG_FS", "/sys/kernel", "debug"),
    // kernel/ksysfs.c, later kernel/kexec_core.c; before 6.9 the second is there with the first
    sign("KEXEC_CORE", "/sys/kernel", "kexec_loaded"),
    sign("CRASH_DUMP", "/sys/kernel", "kexec_crash_size"),
    // mm/slub.c:slab_attrs
    sign("SLUB_DEBUG", "/sys/kernel/slab/kmalloc-64", "total_objects"),
    // mm/shuffle.c
    sign("SHUFFLE_PAGE_ALLOCATOR", "/sys/module/page_alloc/parameters", "shuffle"),
    // lib/dynamic_debug.c:dynamic_debug_init_control
    sign("DYNAMIC_DEBUG", "/proc", "dynamic_debug"),
    sign("MHP_MEMMAP_ON_MEMORY", "/sys/module/memory_hotplug/parameters", "memmap_on_memory"),
    // io_uring/io_uring.c, 6.6 and later
    Sign { option: "IO_URING", dir: "/proc/sys/kernel", name: "io_uring_disabled", always: false },
];

/// A machine of two nodes, so that CONFIG_ACPI_NUMA shows.
fn machine() -> schema::Machine {
    schema::Machine { nodes: vec!["256M".into(); 2], ..schema::Machine::default() }
}

/// What a boot of `kernel` shows, without any parameter that concerns memory: /proc/config.gz says all; without it the
/// files that are there, and what `auto_online_blocks` reads, say enough. An answer is kept in the cache, for this image and
/// all that the probe is made of.
///
/// # Errors
/// The host cannot boot it, it does not answer what it is asked, or it has no memory hotplug.
pub fn probe(host: &Host, kernel: &Kernel) -> Result<Probed, Trouble> {
    let kept = kept::Place::of(host, kernel);
    if let Some(answer) = kept.as_ref().and_then(kept::Place::answer) {
        return Ok(answer.into());
    }
    let probed = boot(host, kernel)?;
    if let (Probed::Subject(subject, config), Some(place)) = (&probed, &kept) {
        place.keep(&kept::Answer { subject: Subject::clone(subject), config: config.clone() });
    }
    Ok(probed)
}

fn boot(host: &Host, kernel: &Kernel) -> Result<Probed, Trouble> {
    let boot = Boot {
        kernel: kernel.boot.clone(),
        initrd: Some(host.plain_initramfs()?.path),
        cmdline: spec::PROBE.to_string(),
    };
    let mut spec = || {
        let machine = spec::machine(&machine(), host).map_err(Trouble::Error)?;
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
    asked.met(kernel).map(|(subject, config)| Probed::Subject(Box::new(subject), config)).map_err(not)
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

    /// What the directory holds; nothing where there is none.
    fn names(&self, dir: &str) -> Result<Vec<String>, Trouble> {
        match self.ask(Ask::List { path: dir.into() })? {
            Some(Answer::Names(names)) => Ok(names),
            Some(other) => Err(Trouble::Error(format!("{dir}: not a list of names: {other:?}"))),
            None => Ok(Vec::new()),
        }
    }

    fn met(&self, kernel: &Kernel) -> Result<(Subject, Config), Trouble> {
        if let Some(Answer::Bytes(base64)) = self.ask(Ask::ReadBytes { path: "/proc/config.gz".into() })? {
            let config = config(&base64).map_err(Trouble::Error)?;
            return Ok((Subject::from_config(kernel.version, |name| config.get(name)), config));
        }
        let mut seen = Vec::new();
        for Sign { option, dir, name, always } in SIGNS {
            let there = self.names(dir)?.iter().any(|n| n == name);
            if there || always {
                seen.push((option, there));
            }
        }
        // mm/vmstat.c: vm_event_states in all_vm_events
        let events = self.text("/proc/vmstat")?.is_some_and(|t| t.lines().any(|l| l.starts_with("pgfault ")));
        seen.push(("VM_EVENT_COUNTERS", events));
        seen.extend(kasan(&self.vm.console().text()).map(|on| ("KASAN", on)));
        let config = Config::seen(seen);
        Ok((self.subject(kernel, &config)?, config))
    }

    fn subject(&self, kernel: &Kernel, config: &Config) -> Result<Subject, Trouble> {
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
            numa: config.is_y("NUMA"),
            hotremove: self.text("/sys/devices/system/memory/memory0/valid_zones")?.is_some(),
            acpi_hotplug_memory: !self.names("/sys/firmware/acpi/hotplug/memory")?.is_empty(),
            memmap_on_memory_built: config.is_y("MHP_MEMMAP_ON_MEMORY"),
            // What else pages may have does not show.
            takes_memmap_only: false,
            pageblock_pages: order.map_or(usual.pageblock_pages, |order: u32| 1 << order.min(20)),
            ..usual
        })
    }
}

/// Whether CONFIG_KASAN is set, by what the console says of the boot (arch/x86/mm/kasan_init_64.c:kasan_init); `None` where
/// it is too quiet: mm/mm_init.c:mem_init_print_info speaks as loud.
fn kasan(console: &str) -> Option<bool> {
    let says = |text: &str| console.lines().any(|line| line.contains(text));
    says("Memory: ").then(|| says("kasan: KernelAddressSanitizer initialized"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kasan_shows_on_a_console_that_is_not_quiet() {
        let memory = "[    0.1] Memory: 448516K/523768K available (20480K kernel code)\n";
        let init = "[    0.1] kasan: KernelAddressSanitizer initialized\n";
        assert_eq!(kasan(memory), Some(false));
        assert_eq!(kasan(&format!("{init}{memory}")), Some(true));
        assert_eq!(kasan("[    0.5] kernel panic\n"), None);
    }
}
