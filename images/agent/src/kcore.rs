//! /proc/kcore: where the memory is that the kernel shows as an ELF core file.
//!
//! The file has no size to speak of (128 TiB and holes), so it is never read whole: only its header and its program headers
//! are, which tell by segments what memory there is. The kernel makes its list of them anew at an open, where memory came
//! online or went offline since (fs/proc/kcore.c:open_kcore, kcore_update_ram).

use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;
use wire::Value;

/// The directory in which a file of the name [`NAME`] is read so.
pub(crate) const DIR: &str = "/proc";
/// The file.
pub(crate) const NAME: &str = "kcore";

/// ELF of 64 bits, little-endian, version 1.
const IDENT: [u8; 7] = *b"\x7fELF\x02\x01\x01";
/// Bytes of the header of such a file.
const HEADER: usize = 64;
/// Bytes of one of its program headers.
const SEGMENT: usize = 56;
/// As many bytes of program headers are read, and no more: 1170 segments, where 256 DIMMs make two each.
const MOST: usize = 64 << 10;
/// p_type of a segment with memory.
const PT_LOAD: u64 = 1;
/// p_paddr of what is no memory of the direct mapping: vmalloc, modules, the memory map.
const NO_ADDRESS: u64 = u64::MAX;
/// Where the kernel's text is mapped (arch/x86: __START_KERNEL_map); its segment repeats a part of the memory.
const TEXT: u64 = 0xffff_ffff_8000_0000;

/// Its segments of memory, by address, as lines `ADDRESS SIZE` of hexadecimal numbers. ENOEXEC: it is no such ELF file.
pub(crate) fn value(dir: impl AsFd, path: &str) -> Value {
    match text(dir, path) {
        Ok(text) => Value::Text(text),
        Err(errno) => Value::Errno(errno.raw_os_error()),
    }
}

fn text(dir: impl AsFd, path: &str) -> Result<String, Errno> {
    let mut memory: Vec<Segment> = segments(&open(dir, path)?)?;
    memory.sort_unstable_by_key(|segment| (segment.address, segment.size));
    Ok(memory.into_iter().map(|s| format!("{:x} {:x}\n", s.address, s.size)).collect())
}

/// How many of these page frames it shows something of that is not 0. None, where the kernel does not have the file, or shows
/// it to nobody (lockdown).
pub(crate) fn dumped(frames: &[u64]) -> Result<u64, Errno> {
    if frames.is_empty() {
        return Ok(0);
    }
    let file = match open(rustix::fs::CWD, "/proc/kcore") {
        Err(Errno::NOENT | Errno::PERM) => return Ok(0),
        file => file?,
    };
    let (memory, mut dumped, mut page) = (segments(&file)?, 0, vec![0u8; rustix::param::page_size()]);
    for frame in frames {
        let address = frame * page.len() as u64;
        let inside = |s: &&Segment| s.address <= address && address - s.address < s.size;
        if let Some(segment) = memory.iter().find(inside) {
            read(&file, &mut page, segment.offset + (address - segment.address))?;
            dumped += u64::from(page.iter().any(|byte| *byte != 0));
        }
    }
    Ok(dumped)
}

fn open(dir: impl AsFd, path: &str) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(dir, path, flags, Mode::empty())?))
}

/// A segment of memory: address, bytes, and where in the file they are.
struct Segment {
    address: u64,
    size: u64,
    offset: u64,
}

fn segments(file: &File) -> Result<Vec<Segment>, Errno> {
    let mut header = [0u8; HEADER];
    read(file, &mut header, 0)?;
    let (at, size, count) = (number(&header, 32, 8), number(&header, 54, 2), number(&header, 56, 2));
    if !header.starts_with(&IDENT) || size != SEGMENT as u64 {
        return Err(Errno::NOEXEC);
    }
    let bytes = count as usize * SEGMENT;
    if bytes > MOST {
        return Err(Errno::FBIG);
    }
    let mut segments = vec![0u8; bytes];
    read(file, &mut segments, at)?;
    Ok(segments.chunks_exact(SEGMENT).filter_map(memory).collect())
}

