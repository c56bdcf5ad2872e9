//! As much of ELF as telling kernels and modules apart takes. Pure.

/// `EM_X86_64`
pub(super) const X86_64: u16 = 62;
const PT_NOTE: u32 = 4;
const DT_NEEDED: u64 = 1;
/// XEN_ELFNOTE_PHYS32_ENTRY: the address at which a loader may enter the kernel in 32-bit mode (PVH).
const PHYS32_ENTRY: u32 = 18;

/// Kind of an ELF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// a relocatable object: a kernel module
    Relocatable,
    /// an executable: perhaps a kernel
    Executable,
    /// anything else
    Other,
}

/// A 64-bit little-endian ELF file, of any machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elf<'a> {
    data: &'a [u8],
    /// `e_machine`
    pub machine: u16,
    /// `e_type`
    pub kind: Kind,
}

/// What an ELF file of another kind is made for, in the kernel's word for the architecture.
pub(super) fn machine_name(data: &[u8]) -> Option<String> {
    let rest = data.strip_prefix(b"\x7fELF")?;
    let big = rest.get(1) == Some(&2);
    let raw: [u8; 2] = data.get(18..20)?.try_into().ok()?;
    let machine = if big { u16::from_be_bytes(raw) } else { u16::from_le_bytes(raw) };
    Some(match machine {
        3 => "i386".into(),
        8 => "mips".into(),
        20 | 21 => "powerpc".into(),
        22 => "s390".into(),
        40 => "arm".into(),
        X86_64 => "x86-64".into(),
        183 => "arm64".into(),
        243 => "riscv".into(),
        258 => "loongarch".into(),
        other => format!("ELF machine {other}"),
    })
}

impl<'a> Elf<'a> {
    /// `None` where this is no 64-bit little-endian ELF file.
    pub(crate) fn parse(data: &'a [u8]) -> Option<Self> {
        if !data.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let kind = match number(data, 16, 2)? {
            1 => Kind::Relocatable,
            2 | 3 => Kind::Executable,
            _ => Kind::Other,
        };
        Some(Self { data, machine: number(data, 18, 2)? as u16, kind })
    }

    /// Whether there is a note by which QEMU's `-kernel` can enter this kernel.
    pub(super) fn has_pvh_entry(&self) -> bool {
        self.segments(PT_NOTE).any(|notes| has_note(notes, b"Xen\0", PHYS32_ENTRY))
    }

    fn segments(&self, wanted: u32) -> impl Iterator<Item = &'a [u8]> {
        let data = self.data;
        let (at, size, count) = (number(data, 32, 8), number(data, 54, 2), number(data, 56, 2));
        let first = at.unwrap_or(0);
        let headers = (0..count.unwrap_or(0)).map(move |i| first.saturating_add(i * size.unwrap_or(0)));
        headers.filter_map(move |header| {
            let header = usize::try_from(header).ok()?;
            if number(data, header, 4)? != u64::from(wanted) {
                return None;
            }
            slice(data, number(data, header.checked_add(8)?, 8)?, number(data, header.checked_add(32)?, 8)?)
        })
    }

    /// Content of a section by name.
    pub(super) fn section(&self, name: &str) -> Option<&'a [u8]> {
        let data = self.data;
        let first = number(data, 40, 8)?;
        let (size, count, names) = (number(data, 58, 2)?, number(data, 60, 2)?, number(data, 62, 2)?);
        let header = |i: u64| usize::try_from(first.checked_add(i.checked_mul(size)?)?).ok();
        let content = |at: usize| slice(data, number(data, at + 24, 8)?, number(data, at + 32, 8)?);
        let strings = content(header(names)?)?;
        (0..count).filter_map(header).find_map(|at| {
            let called = strings.get(number(data, at, 4)? as usize..)?;
            let rest = called.strip_prefix(name.as_bytes())?;
            if rest.first() == Some(&0) { content(at) } else { None }
        })
    }
}

impl Elf<'_> {
    /// Names of the shared libraries that it is linked with (DT_NEEDED), by its sections: what was stripped of them is
    /// none of a distribution's.
    pub(crate) fn needed(&self) -> Vec<String> {
        let (Some(dynamic), Some(strings)) = (self.section(".dynamic"), self.section(".dynstr")) else {
            return Vec::new();
        };
        let entries = dynamic.chunks_exact(16).filter(|e| number(e, 0, 8) == Some(DT_NEEDED));
        let names = entries.filter_map(|e| strings.get(usize::try_from(number(e, 8, 8)?).ok()?..));
        let texts = names.filter_map(|n| n.split(|b| *b == 0).next());
        texts.map(|t| String::from_utf8_lossy(t).into_owned()).collect()
    }
}

