//! From the events of a run to what it is compared by. Only what the log says: nothing is read from anywhere else.

use super::facts::{KernelId, Origin, Round, RunFacts, ScenarioFacts};
use super::observed::Observed;
use super::step::Step;
use crate::event::{Event, Kind, RunStart};
use crate::run::observation;
use crate::verdict::{Verdict, known};
use std::collections::{BTreeMap, BTreeSet};

/// Which kernel of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels<'a> {
    /// the only one
    One,
    /// this one of several
    Named(&'a str),
    /// all; scenarios are matched by their whole ids
    All,
}

/// Why the events of a run cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// nothing is known of the run
    #[error("the log does not begin with run-start")]
    NoStart,
    /// not one kernel
    #[error("the run has several kernels ({0}): name one, as DIR@KERNEL")]
    Several(String),
    /// no such kernel
    #[error("the run has no kernel {wanted} (it has {has})")]
    NoKernel {
        /// named
        wanted: String,
        /// in the run
        has: String,
    },
    /// an event is not what its kind says
    #[error("event {seq}: {why}")]
    Event {
        /// its number
        seq: u64,
        /// what is wrong
        why: String,
    },
}

/// Facts of a run that the user calls `name`.
///
/// # Errors
/// See [`ReadError`].
pub fn read(name: &str, events: &[Event], kernels: Kernels<'_>) -> Result<RunFacts, ReadError> {
    let start = events.iter().find_map(|e| match &e.kind {
        Kind::RunStart(start) => Some(start),
        _ => None,
    });
    let origin = origin(name, start.ok_or(ReadError::NoStart)?);
    let origin = pick(origin, kernels)?;
    let mut reader = Reader { kernels, origin, open: BTreeMap::new(), facts: RunFacts::default() };
    for event in events {
        reader.take(event)?;
    }
    Ok(reader.finish())
}

/// Names of the kernels that a run has.
pub fn kernel_names(events: &[Event]) -> BTreeSet<String> {
    let starts = events.iter().filter_map(|e| match &e.kind {
        Kind::RunStart(start) => Some(start),
        _ => None,
    });
    starts.flat_map(|start| start.kernels.keys().cloned()).collect()
}

fn origin(name: &str, start: &RunStart) -> Origin {
    let kernel = |(name, identity): (&String, &serde_json::Value)| {
        let text = |key: &str| identity.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_string();
        KernelId { name: name.clone(), release: text("release"), sha256: text("sha256") }
    };
    Origin {
        name: name.into(),
        kernels: start.kernels.iter().map(kernel).collect(),
        memhp: start.memhp.clone(),
        qemu: start.qemu.clone(),
        accel: start.accel.clone(),
        seed: start.seed,
    }
}

fn pick(mut origin: Origin, kernels: Kernels<'_>) -> Result<Origin, ReadError> {
    let all = origin.kernels.iter().map(|k| k.name.as_str()).collect::<Vec<_>>().join(", ");
    match kernels {
        Kernels::One if origin.kernels.len() > 1 => return Err(ReadError::Several(all)),
        Kernels::One | Kernels::All => {}
        Kernels::Named(wanted) => {
            origin.kernels.retain(|k| k.name == wanted);
            if origin.kernels.is_empty() {
                return Err(ReadError::NoKernel { wanted: wanted.into(), has: all });
            }
        }
    }
    Ok(origin)
}

struct Reader<'a> {
    kernels: Kernels<'a>,
    origin: Origin,
    open: BTreeMap<(String, u32), Open>,
    facts: RunFacts,
}

/// A scenario that has not ended.
#[derive(Default)]
struct Open {
    observed: Observed,
    findings: Vec<(Option<Step>, crate::finding::Finding)>,
    messages: Option<Box<crate::event::Messages>>,
}

impl Reader<'_> {
    /// What the scenario is compared under; `None`: it is another kernel's.
    fn key(&self, id: &str) -> Option<String> {
        let (name, kernel) = id.rsplit_once('@').unwrap_or((id, ""));
        match self.kernels {
            Kernels::One => Some(name.to_string()),
            Kernels::Named(wanted) => (kernel == wanted).then(|| name.to_string()),
            Kernels::All => Some(id.to_string()),
        }
    }

    fn scenario(&mut self, id: &str) -> Option<&mut ScenarioFacts> {
        let key = self.key(id)?;
        let scenario = self.facts.scenarios.entry(key).or_default();
        scenario.id = id.to_string();
        Some(scenario)
    }

    fn take(&mut self, event: &Event) -> Result<(), ReadError> {
        if let Kind::Plan { scenarios } = &event.kind {
            for id in scenarios {
                self.scenario(id);
            }
        }
        let Some(id) = event.scenario.as_deref() else { return Ok(()) };
        let at = (id.to_string(), event.round);
        if self.key(id).is_none() {
            return Ok(());
        }
        match &event.kind {
            Kind::ScenarioStart { repeat, .. } => {
                let repeat = repeat.clone();
                if let Some(scenario) = self.scenario(id) {
                    scenario.repeat = repeat;
                }
                self.open.insert(at, Open { observed: Observed::begun(event.t_ns), ..Open::default() });
            }
            Kind::Observation { step, data } => {
                let wrong = |e: serde_json::Error| ReadError::Event { seq: event.seq, why: e.to_string() };
                let observation = observation::from_map(data).map_err(wrong)?;
                let open = self.open.entry(at).or_default();
                open.observed.take(&Step::new(step), event.t_ns, &observation);
            }
            Kind::Finding { step, finding, .. } => {
                self.open.entry(at).or_default().findings.push((Some(Step::new(step)), finding.clone()));
            }
            Kind::Evidence(evidence) => {
                let open = self.open.entry(at).or_default();
                let console = evidence.complaints.iter().map(known::console_finding);
                open.findings.extend(console.chain(evidence.own.clone()).map(|f| (None, f)));
                open.messages.clone_from(&evidence.messages);
            }
            Kind::ScenarioEnd(end) => {
                let open = self.open.remove(&at).unwrap_or_default();
                let mut round = Round::new(end.verdict, &end.title);
                round.findings = open.findings;
                if let Some(said) = open.messages {
                    round.messages = Some(said.steps.into_iter().collect());
                    round.boot_messages = said.boot.into_iter().collect();
                }
                open.observed.into_round(end, &mut round);
                let number = event.round;
                if let Some(scenario) = self.scenario(id) {
                    scenario.rounds.insert(number, round);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What was planned or begun and never judged is MISS.
    fn finish(mut self) -> RunFacts {
        let cut = || Round::new(Verdict::Miss, "the run was cut short");
        for (id, round) in std::mem::take(&mut self.open).into_keys() {
            if let Some(scenario) = self.scenario(&id) {
                scenario.rounds.entry(round).or_insert_with(cut);
            }
        }
        for scenario in self.facts.scenarios.values_mut().filter(|s| s.rounds.is_empty()) {
            scenario.rounds.insert(0, cut());
        }
        self.facts.origin = self.origin;
        self.facts
    }
}
