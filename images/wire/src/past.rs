//! Long messages are packed: a serial port moves each byte with an interrupt or a system call of its own, and what is
//! said of a guest is nearly what was said of it before.
//!
//! Both sides keep the same end of what went one way, and a message names what it has in common with that (LZ4 block
//! with an external dictionary, <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>).

/// So much of what was said is kept, in bytes: about a round of plug, online, offline and unplug.
const KEPT: usize = 32 << 10;
/// Shorter messages go as they are, and are not kept.
const WORTH: usize = 256;
/// No message is longer unpacked: a damaged length must not take all memory.
const LONGEST: usize = 64 << 20;
/// Stands before a byte that has another meaning on a line; the byte follows with [`FLIP`] turned.
const ESCAPE: u8 = 0x1b;
const FLIP: u8 = 0x40;
/// Last byte of a packed message: what ends a line may be trimmed.
const END: u8 = b'.';

/// The end of what was said one way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Past(String);

impl Past {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The rest of a line that carries `message` packed: `LENGTH:BYTES.`; `None` where it goes as it is.
    pub(crate) fn pack(&self, message: &str) -> Option<Vec<u8>> {
        if message.len() < WORTH {
            return None;
        }
        let packed = lz4_flex::block::compress_with_dict(message.as_bytes(), self.0.as_bytes());
        let mut line = format!("{}:", message.len()).into_bytes();
        for byte in packed {
            match byte {
                b'\n' | ESCAPE => line.extend([ESCAPE, byte ^ FLIP]),
                _ => line.push(byte),
            }
        }
        line.push(END);
        Some(line)
    }

    /// What [`Past::pack`] packed, `None` if the line is damaged.
    pub(crate) fn unpack(&self, line: &[u8]) -> Option<String> {
        let colon = line.iter().position(|&b| b == b':')?;
        let length: usize = std::str::from_utf8(&line[..colon]).ok()?.parse().ok()?;
        let (&END, escaped) = line[colon + 1..].split_last()? else { return None };
        let mut packed = Vec::with_capacity(escaped.len());
        let mut bytes = escaped.iter();
        while let Some(&byte) = bytes.next() {
            packed.push(if byte == ESCAPE { bytes.next()? ^ FLIP } else { byte });
        }
        let length = (length <= LONGEST).then_some(length)?;
        let text = lz4_flex::block::decompress_with_dict(&packed, length, self.0.as_bytes()).ok()?;
        String::from_utf8(text).ok().filter(|text| text.len() == length)
    }

    /// Keeps a message that was said, or heard, whole.
    pub(crate) fn keep(&mut self, message: &str) {
        if message.len() < WORTH {
            return;
        }
        self.0.push_str(message);
        if let Some(start) = self.0.len().checked_sub(KEPT) {
            let start =
                (start..).find(|&at| self.0.is_char_boundary(at)).expect("a text's end is a boundary");
            self.0.drain(..start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_like_one_before_is_short_and_comes_out_whole() {
        let (mut said, mut heard) = (Past::default(), Past::default());
        let first: String = (0..1000).map(|n| format!("key{} ü\n\u{1b}{n};", n * n % 977)).collect();
        let second = first.replacen("key4 ", "key5 ", 1);
        let mut lengths = Vec::new();
        for message in [&first, &second] {
            let line = said.pack(message).unwrap();
            assert!(!line.contains(&b'\n'), "one line");
            assert_eq!(heard.unpack(&line).as_ref(), Some(message));
            lengths.push(line.len());
            said.keep(message);
            heard.keep(message);
        }
        assert!(lengths[1] * 20 < lengths[0], "{lengths:?}");
        assert_eq!(said, heard);
    }

    #[test]
    fn a_short_message_goes_as_it_is_and_is_not_kept() {
        let mut past = Past::default();
        assert_eq!(past.pack(&"x".repeat(WORTH - 1)), None);
        past.keep(&"x".repeat(WORTH - 1));
        assert_eq!(past, Past::default());
    }

    #[test]
    fn no_more_is_kept_than_the_last_of_it() {
        let mut past = Past::default();
        past.keep(&"ü".repeat(KEPT));
        past.keep(&"x".repeat(KEPT - 301));
        assert_eq!(past.text(), format!("{}{}", "ü".repeat(150), "x".repeat(KEPT - 301)));
    }

    #[test]
    fn damaged_lines_are_refused() {
        let past = Past::default();
        let text = "0123456789".repeat(100);
        let line = past.pack(&text).unwrap();
        assert_eq!(past.unpack(&line), Some(text));
        let said = String::from_utf8_lossy(&line).into_owned();
        for bad in [
            String::new(),
            ":".into(),
            said.replacen("1000:", "999:", 1),
            said.replacen("1000:", "1001:", 1),
            said.replacen("1000:", "99999999999:", 1),
            said.replacen("1000:", "-1:", 1),
            said.trim_end_matches('.').into(),
        ] {
            assert_eq!(past.unpack(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(past.unpack(b"1:\x1b."), None, "an escape with nothing behind it");
    }
}
