//! What is observed in a scenario, in order. The judge is a fold over these alone, so that a saved run can be judged again.

mod asked;

pub use asked::*;

use super::numbered;
use crate::case::schema::{Attribute, Dies};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use wire::{Hello, Snapshot, Uevent};

/// One observation. Everything the judge needs to judge it is in it, also what the case wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Observation {
    /// the guest answers for the first time; with the state it booted into
    Boot(Box<Boot>),
    /// nothing is in flight: the whole state
    Settled(Box<Settled>),
    /// a DIMM was plugged, or QEMU refused it
    Plug(Plug),
    /// a file was written
    Write(Write),
    /// a block's attribute was written
    BlockWrite(BlockWrite),
    /// background writes that overlapped, in order of their end
    Overlapping {
        /// the writes
        writes: Vec<BlockWrite>,
    },
    /// device_del was sent
    Unplug(Unplug),
    /// how an unplug ended
    UnplugOutcome(UnplugOutcome),
    /// plugs that raced with other steps are over: the state that came out, which the model takes over
    Raced {
        /// state
        settled: Box<Settled>,
        /// DIMMs
        dimms: Vec<String>,
        /// DIMM -> the guest's reports on its insertion: source and status; empty in logs from before this was recorded
        #[serde(default)]
        osts: BTreeMap<String, Vec<(u64, u64)>>,
    },
    /// udevd has worked off all events: the state that came out, to be judged against its rules
    UserSpace(Box<UserSpace>),
    /// explicit expectations of blocks; judged against the last settled state
    Blocks(Blocks),
    /// content of something held was checked
    Verified {
        /// name of the hold
        name: String,
        /// pages looked at
        pages: u64,
        /// pages with wrong content
        wrong: u64,
        /// the holder was to die instead
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dies: Option<Dies>,
    },
    /// memory is held: so much was asked for, and so much was free before
    Held(Held),
    /// a load began, was proved to be in force, or ended
    Load(Load),
    /// a holder died
    HolderDied {
        /// name of the hold
        name: String,
        /// how
        why: String,
        /// how it was to
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dies: Option<Dies>,
    },
    /// the kernel refused memory of a kind that it may not refuse
    HoldRefused {
        /// name of the hold
        name: String,
        /// what was refused, and the errno
        why: String,
    },
    /// a file was read
    File(File),
    /// a console line was waited for
    Console {
        /// regular expression
        pattern: String,
        /// the line, if it came
        line: Option<String>,
    },
    /// a program ended
    Exec(Exec),
    /// quantities that must not drift, sampled after one in so many rounds
    Drift {
        /// rounds from sample to sample
        every: u32,
        /// quantity -> value, of each sample
        samples: Vec<BTreeMap<String, i64>>,
    },
    /// a deadline passed while the guest still answers
    NotWithin {
        /// what was waited for
        waited_for: String,
        /// seconds
        seconds: u64,
        /// blocks that are on their way offline, and do not get there
        stuck: Stuck,
    },
}

/// Memory blocks that are `going-offline`, taken together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stuck {
    /// zones that they are in
    pub zones: BTreeSet<String>,
    /// their pages
    pub pages: u64,
    /// bit of /proc/kpageflags -> how many of these pages have it
    #[serde(deserialize_with = "numbered::flags")]
    pub flags: BTreeMap<u8, u64>,
}

/// The guest as it answers first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// who answers
    pub hello: Hello,
    /// DIMMs on QEMU's command line
    pub cold_dimms: Vec<Device>,
    /// the kernel's NUMA nodes that QEMU was told to put processors on
    pub cpu_nodes: BTreeSet<u32>,
    /// the kernel's node of each of QEMU's; the same numbers where the record is older than cases in which they differ
    #[serde(default)]
    pub nodes: Vec<u32>,
    /// state
    pub settled: Settled,
}

/// The whole state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// what changed since the last one
    pub snapshot: Snapshot,
    /// uevents since the last one, in order
    pub uevents: Vec<Uevent>,
    /// uevents were lost: nothing can be said about them
    pub uevents_lost: bool,
    /// DIMMs as QEMU lists them
    pub devices: Vec<Device>,
    /// page flag counts of blocks that were scanned, by block number
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "numbered::pages")]
    pub pages: BTreeMap<u32, BTreeMap<u8, u64>>,
    /// how many of [`wire::FRESH_PAGES`] pages that were just touched are on an LRU list; absent where it cannot be read
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_on_lru: Option<u64>,
}

