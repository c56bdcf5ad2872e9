//! The judge: a fold over observations. Pure; the engine feeds it live, `memhp parse` feeds it from a saved run.
//!
//! It keeps the oracle's model of the guest beside the guest's last observed state. Every settled state is
//! compared with the model in every observable; a case's own expectations come on top.

mod fault;
mod plugging;
mod reserve;
mod settled;
mod user_space;
mod writing;

use super::errno;
use super::observation::*;
use super::plain;
use crate::case::schema::Attribute;
use crate::facts::drift::Sample;
use crate::facts::{self, MEMORY, Raw, Snapshot, expect};
use crate::finding::Finding;
use crate::policy::{self, Block, BlockState, Dimm, Knobs, Layout, Subject};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The observations do not allow a judgement: the scenario is an ERROR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// a watched file could not be understood
    #[error(transparent)]
    Facts(#[from] facts::FactError),
    /// the oracle does not decide
    #[error("the oracle cannot tell: {0}")]
    Unknown(#[from] policy::Unknown),
    /// too few rounds
    #[error(transparent)]
    Short(facts::drift::Short),
    /// uevents were lost on the way
    #[error(
        "uevents were lost on the way to the agent (ENOBUFS, or a gap in SEQNUM): nothing can be said about them"
    )]
    UeventsLost,
    /// the agent told the names of files without their permissions
    #[error("the agent told no permissions of the files in {MEMORY}")]
    NoModes,
    /// the observations are out of order
    #[error("observation before the boot: {0}")]
    Order(&'static str),
}

/// The global policy's file.
const AUTO_ONLINE: &str = "/sys/devices/system/memory/auto_online_blocks";
/// The switch of ACPI ejection.
const EJECT_ENABLED: &str = "/sys/firmware/acpi/hotplug/memory/enabled";
/// Parameters of mm/memory_hotplug.c that the oracle knows.
const PARAMETERS: [&str; 4] =
    ["online_policy", "auto_movable_ratio", "auto_movable_numa_aware", "memmap_on_memory"];

type Judged = Result<Vec<Finding>, JudgeError>;

/// What the judge must know of a scenario before its guest answers.
#[derive(Debug, Clone)]
pub struct Context {
    /// the kernel
    pub subject: Subject,
    /// kernel command line of the guest
    pub cmdline: String,
    /// the guest has kernel netlink: uevents are judged
    pub uevents: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Judge {
    context: Context,
    state: Option<State>,
}

/// What exists once the guest has answered.
#[derive(Debug)]
struct State {
    raw: Raw,
    /// the kernel's node of each of QEMU's
    nodes: Vec<u32>,
    base: Snapshot,
    base_layout: Layout,
    now: Snapshot,
    layout: Layout,
    knobs: Knobs,
    /// uevents that the operations since the last settled state must have caused
    expected: Vec<policy::Expected>,
    /// some of these operations overlapped: their events come in any order
    concurrent: bool,
    /// settings that were written since the boot, but for those of the oracle: path to text
    written: BTreeMap<String, String>,
    /// reserves as they were just written, by path; a text that is no plain number tells nothing
    reserves_written: BTreeMap<String, Option<u64>>,
    /// managed pages of all zones when min_free_kbytes was written
    min_free_written: Option<u64>,
    /// page frames that were poisoned on purpose, in memory that is still there
    poisoned: BTreeSet<u64>,
    /// names of the holds that are not released
    held: BTreeSet<String>,
    last_seqnum: Option<u64>,
    /// a storm of uevents was seen
    stormy: bool,
    /// readings of the state, up to the last one, in which free memory did not add up
    wrong_readings: settled::WrongReadings,
    /// blocks that user space brought online since the last settled state
    brought: Vec<u32>,
    unplugging: Vec<String>,
    /// those of them that the guest began
    ejecting: BTreeSet<String>,
    /// those of them whose blocks udevd may still have been bringing online
    contested: BTreeSet<String>,
    racing: BTreeMap<String, Dimm>,
    /// more than one outcome was right of something that happened, or steps raced
    luck: bool,
}

impl Judge {
    /// A judge for a guest that has not answered yet.
    pub fn new(context: Context) -> Self {
        Self { context, state: None }
    }

