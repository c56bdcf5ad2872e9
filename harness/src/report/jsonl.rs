//! The event log: written line by line, read strictly.

use super::Reporter;
use crate::event::{self, Event};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Appends each event, flushed.
pub(super) struct Writer<W> {
    to: W,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to }
    }
}

impl<W: Write> Reporter for Writer<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.to.write_all(&line)?;
        self.to.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A saved log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// no file
    #[error("{}: {source} (want the directory that `memhp run` wrote)", path.display())]
    Read {
        /// which
        path: PathBuf,
        /// why
        source: io::Error,
    },
    /// a line is no event
    #[error("{}:{line}: {why}", path.display())]
    Line {
        /// file
        path: PathBuf,
        /// from 1
        line: usize,
        /// what is wrong
        why: String,
    },
}

/// Events of the run saved in `dir`. A last line that was cut off (the run died while writing it) is left out.
///
/// # Errors
/// See [`ParseError`].
pub fn parse_dir(dir: &Path) -> Result<Vec<Event>, ParseError> {
    let path = dir.join("events.jsonl");
    let text =
        std::fs::read_to_string(&path).map_err(|source| ParseError::Read { path: path.clone(), source })?;
    parse(&text).map_err(|(line, why)| ParseError::Line { path, line, why })
}

fn parse(text: &str) -> Result<Vec<Event>, (usize, String)> {
    let mut events: Vec<Event> = Vec::new();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (index, line) in whole.lines().enumerate() {
        let wrong = |why: String| (index + 1, why);
        let event: Event = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        if event.v != event::VERSION {
            return Err(wrong(format!(
                "version {} of the log, this memhp reads {}",
                event.v,
                event::VERSION
            )));
        }
        let expected = events.len() as u64 + 1;
        if event.seq != expected {
            return Err(wrong(format!(
                "event number {}, expected {expected}: the log is damaged",
                event.seq
            )));
        }
        events.push(event);
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::events;

    fn written() -> String {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        events().iter().for_each(|e| writer.event(e).unwrap());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(parse(&written()), Ok(events()));
    }

    #[test]
    fn a_cut_last_line_is_left_out_and_damage_is_named() {
        let text = written();
        let cut = &text[..text.len() - 5];
        assert_eq!(parse(cut).unwrap().len(), events().len() - 1);
        let without_second: Vec<&str> =
            text.lines().enumerate().filter(|(i, _)| *i != 1).map(|(_, l)| l).collect();
        let error = parse(&(without_second.join("\n") + "\n")).unwrap_err();
        assert_eq!(error, (2, "event number 3, expected 2: the log is damaged".to_string()));
        assert_eq!(parse("nonsense\n").unwrap_err().0, 1);
    }
}
