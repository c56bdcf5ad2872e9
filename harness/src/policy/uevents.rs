//! Which uevents each operation makes, for the subsystems memory and node, in their order.
//!
//! From device_register/device_unregister (add, remove), drivers/base/core.c:device_online and device_offline
//! (online, offline, only on success), and the order of the calls in mm/memory_hotplug.c:add_memory_resource
//! and try_remove_memory. Other subsystems (a DIMM also makes the ACPI container announce itself since 6.12)
//! are not looked at: filter with [`Event::of`].

use super::add::node_online;
use super::{Added, BlockState, Layout, Outcome, Subject, Unknown};
use crate::finding::Finding;
use std::collections::BTreeSet;
use std::fmt;

const MEMORY: &str = "/devices/system/memory/memory";
const NODE: &str = "/devices/system/node/node";
const RULE: &str = "uevents: mm/memory_hotplug.c:add_memory_resource, try_remove_memory; \
                    drivers/base/core.c:device_online, device_offline";
const RULE_UNPLUG: &str = "uevents: drivers/acpi/scan.c:acpi_scan_try_to_offline";

/// A uevent of a block or a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// add, remove, online, offline
    pub action: String,
    /// path below /sys, with its slash
    pub devpath: String,
}

impl Event {
    /// Of a block or of a node itself; `None` for all others, and for what was written to a file `uevent`
    /// (lib/kobject_uevent.c:kobject_synth_uevent).
    pub fn of(uevent: &wire::Uevent) -> Option<Self> {
        if uevent.env.contains_key("SYNTH_UUID") {
            return None;
        }
        let number = |prefix| uevent.devpath.strip_prefix(prefix).unwrap_or("");
        let ours = [MEMORY, NODE].into_iter().map(number);
        let mut ours = ours.filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        ours.next()?;
        Some(Self { action: uevent.action.clone(), devpath: uevent.devpath.clone() })
    }

    fn memory(action: &str, number: u32) -> Self {
        Self { action: action.into(), devpath: format!("{MEMORY}{number}") }
    }

    fn node(action: &str, node: u32) -> Self {
        Self { action: action.into(), devpath: format!("{NODE}{node}") }
    }

    /// The block, if this is `action` of one.
    pub fn block(&self, action: &str) -> Option<u32> {
        let number = self.devpath.strip_prefix(MEMORY).filter(|_| self.action == action)?;
        number.parse().ok()
    }
}

/// Of events of blocks and nodes, those that tell udev's rules anything but their subsystem.
pub fn check_environments(uevents: &[wire::Uevent]) -> Vec<Finding> {
    let rule = "lib/kobject_uevent.c:kobject_uevent_env: SUBSYSTEM of the device's bus; drivers/base/memory.c and node.c add nothing";
    let of_block_or_node = uevents.iter().filter_map(|uevent| Some((uevent, Event::of(uevent)?)));
    let wrong = of_block_or_node.filter_map(|(uevent, event)| {
        let subsystem = if event.devpath.starts_with(MEMORY) { "memory" } else { "node" };
        let expected = format!("SUBSYSTEM={subsystem}");
        let seen: Vec<String> = uevent.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let seen = seen.join(" ");
        (seen != expected)
            .then(|| Finding::new("uevent.environment", event.to_string(), expected, seen, rule))
    });
    wrong.collect()
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.action, self.devpath)
    }
}

/// What an operation must make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// these, in this order, each once
    Exactly(Vec<Event>),
    /// `online` go offline, in one or two ascending runs, then `tail` in this order
    Unplugged {
        /// blocks that were online
        online: BTreeSet<u32>,
        /// what follows: all blocks are removed, then the node
        tail: Vec<Event>,
    },
    /// somebody brings some of `offline` online, in any order; exactly these go offline again, in one or two ascending
    /// runs, then `tail` in this order
    Contested {
        /// blocks that were offline when the removal was asked for
        offline: BTreeSet<u32>,
        /// what follows: all blocks are removed, then the node
        tail: Vec<Event>,
    },
    /// some of `online` but not all go offline, in one or two ascending runs, and those come online again,
    /// ascending
    Refused {
        /// blocks that were online
        online: BTreeSet<u32>,
    },
}

/// For a DIMM that was added. New blocks are announced, then brought online. A new node is announced after
/// its blocks up to 6.12, before them since 6.18.
///
/// # Errors
/// [`Unknown`] for a new node between 6.13 and 6.17: when the order changed was not read.
pub fn expect_plug(subject: &Subject, added: &Added) -> Result<Expected, Unknown> {
    let number = |block: &super::AddedBlock| block.number;
    let mut events: Vec<Event> = added.blocks.iter().map(|b| Event::memory("add", number(b))).collect();
    if added.new_node {
        let node = Event::node("add", added.node);
        if subject.version.at_least(6, 18) {
            events.insert(0, node);
        } else if subject.version.at_least(6, 13) {
            return Err(Unknown::because(
                "a new node is announced before its blocks since some release after 6.12",
            ));
        } else {
            events.push(node);
        }
    }
    let online = added.blocks.iter().filter(|b| b.state == BlockState::Online);
    events.extend(online.map(|b| Event::memory("online", number(b))));
    Ok(Expected::Exactly(events))
}

