//! Lines in the order of arrival, bounded: the first and the last are kept, what is between them is counted.
//!
//! A guest can print for ever. A record keeps its beginning (what happened before the flood) and its end (what
//! ended it), each up to a limit of bytes, and says how much is missing where.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// One line with its number (from 0) and when it arrived on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// position among all lines that came, also those that were dropped
    pub number: u64,
    /// arrival on the host
    pub at: Instant,
    /// text without line end; control characters but tabs are written out (`\x1b`)
    pub text: String,
}

/// Some lines of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// lines that are still there
    pub lines: Vec<Line>,
    /// lines of the range asked for that were dropped
    pub missing: u64,
    /// number of the next line to come
    pub next: u64,
}

/// The record.
#[derive(Debug)]
pub struct Record {
    began: Instant,
    limit: usize,
    head: Vec<Line>,
    head_bytes: usize,
    tail: VecDeque<Line>,
    tail_bytes: usize,
    next: u64,
    dropped: u64,
    dropped_bytes: u64,
}

/// What a line costs besides its text.
const OVERHEAD: usize = size_of::<Line>();

impl Record {
    /// A record that keeps about `limit` bytes, half of them for the beginning.
    pub fn new(limit: usize) -> Self {
        Self {
            began: Instant::now(),
            limit: limit / 2,
            head: Vec::new(),
            head_bytes: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            next: 0,
            dropped: 0,
            dropped_bytes: 0,
        }
    }

    /// Takes a line.
    pub fn push(&mut self, text: String) {
        let cost = text.len() + OVERHEAD;
        let line = Line { number: self.next, at: Instant::now(), text };
        self.next += 1;
        if self.tail.is_empty() && self.head_bytes + cost <= self.limit {
            self.head_bytes += cost;
            self.head.push(line);
            return;
        }
        self.tail_bytes += cost;
        self.tail.push_back(line);
        while self.tail_bytes > self.limit && self.tail.len() > 1 {
            if let Some(old) = self.tail.pop_front() {
                self.tail_bytes -= old.text.len() + OVERHEAD;
                self.dropped += 1;
                self.dropped_bytes += old.text.len() as u64 + 1;
            }
        }
    }

    /// Number of the next line to come: a position to look from later.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Lines from number `from` on.
    pub fn since(&self, from: u64) -> Lines {
        let lines: Vec<Line> = self.iter_from(from).cloned().collect();
        let asked = self.next.saturating_sub(from);
        Lines { missing: asked - lines.len() as u64, lines, next: self.next }
    }

    /// The kept lines from number `from` on.
    pub fn iter_from(&self, from: u64) -> impl Iterator<Item = &Line> {
        let head = self.head.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
        let first = self.tail.front().map_or(self.next, |line| line.number);
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        head.iter().chain(self.tail.iter().skip(skip))
    }

    /// All of it as text, the gap marked; `stamped`: seconds since the record began before each line.
    pub fn text(&self, stamped: bool) -> String {
        let mut text = String::with_capacity(self.head_bytes + self.tail_bytes);
        for line in &self.head {
            self.write(&mut text, line, stamped);
        }
        if self.dropped > 0 {
            text.push_str(&format!(
                "[... {} lines, {} bytes dropped ...]\n",
                self.dropped, self.dropped_bytes
            ));
        }
        for line in &self.tail {
            self.write(&mut text, line, stamped);
        }
        text
    }

    fn write(&self, text: &mut String, line: &Line, stamped: bool) {
        if stamped {
            let at = line.at.saturating_duration_since(self.began);
            text.push_str(&stamp(at));
        }
        text.push_str(&line.text);
        text.push('\n');
    }
}

fn stamp(at: Duration) -> String {
    format!("{:>5}.{:06} ", at.as_secs(), at.subsec_micros())
}

/// Cuts bytes into lines: whatever they are, however they arrive.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    partial: Vec<u8>,
}

/// A line that is longer is cut.
const LONGEST: usize = 16 * 1024;

impl Splitter {
    /// The lines that are complete with these bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            let mut part = part;
            while self.partial.len() + part.len() > LONGEST {
                let (now, later) = part.split_at(LONGEST - self.partial.len());
                self.partial.extend_from_slice(now);
                lines.push(self.take());
                part = later;
            }
            self.partial.extend_from_slice(part);
            if part.ends_with(b"\n") {
                lines.push(self.take());
            }
        }
        lines
    }

    /// The last line, if it has no end.
    pub(super) fn rest(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.partial);
        let end = line.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |at| at + 1);
        clean(&line[..end])
    }
}

/// Text of bytes: lossy UTF-8, control characters but tabs written out, so that no terminal and no XML chokes on it.
fn clean(bytes: &[u8]) -> String {
    if bytes.iter().all(|&b| matches!(b, b'\t' | b' '..=b'~')) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '\t' => text.push(c),
            c if c.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_head_and_tail_and_counts_the_gap() {
        let mut record = Record::new(8 * (OVERHEAD + 4));
        for n in 0..100 {
            record.push(format!("{n:04}"));
        }
        let seen = record.since(0);
        let texts: Vec<&str> = seen.lines.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(texts, ["0000", "0001", "0002", "0003", "0096", "0097", "0098", "0099"]);
        assert_eq!((seen.missing, seen.next), (92, 100));
        assert_eq!(
            record.text(false),
            "0000\n0001\n0002\n0003\n[... 92 lines, 460 bytes dropped ...]\n0096\n0097\n0098\n0099\n"
        );
    }

    #[test]
    fn a_position_is_found_in_head_gap_tail_and_beyond() {
        let mut record = Record::new(4 * (OVERHEAD + 1));
        for n in 0..8 {
            record.push(n.to_string());
        }
        let at = |from| {
            let seen = record.since(from);
            (seen.lines.iter().map(|l| l.number).collect::<Vec<_>>(), seen.missing)
        };
        assert_eq!(at(1), (vec![1, 6, 7], 4));
        assert_eq!(at(3), (vec![6, 7], 3));
        assert_eq!(at(7), (vec![7], 0));
        assert_eq!(at(8), (vec![], 0));
        assert_eq!(at(99), (vec![], 0));
    }

    #[test]
    fn a_line_larger_than_the_record_does_not_empty_it() {
        let mut record = Record::new(100);
        record.push("x".repeat(1000));
        assert_eq!(record.since(0).lines.len(), 1);
        record.push("y".into());
        assert_eq!(record.since(0).lines[0].text, "y");
    }

    #[test]
    fn lines_of_garbage() {
        let mut splitter = Splitter::default();
        assert_eq!(
            splitter.push(b"a\r\r\nb\xff\0\x1b[2Jc\td\n\nhal"),
            ["a", "b\u{fffd}\\x00\\x1b[2Jc\td", ""]
        );
        assert_eq!(splitter.push(b"f\n"), ["half"]);
        assert_eq!(splitter.rest(), None);
        splitter.push(b"no end");
        assert_eq!(splitter.rest().as_deref(), Some("no end"));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut splitter = Splitter::default();
        let lines = splitter.push(&vec![b'x'; LONGEST * 2 + 5]);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LONGEST, LONGEST]);
        assert_eq!(splitter.rest().map(|l| l.len()), Some(5));
    }
}
