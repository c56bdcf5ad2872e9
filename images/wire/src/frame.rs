//! Lines with a checksum and a number.

use crate::past::Past;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;

/// One numbered message.
#[derive(Serialize, Deserialize)]
struct Numbered<T> {
    n: u64,
    m: T,
}

/// Why a line could not be taken as the next message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// The line is not `CRC JSON`, nor `CRC~LENGTH:PACKED.` of what was said before.
    Malformed(String),
    /// The checksum does not fit the text.
    Checksum {
        /// checksum in the line
        stated: u32,
        /// checksum of the line's text
        computed: u32,
    },
    /// The text is not a message of the expected type.
    Json(String),
    /// A message is missing, or came twice.
    Number {
        /// the number that had to come
        expected: u64,
        /// the number that came
        got: u64,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(line) => write!(f, "not a message line: {line:?}"),
            Self::Checksum { stated, computed } => {
                write!(f, "checksum of a message is {computed:08x}, its line says {stated:08x}")
            }
            Self::Json(why) => write!(f, "message text: {why}"),
            Self::Number { expected, got } => write!(f, "message number {got}, expected {expected}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Makes the lines that carry messages one way, numbered from 1.
#[derive(Debug, Default)]
pub struct FrameWriter {
    sent: u64,
    past: Past,
}

impl FrameWriter {
    /// A writer whose first message has number 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that goes on behind message `sent`, where `past` was kept ([`FrameWriter::past`]).
    pub fn after(sent: u64, past: String) -> Self {
        Self { sent, past: Past::new(past) }
    }

    /// Number of the last message.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The end of what was sent, from which the next message may quote.
    pub fn past(&self) -> &str {
        self.past.text()
    }

    /// The line of the next message, with its newline.
    ///
    /// # Panics
    /// Never for the types of this crate: they have no map with keys that are not strings.
    pub fn encode<T: Serialize>(&mut self, message: &T) -> Vec<u8> {
        self.sent += 1;
        let json =
            serde_json::to_string(&Numbered { n: self.sent, m: message }).expect("messages are plain JSON");
        let mut line = format!("{:08x}", crc32(json.as_bytes())).into_bytes();
        // The first message may be said again, and noise may stand before it: it goes as it is.
        match self.past.pack(&json).filter(|_| self.sent > 1) {
            Some(packed) => {
                line.push(PACKED);
                line.extend(packed);
            }
            None => {
                line.push(PLAIN);
                line.extend(json.as_bytes());
            }
        }
        line.push(b'\n');
        self.past.keep(&json);
        line
    }
}

/// Behind the checksum of a line: the message follows as JSON.
const PLAIN: u8 = b' ';
/// Behind the checksum of a line: the message follows as [`Past::pack`] makes it.
const PACKED: u8 = b'~';

/// Collects bytes and hands out checked messages in order.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    scanned: usize,
    last: u64,
    past: Past,
}

impl FrameReader {
    /// A reader whose next message has number 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader whose next message has number `last + 1`: the other side was talked to before, and `past` was kept of
    /// that ([`FrameReader::past`]).
    pub fn after(last: u64, past: String) -> Self {
        Self { last, past: Past::new(past), ..Self::default() }
    }

    /// The end of what was heard, from which the next message may quote.
    pub fn past(&self) -> &str {
        self.past.text()
    }

    /// Adds bytes as they came from the port.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that are not yet a whole line.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The bytes that are not yet a whole line, once [`FrameReader::take`] said `None`.
    pub fn partial(&self) -> &[u8] {
        &self.buffer
    }

    /// The next whole message, `None` while its line is incomplete.
    pub fn take<T: DeserializeOwned>(&mut self) -> Option<Result<T, FrameError>> {
        loop {
            let end = match self.buffer[self.scanned..].iter().position(|&b| b == b'\n') {
                Some(at) => self.scanned + at,
                None => {
                    self.scanned = self.buffer.len();
                    return None;
                }
            };
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            self.scanned = 0;
            let line = line[..end].trim_ascii_end();
            if line.is_empty() {
                continue; // sent to end what may stand before it on the line
            }
            let result = self.decode(line);
            return match (&result, self.last) {
                (Err(error), 0) if !matches!(error, FrameError::Number { .. }) => {
                    Some(self.behind_noise(line).unwrap_or(result))
                }
                _ => Some(result),
            };
        }
    }

    /// The first message, when what a port echoed or kept from before it was opened stands in front of it on its line.
    fn behind_noise<T: DeserializeOwned>(&mut self, line: &[u8]) -> Option<Result<T, FrameError>> {
        let starts = (1..line.len()).filter(|&at| line.get(at + 8..at + 10) == Some(b" {"));
        starts.map(|at| self.decode(&line[at..])).find(Result::is_ok)
    }

    fn decode<T: DeserializeOwned>(&mut self, line: &[u8]) -> Result<T, FrameError> {
        let malformed =
            || FrameError::Malformed(String::from_utf8_lossy(&line[..line.len().min(120)]).into());
        let (sum, json) = match line.get(8) {
            Some(&PLAIN) => (&line[..8], std::str::from_utf8(&line[9..]).ok().map(str::to_string)),
            Some(&PACKED) => (&line[..8], self.past.unpack(&line[9..])),
            _ => return Err(malformed()),
        };
        let json = json.ok_or_else(malformed)?;
        let stated = std::str::from_utf8(sum).ok().and_then(|s| u32::from_str_radix(s, 16).ok());
        let stated = stated.ok_or_else(malformed)?;
        let computed = crc32(json.as_bytes());
        if stated != computed {
            return Err(FrameError::Checksum { stated, computed });
        }
        let Numbered { n, m } = serde_json::from_str(&json).map_err(|e| FrameError::Json(e.to_string()))?;
        let expected = self.last + 1;
        if n != expected {
            return Err(FrameError::Number { expected, got: n });
        }
        self.past.keep(&json);
        self.last = n;
        Ok(m)
    }
}

/// CRC-32 as IEEE 802.3 has it (reflected, polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0u32, |crc, &b| TABLE[usize::from((crc as u8) ^ b)] ^ (crc >> 8))
}

