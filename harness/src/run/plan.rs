//! The plan: which scenarios run on which kernels, which are skipped and why. Decided before anything is booted.

use super::boot::Dead;
use super::host::Host;
use super::needs;
use crate::case::schema::Step;
use crate::case::{Chosen, Scenario, applies};
use crate::image::Part;
use crate::kernel::Kernel;
use crate::policy::Subject;
use crate::verdict::Provokes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A scenario on a kernel.
#[derive(Debug, Clone)]
pub struct Planned {
    /// stable id
    pub id: String,
    /// case and parameters
    pub scenario: Arc<Scenario>,
    /// the pattern that chooses it again
    pub again: String,
    /// kernel
    pub kernel: Arc<Kernel>,
    /// the kernel as the oracle sees it
    pub subject: Subject,
    /// modules to load, in order; built-in ones left out
    pub modules: Vec<String>,
    /// console messages that the case provokes
    pub provokes: Provokes,
    /// the user's further kernel parameters
    pub append: String,
    /// seed of its random choices: of the run and the id without the kernel
    pub seed: u64,
    /// which time it runs (`--repeat`), from 0
    pub round: u32,
    /// its guest boots, whatever the others do
    pub cold: bool,
    /// why it does not run
    pub skip: Option<String>,
    /// its kernel was seen not to boot
    pub dead: Option<Arc<Dead>>,
}

impl Planned {
    /// Names of the DIMMs on QEMU's command line.
    pub fn cold_dimms(&self) -> Vec<String> {
        self.scenario.case.machine.dimms.iter().map(|d| d.dimm.clone()).collect()
    }

    /// Proximity domains with processors: the first, where the case does not say
    /// ([`spec::machine`](super::spec::machine)).
    fn cpu_domains(&self) -> Vec<u32> {
        let domains = &self.scenario.case.machine.cpu_nodes;
        if domains.is_empty() { vec![0] } else { domains.clone() }
    }

    /// The kernel's node of each proximity domain, which is QEMU's node.
    pub fn nodes(&self) -> Vec<u32> {
        nodes(&self.cpu_domains(), &self.scenario.case.machine.nodes)
    }

    /// The kernel's nodes with processors.
    pub fn cpu_nodes(&self) -> BTreeSet<u32> {
        let nodes = self.nodes();
        self.cpu_domains().into_iter().filter_map(|domain| nodes.get(domain as usize).copied()).collect()
    }

    /// Parts of user space that its guest needs.
    pub fn parts(&self) -> Vec<Part> {
        let case = &self.scenario.case;
        let udev = case.udev.as_ref().map(|_| Part::Udev);
        let stress = stresses(&case.steps).then_some(Part::StressNg);
        udev.into_iter().chain(stress).collect()
    }

    /// A command that repeats it.
    pub fn repeat_line(&self, host: &Host) -> String {
        format!("memhp run{} '{}'", host.repeat_options, self.again)
    }
}

/// The kernel's node of each proximity domain, given the domains of the processors, and the memory of each.
///
/// A domain becomes the next node where the SRAT first names it (drivers/acpi/numa/srat.c:acpi_map_pxm_to_node): processors
/// come first, then memory, and last the area of hot-plugged memory, which is in the last domain (QEMU
/// hw/i386/acpi-build.c:build_srat). A domain that it does not name has no node, and a DIMM there is on the node of the first
/// boot memory (memory_add_physaddr_to_nid of arch/x86/mm/numa.c, since 6.12 of mm/numa_memblks.c: `numa_meminfo.blk[0]`,
/// for the area of hot-plugged memory is not in numa_meminfo).
fn nodes(of_processors: &[u32], memory: &[String]) -> Vec<u32> {
    let count = memory.len().max(1) as u32;
    let with_memory =
        || (0..count).zip(memory).filter(|(_, memory)| *memory != "0").map(|(domain, _)| domain);
    let mut nodes = BTreeMap::new();
    for domain in of_processors.iter().copied().chain(with_memory()).chain([count - 1]) {
        let next = nodes.len() as u32;
        nodes.entry(domain).or_insert(next);
    }
    let first = with_memory().find_map(|domain| nodes.get(&domain).copied()).unwrap_or(0);
    (0..count).map(|domain| nodes.get(&domain).copied().unwrap_or(first)).collect()
}