    /// Judges one observation: every fact that is not as it must be.
    ///
    /// # Errors
    /// [`JudgeError`]: nothing can be said of the kernel.
    pub fn take(&mut self, observation: &Observation) -> Judged {
        let booted = self.state.is_some();
        let quiet = matches!(observation, Observation::Boot(_) | Observation::Settled(_));
        match self.judge(observation) {
            Err(JudgeError::Facts(error)) => {
                fault::of(&error, booted, quiet).map_or(Err(error.into()), |f| Ok(vec![f]))
            }
            judged => judged,
        }
    }

    fn judge(&mut self, observation: &Observation) -> Judged {
        if let Observation::Boot(boot) = observation {
            return self.boot(boot);
        }
        let context = &self.context;
        let state = self.state.as_mut().ok_or(JudgeError::Order("the guest has not answered"))?;
        match observation {
            Observation::Boot(_) => Ok(Vec::new()),
            Observation::Settled(settled) => state.settled(context, settled),
            Observation::Plug(plug) => state.plug(context, plug),
            Observation::Write(write) => state.write(context, write),
            Observation::BlockWrite(write) => state.block_write(context, write),
            Observation::Overlapping { writes } => state.overlapping(context, writes),
            Observation::Unplug(unplug) => Ok(state.unplug(unplug)),
            Observation::UnplugOutcome(outcome) => state.unplug_outcome(context, outcome),
            Observation::Raced { settled, dimms, osts } => state.raced(&self.context, settled, dimms, osts),
            Observation::UserSpace(acted) => state.user_space(context, acted),
            Observation::Blocks(blocks) => Ok(state.blocks(blocks)),
            Observation::Drift { every, samples } => drift(*every, samples),
            other => {
                state.holds(other);
                Ok(plain::judge(other))
            }
        }
    }

    /// The guest's first state: the model is made of it, and checked against what must be.
    fn boot(&mut self, boot: &Boot) -> Judged {
        let (knobs, _) = Knobs::boot(&self.context.subject, &self.context.cmdline)?;
        let mut raw = Raw::new();
        raw.apply(&boot.settled.snapshot);
        let base = Snapshot::parse(&raw)?;
        if base.root_modes.is_empty() {
            return Err(JudgeError::NoModes);
        }
        self.context.subject.cpu_nodes = cpu_nodes(&base, &boot.cpu_nodes, &self.context.cmdline);
        let nodes = nodes(&base, &boot.nodes);
        let dimms: BTreeMap<String, Dimm> =
            boot.cold_dimms.iter().map(|d| (d.name.clone(), dimm(d, true, &nodes))).collect();
        let (base_layout, layout) = model(&base, &dimms, &knobs, &self.context.subject)?;
        let mut state = State {
            raw,
            nodes,
            now: base.clone(),
            base,
            base_layout,
            layout,
            knobs,
            expected: Vec::new(),
            concurrent: false,
            written: BTreeMap::new(),
            reserves_written: BTreeMap::new(),
            min_free_written: None,
            poisoned: BTreeSet::new(),
            held: BTreeSet::new(),
            last_seqnum: boot.settled.uevents.last().map(|u| u.seqnum),
            stormy: false,
            wrong_readings: settled::WrongReadings::default(),
            brought: Vec::new(),
            unplugging: Vec::new(),
            ejecting: BTreeSet::new(),
            contested: BTreeSet::new(),
            racing: BTreeMap::new(),
            luck: false,
        };
        let mut findings = state.check(&self.context)?;
        findings.extend(state.base_layout.check_boot(&state.base));
        findings.extend(check_cpu_nodes(&state.base, &self.context.subject.cpu_nodes));
        let findings = settled::persistent(&mut state.wrong_readings, findings);
        self.state = Some(state);
        Ok(findings)
    }

    /// The model's layout; an empty one before the guest has answered.
    pub fn layout(&self) -> Option<&Layout> {
        self.state.as_ref().map(|s| &s.layout)
    }

    /// The last observed state.
    pub fn now(&self) -> Option<&Snapshot> {
        self.state.as_ref().map(|s| &s.now)
    }

    /// DIMMs whose unplug was asked for and has not ended.
    pub fn pending_unplugs(&self) -> Vec<String> {
        self.state.as_ref().map(|s| s.unplugging.clone()).unwrap_or_default()
    }