fn has_note(mut notes: &[u8], name: &[u8], wanted: u32) -> bool {
    let padded = |n: u64| usize::try_from(n).ok().map(|n| n.next_multiple_of(4));
    while let (Some(name_size), Some(size), Some(kind)) =
        (number(notes, 0, 4), number(notes, 4, 4), number(notes, 8, 4))
    {
        let rest = &notes[12..];
        if kind == u64::from(wanted) && rest.starts_with(name) {
            return true;
        }
        let (Some(name_size), Some(size)) = (padded(name_size), padded(size)) else { return false };
        let Some(next) = rest.get(name_size + size..) else { return false };
        notes = next;
    }
    false
}

fn number(data: &[u8], at: usize, bytes: usize) -> Option<u64> {
    let raw = data.get(at..at.checked_add(bytes)?)?;
    Some(raw.iter().rev().fold(0, |sum, b| sum << 8 | u64::from(*b)))
}

fn slice(data: &[u8], at: u64, size: u64) -> Option<&[u8]> {
    data.get(usize::try_from(at).ok()?..usize::try_from(at.checked_add(size)?).ok()?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn header(kind: u16, machine: u16) -> Vec<u8> {
        let mut b = vec![0u8; 64];
        b[..6].copy_from_slice(b"\x7fELF\x02\x01");
        b[16..18].copy_from_slice(&kind.to_le_bytes());
        b[18..20].copy_from_slice(&machine.to_le_bytes());
        b
    }

    fn put(b: &mut [u8], at: usize, value: u64, bytes: usize) {
        b[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
    }

    fn note(name: &[u8], kind: u32, value: &[u8]) -> Vec<u8> {
        let mut n = Vec::new();
        n.extend((name.len() as u32).to_le_bytes());
        n.extend((value.len() as u32).to_le_bytes());
        n.extend(kind.to_le_bytes());
        for part in [name, value] {
            n.extend(part);
            n.resize(n.len().next_multiple_of(4), 0);
        }
        n
    }

    /// An executable with one PT_NOTE segment and `tail` behind it.
    pub(crate) fn vmlinux(machine: u16, pvh: bool, tail: &[u8]) -> Vec<u8> {
        let mut notes = note(b"Linux\0", 0, &[1; 5]);
        notes.extend(note(b"Xen\0", if pvh { PHYS32_ENTRY } else { 6 }, &[0; 8]));
        let mut b = header(2, machine);
        put(&mut b, 32, 64, 8);
        put(&mut b, 54, 56, 2);
        put(&mut b, 56, 1, 2);
        b.resize(64 + 56, 0);
        put(&mut b, 64, u64::from(PT_NOTE), 4);
        put(&mut b, 64 + 8, 64 + 56, 8);
        put(&mut b, 64 + 32, notes.len() as u64, 8);
        b.extend(notes);
        b.extend(tail);
        b
    }

    /// A relocatable object with one section.
    pub(crate) fn object(section: &str, content: &[u8]) -> Vec<u8> {
        let mut b = header(1, X86_64);
        let strings = format!("\0.shstrtab\0{section}\0");
        let (strings_at, content_at) = (64, 64 + strings.len());
        b.extend(strings.as_bytes());
        b.extend(content);
        let table = b.len();
        b.resize(table + 3 * 64, 0);
        put(&mut b, 40, table as u64, 8);
        put(&mut b, 58, 64, 2);
        put(&mut b, 60, 3, 2);
        put(&mut b, 62, 1, 2);
        for (i, name, at, size) in [(1, 1, strings_at, strings.len()), (2, 11, content_at, content.len())] {
            put(&mut b, table + i * 64, name, 4);
            put(&mut b, table + i * 64 + 24, at as u64, 8);
            put(&mut b, table + i * 64 + 32, size as u64, 8);
        }
        b
    }

    #[test]
    fn pvh_note_behind_another() {
        let with = vmlinux(X86_64, true, b"");
        let elf = Elf::parse(&with).unwrap();
        assert_eq!((elf.machine, elf.kind), (X86_64, Kind::Executable));
        assert!(elf.has_pvh_entry());
        assert!(!Elf::parse(&vmlinux(X86_64, false, b"")).unwrap().has_pvh_entry());
        assert!(!Elf::parse(&with[..130]).unwrap().has_pvh_entry(), "a cut file is no panic");
    }

    #[test]
    fn sections_and_machines() {
        let o = object(".modinfo", b"depends=a,b\0");
        let elf = Elf::parse(&o).unwrap();
        assert_eq!(elf.kind, Kind::Relocatable);
        assert_eq!(elf.section(".modinfo"), Some(&b"depends=a,b\0"[..]));
        assert_eq!(elf.section(".mod"), None);
        assert_eq!(machine_name(&vmlinux(183, true, b"")).as_deref(), Some("arm64"));
        assert_eq!(
            machine_name(b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16").as_deref(),
            Some("s390")
        );
        assert_eq!(machine_name(b"text"), None);
    }
}
