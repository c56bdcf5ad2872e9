//! What a run comes to: the fold that all reports share.

use crate::event::{Event, Kind, RunStart, ScenarioEnd};
use crate::finding::Finding;
use crate::verdict::Verdict;
use crate::version::Version;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;

/// Title of a scenario that was planned and has no verdict because the run ended first.
pub const CUT_SHORT: &str = "run was cut short";
/// Title of a scenario that was planned and has no verdict though the run came to its end.
pub const NO_VERDICT: &str = "no verdict was recorded";

/// A run as far as its events are known.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// how it was made
    pub start: Option<RunStart>,
    /// in the order of the plan; a scenario that is repeated has several
    pub slots: Vec<Slot>,
    /// texts of notices
    pub notices: Vec<String>,
    /// exit status and signal
    pub end: Option<(i32, Option<String>)>,
    /// `t_ns` of the last event
    pub t_ns: u64,
    planned: bool,
    /// slots of each id that have not ended
    open: HashMap<String, VecDeque<usize>>,
}

/// One scenario, or one round of a repeated one.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// scenario
    pub id: String,
    /// name of its kernel, once it began
    pub kernel: Option<String>,
    /// command that repeats it
    pub repeat: Option<String>,
    /// `t_ns` of its beginning
    pub began_ns: Option<u64>,
    /// what was found
    pub findings: Vec<Found>,
    /// reasons of attempts that were made again
    pub retries: Vec<String>,
    /// the judgement
    pub end: Option<ScenarioEnd>,
}

/// A finding and where it was made.
#[derive(Debug, Clone)]
pub struct Found {
    /// path of step numbers
    pub step: String,
    /// the step, as one line of YAML
    pub text: String,
    /// the difference
    pub finding: Finding,
}

/// An event that cannot be where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// a second plan, or run-start
    #[error("event {seq}: a second {what}")]
    Twice {
        /// of the event
        seq: u64,
        /// its name
        what: &'static str,
    },
    /// a scenario that was not planned, or has ended as often as it was planned
    #[error("event {seq}: scenario {id} is not planned, or has ended already")]
    NotPlanned {
        /// of the event
        seq: u64,
        /// its scenario
        id: String,
    },
    /// an event that is about a scenario without saying which
    #[error("event {seq}: names no scenario")]
    NoScenario {
        /// of the event
        seq: u64,
    },
    /// anything after run-end
    #[error("event {seq}: comes after run-end")]
    AfterEnd {
        /// of the event
        seq: u64,
    },
}

impl From<FoldError> for io::Error {
    fn from(e: FoldError) -> Self {
        Self::new(io::ErrorKind::InvalidData, e)
    }
}

impl Run {
    /// Takes the next event; the index of the slot that it is about.
    pub fn event(&mut self, event: &Event) -> Result<Option<usize>, FoldError> {
        let seq = event.seq;
        if self.end.is_some() {
            return Err(FoldError::AfterEnd { seq });
        }
        self.t_ns = event.t_ns;
        match &event.kind {
            Kind::RunStart(_) if self.start.is_some() => Err(FoldError::Twice { seq, what: "run-start" }),
            Kind::Plan { .. } if self.planned => Err(FoldError::Twice { seq, what: "plan" }),
            Kind::RunStart(start) => self.set(|run| run.start = Some(start.clone())),
            Kind::Plan { scenarios } => self.set(|run| run.plan(scenarios)),
            Kind::Notice { text } => self.set(|run| run.notices.push(text.clone())),
            Kind::RunEnd { status, signal } => self.set(|run| run.end = Some((*status, signal.clone()))),
            about_a_scenario => {
                let id = event.scenario.as_ref().ok_or(FoldError::NoScenario { seq })?;
                let not_planned = || FoldError::NotPlanned { seq, id: id.clone() };
                let open = self.open.get_mut(id).ok_or_else(not_planned)?;
                let index = *open.front().ok_or_else(not_planned)?;
                self.slots[index].event(about_a_scenario, event.t_ns);
                if self.slots[index].end.is_some() {
                    open.pop_front();
                }
                Ok(Some(index))
            }
        }
    }