    /// Is it a block of a DIMM?
    pub fn is_hot(&self, number: u32) -> bool {
        self.block(number).is_some_and(|b| b.dimm.is_some())
    }

    /// Pages that were poisoned on purpose, by block.
    pub fn poison(&self) -> BTreeMap<u32, u64> {
        let Some(state) = &self.state else { return BTreeMap::new() };
        let in_block = |number: u32| {
            let first = state.layout.first_pfn(number);
            state.poisoned.range(first..first + state.layout.block_pages()).count() as u64
        };
        let counts = state.layout.blocks.keys().map(|number| (*number, in_block(*number)));
        counts.filter(|(_, pages)| *pages > 0).collect()
    }

    /// Is it online, in the model?
    pub fn is_online(&self, number: u32) -> bool {
        self.block(number).is_some_and(|b| b.state == BlockState::Online)
    }

    /// The zone of a block that is online, in the model.
    pub fn zone(&self, number: u32) -> Option<policy::Zone> {
        self.block(number)?.zone
    }

    /// Free memory did not add up in the last reading of the state, which may be the reading's fault: read it again.
    pub fn in_doubt(&self) -> bool {
        self.state.as_ref().is_some_and(|s| !s.wrong_readings.is_empty())
    }

    /// Of something that happened more than one outcome was right: another run may go another way from there.
    pub fn luck(&self) -> bool {
        self.state.as_ref().is_some_and(|s| s.luck)
    }

    fn block(&self, number: u32) -> Option<&Block> {
        self.layout()?.blocks.get(&number)
    }

