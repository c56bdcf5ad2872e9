//! What the types cannot say about a case: checked on every scenario, after `${axis}` was replaced.

use super::check_steps;
use super::schema::{Case, Machine, Plug};
use super::select::is_name;
use super::substitute::Problem;
use super::yaml::Key;
use super::{requires, units};
use crate::version::VersionRange;

/// Collects problems at the place where the check is.
#[derive(Debug, Default)]
pub(super) struct Checker {
    path: Vec<Key>,
    problems: Vec<Problem>,
}

impl Checker {
    /// Does `check` one key deeper.
    pub(super) fn at<R>(&mut self, key: impl Into<Key>, check: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(key.into());
        let result = check(self);
        self.path.pop();
        result
    }

    /// Something is wrong here; said once.
    pub(super) fn wrong(&mut self, what: impl Into<String>) {
        let problem = Problem { path: self.path.clone(), what: what.into() };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// The value, or its error said at `key`.
    pub(super) fn ok<T>(&mut self, key: impl Into<Key>, result: Result<T, String>) -> Option<T> {
        result.map_err(|what| self.at(key, |c| c.wrong(what))).ok()
    }
}

/// Everything that is wrong with a case whose `${axis}` were replaced.
pub fn check(case: &Case) -> Vec<Problem> {
    let mut c = Checker::default();
    for (key, text) in [("summary", &case.summary), ("origin", &case.origin)] {
        if text.trim().is_empty() {
            c.at(key, |c| c.wrong(format!("{key} is empty")));
        }
    }
    if let Some(range) = &case.kernel {
        c.ok("kernel", range.parse::<VersionRange>().map_err(|e| e.to_string()));
    }
    for (index, need) in case.config.iter().enumerate() {
        c.at("config", |c| c.ok(index, requires::Need::parse(need)));
    }
    for (index, module) in case.modules.iter().enumerate() {
        if module.is_empty() || !module.chars().all(|x| x.is_ascii_alphanumeric() || x == '_' || x == '-') {
            c.at("modules", |c| c.at(index, |c| c.wrong(format!("not a module's name: {module:?}"))));
        }
    }
    for (index, provoked) in case.provokes.iter().enumerate() {
        c.at("provokes", |c| c.at(index, |c| c.ok("message", regex(&provoked.message))));
    }
    c.at("machine", |c| machine(c, &case.machine));
    if let Some(udev) = &case.udev {
        c.at("udev", |c| {
            c.ok("rules", crate::image::rules(&udev.rules).map(drop).ok_or_else(|| no_rules(&udev.rules)));
            c.ok("machine", crate::image::Machine::parse(&udev.machine).map(drop));
        });
    }
    check_steps::check(&mut c, case);
    c.problems
}

fn no_rules(name: &str) -> String {
    let names: Vec<&str> = crate::image::all_rules().map(|r| r.name).collect();
    format!("no rules {name:?} (want {})", names.join(", "))
}

/// A regular expression that compiles.
pub(super) fn regex(text: &str) -> Result<regex::Regex, String> {
    if text.is_empty() {
        return Err("an empty regular expression matches everything".into());
    }
    regex::Regex::new(text).map_err(|e| {
        let last = e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
        format!("bad regular expression {text:?}: {last}")
    })
}

pub(super) fn positive_size(text: &str) -> Result<u64, String> {
    units::size(text).and_then(|size| if size > 0 { Ok(size) } else { Err("a size of 0".into()) })
}

fn machine(c: &mut Checker, machine: &Machine) {
    let memory = c.ok("memory", positive_size(&machine.memory));
    let most = c.ok("max_memory", positive_size(&machine.max_memory));
    if let (Some(memory), Some(most)) = (memory, most)
        && most < memory
    {
        c.at("max_memory", |c| c.wrong("max_memory is less than memory"));
    }
    if machine.slots > 256 {
        c.at("slots", |c| c.wrong("QEMU has at most 256 slots"));
    }
    if machine.smp == 0 {
        c.at("smp", |c| c.wrong("no processor"));
    }
    let nodes: Vec<Option<u64>> = machine
        .nodes
        .iter()
        .enumerate()
        .map(|(index, size)| c.at("nodes", |c| c.ok(index, units::size(size))))
        .collect();
    let sum: Option<u64> = nodes.iter().copied().sum();
    if !nodes.is_empty() && memory.is_some() && sum.is_some() && sum != memory {
        c.at("nodes", |c| c.wrong(format!("the nodes' memory is not {} together", machine.memory)));
    }
    if !machine.cpu_nodes.is_empty() && machine.cpu_nodes.len() != machine.smp as usize {
        c.at("cpu_nodes", |c| c.wrong(format!("want the node of each of {} processors", machine.smp)));
    }
    if machine.cpu_nodes.iter().any(|node| *node as usize >= machine.nodes.len()) {
        c.at("cpu_nodes", |c| c.wrong("the machine has no such node"));
    }
    for (index, dimm) in machine.dimms.iter().enumerate() {
        c.at("dimms", |c| {
            c.at(index, |c| {
                plug(c, machine, dimm);
                if machine.dimms[..index].iter().any(|d| d.dimm == dimm.dimm) {
                    c.at("dimm", |c| c.wrong(format!("DIMM {} is there already", dimm.dimm)));
                }
                if dimm.race || dimm.refused.is_some() {
                    c.wrong("a DIMM of the machine is neither refused nor in a race");
                }
            });
        });
    }
    if machine.dimms.len() > machine.slots as usize {
        c.at("dimms", |c| c.wrong(format!("more DIMMs than {} slots", machine.slots)));
    }
}

/// A DIMM by itself. What QEMU is to refuse may be out of range.
pub(super) fn plug(c: &mut Checker, machine: &Machine, plug: &Plug) {
    if !is_name(&plug.dimm) {
        c.at("dimm", |c| c.wrong(bad_name(&plug.dimm)));
    }
    let size = c.ok("size", positive_size(&plug.size));
    let node = plug.node.as_ref().and_then(|node| c.ok("node", units::number(node)));
    let slot = plug.slot.as_ref().and_then(|slot| c.ok("slot", units::number(slot)));
    if let Some(addr) = &plug.addr {
        c.ok("addr", units::address(addr));
    }
    if let Some(time) = &plug.within {
        c.ok("within", units::duration(time));
    }
    if plug.refused.is_some() {
        return;
    }
    let room =
        || Some(units::size(&machine.max_memory).ok()?.saturating_sub(units::size(&machine.memory).ok()?));
    if let (Some(size), Some(room)) = (size, room())
        && size > room
    {
        c.at("size", |c| {
            c.wrong(format!("{} does not fit: max_memory leaves {} MiB", plug.size, room >> 20))
        });
    }
    if node.is_some_and(|node| node as usize >= machine.nodes.len().max(1)) {
        c.at("node", |c| c.wrong("the machine has no such node"));
    }
    if slot.is_some_and(|slot| slot >= machine.slots) {
        c.at("slot", |c| c.wrong("the machine has no such slot"));
    }
}

/// The message about a name that cannot be used.
pub(super) fn bad_name(name: &str) -> String {
    format!(
        "bad name {name:?} (want a lowercase letter, then letters, digits, - and _; not boot, not memory…)"
    )
}