/// For a write to `state` or `online` of a block that was in state `before`: one event if that changed, else
/// none.
pub fn expect_write(number: u32, before: BlockState, outcome: &Outcome) -> Expected {
    let event = match outcome {
        Outcome::Done { state: BlockState::Online, .. } if before != BlockState::Online => Some("online"),
        Outcome::Done { state: BlockState::Offline, .. } if before != BlockState::Offline => Some("offline"),
        _ => None,
    };
    Expected::Exactly(event.into_iter().map(|action| Event::memory(action, number)).collect())
}

/// For a DIMM that was removed; `layout` as it was before.
pub fn expect_unplug(layout: &Layout, subject: &Subject, name: &str) -> Expected {
    let mut after = layout.clone();
    super::apply_unplugged(&mut after, name);
    let nodes: BTreeSet<u32> = layout.blocks_of(name).map(|(_, b)| b.node).collect();
    let mut tail: Vec<Event> = layout.blocks_of(name).map(|(n, _)| Event::memory("remove", n)).collect();
    let gone = nodes.into_iter().filter(|node| !node_online(&after, subject, *node));
    tail.extend(gone.map(|node| Event::node("remove", node)));
    Expected::Unplugged { online: online(layout, name), tail }
}

/// For a DIMM that was removed while somebody else was bringing its blocks online; `layout` as it was before. The removal
/// holds device_hotplug_lock, which a write to `state` waits for, so that nothing comes online once it has begun.
pub fn expect_contested(layout: &Layout, subject: &Subject, name: &str) -> Expected {
    let Expected::Unplugged { online, tail } = expect_unplug(layout, subject, name) else {
        unreachable!("expect_unplug makes this kind only");
    };
    let blocks = layout.blocks_of(name).map(|(number, _)| number);
    Expected::Contested { offline: blocks.filter(|n| !online.contains(n)).collect(), tail }
}

/// For a DIMM whose removal was refused; `layout` as it was before.
pub fn expect_refusal(layout: &Layout, name: &str) -> Expected {
    Expected::Refused { online: online(layout, name) }
}

fn online(layout: &Layout, name: &str) -> BTreeSet<u32> {
    let online = layout.blocks_of(name).filter(|(_, b)| b.state == BlockState::Online);
    online.map(|(number, _)| number).collect()
}

/// Blocks that a refused removal had taken offline and brought back, ascending; for [`super::rollback`].
pub fn brought_back(observed: &[Event]) -> Vec<u32> {
    observed.iter().filter_map(|event| event.block("online")).collect()
}

/// What is wrong with the events that were seen between two moments of rest, in their order.
pub fn check_uevents(observed: &[Event], expected: &Expected) -> Vec<Finding> {
    match expected {
        Expected::Exactly(events) => exactly(observed, events),
        Expected::Unplugged { online, tail } => {
            let split = observed.len().saturating_sub(tail.len());
            let wrong = exactly(&observed[split..], tail);
            if wrong.is_empty() {
                unplugged(&observed[..split], online)
            } else {
                exactly_all(observed, online, tail)
            }
        }
        Expected::Contested { offline, tail } => contested(observed, offline, tail),
        Expected::Refused { online } => refused(observed, online),
    }
}

/// What is wrong with the events of several operations between two moments of rest.
///
/// One after another: in the order of the operations. `concurrent`: each exactly once, in any order, but the events of a
/// refusal are then what is left over.
pub fn check_all_uevents(observed: &[Event], expected: &[Expected], concurrent: bool) -> Vec<Finding> {
    match expected {
        [] => exactly(observed, &[]),
        [one] => check_uevents(observed, one),
        _ if concurrent => in_any_order(observed, expected),
        _ => in_order(observed, expected),
    }
}

impl Expected {
    /// All its events in one possible order; `None` where their number is not known.
    fn events(&self) -> Option<Vec<Event>> {
        match self {
            Self::Exactly(events) => Some(events.clone()),
            Self::Unplugged { online, tail } => {
                let offline = online.iter().map(|n| Event::memory("offline", *n));
                Some(offline.chain(tail.iter().cloned()).collect())
            }
            Self::Refused { .. } | Self::Contested { .. } => None,
        }
    }
}

/// Each operation has its part of the events; a refusal has what the others leave.
fn in_order(observed: &[Event], expected: &[Expected]) -> Vec<Finding> {
    let known: usize = expected.iter().filter_map(|e| Some(e.events()?.len())).sum();
    let mut rest = observed;
    let mut findings = Vec::new();
    for one in expected {
        let wanted = one.events().map_or(observed.len().saturating_sub(known), |events| events.len());
        let (part, after) = rest.split_at(wanted.min(rest.len()));
        findings.extend(check_uevents(part, one));
        rest = after;
    }
    findings.extend(exactly(rest, &[]));
    findings
}

