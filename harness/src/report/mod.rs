//! Reports: each format is a fold over the event log, and knows nothing else.
//!
//! [`Reports`] writes the log itself first, flushed line by line, so that a crash loses nothing that was judged; the
//! other files follow from the same events. [`parse_dir`] and [`replay`] make reports of a saved log.

mod blind;
mod human;
mod jsonl;
mod junit;
mod kcidb;
pub mod ktap;
pub mod merge;
mod shell;

pub use jsonl::{ParseError, parse_dir};
pub use shell::{quote, timestamp};

use crate::event::{self, Event, Kind, ScenarioEnd};
use crate::verdict::Verdict;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What stdout carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdout {
    /// lines for people
    Human,
    /// KTAP version 1
    Ktap,
    /// the events
    Jsonl,
    /// nothing: the caller has something else to say
    Nothing,
}

/// A known issue, as reports need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// its id
    pub id: String,
    /// why it is known
    pub reason: String,
    /// where it is told of
    pub link: String,
    /// it always happens on the kernels it names
    pub always: bool,
}

/// A result cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("write {}: {source}", path.display())]
pub struct ReportError {
    path: PathBuf,
    source: io::Error,
}

/// Something that makes a report of events, in their order.
pub(crate) trait Reporter {
    /// Takes one event.
    fn event(&mut self, event: &Event) -> io::Result<()>;
    /// No more events come.
    fn finish(&mut self) -> io::Result<()>;
}

/// All reports of a run.
pub struct Reports {
    begun: Instant,
    seq: u64,
    reporters: Vec<(PathBuf, Box<dyn Reporter>)>,
}

impl Reports {
    /// Makes the directory and every file in it, before anything runs. Results of an earlier run in it are set aside,
    /// into a directory in it.
    ///
    /// # Errors
    /// A file cannot be made, or another run writes there now.
    pub fn open(out: &Path, stdout: Stdout, issues: Vec<Issue>) -> Result<Self, ReportError> {
        let wrong = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ReportError { path, source }
        };
        std::fs::create_dir_all(out).map_err(wrong(out))?;
        set_aside(out).map_err(wrong(out))?;
        let mut reporters: Vec<(PathBuf, Box<dyn Reporter>)> = Vec::new();
        let create = |name: &str| {
            let path = out.join(name);
            std::fs::File::create(&path).map(|file| (path.clone(), file)).map_err(wrong(&path))
        };
        let (path, file) = create(EVENTS)?;
        // As long as the run lasts: another one that is given the same directory is turned away.
        file.try_lock().map_err(|e| wrong(&path)(e.into()))?;
        reporters.push((path, Box::new(jsonl::Writer::new(file))));
        let (path, file) = create("results.ktap")?;
        reporters.push((path, Box::new(ktap::Ktap::new(file, issues.clone()))));
        let (path, file) = create("junit.xml")?;
        reporters.push((path, Box::new(junit::Junit::new(file))));
        let (path, file) = create("kcidb.json")?;
        reporters.push((path, Box::new(kcidb::Kcidb::new(file, issues.clone()))));
        reporters.push((PathBuf::from("standard output"), to_stdout(stdout, issues, Some(out))));
        Ok(Self { begun: Instant::now(), seq: 0, reporters })
    }

    /// Numbers an event, of a scenario (its id, and which time it runs) or of the run, and hands it to every report.
    ///
    /// # Errors
    /// A report cannot be written. The others have the event all the same.
    pub fn take(&mut self, scenario: Option<(&str, u32)>, kind: Kind) -> Result<(), ReportError> {
        self.seq += 1;
        let t_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let (scenario, round) = scenario.map_or((None, 0), |(id, round)| (Some(id.to_string()), round));
        let event = Event { v: event::VERSION, seq: self.seq, t_ns, scenario, round, kind };
        all(&mut self.reporters, |reporter| reporter.event(&event))
    }

    /// Hands a saved event to every report, with the time that it has; it gets a new number.
    ///
    /// # Errors
    /// As [`Reports::take`].
    pub fn put(&mut self, event: &Event) -> Result<(), ReportError> {
        self.seq += 1;
        let event = Event { seq: self.seq, ..event.clone() };
        all(&mut self.reporters, |reporter| reporter.event(&event))
    }

    /// Ends every report.
    ///
    /// # Errors
    /// A report cannot be written. The others are ended all the same.
    pub fn finish(&mut self) -> Result<(), ReportError> {
        all(&mut self.reporters, |reporter| reporter.finish())
    }
}

