//! QEMU's command line: pure functions from what is wanted to words. Nothing here touches the host.

use super::arch::Arch;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

/// The machine: memory, processors, nodes, DIMMs that are present at boot. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    /// which architecture's QEMU this is for
    pub arch: Arch,
    /// boot memory; with `nodes`, the sum of theirs
    pub memory: u64,
    /// DIMM slots (cold DIMMs take some of them)
    pub slots: u32,
    /// end of the DIMM address space: boot memory plus all DIMMs at most
    pub max_memory: u64,
    /// processors
    pub smp: u32,
    /// NUMA nodes in order; empty: QEMU is told nothing of NUMA
    pub nodes: Vec<NodeSpec>,
    /// DIMMs that are plugged when the machine starts
    pub cold_dimms: Vec<ColdDimm>,
    /// `-cpu`; `None`: the architecture's default for the accelerator
    pub cpu: Option<String>,
    /// further arguments, last on the command line
    pub extra: Vec<String>,
}

/// One NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeSpec {
    /// boot memory of the node; 0: none
    pub memory: u64,
    /// processors of the node, by number
    pub cpus: Vec<u32>,
}

/// A pc-dimm on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ColdDimm {
    /// device id; its backend is `mem-NAME`
    pub name: String,
    /// bytes
    pub size: u64,
    /// node it belongs to
    pub node: Option<u32>,
    /// slot, else the first free one
    pub slot: Option<u32>,
    /// guest physical address, else the first that fits
    pub addr: Option<u64>,
}

/// Where the guest's memory lives on the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Ram {
    /// anonymous, private to this QEMU
    #[default]
    Private,
    /// files in this directory, written by the guest: building a template
    Shared(PathBuf),
    /// the same files mapped copy on write: a fork of the template
    CopyOf(PathBuf),
}

/// What emulates or runs the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Accel {
    /// hardware virtualisation
    Kvm,
    /// emulation
    Tcg,
}

impl Accel {
    /// QEMU's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// What is booted (`-kernel`: bzImage, or a PVH vmlinux).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Boot {
    /// kernel image, absolute
    pub kernel: PathBuf,
    /// initramfs, absolute
    pub initrd: Option<PathBuf>,
    /// the kernel's command line, whole
    pub cmdline: String,
}

/// The other end of a character device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// a connected socket that QEMU inherits
    Fd(RawFd),
    /// pipes `PATH.in` and `PATH.out`, by QEMU's working directory
    Pipe(PathBuf),
    /// the terminal, for a command line that is pasted
    Stdio,
    /// a socket that QEMU listens on, for a command line that is pasted
    Listen(PathBuf),
}

/// Options of the sandbox, as libvirt sets them: no fork, no change of identity, no scheduling of others.
pub const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// Everything that makes up one command line, but for the ends of its character devices.
#[derive(Debug, Clone)]
pub struct Layout {
    /// machine
    pub machine: Machine,
    /// kernel; `None`: none (the firmware finds nothing to boot)
    pub boot: Option<Boot>,
    /// accelerator
    pub accel: Accel,
    /// memory on the host
    pub ram: Ram,
    /// `-incoming`
    pub incoming: Option<String>,
    /// do not let the processors run (`-S`)
    pub paused: bool,
    /// this QEMU was built with seccomp
    pub sandbox: bool,
}

/// Ends of the three character devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// kernel console
    pub console: End,
    /// agent
    pub agent: End,
    /// QMP
    pub qmp: End,
}

impl Layout {
    /// The whole command line, without the program.
    pub fn args(&self, ends: &Ends) -> Vec<String> {
        let m = &self.machine;
        let mut all = m.machine_args();
        all.extend(m.cpu_args(self.accel, self.incoming.is_none()));
        all.extend(m.memory_args(&self.ram));
        all.extend(m.dimm_args(&self.ram));
        all.extend(self.boot.as_ref().map(Boot::args).unwrap_or_default());
        all.extend(m.console_args(&ends.console));
        all.extend(m.agent_args(&ends.agent));
        all.extend(qmp_args(&ends.qmp));
        all.extend(sandbox_args(self.sandbox));
        all.extend(self.incoming.iter().flat_map(|uri| words(["-incoming", uri])));
        all.extend(self.paused.then(|| "-S".to_string()));
        all.extend(m.extra.iter().cloned());
        all
    }
}

impl Machine {
    /// Machine type and what every machine of ours has not: default devices, configuration files, a display, a
    /// network; a reset ends QEMU.
    pub fn machine_args(&self) -> Vec<String> {
        let mut machine = self.arch.machine().to_string();
        if self.nodes.is_empty() {
            machine.push_str(",memory-backend=ram0");
        }
        let mut all = words(["-machine", &machine]);
        all.extend(words([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-nic",
            "none",
            "-no-reboot",
        ]));
        all
    }

    /// Accelerator, processor model, number of processors.
    ///
    /// A guest that boots is emulated by one thread. With a thread for each processor, one boot in some hundreds ended on a
    /// busy host with an int3 that the kernel knew nothing of, always where a kernel that boots patches its own code (jump
    /// labels, static calls): it is taken for a translation of the breakpoint that outlived it, and none came since. A boot
    /// takes no longer so. What comes from a template has all that behind it, and its processors run at the same time.
    pub fn cpu_args(&self, accel: Accel, boots: bool) -> Vec<String> {
        let cpu = self.cpu.as_deref().unwrap_or_else(|| self.arch.cpu(accel));
        let accel = match accel {
            Accel::Tcg if boots => "tcg,thread=single",
            other => other.word(),
        };
        words(["-accel", accel, "-cpu", cpu, "-smp", &self.smp.to_string()])
    }

