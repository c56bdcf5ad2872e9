//! The event log: one JSON object a line, append-only, the only record of a run. Reports and verdicts are folds over it.
//!
//! `docs/events.md` describes it for users; a meaning that changes bumps [`VERSION`].

use crate::finding::Finding;
use crate::timeline::Timeline;
use crate::verdict::{Complaint, Trouble, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The `v` of every line.
pub const VERSION: u32 = 1;

/// One line of events.jsonl.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// [`VERSION`]
    pub v: u32,
    /// 1, 2, 3, … in this file
    pub seq: u64,
    /// nanoseconds since the run began
    pub t_ns: u64,
    /// the scenario's id; absent for the run's own events
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// which time it runs, where it runs several times (`--repeat`): 0, 1, …; absent for 0
    #[serde(default, skip_serializing_if = "is_zero")]
    pub round: u32,
    /// what happened
    #[serde(flatten)]
    pub kind: Kind,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Kind {
    /// first event
    RunStart(RunStart),
    /// the plan: ids in the order of the report, before anything runs
    Plan {
        /// every scenario that is part of the run, those that will be skipped too
        scenarios: Vec<String>,
    },
    /// something a reader should know (offline cache used, pinned version gone, KVM does not work)
    Notice {
        /// one line
        text: String,
    },
    /// a scenario begins
    ScenarioStart {
        /// name of its kernel in [`RunStart::kernels`]
        kernel: String,
        /// command that repeats it
        repeat: String,
    },
    /// something was observed; replayed by `memhp parse`
    Observation {
        /// path of step numbers from 1, `2`, or `3.17.1` within repeats; `0` is the boot
        step: String,
        /// as the observer wrote it
        #[serde(flatten)]
        data: BTreeMap<String, serde_json::Value>,
    },
    /// a fact is not as it must be
    Finding {
        /// as above
        step: String,
        /// the step, as one line of YAML
        text: String,
        /// the difference
        finding: Finding,
    },
    /// the scenario's guest, and those of its like, are restored from a template from here on
    Template {
        /// it was built now; else it was kept by an earlier run
        built: bool,
        /// time to boot, prepare and save it, or to check it
        duration_ns: u64,
    },
    /// an attempt that an emulator's or the host's fault ended, and that was made again, or no template to restore from
    Retry {
        /// why
        reason: String,
    },
    /// what happened when, for every plug; before the end of a scenario that plugged
    Timeline(Timeline),
    /// what the judgement is made of, besides the findings; before the end of a scenario whose guest answered
    Evidence(Evidence),
    /// a scenario is judged
    ScenarioEnd(ScenarioEnd),
    /// last event; absent if the run was cut short
    RunEnd {
        /// exit status
        status: i32,
        /// `SIGINT`, `SIGTERM` where one ended the run
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
        /// processor time of the host
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cpu: Option<Cpu>,
    },
}

/// Processor time of the host that a run took, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// memhp itself
    pub memhp_ms: u64,
    /// every process that it started and that has ended: QEMU, and what fetches kernels
    pub children_ms: u64,
}

/// How the run was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStart {
    /// memhp's version
    pub memhp: String,
    /// command line
    pub argv: Vec<String>,
    /// Unix time in seconds
    pub unix_time: u64,
    /// QEMU's version
    pub qemu: String,
    /// `tcg` or `kvm`
    pub accel: String,
    /// seed of all random choices
    pub seed: u64,
    /// `I/N` where the run is a part of one (`--shard`)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// kernels by name: identity as the kernel module records it (release, version, sha256, origin, config, detectors that are missing)
    pub kernels: BTreeMap<String, serde_json::Value>,
    /// kernels as the oracle sees them, by name; `memhp parse` judges with them
    #[serde(default)]
    pub subjects: BTreeMap<String, serde_json::Value>,
}

/// What ended a scenario, and what its console complained about.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// what the console says, but for what the case provokes
    pub complaints: Vec<Complaint>,
    /// what the console says; absent: not recorded
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Box<Messages>>,
    /// what ended it that is not the kernel's
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// what ended it that is the kernel's, and is no observation: a hang, a reset, a console line that is fatal
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Finding>,
    /// a deadline passed while the host did not let the guest run: it says nothing of the kernel
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starved: bool,
}

/// Distinct messages of the console, sorted, without what differs from run to run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Messages {
    /// until the guest was ready; restored guests share those of their template's boot
    pub boot: Vec<String>,
    /// afterwards
    pub steps: Vec<String>,
}

fn is_zero(round: &u32) -> bool {
    *round == 0
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioEnd {
    /// one of the six
    pub verdict: Verdict,
    /// stable text to group by: empty for PASS, the reason for SKIP, MISS and ERROR
    pub title: String,
    /// id of the known issue that a FAIL is
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// from start to judgement
    pub duration_ns: u64,
    /// from start to the agent's first answer; absent if none came
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_ns: Option<u64>,
    /// `cold` or `fork`; absent if nothing was booted
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// judged facts
    #[serde(default)]
    pub facts: Facts,
    /// the console lines that matter, for what did not pass
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub console: Vec<String>,
}

impl ScenarioEnd {
    /// A judgement without a guest.
    pub fn without_run(verdict: Verdict, title: &str) -> Self {
        Self {
            verdict,
            title: title.into(),
            known: None,
            duration_ns: 0,
            boot_ns: None,
            boot: None,
            facts: Facts::default(),
            console: Vec::new(),
        }
    }
}

/// Facts that two runs of one scenario are compared by.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// hot-plugged blocks by number, as last seen
    #[serde(default)]
    pub blocks: BTreeMap<String, BlockFact>,
    /// outcome of each unplug, in order: `a: done`
    #[serde(default)]
    pub unplug: Vec<String>,
    /// MemTotal as last seen
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memtotal_kib: Option<u64>,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockFact {
    /// word of `state`
    pub state: String,
    /// zone while online
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}