const fn table() -> [u32; 256] {
    let mut table = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926); // the catalogue's check value of CRC-32/ISO-HDLC
    }

    #[test]
    fn whole_messages_come_out_in_order_however_the_bytes_arrive() {
        let mut writer = FrameWriter::new();
        let mut bytes = writer.encode(&"one".to_string());
        bytes.extend(writer.encode(&"two".to_string()));
        let mut reader = FrameReader::new();
        let mut got = Vec::new();
        for b in bytes {
            reader.push(&[b]);
            while let Some(m) = reader.take::<String>() {
                got.push(m.unwrap());
            }
        }
        assert_eq!(got, ["one", "two"]);
        assert_eq!(reader.pending(), 0);
    }

    #[test]
    fn noise_in_front_of_the_first_message_is_skipped_and_later_is_not() {
        let mut writer = FrameWriter::new();
        let mut noisy =
            || [b"0ff {\"n\": 1 \xff 12345678 {".to_vec(), writer.encode(&"text".to_string())].concat();
        let mut reader = FrameReader::new();
        reader.push(&noisy());
        assert_eq!(reader.take::<String>(), Some(Ok("text".to_string())));
        reader.push(&noisy());
        assert!(matches!(reader.take::<String>(), Some(Err(FrameError::Malformed(_)))));
    }

    #[test]
    fn counting_goes_on_where_it_was() {
        let mut reader = FrameReader::after(7, String::new());
        reader.push(&FrameWriter::after(7, String::new()).encode(&"eight".to_string()));
        assert_eq!(reader.take::<String>(), Some(Ok("eight".to_string())));
    }

    #[test]
    fn a_message_quotes_what_went_before_also_behind_a_save() {
        let text = |n: u32| (0..500).map(|i| format!("{} ", i * i + n / 4)).collect::<String>();
        let (mut writer, mut reader) = (FrameWriter::new(), FrameReader::new());
        let mut lengths = Vec::new();
        for n in 0..8 {
            if n == 5 {
                writer = FrameWriter::after(writer.sent(), writer.past().to_string());
                reader = FrameReader::after(5, reader.past().to_string());
            }
            let line = writer.encode(&text(n));
            lengths.push(line.len());
            reader.push(&line);
            assert_eq!(reader.take::<String>(), Some(Ok(text(n))));
        }
        assert_eq!((lengths[0] > text(0).len(), lengths[5] * 20 < lengths[0]), (true, true), "{lengths:?}");
        let mut stranger = FrameReader::after(8, String::new());
        stranger.push(&writer.encode(&text(8)));
        assert!(matches!(
            stranger.take::<String>(),
            Some(Err(FrameError::Malformed(_) | FrameError::Checksum { .. }))
        ));
    }

    #[test]
    fn damage_loss_and_noise_are_told_apart() {
        let (mut writer, mut reader) = (FrameWriter::new(), FrameReader::new());
        let mut bad = writer.encode(&"one".to_string());
        bad[20] ^= 1;
        reader.push(&bad);
        assert!(matches!(reader.take::<String>(), Some(Err(FrameError::Checksum { .. }))));
        reader.push(&writer.encode(&"two".to_string()));
        assert_eq!(reader.take::<String>(), Some(Err(FrameError::Number { expected: 1, got: 2 })));
        reader.push(b"\n\r\n[    0.0] printk\n");
        assert!(matches!(reader.take::<String>(), Some(Err(FrameError::Malformed(_)))));
    }
}