    fn set(&mut self, what: impl FnOnce(&mut Self)) -> Result<Option<usize>, FoldError> {
        what(self);
        Ok(None)
    }

    fn plan(&mut self, scenarios: &[String]) {
        self.planned = true;
        self.slots = scenarios.iter().map(|id| Slot { id: id.clone(), ..Slot::default() }).collect();
        for (index, id) in scenarios.iter().enumerate() {
            self.open.entry(id.clone()).or_default().push_back(index);
        }
    }

    /// Every planned scenario with its judgement, in the order of the plan; MISS for those that have none.
    pub fn ends(&self) -> Vec<(&Slot, ScenarioEnd)> {
        self.slots.iter().map(|slot| (slot, self.judged(slot))).collect()
    }

    /// The judgement of a slot, MISS if it has none.
    pub fn judged(&self, slot: &Slot) -> ScenarioEnd {
        slot.end.clone().unwrap_or_else(|| ScenarioEnd {
            verdict: Verdict::Miss,
            title: if matches!(self.end, Some((_, None))) { NO_VERDICT } else { CUT_SHORT }.into(),
            known: None,
            duration_ns: slot.began_ns.map_or(0, |began| self.t_ns.saturating_sub(began)),
            boot: None,
            facts: Default::default(),
            console: Vec::new(),
        })
    }

    /// The version of a slot's kernel, where the run recorded one.
    pub fn version(&self, slot: &Slot) -> Option<Version> {
        let kernel = self.kernel(slot)?;
        ["release", "version"].iter().find_map(|key| kernel.get(*key)?.as_str()?.parse().ok())
    }

    /// What the run recorded about a slot's kernel.
    pub fn kernel(&self, slot: &Slot) -> Option<&serde_json::Value> {
        self.start.as_ref()?.kernels.get(slot.kernel_name())
    }

    /// How many of each verdict; of FAIL, how many are known.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, end) in self.ends() {
            *counts.of.entry(end.verdict).or_default() += 1;
            counts.known += usize::from(end.verdict == Verdict::Fail && end.known.is_some());
        }
        counts
    }
}

impl Slot {
    fn event(&mut self, kind: &Kind, t_ns: u64) {
        match kind {
            Kind::ScenarioStart { kernel, repeat } => {
                self.kernel = Some(kernel.clone());
                self.repeat = Some(repeat.clone());
                self.began_ns = Some(t_ns);
            }
            Kind::Finding { step, text, finding } => {
                self.findings.push(Found {
                    step: step.clone(),
                    text: text.clone(),
                    finding: finding.clone(),
                });
            }
            Kind::Retry { reason } => self.retries.push(reason.clone()),
            Kind::ScenarioEnd(end) => self.end = Some(end.clone()),
            Kind::Observation { .. }
            | Kind::RunStart(_)
            | Kind::Plan { .. }
            | Kind::Notice { .. }
            | Kind::RunEnd { .. } => {}
        }
    }

    /// Name of its kernel: as it began, else what its id says.
    pub fn kernel_name(&self) -> &str {
        self.kernel.as_deref().unwrap_or_else(|| self.id.rsplit_once('@').map_or("", |(_, kernel)| kernel))
    }

    /// `FOLDER/CASE`.
    pub fn case(&self) -> &str {
        let without_kernel = self.id.rsplit_once('@').map_or(&*self.id, |(rest, _)| rest);
        without_kernel.split_once('[').map_or(without_kernel, |(case, _)| case)
    }
}

/// Verdicts counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    of: BTreeMap<Verdict, usize>,
    /// known failures, which are counted as FAIL too
    pub known: usize,
}

impl Counts {
    /// How many.
    pub fn of(&self, verdict: Verdict) -> usize {
        self.of.get(&verdict).copied().unwrap_or(0)
    }

    /// All together.
    pub fn all(&self) -> usize {
        self.of.values().sum()
    }
}