    /// Page frames of a block; none before the guest has answered.
    pub fn pfns(&self, number: u32) -> Range<u64> {
        let first = |l: &Layout| l.first_pfn(number)..l.first_pfn(number) + l.block_pages();
        self.layout().map_or(0..0, first)
    }
}

/// Nodes that must have a processor. The kernel's word is taken where it was told to use fewer processors, or does not read
/// the machine's nodes (numa=off).
fn cpu_nodes(base: &Snapshot, told: &BTreeSet<u32>, cmdline: &str) -> BTreeSet<u32> {
    let fewer = |word: &str| ["maxcpus=", "nr_cpus=", "nosmp"].iter().any(|name| word.starts_with(name));
    let knows = base.masks.get("possible").is_none_or(|possible| told.is_subset(possible));
    match base.masks.get("has_cpu") {
        Some(seen) if !knows || cmdline.split_whitespace().any(fewer) => seen.clone(),
        _ => told.clone(),
    }
}

fn check_cpu_nodes(base: &Snapshot, expected: &BTreeSet<u32>) -> Vec<Finding> {
    let list = |nodes: &BTreeSet<u32>| nodes.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let rule = "drivers/base/node.c: N_CPU, the nodes of the processors that are online";
    let seen = base.masks.get("has_cpu").filter(|seen| *seen != expected);
    let found = seen.map(|seen| Finding::new("node.mask", "has_cpu", list(expected), list(seen), rule));
    found.into_iter().collect()
}

/// The layout as it was seen at boot, and as it must be: boot memory, and what the kernel makes of cold-plugged DIMMs.
fn model(
    base: &Snapshot,
    dimms: &BTreeMap<String, Dimm>,
    knobs: &Knobs,
    subject: &Subject,
) -> Result<(Layout, Layout), JudgeError> {
    let own_memmap = |dimm: &Dimm| policy::vmemmap_pages(base.block_bytes, knobs, subject, dimm.size);
    let seen = Layout::from_boot(base, dimms, &own_memmap)?;
    let mut layout = seen.clone();
    dimms.keys().for_each(|name| policy::apply_unplugged(&mut layout, name));
    let mut by_slot: Vec<_> = dimms.iter().collect();
    by_slot.sort_by_key(|(_, dimm)| dimm.slot);
    for (name, dimm) in by_slot {
        policy::add(&mut layout, knobs, subject, name, dimm.clone())?;
    }
    Ok((seen, layout))
}

/// The kernel's node of each of QEMU's: all are its only one where it does not read the machine's nodes (numa=off).
fn nodes(base: &Snapshot, told: &[u32]) -> Vec<u32> {
    let knows = base.masks.get("possible").is_none_or(|possible| *possible != BTreeSet::from([0]));
    if knows { told.to_vec() } else { vec![0; told.len()] }
}

fn dimm(device: &Device, cold: bool, nodes: &[u32]) -> Dimm {
    let node = nodes.get(device.node as usize).copied().unwrap_or(device.node);
    Dimm { addr: device.addr, size: device.size, slot: device.slot, node, cold }
}

/// Leaks that samples of many rounds show.
fn drift(every: u32, samples: &[BTreeMap<String, i64>]) -> Judged {
    let samples: Vec<Sample> = samples.iter().map(|values| Sample { values: values.clone() }).collect();
    facts::drift::flat(&samples, every).map_err(JudgeError::Short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{KERNELS, guest};
    use wire::Hello;

    #[test]
    fn processors_are_on_the_nodes_that_they_were_put_on() {
        for kernel in KERNELS {
            let mut base = guest(kernel, "one", 0, "").base;
            let nodes = |nodes: &[u32]| nodes.iter().copied().collect::<BTreeSet<u32>>();
            base.masks.insert("possible".into(), nodes(&[0, 1]));
            assert_eq!(check_cpu_nodes(&base, &cpu_nodes(&base, &nodes(&[0]), "")), []);
            let found = check_cpu_nodes(&base, &cpu_nodes(&base, &nodes(&[0, 1]), "quiet"));
            assert_eq!((found[0].expected.as_str(), found[0].seen.as_str()), ("0 1", "0"));
            assert_eq!(cpu_nodes(&base, &nodes(&[0, 1]), "quiet maxcpus=1"), nodes(&[0]));
            base.masks.insert("possible".into(), nodes(&[0]));
            assert_eq!(cpu_nodes(&base, &nodes(&[0, 1]), "numa=off"), nodes(&[0]));
            base.masks.clear();
            assert_eq!(cpu_nodes(&base, &nodes(&[0, 1]), ""), nodes(&[0, 1]));
        }
    }

    #[test]
    fn a_cold_dimm_with_its_own_memory_map_is_no_contradiction() {
        for (kernel, own) in [("5.10", 0), ("6.1", 512), ("6.12", 512), ("6.18", 512), ("7.3", 512)] {
            let plugged = guest(kernel, "mom", 1, "32=Movable");
            let subject = Subject::usual(plugged.version, policy::OnlineType::OnlineMovable);
            let (knobs, _) = Knobs::boot(&subject, "memory_hotplug.memmap_on_memory=Y").unwrap();
            let (seen, layout) = model(&plugged.now(), &plugged.layout.dimms, &knobs, &subject).unwrap();
            assert_eq!(seen.blocks[&32].vmemmap_pages, own, "{kernel}");
            assert_eq!((&seen.blocks, &seen.early), (&layout.blocks, &layout.early), "{kernel}");
            assert_eq!(seen.early, plugged.base_layout.early, "{kernel}");
        }
    }

    #[test]
    fn a_guest_that_tells_no_permissions_is_not_judged() {
        let guest = guest("6.12", "one", 0, "");
        let all = guest.raw.dirs("").map(|(dir, entries)| (dir.to_string(), entries.clone())).collect();
        let snapshot =
            wire::Snapshot { changed: all, gone: Vec::new(), threads: guest.raw.threads().to_vec() };
        let settled = Settled {
            snapshot,
            uevents: Vec::new(),
            uevents_lost: false,
            devices: Vec::new(),
            pages: BTreeMap::new(),
            fresh_on_lru: None,
        };
        let hello = Hello {
            protocol: wire::PROTOCOL,
            release: "6.12".into(),
            version: "#1".into(),
            machine: "x86_64".into(),
            cmdline: String::new(),
            uevents: true,
            page_flags: false,
            page_size: 4096,
        };
        let subject = Subject::usual(guest.version, policy::OnlineType::Online);
        let mut judge = Judge::new(Context { subject, cmdline: String::new(), uevents: true });
        let boot = Boot { hello, cold_dimms: Vec::new(), cpu_nodes: [0].into(), nodes: vec![0], settled };
        assert_eq!(judge.take(&Observation::Boot(Box::new(boot))), Err(JudgeError::NoModes));
    }
}