    /// Boot memory, room for DIMMs, and the nodes.
    pub fn memory_args(&self, ram: &Ram) -> Vec<String> {
        let mut size = format!("size={}", bytes(self.memory));
        if self.slots > 0 {
            size.push_str(&format!(",slots={},maxmem={}", self.slots, bytes(self.max_memory)));
        }
        let mut all = words(["-m", &size]);
        if self.nodes.is_empty() {
            all.extend(words(["-object", &backend(ram, "ram0", self.memory)]));
        }
        for (id, node) in self.nodes.iter().enumerate() {
            all.extend(node_args(ram, id, node));
        }
        all
    }

    /// DIMMs that are there at boot.
    pub fn dimm_args(&self, ram: &Ram) -> Vec<String> {
        self.cold_dimms.iter().flat_map(|dimm| cold_dimm(ram, dimm)).collect()
    }

    /// First serial port: the kernel's console.
    pub fn console_args(&self, end: &End) -> Vec<String> {
        words(["-chardev", &chardev("console", end), "-serial", "chardev:console"])
    }

    /// Second serial port: the agent.
    pub fn agent_args(&self, end: &End) -> Vec<String> {
        words(["-chardev", &chardev("agent", end), "-serial", "chardev:agent"])
    }
}

impl Boot {
    /// Kernel, initramfs, command line.
    pub fn args(&self) -> Vec<String> {
        let mut all = words(["-kernel", &self.kernel.to_string_lossy()]);
        if let Some(initrd) = &self.initrd {
            all.extend(words(["-initrd", &initrd.to_string_lossy()]));
        }
        all.extend(words(["-append", &self.cmdline]));
        all
    }
}

/// The monitor.
pub fn qmp_args(end: &End) -> Vec<String> {
    words(["-chardev", &chardev("qmp", end), "-mon", "chardev=qmp,mode=control"])
}

/// The sandbox, where this QEMU has one.
pub fn sandbox_args(supported: bool) -> Vec<String> {
    if supported { words(["-sandbox", SANDBOX]) } else { Vec::new() }
}

/// Text of `-object` for a memory backend. Never reserved on the host: only pages that are touched cost anything.
fn backend(ram: &Ram, id: &str, size: u64) -> String {
    let file = |dir: &Path, share: &str| {
        let path = escape(&dir.join(format!("{id}.ram")).to_string_lossy());
        format!("memory-backend-file,id={id},size={size},mem-path={path},share={share},reserve=off")
    };
    match ram {
        Ram::Private => format!("memory-backend-ram,id={id},size={size},reserve=off"),
        Ram::Shared(dir) => file(dir, "on"),
        Ram::CopyOf(dir) => file(dir, "off"),
    }
}

fn node_args(ram: &Ram, id: usize, node: &NodeSpec) -> Vec<String> {
    let mut numa = format!("node,nodeid={id}");
    let mut all = Vec::new();
    if node.memory > 0 {
        all.extend(words(["-object", &backend(ram, &format!("ram{id}"), node.memory)]));
        numa.push_str(&format!(",memdev=ram{id}"));
    }
    for cpu in &node.cpus {
        numa.push_str(&format!(",cpus={cpu}"));
    }
    all.extend(words(["-numa", &numa]));
    all
}

fn cold_dimm(ram: &Ram, dimm: &ColdDimm) -> Vec<String> {
    let id = format!("mem-{}", dimm.name);
    let mut device = format!("pc-dimm,id={},memdev={id}", dimm.name);
    for (key, value) in
        [("node", dimm.node.map(u64::from)), ("slot", dimm.slot.map(u64::from)), ("addr", dimm.addr)]
    {
        if let Some(value) = value {
            device.push_str(&format!(",{key}={value}"));
        }
    }
    words(["-object", &backend(ram, &id, dimm.size), "-device", &device])
}

fn chardev(id: &str, end: &End) -> String {
    match end {
        End::Fd(fd) => format!("socket,id={id},fd={fd}"),
        End::Pipe(path) => format!("pipe,id={id},path={}", escape(&path.to_string_lossy())),
        End::Stdio => format!("stdio,id={id},signal=off"),
        End::Listen(path) => {
            format!("socket,id={id},path={},server=on,wait=off", escape(&path.to_string_lossy()))
        }
    }
}

/// A value in a list of options: a comma is written twice.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

/// A size as QEMU takes it and people read it: in whole MiB where it is so, else in bytes.
fn bytes(size: u64) -> String {
    const MIB: u64 = 1 << 20;
    if size.is_multiple_of(MIB) { format!("{}M", size / MIB) } else { format!("{size}B") }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_string).to_vec()
}

/// One line for a shell.
pub fn shell_line(program: &Path, args: &[String]) -> String {
    let mut line = quote(&program.to_string_lossy());
    for arg in args {
        line.push_str(if arg.starts_with('-') { " \\\n  " } else { " " });
        line.push_str(&quote(arg));
    }
    line.push('\n');
    line
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,/:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