/// A segment, where it is one of memory.
fn memory(header: &[u8]) -> Option<Segment> {
    let [kind, offset, mapped, address, size] =
        [(0, 4), (8, 8), (16, 8), (24, 8), (40, 8)].map(|(at, n)| number(header, at, n));
    let known = kind == PT_LOAD && address != NO_ADDRESS && mapped < TEXT;
    known.then_some(Segment { address, size, offset })
}

/// A number of `len` bytes.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A file that ends before is no ELF file.
fn read(file: &File, bytes: &mut [u8], at: u64) -> Result<(), Errno> {
    file.read_exact_at(bytes, at).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::NOEXEC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;

    /// p_type, p_vaddr, p_paddr, p_memsz
    type Segment = (u32, u64, u64, u64);

    /// As fs/proc/kcore.c makes one, with something between header and program headers.
    fn elf(segments: &[Segment]) -> Vec<u8> {
        let mut file = vec![0u8; HEADER];
        file[..7].copy_from_slice(&IDENT);
        file[32..40].copy_from_slice(&72u64.to_le_bytes());
        file[54..56].copy_from_slice(&56u16.to_le_bytes());
        file[56..58].copy_from_slice(&u16::try_from(segments.len()).unwrap().to_le_bytes());
        file.extend([0xff; 8]);
        for (kind, mapped, address, size) in segments {
            let head = [kind.to_le_bytes(), 7u32.to_le_bytes()].concat();
            // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
            let words = [1 << 40, *mapped, *address, 3, *size, 4096].map(u64::to_le_bytes).concat();
            file.extend(head.into_iter().chain(words));
        }
        file
    }

    fn read_back(name: &str, bytes: &[u8]) -> Value {
        let path = std::env::temp_dir().join(format!("memhp-kcore-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let value = value(CWD, path.to_str().unwrap());
        std::fs::remove_file(&path).unwrap();
        value
    }

    const DIRECT: u64 = 0xffff_8880_0000_0000;

    #[test]
    fn memory_is_told_and_nothing_else() {
        let segments = [
            (4, 0, 0, 0),                                   // notes
            (1, TEXT + 0x100_0000, 0x100_0000, 0x200_0000), // text
            (1, 0xffff_c900_0000_0000, u64::MAX, 1 << 45),  // vmalloc
            (1, DIRECT + (4 << 30), 4 << 30, 128 << 20),
            (1, DIRECT + 0x1000, 0x1000, 0x9e000),
            (1, 0xffff_ea00_0000_0000, u64::MAX, 0x200_0000), // memory map
        ];
        let text = "1000 9e000\n100000000 8000000\n";
        assert_eq!(read_back("all", &elf(&segments)), Value::Text(text.into()));
        assert_eq!(read_back("none", &elf(&segments[..3])), Value::Text(String::new()));
    }

    #[test]
    fn what_is_no_such_file_is_an_errno() {
        let good = elf(&[(1, DIRECT, 0, 4096)]);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            read_back(&format!("at-{at}"), &bytes)
        };
        let errno = |errno: Errno| Value::Errno(errno.raw_os_error());
        assert_eq!(read_back("good", &good), Value::Text("0 1000\n".into()));
        // 32 bits, other program headers, more of them than there are, too many, and cut off in the header
        assert_eq!(
            [(4, 1), (54, 32), (56, 2)].map(|(at, byte)| with(at, byte)),
            [(); 3].map(|()| errno(Errno::NOEXEC))
        );
        assert_eq!(with(57, 16), errno(Errno::FBIG));
        assert_eq!(read_back("short", &good[..63]), errno(Errno::NOEXEC));
        assert_eq!(value(CWD, "/proc/kcore-that-is-not-there"), errno(Errno::NOENT));
    }
}
