//! From bytes on a serial line to messages: stamps, carriage returns, colours and garbage.

use regex::Regex;
use std::sync::LazyLock;

/// Longer lines are cut for matching: no message that is looked for is longer.
const LONGEST: usize = 2000;

/// One message of printk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// line of the console, from 1
    pub(super) line: usize,
    /// without stamp and caller
    pub(super) text: String,
    /// as it came
    pub(super) raw: String,
}

/// `[    1.234567] `, with CONFIG_PRINTK_CALLER followed by `[    T1] ` or `[    C0] `.
static STAMP: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[ *\d{1,9}\.\d{6}\]\s?(?:\[ *[TC]\d+\]\s?)?"));

pub(super) fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("patterns in this module are constant and tested")
}

/// All messages. A line that holds several stamps (a newline was lost, or another writer came between) is several.
pub(super) fn messages(console: &[u8]) -> Vec<Message> {
    let lines = console.split(|b| *b == b'\n').enumerate();
    lines.flat_map(|(index, bytes)| split(index + 1, &printable(bytes))).collect()
}

/// What can be shown: control characters away, anything that is not UTF-8 replaced, cut at [`LONGEST`].
fn printable(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

fn split(line: usize, text: &str) -> Vec<Message> {
    let stamps: Vec<_> = STAMP.find_iter(text).collect();
    let mut cuts: Vec<(usize, usize)> = stamps.iter().map(|m| (m.start(), m.end())).collect();
    if cuts.first().is_none_or(|(start, _)| *start > 0) {
        cuts.insert(0, (0, 0));
    }
    let ends = cuts.iter().skip(1).map(|(start, _)| *start).chain([text.len()]).collect::<Vec<_>>();
    let part = |((start, behind), end): (&(usize, usize), &usize)| Message {
        line,
        text: text[*behind..*end].trim_end().to_string(),
        raw: text[*start..*end].trim_end().to_string(),
    };
    cuts.iter().zip(&ends).map(part).filter(|m| !m.raw.is_empty()).collect()
}

/// Text without what differs from run to run: addresses, numbers, block numbers, names of workers.
pub(crate) fn stable(text: &str) -> String {
    static CHANGES: LazyLock<[(Regex, &str); 5]> = LazyLock::new(|| {
        [
            (pattern(r"\+?0x[0-9a-f]+(?:/0x[0-9a-f]+)?"), "N"),
            (pattern(r"\b[0-9a-f]*[0-9][0-9a-f]{7,}\b"), "N"),
            (pattern(r"\bmemory\d+\b"), "memoryN"),
            (pattern(r"\bkworker/[^\s\[]+"), "kworker"),
            (pattern(r"\b\d+\b"), "N"),
        ]
    });
    let mut text = text.to_string();
    for (what, by) in CHANGES.iter() {
        text = what.replace_all(&text, *by).into_owned();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(console: &str) -> Vec<String> {
        messages(console.as_bytes()).into_iter().map(|m| format!("{} {}", m.line, m.text)).collect()
    }

    #[test]
    fn stamps_callers_and_carriage_returns() {
        assert_eq!(texts("[    1.234567] a\r\n[   12.345678][    T7]  b\nc\n"), ["1 a", "2  b", "3 c"]);
        assert_eq!(texts("[    1.234567] a[    1.234568] b"), ["1 a", "1 b"]);
        assert_eq!(texts("agent says[    1.234568] b\n\n\n[    2.000000] "), ["1 agent says", "1 b", "4 "]);
    }

    #[test]
    fn garbage_is_text_too() {
        let mut console = vec![0xff, 0x00, 0x1b, b'[', b'3', b'1', b'm', b'\n'];
        console.extend(std::iter::repeat_n(0xc3, 5000));
        assert_eq!(messages(&console).len(), 2);
        assert_eq!(messages(b""), []);
    }

    #[test]
    fn what_differs_from_run_to_run() {
        assert_eq!(stable("at ffff88800f800000 add_pages+0x60/0x70  on 3"), "at N add_pagesN on N");
        assert_eq!(
            stable("memory33: kworker/u4:0 x86 node 0 deadbeef"),
            "memoryN: kworker x86 node N deadbeef"
        );
    }
}
