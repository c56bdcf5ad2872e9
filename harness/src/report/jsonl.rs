//! events.jsonl: the writer and the reader of the event log. `docs/events.md` describes what is in it.
//!
//! The writer appends and flushes one line an event: what was judged survives whatever ends the harness. The reader
//! is strict, and names a last line that was cut off instead of guessing what it was.

use super::Reporter;
use crate::event::{Event, Kind, VERSION};
use std::io::{self, Write};

/// Gives events their numbers.
#[derive(Debug, Clone, Default)]
pub struct Numbering {
    seq: u64,
    t_ns: u64,
}

impl Numbering {
    /// The next event of a log, `t_ns` after the run began. Time never runs backwards in a log.
    pub fn event(&mut self, t_ns: u64, scenario: Option<&str>, kind: Kind) -> Event {
        self.seq += 1;
        self.t_ns = self.t_ns.max(t_ns);
        Event { v: VERSION, seq: self.seq, t_ns: self.t_ns, scenario: scenario.map(str::to_string), kind }
    }
}

/// Writes events.
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// To `out`, from its present position on.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Reporter for Writer<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A log that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// whole events
    pub events: Vec<Event>,
    /// a last line that does not end
    pub cut: Option<Cut>,
}

/// A last line without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// from 1
    pub line: usize,
    /// what is there
    pub bytes: usize,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// a line that is no event
    #[error("line {line}: not an event: {source}")]
    NotAnEvent {
        /// from 1
        line: usize,
        /// why
        source: serde_json::Error,
    },
    /// written by another version of memhp
    #[error("line {line}: version {v} of the event log, this memhp reads {VERSION}")]
    Version {
        /// from 1
        line: usize,
        /// its `v`
        v: u64,
    },
    /// events are missing, or were mixed with those of another run
    #[error("line {line}: seq is {seen}, expected {expected}")]
    Sequence {
        /// from 1
        line: usize,
        /// one more than the line before
        expected: u64,
        /// its `seq`
        seen: u64,
    },
    /// the clock of a run does not go backwards
    #[error("line {line}: t_ns is {seen}, less than the {before} of the line before")]
    Time {
        /// from 1
        line: usize,
        /// of the line before
        before: u64,
        /// its `t_ns`
        seen: u64,
    },
}

/// Reads a whole log.
pub fn read(text: &[u8]) -> Result<Log, LogError> {
    let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    let (whole, rest) = text.split_at(whole);
    let mut events: Vec<Event> = Vec::new();
    for (index, bytes) in whole.split_inclusive(|b| *b == b'\n').enumerate() {
        let event = read_line(index + 1, bytes, events.last())?;
        events.push(event);
    }
    let cut = (!rest.is_empty()).then(|| Cut { line: events.len() + 1, bytes: rest.len() });
    Ok(Log { events, cut })
}

fn read_line(line: usize, bytes: &[u8], before: Option<&Event>) -> Result<Event, LogError> {
    let not_an_event = |source| LogError::NotAnEvent { line, source };
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(not_an_event)?;
    let v = value.get("v").and_then(serde_json::Value::as_u64);
    if let Some(v) = v.filter(|v| *v != u64::from(VERSION)) {
        return Err(LogError::Version { line, v });
    }
    let event: Event = serde_json::from_value(value).map_err(not_an_event)?;
    let expected = before.map_or(1, |e| e.seq + 1);
    if event.seq != expected {
        return Err(LogError::Sequence { line, expected, seen: event.seq });
    }
    match before {
        Some(e) if e.t_ns > event.t_ns => Err(LogError::Time { line, before: e.t_ns, seen: event.t_ns }),
        _ => Ok(event),
    }
}
