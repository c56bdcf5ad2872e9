//! The event log: written line by line, read strictly.

use super::Reporter;
use crate::event::{self, Event};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What can be cut where a line could not be written as a whole.
pub(super) trait Cut {
    /// Leaves the first `length` bytes.
    fn cut(&mut self, _length: u64) -> io::Result<()> {
        Ok(())
    }
}

impl Cut for std::fs::File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

impl<W> Cut for super::shell::Pipe<W> {}
impl Cut for io::Sink {}

/// Appends each event, flushed. After the first that does not fit there is none: what is read are whole lines without a
/// gap.
pub(super) struct Writer<W> {
    to: W,
    /// of whole lines
    length: u64,
    failed: bool,
}

impl<W: Write + Cut> Writer<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, length: 0, failed: false }
    }
}

impl<W: Write + Cut> Reporter for Writer<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if self.failed {
            return Err(io::Error::other("an earlier event could not be written"));
        }
        let written = self.to.write_all(&line).and_then(|()| self.to.flush());
        match &written {
            Ok(()) => self.length += line.len() as u64,
            Err(_) => {
                self.failed = true;
                // Half a line at the end is left out by who reads it, too.
                let _ = self.to.cut(self.length);
            }
        }
        written
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

    impl Cut for &mut Vec<u8> {}

    /// A disk with this much room.
    struct Disk<'a>(&'a mut Vec<u8>, usize);

    impl Write for Disk<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.1 - self.0.len());
            self.0.extend_from_slice(&bytes[..fits]);
            if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Cut for Disk<'_> {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.0.truncate(usize::try_from(length).unwrap());
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_leaves_whole_lines_without_a_gap() {
        let text = written();
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        // Half of the third line fits: none of the later ones is written, though there may be room.
        let mut bytes = Vec::new();
        let mut writer = Writer::new(Disk(&mut bytes, ends[2] - 5));
        let written: Vec<bool> = events().iter().map(|e| writer.event(e).is_ok()).collect();
        assert_eq!(written, (0..events().len()).map(|n| n < 2).collect::<Vec<_>>());
        assert_eq!(String::from_utf8(bytes).unwrap(), text[..ends[1]]);
    }

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
