//! Memory files: mostly holes. Reading what is not, and making holes of what is zero.

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Calls `take` with every chunk of the file that holds data, and its place; a chunk begins at a multiple of `size`.
/// A chunk may still be all zeroes: what is a hole is the file system's choice.
///
/// # Errors
/// The file cannot be read, or `take`'s.
pub fn data(file: &File, size: usize, mut take: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let end = file.metadata()?.len();
    let (mut chunk, mut at) = (vec![0; size], 0);
    while at < end {
        // Where no more data follows, seeking for it is ENXIO.
        at = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data / size as u64 * size as u64,
            Err(Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let part = &mut chunk[..size.min(usize::try_from(end - at).unwrap_or(size))];
        file.read_exact_at(part, at)?;
        take(at, part)?;
        at += part.len() as u64;
    }
    Ok(())
}

/// All zeroes?
pub fn is_zero(bytes: &[u8]) -> bool {
    // By long pieces, each without a branch: most pages are looked at to their ends.
    bytes.chunks(256).all(|piece| piece.iter().fold(0, |or, byte| or | byte) == 0)
}

/// Makes holes of pages that are zero: a guest that has booted has left most of its memory so. What is read from the
/// file stays the same. A file system without holes keeps the zeroes.
///
/// # Errors
/// The file cannot be read or changed.
pub fn punch(file: &File) -> io::Result<()> {
    const PAGE: usize = 4096;
    const CHUNK: usize = 256 * PAGE;
    let hole =
        |at, len| match fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, len) {
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(e) => Err(io::Error::from(e)),
        };
    data(file, CHUNK, |at, chunk| {
        let mut run = 0;
        for (index, page) in chunk.chunks(PAGE).enumerate() {
            if is_zero(page) {
                run += page.len() as u64;
                continue;
            }
            if run > 0 {
                hole(at + (index * PAGE) as u64 - run, run)?;
            }
            run = 0;
        }
        if run > 0 { hole(at + chunk.len() as u64 - run, run) } else { Ok(()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn zero_pages_become_holes_and_the_content_stays() {
        let file = tempfile::tempfile().unwrap();
        let mut bytes = vec![0u8; (4 << 20) + 5000];
        for at in [0, 4095, 8192, 1 << 20, (3 << 20) + 4096, (4 << 20) + 4999] {
            bytes[at] = 1;
        }
        file.write_all_at(&bytes, 0).unwrap();
        punch(&file).unwrap();
        let mut now = vec![1u8; bytes.len()];
        file.read_exact_at(&mut now, 0).unwrap();
        assert!(now == bytes);
        assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);
        // Five pages hold a byte, the file system may keep some more.
        assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
        let mut seen = vec![0u8; bytes.len()];
        data(&file, 64 << 10, |at, chunk| {
            seen[at as usize..][..chunk.len()].copy_from_slice(chunk);
            Ok(())
        })
        .unwrap();
        assert!(seen == bytes);
    }

    #[test]
    fn one_byte_is_not_zero() {
        let mut page = vec![0u8; 1000];
        assert!(is_zero(&page) && is_zero(&[]));
        page[999] = 1;
        assert!(!is_zero(&page));
    }
}
