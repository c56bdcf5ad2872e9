//! An output directory, read back: what `memhp parse DIR` shows. No kernel and no guest is needed.

use super::files::EVENTS;
use super::fold::{FoldError, Run};
use super::jsonl::{self, Cut, LogError};
use super::{ReportError, Reporters};
use crate::event::{Event, Kind, ScenarioEnd};
use std::io;
use std::path::{Path, PathBuf};

/// A run that was read back.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// the log as it is, without a last line that was cut off
    pub events: Vec<Event>,
    /// what they come to
    pub run: Run,
    /// a last line that was cut off
    pub cut: Option<Cut>,
}

/// Why a directory cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// the log cannot be read
    #[error("read {}: {source}", path.display())]
    Read {
        /// which
        path: PathBuf,
        /// why
        source: io::Error,
    },
    /// a line is no event, or not the next
    #[error("{}: {source}", path.display())]
    Log {
        /// which
        path: PathBuf,
        /// where and why
        source: LogError,
    },
    /// the events contradict each other
    #[error("{}: {source}", path.display())]
    Fold {
        /// which
        path: PathBuf,
        /// where and why
        source: FoldError,
    },
    /// nothing of a run is there
    #[error("{}: holds no plan: the run ended before it began", .0.display())]
    NoPlan(PathBuf),
}

impl Parsed {
    /// Whether the run came to its end by itself.
    pub fn is_whole(&self) -> bool {
        matches!(self.run.end, Some((_, None))) && self.cut.is_none()
    }

    /// Every planned scenario with its judgement; MISS for those that have none.
    pub fn ends(&self) -> Vec<(String, ScenarioEnd)> {
        self.run.ends().into_iter().map(|(slot, end)| (slot.id.clone(), end)).collect()
    }
}

/// Reads `events.jsonl` of an output directory.
pub fn parse_dir(dir: &Path) -> Result<Parsed, ParseError> {
    let path = dir.join(EVENTS);
    let text = std::fs::read(&path).map_err(|source| ParseError::Read { path: path.clone(), source })?;
    let log = jsonl::read(&text).map_err(|source| ParseError::Log { path: path.clone(), source })?;
    let mut run = Run::default();
    for event in &log.events {
        run.event(event).map_err(|source| ParseError::Fold { path: path.clone(), source })?;
    }
    if !log.events.iter().any(|e| matches!(e.kind, Kind::Plan { .. })) {
        return Err(ParseError::NoPlan(path));
    }
    Ok(Parsed { events: log.events, run, cut: log.cut })
}

/// Makes all reports of a run again.
///
/// A scenario that has no verdict gets the event that the run did not come to write (MISS), so that every format
/// shows it.
pub fn replay(parsed: &Parsed, reporters: &mut Reporters) -> Vec<ReportError> {
    let missing = parsed.run.slots.iter().filter(|slot| slot.end.is_none());
    let judged = missing.map(|slot| (slot.id.clone(), Kind::ScenarioEnd(parsed.run.judged(slot))));
    let (before, end): (Vec<&Event>, Vec<&Event>) =
        parsed.events.iter().partition(|e| !matches!(e.kind, Kind::RunEnd { .. }));
    let last = parsed.events.last();
    let (mut numbering, t_ns) = (jsonl::Numbering::default(), last.map_or(0, |e| e.t_ns));
    let again = |e: &Event| (e.t_ns, e.scenario.clone(), e.kind.clone());
    let all = before.into_iter().map(again);
    let all = all.chain(judged.map(|(id, kind)| (t_ns, Some(id), kind)));
    let all = all.chain(end.into_iter().map(again));
    let mut errors = Vec::new();
    for (t_ns, scenario, kind) in all {
        errors.extend(reporters.event(&numbering.event(t_ns, scenario.as_deref(), kind)));
    }
    errors.extend(reporters.finish());
    errors
}
