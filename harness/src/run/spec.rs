//! From a planned scenario to the VM that it runs in: machine and kernel command line.

use super::host::Host;
use super::plan::Planned;
use super::trouble::Trouble;
use crate::case::schema;
use crate::case::units;
use crate::verdict::Alarm;
use crate::vm::args::Machine;
use crate::vm::{Boot, ColdDimm, NodeSpec, Spec, arch::Arch};

/// Parameters of every guest, each for a reason:
/// quiet boot (printing is slow, the console is made talkative later), an oops is fatal and ends QEMU (`panic=-1` with
/// `-no-reboot`), reasons of refused offlines are pr_debug, hung tasks show before a step's deadline, and detectors of
/// stalls leave an emulated, overbooked processor the time it needs.
pub const ALWAYS: &str = concat!(
    "console=ttyS0 loglevel=4 panic=-1 oops=panic \"dyndbg=file mm/memory_hotplug.c +p\" ",
    "sysctl.kernel.hung_task_timeout_secs=20 sysctl.kernel.watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=60",
);

/// Command line of a guest that is only asked what it is.
pub const PROBE: &str = "console=ttyS0 panic=-1 memhp.agent=1";

/// The kernel command line of a scenario.
pub fn cmdline(planned: &Planned) -> String {
    let words = [ALWAYS, wire::MARKER, planned.append.trim(), planned.scenario.append.trim()];
    words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What to start for a scenario.
pub fn of(host: &Host, planned: &Planned) -> Result<Spec, Trouble> {
    let machine = machine(&planned.scenario.case.machine, host).map_err(Trouble::Error)?;
    let boot = Boot {
        kernel: planned.kernel.boot.clone(),
        initrd: Some(host.initramfs(planned)?.path),
        cmdline: cmdline(planned),
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