/// What udevd has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserSpace {
    /// DIMMs whose announcement it saw; `None`: it was asked to look at every block (udevadm trigger)
    pub dimms: Option<Vec<String>>,
    /// blocks of which it was told by themselves, by a synthetic event
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<u32>,
    /// what its rules write to `state` of a block that is offline
    pub word: Option<String>,
    /// state
    pub settled: Settled,
}

/// A DIMM as QEMU has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// name in the case
    pub name: String,
    /// guest physical address
    pub addr: u64,
    /// bytes
    pub size: u64,
    /// slot
    pub slot: u32,
    /// NUMA node
    pub node: u32,
}

/// A plug.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plug {
    /// name in the case
    pub dimm: String,
    /// bytes
    pub size: u64,
    /// QEMU must refuse with an error containing this
    pub want_refused: Option<String>,
    /// QEMU's error
    pub error: Option<String>,
    /// the device, where it was taken
    pub device: Option<Device>,
    /// (source, status) of each ACPI_DEVICE_OST
    pub osts: Vec<(u64, u64)>,
    /// later steps race with it: the model takes over what comes out
    pub race: bool,
}

/// A write to a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Write {
    /// path
    pub path: String,
    /// text
    pub text: String,
    /// 0 or the errno
    pub errno: i32,
    /// errno that the case wants, 0 for success; the oracle alone decides without it
    pub want: Option<i32>,
}

/// A write to a block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockWrite {
    /// number
    pub block: u32,
    /// attribute
    pub attribute: Attribute,
    /// text
    pub text: String,
    /// 0 or the errno
    pub errno: i32,
    /// errnos that the case accepts, 0 for success; the oracle alone decides where empty
    pub want: Vec<i32>,
}

/// A request to unplug.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unplug {
    /// name in the case
    pub dimm: String,
    /// QEMU must refuse with an error containing this
    pub want_refused: Option<String>,
    /// QEMU's error
    pub error: Option<String>,
    /// the guest began it
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_guest: bool,
    /// udevd has not worked off the DIMM's plug: it may still bring blocks online
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contested: bool,
}

/// How an unplug ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnplugOutcome {
    /// name in the case
    pub dimm: String,
    /// what came
    pub outcome: Outcome,
    /// (source, status) of each ACPI_DEVICE_OST
    pub osts: Vec<(u64, u64)>,
    /// DEVICE_DELETED came
    pub deleted: bool,
    /// outcomes that the case accepts; the oracle alone decides where empty
    pub want: Vec<Outcome>,
}

/// Outcomes of an unplug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// the DIMM is gone
    Done,
    /// the guest refused: OST status other than success
    Refused,
    /// hot-unplug is disabled in the guest: OST status 128
    Disabled,
}

impl Outcome {
    /// The word in case files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Disabled => "disabled",
        }
    }

    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Done, Self::Refused, Self::Disabled].into_iter().find(|o| o.word() == word)
    }
}

/// An observation as the fields of a log entry.
///
/// # Panics
/// Never: observations are plain JSON objects.
pub fn to_map(observation: &Observation) -> BTreeMap<String, serde_json::Value> {
    match serde_json::to_value(observation) {
        Ok(serde_json::Value::Object(map)) => map.into_iter().collect(),
        other => unreachable!("an observation is an object: {other:?}"),
    }
}

/// The observation of a log entry.
///
/// # Errors
/// The fields are not those of an observation.
pub fn from_map(map: &BTreeMap<String, serde_json::Value>) -> Result<Observation, serde_json::Error> {
    serde_json::from_value(serde_json::Value::Object(map.clone().into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_is_read_back() {
        let snapshot = Snapshot { changed: BTreeMap::new(), gone: Vec::new(), threads: Vec::new() };
        let settled = Settled {
            snapshot,
            uevents: Vec::new(),
            uevents_lost: false,
            devices: Vec::new(),
            pages: BTreeMap::from([(34, BTreeMap::from([(7, 12)]))]),
            fresh_on_lru: Some(30),
        };
        let zones = ["Normal".to_string()].into();
        let stuck = Stuck { zones, pages: 32768, flags: BTreeMap::from([(10, 32760), (7, 8)]) };
        for observation in [
            Observation::Settled(Box::new(settled)),
            Observation::NotWithin { waited_for: "an end".into(), seconds: 30, stuck },
            Observation::Verified { name: "h".into(), pages: 3, wrong: 0, dies: None },
            Observation::Drift { every: 4, samples: vec![BTreeMap::from([("slab x".to_string(), -1)])] },
        ] {
            assert_eq!(from_map(&to_map(&observation)).unwrap(), observation);
        }
    }
}
