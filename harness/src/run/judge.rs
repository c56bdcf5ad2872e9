//! The judge: a fold over observations. Pure; the engine feeds it live, `memhp parse` feeds it from a saved run.
//!
//! It keeps the oracle's model of the guest beside the guest's last observed state. Every settled state is
//! compared with the model in every observable; a case's own expectations come on top.

use super::errno;
use super::observation::*;
use crate::case::schema::Attribute;
use crate::facts::drift::Sample;
use crate::facts::{self, Raw, Snapshot, expect};
use crate::finding::Finding;
use crate::policy::{self, Block, BlockState, Dimm, Knobs, Layout, Subject};
use std::collections::BTreeMap;
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
    last_seqnum: Option<u64>,
    unplugging: Vec<String>,
    racing: BTreeMap<String, Dimm>,
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
        match self.judge(observation) {
            // What the agent sends is checksummed: a text of an unknown shape is the kernel's.
            Err(JudgeError::Facts(facts::FactError::Shape { path, line, why, text })) => {
                let rule = format!("the format of this file is ABI (line {line}: {why})");
                Ok(vec![Finding::new("file.shape", path, "the documented format", format!("{text:?}"), rule)])
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
            Observation::Raced { settled, dimms } => state.raced(settled, dimms),
            Observation::Blocks(blocks) => Ok(state.blocks(blocks)),
            Observation::Drift { samples } => drift(samples),
            other => Ok(super::plain::judge(other)),
        }
    }

    /// The guest's first state: the model is made of it, and checked against what must be.
    fn boot(&mut self, boot: &Boot) -> Judged {
        let (knobs, _) = Knobs::boot(&self.context.subject, &self.context.cmdline)?;
        let mut raw = Raw::new();
        raw.apply(&boot.settled.snapshot);
        let base = Snapshot::parse(&raw)?;
        let dimms: BTreeMap<String, Dimm> =
            boot.cold_dimms.iter().map(|d| (d.name.clone(), dimm(d, true))).collect();
        let (base_layout, layout) = model(&base, &dimms, &knobs, &self.context.subject)?;
        let state = State {
            raw,
            now: base.clone(),
            base,
            base_layout,
            layout,
            knobs,
            expected: Vec::new(),
            concurrent: false,
            written: BTreeMap::new(),
            last_seqnum: boot.settled.uevents.last().map(|u| u.seqnum),
            unplugging: Vec::new(),
            racing: BTreeMap::new(),
        };
        let findings = state.check(&self.context)?;
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

    /// Is it online, in the model?
    pub fn is_online(&self, number: u32) -> bool {
        self.block(number).is_some_and(|b| b.state == BlockState::Online)
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

/// The layout as it was seen at boot, and as it must be: boot memory, and what the kernel makes of cold-plugged DIMMs.
fn model(
    base: &Snapshot,
    dimms: &BTreeMap<String, Dimm>,
    knobs: &Knobs,
    subject: &Subject,
) -> Result<(Layout, Layout), JudgeError> {
    let mut layout = Layout::from_boot(base, dimms, &|_| 0)?;
    dimms.keys().for_each(|name| policy::apply_unplugged(&mut layout, name));
    let mut by_slot: Vec<_> = dimms.iter().collect();
    by_slot.sort_by_key(|(_, dimm)| dimm.slot);
    let mut vmemmap = BTreeMap::new();
    for (name, dimm) in &by_slot {
        let added = policy::add(&mut layout, knobs, subject, name, (*dimm).clone())?;
        vmemmap.insert(dimm.addr, added.vmemmap_pages);
    }
    let seen = Layout::from_boot(base, dimms, &|dimm| vmemmap.get(&dimm.addr).copied().unwrap_or(0))?;
    layout.early.clone_from(&seen.early);
    Ok((seen, layout))
}

fn dimm(device: &Device, cold: bool) -> Dimm {
    Dimm { addr: device.addr, size: device.size, slot: device.slot, node: device.node, cold }
}

impl State {
    /// Every observable against the model.
    fn check(&self, context: &Context) -> Judged {
        let subject = &context.subject;
        let mut valid_zones = BTreeMap::new();
        for number in self.layout.blocks.keys() {
            if let Some(text) = policy::valid_zones(&self.layout, &self.knobs, subject, *number)? {
                valid_zones.insert(*number, text);
            }
        }
        let mut written = self.written.clone();
        written.insert(AUTO_ONLINE.to_string(), self.knobs.auto_online.word().to_string());
        for name in PARAMETERS {
            if let Some(value) = self.knobs.param(name) {
                written.insert(format!("{}/{name}", facts::PARAMETERS), value);
            }
        }
        let context = expect::Context {
            version: subject.version,
            hotremove: Some(subject.hotremove),
            written: &written,
            valid_zones: &valid_zones,
        };
        let base = expect::Base { snapshot: &self.base, layout: &self.base_layout };
        Ok(expect::check(&self.layout, base, &self.now, &context))
    }

    fn settled(&mut self, context: &Context, settled: &Settled) -> Judged {
        self.observe(settled)?;
        let mut findings = self.check(context)?;
        if self.layout.dimms == self.base_layout.dimms && self.layout.blocks == self.base_layout.blocks {
            findings.extend(facts::drift::back(&self.base, &self.now));
        }
        findings.extend(self.check_devices(&settled.devices));
        findings.extend(self.check_pages(context, &settled.pages));
        findings.extend(self.check_uevents(context, settled)?);
        Ok(findings)
    }

    fn observe(&mut self, settled: &Settled) -> Result<(), JudgeError> {
        self.raw.apply(&settled.snapshot);
        self.now = Snapshot::parse(&self.raw)?;
        Ok(())
    }

    /// QEMU's list of DIMMs is the model's.
    fn check_devices(&self, devices: &[Device]) -> Vec<Finding> {
        let show = |name: &str, d: &Dimm| {
            format!("{name} at {:#x}, {:#x} bytes, slot {}, node {}", d.addr, d.size, d.slot, d.node)
        };
        let mut expected: Vec<String> = self.layout.dimms.iter().map(|(n, d)| show(n, d)).collect();
        let mut seen: Vec<String> = devices.iter().map(|d| show(&d.name, &dimm(d, false))).collect();
        expected.sort();
        seen.sort();
        if expected == seen {
            return Vec::new();
        }
        let rule = "query-memory-devices lists the DIMMs that were plugged and not unplugged";
        vec![Finding::new("qemu.dimms", "", expected.join("; "), seen.join("; "), rule)]
    }

    /// Page flags fit the states of the blocks, as they are (what they must be is checked elsewhere).
    fn check_pages(&self, context: &Context, pages: &BTreeMap<u32, BTreeMap<u8, u64>>) -> Vec<Finding> {
        let seen = expect::overlay(&self.layout, &self.now);
        let mut findings = Vec::new();
        for (number, flags) in pages {
            if let Some(block) = seen.blocks.get(number) {
                findings.extend(expect::check_pages(context.subject.version, &seen, *number, block, flags));
            }
        }
        findings
    }

    /// Exactly the uevents that the operations must have caused.
    fn check_uevents(&mut self, context: &Context, settled: &Settled) -> Judged {
        let expected = std::mem::take(&mut self.expected);
        let concurrent = std::mem::take(&mut self.concurrent);
        if !context.uevents {
            return Ok(Vec::new());
        }
        let numbers = self.last_seqnum.into_iter().chain(settled.uevents.iter().map(|u| u.seqnum));
        let numbers: Vec<u64> = numbers.collect();
        if settled.uevents_lost || numbers.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            return Err(JudgeError::UeventsLost);
        }
        self.last_seqnum = numbers.last().copied();
        let seen: Vec<policy::Event> = settled.uevents.iter().filter_map(policy::Event::of).collect();
        Ok(policy::check_all_uevents(&seen, &expected, concurrent))
    }

    fn plug(&mut self, context: &Context, plug: &Plug) -> Judged {
        if let Some(finding) =
            super::plain::refusal("plug", &plug.dimm, plug.want_refused.as_deref(), plug.error.as_deref())
        {
            return Ok(vec![finding]);
        }
        let Some(device) = &plug.device else { return Ok(Vec::new()) };
        let dimm = dimm(device, false);
        if plug.race {
            self.racing.insert(plug.dimm.clone(), dimm);
            return Ok(Vec::new());
        }
        let added = policy::add(&mut self.layout, &self.knobs, &context.subject, &plug.dimm, dimm)?;
        self.expected.push(policy::expect_plug(&context.subject, &added)?);
        let rule = "drivers/acpi/scan.c:acpi_generic_hotplug_event: the insertion ends with _OST success (also when the add failed)";
        let (expected, seen) = (vec![(1, 0)], &plug.osts);
        if expected == *seen {
            return Ok(Vec::new());
        }
        Ok(vec![Finding::new("plug.ost", &*plug.dimm, format!("{expected:?}"), format!("{seen:?}"), rule)])
    }

    fn write(&mut self, context: &Context, write: &Write) -> Judged {
        let mut findings = Vec::new();
        let parameter = write.path.strip_prefix(facts::PARAMETERS).and_then(|rest| rest.strip_prefix('/'));
        let ruled = match (write.path.as_str(), parameter) {
            (AUTO_ONLINE, _) => Some(self.knobs.write_auto_online(&write.text)),
            (EJECT_ENABLED, _) => Some(self.knobs.write_eject_enabled(&write.text)),
            (_, Some(name)) => Some(self.knobs.write_param(&context.subject, name, &write.text)?),
            _ => None,
        };
        let known = ruled.is_some();
        if write.errno == 0 && self.now.knobs.contains_key(&write.path) {
            let words: Vec<&str> = write.text.split_whitespace().collect();
            if ruled.as_ref().is_none_or(Result::is_ok) && !words.is_empty() {
                self.written.insert(write.path.clone(), words.join(" "));
            }
        }
        if let Some(ruled) = ruled {
            let (expected, rule) = match ruled {
                Ok(ruling) => (0, ruling.to_string()),
                Err(refusal) => (refusal.errno.code(), refusal.ruling.to_string()),
            };
            if expected != write.errno {
                let (expected, seen) = (errno::name(expected), errno::name(write.errno));
                findings.push(Finding::new("write.errno", &*write.path, expected, seen, rule));
            }
        }
        let want = write.want.unwrap_or(if known { write.errno } else { 0 });
        if findings.is_empty() && want != write.errno {
            let (expected, seen) = (errno::name(want), errno::name(write.errno));
            findings.push(Finding::new("write.errno", &*write.path, expected, seen, "the case says so"));
        }
        Ok(findings)
    }

    fn block_write(&mut self, context: &Context, write: &BlockWrite) -> Judged {
        let (layout, knobs, subject) = (&self.layout, &self.knobs, &context.subject);
        let permitted = match write.attribute {
            Attribute::State => policy::write_state(layout, knobs, subject, write.block, &write.text)?,
            Attribute::Online => policy::write_online(layout, knobs, subject, write.block, &write.text)?,
        };
        let fact = format!("block.write.{}", write.attribute.file());
        let subject_of = format!("{:?} to memory{}/{}", write.text, write.block, write.attribute.file());
        let seen = errno::name(write.errno);
        if !write.want.is_empty() && !write.want.contains(&write.errno) {
            let expected: Vec<String> = write.want.iter().map(|e| errno::name(*e)).collect();
            return Ok(vec![Finding::new(fact, subject_of, expected.join(" or "), seen, "the case says so")]);
        }
        // An errno that the case names is right though the oracle does not know it (injected errors).
        let named = !write.want.is_empty() && write.errno != 0;
        let code = |o: &policy::Outcome| match o {
            policy::Outcome::Done { .. } => 0,
            policy::Outcome::Failed(e) => e.code(),
        };
        let allowed = permitted.allowed.iter().find(|a| code(&a.outcome) == write.errno);
        let Some(allowed) = allowed else {
            if named {
                return Ok(Vec::new());
            }
            let expected: Vec<String> =
                permitted.allowed.iter().map(|a| errno::name(code(&a.outcome))).collect();
            let rules: Vec<String> = permitted.allowed.iter().map(|a| a.ruling.to_string()).collect();
            return Ok(vec![Finding::new(fact, subject_of, expected.join(" or "), seen, rules.join("; "))]);
        };
        let before = self.layout.blocks.get(&write.block).map_or(BlockState::Offline, |b| b.state);
        self.expected.push(policy::expect_write(write.block, before, &allowed.outcome));
        match write.attribute {
            Attribute::State => {
                policy::apply_write_state(&mut self.layout, write.block, &write.text, &allowed.outcome);
            }
            Attribute::Online => policy::apply_write_online(&mut self.layout, write.block, &allowed.outcome),
        }
        Ok(Vec::new())
    }

    /// Writes that overlapped are right if they are in some order; the order of their ends is tried first.
    fn overlapping(&mut self, context: &Context, writes: &[BlockWrite]) -> Judged {
        self.concurrent |= writes.len() > 1 || !self.expected.is_empty();
        let mut first: Option<Vec<Finding>> = None;
        for order in orders(writes.len()) {
            let before = (self.layout.clone(), self.expected.clone());
            let mut findings = Vec::new();
            for index in order {
                findings.extend(self.block_write(context, &writes[index])?);
            }
            if findings.is_empty() {
                return Ok(findings);
            }
            (self.layout, self.expected) = before;
            first.get_or_insert(findings);
        }
        Ok(first.unwrap_or_default())
    }

    fn unplug(&mut self, unplug: &Unplug) -> Vec<Finding> {
        let refusal = super::plain::refusal(
            "unplug",
            &unplug.dimm,
            unplug.want_refused.as_deref(),
            unplug.error.as_deref(),
        );
        if refusal.is_none() && unplug.error.is_none() && !self.unplugging.contains(&unplug.dimm) {
            self.unplugging.push(unplug.dimm.clone());
        }
        refusal.into_iter().collect()
    }

    fn unplug_outcome(&mut self, context: &Context, ended: &UnplugOutcome) -> Judged {
        self.unplugging.retain(|d| *d != ended.dimm);
        let permitted = policy::unplug(&self.layout, &self.knobs, &context.subject, &ended.dimm)?;
        let all = [
            (Outcome::Done, &permitted.done),
            (Outcome::Refused, &permitted.refused),
            (Outcome::Disabled, &permitted.disabled),
        ];
        let mut possible: Vec<(Outcome, &policy::Ending)> =
            all.iter().filter_map(|(o, e)| e.as_ref().map(|e| (*o, e))).collect();
        // A refusal that the case names is right though the oracle sees no reason (injected errors).
        let named = policy::refusal_for_a_reason_of_the_case();
        if ended.want == [Outcome::Refused] && permitted.refused.is_none() {
            possible = vec![(Outcome::Refused, &named)];
        }
        let words = |outcomes: &mut dyn Iterator<Item = Outcome>| {
            outcomes.map(Outcome::word).collect::<Vec<_>>().join(" or ")
        };
        let seen = ended.outcome.word();
        let Some((_, ending)) = possible.iter().find(|(o, _)| *o == ended.outcome) else {
            let rules: Vec<String> = possible.iter().map(|(_, e)| e.ruling.to_string()).collect();
            let expected = words(&mut possible.iter().map(|(o, _)| *o));
            return Ok(vec![Finding::new("unplug.outcome", &*ended.dimm, expected, seen, rules.join("; "))]);
        };
        if !ended.want.is_empty() && !ended.want.contains(&ended.outcome) {
            let expected = words(&mut ended.want.iter().copied());
            return Ok(vec![Finding::new(
                "unplug.outcome",
                &*ended.dimm,
                expected,
                seen,
                "the case says so",
            )]);
        }
        let mut findings = Vec::new();
        let osts: Vec<(u64, u64)> = ending.osts.iter().map(|(a, b)| (u64::from(*a), u64::from(*b))).collect();
        if osts != ended.osts {
            let rule = ending.ruling.to_string();
            findings.push(Finding::new(
                "unplug.ost",
                &*ended.dimm,
                format!("{osts:?}"),
                format!("{:?}", ended.osts),
                rule,
            ));
        }
        if ended.outcome == Outcome::Done {
            self.expected.push(policy::expect_unplug(&self.layout, &context.subject, &ended.dimm));
            policy::apply_unplugged(&mut self.layout, &ended.dimm);
        } else if ended.outcome == Outcome::Refused {
            self.expected.push(policy::expect_refusal(&self.layout, &ended.dimm));
        }
        Ok(findings)
    }

    /// The model takes over what came out of plugs that raced with other steps.
    fn raced(&mut self, settled: &Settled, dimms: &[String]) -> Judged {
        self.observe(settled)?;
        let mut findings = Vec::new();
        for name in dimms {
            let Some(dimm) = self.racing.remove(name) else { continue };
            for number in self.layout.block_range(dimm.addr, dimm.size) {
                let Some(seen) = self.now.blocks.get(&number) else {
                    let rule = "every block of a DIMM that was added exists";
                    findings.push(Finding::new(
                        "block.missing",
                        format!("memory{number}"),
                        "present",
                        "absent",
                        rule,
                    ));
                    continue;
                };
                let zone = super::plain::zone(seen);
                let node = dimm.node;
                let block =
                    Block { node, state: seen.state, zone, dimm: Some(name.clone()), vmemmap_pages: 0 };
                self.layout.blocks.insert(number, block);
            }
            self.layout.dimms.insert(name.clone(), dimm);
        }
        // Their order depends on the race; the numbers must still be continuous.
        self.last_seqnum = settled.uevents.last().map(|u| u.seqnum).or(self.last_seqnum);
        self.expected.clear();
        self.concurrent = false;
        Ok(findings)
    }

    /// A case's own expectations, against the last observed state.
    fn blocks(&self, want: &Blocks) -> Vec<Finding> {
        super::plain::blocks(want, &self.now)
    }
}

/// Leaks that samples of many rounds show.
fn drift(samples: &[BTreeMap<String, i64>]) -> Judged {
    let samples: Vec<Sample> = samples.iter().map(|values| Sample { values: values.clone() }).collect();
    facts::drift::flat(&samples).map_err(JudgeError::Short)
}

/// All orders of `n` things, the given one first; of more than four only that one.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n > 4 || n == 0 {
        return vec![(0..n).collect()];
    }
    let mut all = vec![Vec::new()];
    for _ in 0..n {
        let more = |order: &Vec<usize>| {
            let order = order.clone();
            (0..n).filter(move |i| !order.contains(i)).collect::<Vec<_>>()
        };
        all = all
            .iter()
            .flat_map(|o| more(o).into_iter().map(|i| [o.as_slice(), &[i]].concat()).collect::<Vec<_>>())
            .collect();
    }
    all
}