/// Does one of these steps start stress-ng?
fn stresses(steps: &[Step]) -> bool {
    needs::any(steps, &|step| matches!(step, Step::Load(load) if load.stress.is_some()))
}

/// What is chosen, with what each scenario needs; sorted by id.
pub fn plan(
    chosen: Vec<Chosen>,
    kernels: &[(Arc<Kernel>, Subject)],
    append: &str,
    seed: u64,
) -> Vec<Planned> {
    let one = |Chosen { id, again, kernel, scenario }: Chosen| {
        let (kernel, subject) = &kernels[kernel];
        let (modules, skip) = match requirements(&scenario, kernel, subject, append) {
            Ok(modules) => (modules, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        Planned {
            // Without the kernel: what is compared on two kernels makes the same choices.
            seed: seed ^ hash(super::durations::name(&id)),
            id,
            again,
            kernel: Arc::clone(kernel),
            subject: subject.clone(),
            modules,
            // Loading has refused what is no regular expression.
            provokes: Provokes::new(&scenario.case.provokes).unwrap_or_default(),
            append: append.into(),
            round: 0,
            cold: false,
            skip,
            dead: None,
            scenario: Arc::new(scenario),
        }
    };
    chosen.into_iter().map(one).collect()
}

fn requirements(
    scenario: &Scenario,
    kernel: &Kernel,
    subject: &Subject,
    append: &str,
) -> Result<Vec<String>, String> {
    let lookup = |name: &str| kernel.config.as_ref().and_then(|c| c.says(name).map(str::to_string));
    applies(&scenario.case, kernel.version, &lookup).map_err(|e| e.to_string())?;
    let cmdline = format!("{append} {}", scenario.append);
    needs::unmet(&scenario.case, &cmdline, subject).map_or(Ok(()), Err)?;
    // What the configuration says is built in needs no file, and an image alone has no list of what is built in.
    let built_in = |name: &str| lookup(&option_of(name)).as_deref() == Some("y");
    let names: Vec<&str> =
        scenario.case.modules.iter().map(String::as_str).filter(|n| !built_in(n)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    for name in &names {
        if kernel.modules.has(name).map_err(|e| e.to_string())? == Some(false) {
            return Err(format!("needs the module {name}, the kernel's package has none"));
        }
    }
    let loaded = kernel.modules.load(&names).map_err(|e| e.to_string())?;
    Ok(loaded.into_iter().map(|m| m.name).collect())
}

/// The option that builds a module, where it is named after it as most are: MEMORY_NOTIFIER_ERROR_INJECT.
fn option_of(module: &str) -> String {
    module.replace('-', "_").to_ascii_uppercase()
}

/// Part I of N, from 1, over the sorted plan: every Nth.
pub fn shard(plan: Vec<Planned>, part: usize, of: usize) -> Vec<Planned> {
    plan.into_iter().enumerate().filter(|(index, _)| index % of == part - 1).map(|(_, p)| p).collect()
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_become_nodes_as_the_srat_names_them() {
        let nodes = |cpus: &[u32], memory: &[&str]| {
            nodes(cpus, &memory.iter().map(|m| (*m).to_string()).collect::<Vec<_>>())
        };
        assert_eq!(nodes(&[0], &[]), [0]);
        assert_eq!(nodes(&[0, 0], &["512M", "0"]), [0, 1]);
        assert_eq!(nodes(&[1, 1], &["256M", "256M"]), [1, 0]);
        assert_eq!(nodes(&[2, 0], &["256M", "128M", "256M"]), [1, 2, 0]);
        // nobody names the second, and the area of hot-plugged memory is in the last
        assert_eq!(nodes(&[0], &["512M", "0", "0"]), [0, 0, 1]);
    }
}