const EVENTS: &str = "events.jsonl";

/// Moves what an earlier run left in `out` into `out/earlier-N`: nothing that was judged is ever overwritten.
fn set_aside(out: &Path) -> io::Result<()> {
    let log = match std::fs::File::open(out.join(EVENTS)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    match log.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(io::Error::other("another run writes its results there now: name another directory"));
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(e),
    }
    let free = |n: &u32| !out.join(format!("earlier-{n}")).exists();
    let aside = out.join(format!("earlier-{}", (1..).find(free).unwrap_or(0)));
    std::fs::create_dir(&aside)?;
    for name in [EVENTS, "results.ktap", "junit.xml", "kcidb.json", "scenarios"] {
        match std::fs::rename(out.join(name), aside.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn all(
    reporters: &mut [(PathBuf, Box<dyn Reporter>)],
    mut each: impl FnMut(&mut dyn Reporter) -> io::Result<()>,
) -> Result<(), ReportError> {
    let mut first = Ok(());
    for (path, reporter) in reporters {
        if let Err(source) = each(reporter.as_mut()) {
            first = first.and(Err(ReportError { path: path.clone(), source }));
        }
    }
    first
}

fn to_stdout(stdout: Stdout, issues: Vec<Issue>, out: Option<&Path>) -> Box<dyn Reporter> {
    let pipe = shell::Pipe::new(io::stdout());
    match stdout {
        Stdout::Human => Box::new(human::Human::new(pipe, issues, out)),
        Stdout::Ktap => Box::new(ktap::Ktap::new(pipe, issues)),
        Stdout::Jsonl => Box::new(jsonl::Writer::new(pipe)),
        Stdout::Nothing => Box::new(jsonl::Writer::new(io::sink())),
    }
}

/// Reports saved events on stdout, and returns the judgements: one for each planned scenario, in the log's order.
/// A scenario without judgement is MISS.
///
/// # Errors
/// Stdout cannot be written.
pub fn replay(events: &[Event], stdout: Stdout, issues: Vec<Issue>) -> Result<Vec<ScenarioEnd>, ReportError> {
    let mut reporter = to_stdout(stdout, issues, None);
    let wrong = |source| ReportError { path: PathBuf::from("standard output"), source };
    let mut ends = Vec::new();
    for event in events.iter().chain(&cut_short(events)) {
        if let Kind::ScenarioEnd(end) = &event.kind {
            ends.push(end.clone());
        }
        reporter.event(event).map_err(wrong)?;
    }
    reporter.finish().map_err(wrong)?;
    Ok(ends)
}

/// A judgement for each planned scenario that has none: MISS.
pub fn cut_short(events: &[Event]) -> Vec<Event> {
    let mut open: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events {
        match (&event.kind, &event.scenario) {
            (Kind::Plan { scenarios }, _) => {
                scenarios.iter().for_each(|id| *open.entry(id).or_default() += 1)
            }
            (Kind::ScenarioEnd(_), Some(id)) => {
                open.entry(id).and_modify(|n| *n = n.saturating_sub(1));
            }
            _ => {}
        }
    }
    let (seq, t_ns) = events.last().map_or((0, 0), |e| (e.seq, e.t_ns));
    let missing = open.into_iter().flat_map(|(id, n)| (0..n).map(move |_| id));
    let end = |(index, id): (usize, &str)| Event {
        v: event::VERSION,
        seq: seq + 1 + index as u64,
        t_ns,
        scenario: Some(id.to_string()),
        round: 0,
        kind: Kind::ScenarioEnd(ScenarioEnd::without_run(Verdict::Miss, "the run was cut short")),
    };
    missing.enumerate().map(end).collect()
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
