//! What two runs are compared by: for each scenario and each time it ran, its judgement and what was observed.

use super::step::Step;
use crate::finding::Finding;
use crate::verdict::Verdict;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One run, on one side of a comparison.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunFacts {
    /// how the run was made
    pub origin: Origin,
    /// by id without `@KERNEL`; by whole id where the run has several kernels ([`super::read::Kernels::All`])
    pub scenarios: BTreeMap<String, ScenarioFacts>,
}

/// How a run was made.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Origin {
    /// as the user named it
    pub name: String,
    /// its kernels
    pub kernels: Vec<KernelId>,
    /// memhp's version
    pub memhp: String,
    /// QEMU's version
    pub qemu: String,
    /// `tcg` or `kvm`
    pub accel: String,
    /// seed of its random choices
    pub seed: u64,
}

/// A kernel of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelId {
    /// name in ids
    pub name: String,
    /// as `uname -r` says; empty if the run did not record it
    pub release: String,
    /// of its image
    pub sha256: String,
}

/// A scenario on one side.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScenarioFacts {
    /// its whole id
    pub id: String,
    /// command that repeats it; empty if it never began
    pub repeat: String,
    /// each time it ran, by its number
    pub rounds: BTreeMap<u32, Round>,
}

/// One time that a scenario ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// judgement
    pub verdict: Verdict,
    /// of the judgement
    pub title: String,
    /// what was not as it must be, by step; complaints of the console have none
    pub findings: Vec<(Option<Step>, Finding)>,
    /// what was observed
    pub facts: BTreeMap<Key, String>,
    /// steps after which the whole state was seen
    pub settled: BTreeSet<Step>,
    /// what each step does, in a few words
    pub steps: BTreeMap<Step, String>,
    /// distinct messages of the console after the boot, without what differs from run to run; `None`: not recorded
    pub messages: Option<BTreeSet<String>>,
    /// the same of the boot, which restored guests share
    pub boot_messages: BTreeSet<String>,
    /// what was measured, in ms, by what it is: `boot`, `step 3: unplug a`, `all steps`
    pub times: BTreeMap<String, f64>,
}

impl Round {
    /// A judgement without anything observed.
    pub fn new(verdict: Verdict, title: &str) -> Self {
        Self {
            verdict,
            title: title.into(),
            findings: Vec::new(),
            facts: BTreeMap::new(),
            settled: BTreeSet::new(),
            steps: BTreeMap::new(),
            messages: None,
            boot_messages: BTreeSet::new(),
            times: BTreeMap::new(),
        }
    }

    /// Whether it says anything of the kernel.
    pub fn is_judged(&self) -> bool {
        matches!(self.verdict, Verdict::Fail | Verdict::Pass | Verdict::Done)
    }
}

/// A fact of one step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// when
    pub step: Step,
    /// what
    pub fact: Fact,
    /// which of several of one step, from 0
    pub nth: u32,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// state of a memory block after the step, and the zone of one that is online
    Block(u32),
    /// MemTotal after the step, less that at the boot
    MemTotal,
    /// whether QEMU took a DIMM
    Plug(String),
    /// how an unplug ended
    Unplug(String),
    /// result of a write
    Write(String),
}