fn in_any_order(observed: &[Event], expected: &[Expected]) -> Vec<Finding> {
    let mut rest = observed.to_vec();
    let mut missing = Vec::new();
    for event in expected.iter().filter_map(Expected::events).flatten() {
        match rest.iter().position(|seen| *seen == event) {
            Some(at) => drop(rest.remove(at)),
            None => missing.push(event),
        }
    }
    if !missing.is_empty() {
        return finding(format!("also {}", list(&missing)), observed, RULE);
    }
    match expected.iter().find(|e| e.events().is_none()) {
        Some(refusal) => check_uevents(&rest, refusal),
        None => exactly(&rest, &[]),
    }
}

fn list(events: &[Event]) -> String {
    let texts: Vec<String> = events.iter().map(Event::to_string).collect();
    if texts.is_empty() { "none".to_string() } else { texts.join(" ") }
}

fn finding(expected: impl fmt::Display, seen: &[Event], rule: &str) -> Vec<Finding> {
    vec![Finding::new("uevents", "", expected, list(seen), rule)]
}

fn exactly(observed: &[Event], events: &[Event]) -> Vec<Finding> {
    if observed == events { Vec::new() } else { finding(list(events), observed, RULE) }
}

fn exactly_all(observed: &[Event], online: &BTreeSet<u32>, tail: &[Event]) -> Vec<Finding> {
    let mut events: Vec<Event> = online.iter().map(|n| Event::memory("offline", *n)).collect();
    events.extend_from_slice(tail);
    finding(list(&events), observed, RULE)
}

/// All online blocks went offline: the first pass takes what it can, ascending, the second the rest,
/// ascending.
fn unplugged(observed: &[Event], online: &BTreeSet<u32>) -> Vec<Finding> {
    let numbers: Option<Vec<u32>> = observed.iter().map(|event| event.block("offline")).collect();
    let right = numbers.is_some_and(|numbers| {
        numbers.len() == online.len()
            && numbers.iter().copied().collect::<BTreeSet<_>>() == *online
            && runs(&numbers) <= 2
    });
    let want: Vec<Event> = online.iter().map(|n| Event::memory("offline", *n)).collect();
    if right {
        Vec::new()
    } else {
        finding(format!("{} in one or two ascending runs", list(&want)), observed, RULE_UNPLUG)
    }
}

/// What came online before the removal began goes offline with it, and nothing else.
fn contested(observed: &[Event], offline: &BTreeSet<u32>, tail: &[Event]) -> Vec<Finding> {
    let split = observed.len().saturating_sub(tail.len());
    let (before, after) = observed.split_at(split);
    let brought: Vec<u32> = before.iter().map_while(|event| event.block("online")).collect();
    let went: BTreeSet<u32> = brought.iter().copied().collect();
    let once = went.len() == brought.len() && went.is_subset(offline);
    if once && after == tail && unplugged(&before[brought.len()..], &went).is_empty() {
        return Vec::new();
    }
    let want = format!(
        "online of some blocks, each once, then offline of the same in one or two ascending runs, then {}",
        list(tail)
    );
    finding(want, observed, RULE_UNPLUG)
}

/// The first pass skips what it cannot take, the second stops at the first such block; what went offline
/// comes back, ascending.
fn refused(observed: &[Event], online: &BTreeSet<u32>) -> Vec<Finding> {
    let offline: Vec<u32> = observed.iter().map_while(|event| event.block("offline")).collect();
    let back: Option<Vec<u32>> =
        observed[offline.len()..].iter().map(|event| event.block("online")).collect();
    let went: BTreeSet<u32> = offline.iter().copied().collect();
    let once = went.len() == offline.len() && went.is_subset(online);
    let returned = back.is_some_and(|back| back.iter().copied().eq(went.iter().copied()));
    let stuck: BTreeSet<u32> = online.difference(&went).copied().collect();
    let second: Option<u32> = second_run(&offline).last().copied();
    let stopped = stuck.first().is_some_and(|first| second.is_none_or(|last| last < *first));
    if once && returned && stopped && runs(&offline) <= 2 {
        return Vec::new();
    }
    let want = "offline of some online blocks but not all, in one or two ascending runs, \
                then online of the same, ascending";
    finding(want, observed, RULE_UNPLUG)
}

/// Number of ascending runs.
fn runs(numbers: &[u32]) -> usize {
    numbers.chunk_by(|a, b| a < b).count()
}

/// What follows the first ascending run.
fn second_run(numbers: &[u32]) -> &[u32] {
    let first = numbers.chunk_by(|a, b| a < b).next().map_or(0, <[u32]>::len);
    &numbers[first..]
}

#[cfg(test)]
mod tests;
