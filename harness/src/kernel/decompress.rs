//! Unpacking what kernels and their packages are packed with: gzip, xz, lzma, zstd, lz4. Pure.

use std::io::{self, Read};

/// Nothing that is unpacked here is larger (a kernel with debug information is not packed).
const LIMIT: usize = 1 << 30;

/// Why a piece of data could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unpack {
    /// lzo, bzip2, or no compression.
    #[error("compressed with {0}, which is not supported")]
    Unsupported(String),
    /// A decoder's complaint.
    #[error("damaged {format} data: {error}")]
    Damaged {
        /// which decoder
        format: &'static str,
        /// what it said
        error: io::Error,
    },
    /// The length that the kernel build appended is another.
    #[error("unpacks to {found} bytes where {wanted} were packed")]
    Length {
        /// unpacked
        found: usize,
        /// said at the end of the data
        wanted: usize,
    },
}

/// Unpacks the payload of a bzImage and checks its length, which the build appends (scripts/Makefile.lib: size_append;
/// gzip has it in its own trailer).
pub(super) fn payload(data: &[u8]) -> Result<Vec<u8>, Unpack> {
    let (body, trailer) = data.split_at(data.len().saturating_sub(4));
    let gzip = data.starts_with(&[0x1f, 0x8b]);
    let out = any(if gzip { data } else { body })?;
    let wanted = trailer.iter().rev().fold(0usize, |sum, b| sum << 8 | usize::from(*b));
    if out.len() == wanted { Ok(out) } else { Err(Unpack::Length { found: out.len(), wanted }) }
}

/// Unpacks one stream of a format that is told by its first bytes.
pub(super) fn any(data: &[u8]) -> Result<Vec<u8>, Unpack> {
    let read = |format, reader: &mut dyn Read| {
        let mut out = Vec::new();
        let done = reader.take(LIMIT as u64).read_to_end(&mut out);
        done.map_err(|error| Unpack::Damaged { format, error }).map(|_| out)
    };
    let damaged = |format| move |error| Unpack::Damaged { format, error };
    match data {
        [0x1f, 0x8b, ..] => read("gzip", &mut flate2::read::GzDecoder::new(data)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => read("xz", &mut liblzma::read::XzDecoder::new(data)),
        [0x5d, 0, 0, ..] => {
            let stream = liblzma::stream::Stream::new_lzma_decoder(u64::MAX);
            let stream = stream.map_err(|e| damaged("lzma")(e.into()))?;
            read("lzma", &mut liblzma::read::XzDecoder::new_stream(data, stream))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(damaged("zstd"))?;
            read("zstd", &mut decoder.single_frame())
        }
        [0x02, 0x21, 0x4c, 0x18, rest @ ..] => lz4_legacy(rest).map_err(damaged("lz4")),
        [b'B', b'Z', b'h', ..] => Err(Unpack::Unsupported("bzip2".into())),
        [0x89, b'L', b'Z', b'O', ..] => Err(Unpack::Unsupported("lzo".into())),
        other => Err(Unpack::Unsupported(format!(
            "something that begins with {:02x?}",
            &other[..other.len().min(6)]
        ))),
    }
}

/// The legacy frame that `lz4 -l` writes and the kernel build uses: blocks, each with its packed length in front.
fn lz4_legacy(mut data: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let block = rest.get(..length).ok_or_else(|| bad("a block ends behind the end"))?;
        lz4_block(block, &mut out)?;
        data = &rest[length..];
    }
    if data.is_empty() { Ok(out) } else { Err(bad("bytes left over")) }
}

/// One block: sequences of literals and matches (lz4_Block_format.md). Matches reach back into this block only.
fn lz4_block(mut block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    while let Some((token, rest)) = block.split_first() {
        block = rest;
        let literals = lz4_length(usize::from(token >> 4), &mut block)?;
        out.extend(block.get(..literals).ok_or_else(|| bad("literals end behind the block"))?);
        block = &block[literals..];
        let Some((offset, rest)) = block.split_first_chunk::<2>() else {
            return if block.is_empty() { Ok(()) } else { Err(bad("half an offset")) };
        };
        block = rest;
        let length = lz4_length(usize::from(token & 15), &mut block)? + 4;
        let offset = usize::from(u16::from_le_bytes(*offset));
        if offset == 0 || offset > out.len() - start || out.len() + length > LIMIT {
            return Err(bad("a match from outside"));
        }
        lz4_copy(out, offset, length);
    }
    Err(bad("a block without a last literal"))
}

fn lz4_length(nibble: usize, block: &mut &[u8]) -> io::Result<usize> {
    let mut length = nibble;
    let mut more = nibble == 15;
    while more {
        let (byte, rest) = block.split_first().ok_or_else(|| bad("half a length"))?;
        *block = rest;
        length += usize::from(*byte);
        more = *byte == 255;
    }
    Ok(length)
}

/// A match may reach into what it writes itself: copy at most `offset` bytes at a time.
fn lz4_copy(out: &mut Vec<u8>, offset: usize, length: usize) {
    let from = out.len() - offset;
    let mut left = length;
    while left > 0 {
        let part = left.min(out.len() - from);
        out.extend_from_within(from..from + part);
        left -= part;
    }
}

fn bad(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn text() -> Vec<u8> {
        b"memory block ".repeat(100)
    }

    fn with_length(mut packed: Vec<u8>, length: usize) -> Vec<u8> {
        packed.extend((length as u32).to_le_bytes());
        packed
    }

    #[test]
    fn formats_of_a_payload() {
        let text = text();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&text).unwrap();
        assert_eq!(payload(&gz.finish().unwrap()).unwrap(), text);
        let zst = zstd::encode_all(&text[..], 1).unwrap();
        assert_eq!(payload(&with_length(zst, text.len())).unwrap(), text);
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(&text[..], 1).read_to_end(&mut xz).unwrap();
        assert_eq!(payload(&with_length(xz.clone(), text.len())).unwrap(), text);
        let short = payload(&with_length(xz, text.len() + 1));
        assert!(matches!(short, Err(Unpack::Length { found: 1300, wanted: 1301 })));
    }

    #[test]
    fn lz4_with_overlapping_match_and_long_lengths() {
        // 16 literals (15 + 1), a match of 4 + 15 + 255 + 6 = 280 from 3 back, then one last literal.
        let mut block = vec![0xff, 1];
        block.extend(b"0123456789abcxyz");
        block.extend([3, 0, 255, 6, 0x10, b'!']);
        let mut packed = vec![0x02, 0x21, 0x4c, 0x18];
        packed.extend((block.len() as u32).to_le_bytes());
        packed.extend(&block);
        let mut want = b"0123456789abcxyz".to_vec();
        want.extend(b"xyz".iter().cycle().take(280));
        want.push(b'!');
        assert_eq!(payload(&with_length(packed.clone(), want.len())).unwrap(), want);
        let offset = packed.len() - 6;
        packed[offset] = 17;
        let error = payload(&with_length(packed, want.len())).unwrap_err();
        assert_eq!(error.to_string(), "damaged lz4 data: a match from outside");
    }

    #[test]
    fn unsupported_formats_are_named() {
        assert_eq!(any(b"BZh91AY").unwrap_err().to_string(), "compressed with bzip2, which is not supported");
        let error = any(&[0x28, 0xb5, 0x2f, 0xfd, 1, 2]).unwrap_err();
        assert!(matches!(error, Unpack::Damaged { format: "zstd", .. }));
    }
}
