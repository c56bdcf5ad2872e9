//! From a planned scenario to the VM that it runs in: machine and kernel command line.

use super::host::Host;
use super::plan::Planned;
use super::trouble::Trouble;
use crate::case::schema;
use crate::case::units;
use crate::kernel::Config;
use crate::verdict::Alarm;
use crate::vm::args::Machine;
use crate::vm::{Boot, ColdDimm, NodeSpec, Spec, arch::Arch};

/// Parameters of every guest, each for a reason:
/// quiet boot (printing is slow, the console is made talkative later), an oops is fatal and ends QEMU (`panic=-1` with
/// `-no-reboot`), an interrupt of the timer that a busy host lets come late does not end the boot
/// (arch/x86/kernel/apic/io_apic.c:timer_irq_works; under KVM the kernel does without the check itself), reasons of refused offlines are pr_debug, hung tasks show before a step's deadline, and detectors of
/// stalls leave an emulated, overbooked processor the time it needs: more where deadlines have more (`scale`), up to what
/// the kernel takes (kernel/watchdog.c: 60, kernel/rcu/tree_stall.h:rcu_jiffies_till_stall_check: 300).
pub fn always(scale: f64) -> String {
    let scaled = |seconds: f64| (seconds * scale.max(1.0)).ceil() as u64;
    format!(
        "console=ttyS0 loglevel=4 panic=-1 oops=panic no_timer_check \"dyndbg=file mm/memory_hotplug.c +p\" \
         sysctl.kernel.hung_task_timeout_secs={} sysctl.kernel.watchdog_thresh=60 \
         rcupdate.rcu_cpu_stall_timeout={}",
        scaled(20.0),
        scaled(60.0).min(300)
    )
}

/// Detectors that are built in and sleep until they are asked for (mm/page_owner.c, mm/page_poison.c). Distributions build
/// them in too, and nobody has them on: only beside KASAN, in a kernel that is built to find mistakes.
fn woken(config: Option<&Config>) -> Vec<&'static str> {
    let Some(config) = config.filter(|c| c.is_y("KASAN")) else { return Vec::new() };
    let words = [("PAGE_OWNER", "page_owner=on"), ("PAGE_POISONING", "page_poison=1")];
    words.into_iter().filter(|(option, _)| config.is_y(option)).map(|(_, word)| word).collect()
}

/// Command line of a guest that is only asked what it is.
pub const PROBE: &str = "console=ttyS0 panic=-1 no_timer_check memhp.agent=1";

/// The kernel command line of a scenario.
pub fn cmdline(planned: &Planned, scale: f64) -> String {
    let always = always(scale);
    let words = [always.as_str(), wire::MARKER];
    let detectors = woken(planned.kernel.config.as_ref());
    let appended = [planned.append.trim(), planned.scenario.append.trim()];
    words.into_iter().chain(detectors).chain(appended).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What to start for a scenario.
pub fn of(host: &Host, planned: &Planned) -> Result<Spec, Trouble> {
    let machine = machine(&planned.scenario.case.machine, host).map_err(Trouble::Error)?;
    let boot = Boot {
        kernel: planned.kernel.boot.clone(),
        initrd: Some(host.initramfs(planned)?.path),
        cmdline: cmdline(planned, host.scale),
    };
    let mut spec = Spec::new(host.qemu.clone(), host.accel, machine, Some(boot));
    let alarm = Alarm::new(planned.provokes.clone());
    spec.alarm = Some(Box::new(move |line| alarm.is_fatal(line)));
    Ok(spec)
}

/// The machine of a case, with what the user asked for where the case does not say.
pub fn machine(wanted: &schema::Machine, host: &Host) -> Result<Machine, String> {
    let usual = schema::Machine::default();
    let memory = match &host.memory {
        Some(memory) if wanted.memory == usual.memory => memory,
        _ => &wanted.memory,
    };
    let as_usual = wanted.smp == usual.smp && wanted.cpu_nodes.is_empty();
    let smp = host.smp.filter(|_| as_usual).unwrap_or(wanted.smp);
    let mut nodes = Vec::new();
    for (index, memory) in wanted.nodes.iter().enumerate() {
        // All processors on node 0 where the case does not say: a node without processors is the common shape of
        // hot-plugged memory.
        let node_of = |cpu: u32| wanted.cpu_nodes.get(cpu as usize).copied().unwrap_or(0);
        let cpus = (0..smp).filter(|cpu| node_of(*cpu) as usize == index).collect();
        nodes.push(NodeSpec { memory: if memory == "0" { 0 } else { units::size(memory)? }, cpus });
    }
    let sum: u64 = nodes.iter().map(|n| n.memory).sum();
    Ok(Machine {
        arch: Arch::X86_64,
        memory: if nodes.is_empty() { units::size(memory)? } else { sum },
        slots: wanted.slots,
        max_memory: units::size(&wanted.max_memory)?,
        smp,
        nodes,
        cold_dimms: wanted.dimms.iter().map(cold).collect::<Result<_, _>>()?,
        cpu: None,
        extra: host.qemu_args.clone(),
    })
}

fn cold(plug: &schema::Plug) -> Result<ColdDimm, String> {
    Ok(ColdDimm {
        name: plug.dimm.clone(),
        size: units::size(&plug.size)?,
        node: plug.node.as_deref().map(units::number).transpose()?,
        slot: plug.slot.as_deref().map(units::number).transpose()?,
        addr: plug.addr.as_deref().map(units::address).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detectors_are_woken_in_a_kernel_that_is_built_to_find_mistakes() {
        let words = |config: &str| woken(Some(&Config::parse(config).unwrap()));
        let both = "CONFIG_PAGE_OWNER=y\nCONFIG_PAGE_POISONING=y\n";
        assert_eq!(words(&format!("{both}CONFIG_KASAN=y\n")), ["page_owner=on", "page_poison=1"]);
        assert_eq!(words("CONFIG_PAGE_OWNER=y\nCONFIG_KASAN=y\n"), ["page_owner=on"]);
        assert_eq!(words(both), [""; 0]);
        assert_eq!(woken(None), [""; 0]);
    }

    #[test]
    fn detectors_have_the_time_that_deadlines_have() {
        let detectors = |scale| {
            let line = always(scale);
            line.split_once("+p\" ").unwrap().1.to_string()
        };
        let line = |hung: &str, stall: &str| {
            format!(
                "sysctl.kernel.hung_task_timeout_secs={hung} sysctl.kernel.watchdog_thresh=60 \
                 rcupdate.rcu_cpu_stall_timeout={stall}"
            )
        };
        assert_eq!(detectors(1.0), line("20", "60"));
        assert_eq!(detectors(0.1), line("20", "60"));
        assert_eq!(detectors(2.5), line("50", "150"));
        assert_eq!(detectors(1e6), line("20000000", "300"));
    }
}
