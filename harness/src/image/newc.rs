//! The cpio archive that the kernel unpacks: format `newc` (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Owner root, time 0, inode numbers in order of writing: the bytes depend on what is put in and on nothing else.

/// File type bits of a mode (inode(7)).
pub(super) const S_IFREG: u32 = 0o100_000;
pub(super) const S_IFDIR: u32 = 0o040_000;
pub(super) const S_IFCHR: u32 = 0o020_000;
pub(super) const S_IFLNK: u32 = 0o120_000;

/// Name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// One entry's head.
pub(super) struct Head<'a> {
    /// path without a leading slash
    pub(super) name: &'a str,
    /// type and permission bits
    pub(super) mode: u32,
    /// device numbers, of a node
    pub(super) device: (u32, u32),
}

/// An archive being written.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an entry.
    ///
    /// # Panics
    /// Where the content is 4 GiB or more, which the format cannot say.
    pub(super) fn add(&mut self, head: &Head<'_>, content: &[u8]) {
        self.entries += 1;
        let ino = self.entries;
        self.entry(head, ino, content);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(&Head { name: TRAILER, mode: 0, device: (0, 0) }, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, head: &Head<'_>, ino: u32, content: &[u8]) {
        let size = u32::try_from(content.len()).expect("a file of an initramfs is smaller than 4 GiB");
        let name_size = u32::try_from(head.name.len() + 1).expect("a path is shorter than 4 GiB");
        let (links, mtime, owner, check) = (1 + u32::from(head.mode & S_IFDIR == S_IFDIR), 0, 0, 0);
        let fields = [
            ino,
            head.mode,
            owner,
            owner,
            links,
            mtime,
            size,
            0,
            0,
            head.device.0,
            head.device.1,
            name_size,
            check,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(head.name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Name and content each end on a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_byte_by_byte() {
        let mut archive = Archive::default();
        archive.add(&Head { name: "dev/console", mode: S_IFCHR | 0o600, device: (5, 1) }, &[]);
        archive.add(&Head { name: "a", mode: S_IFREG | 0o644, device: (0, 0) }, b"hello");
        let expected: String = [
            "070701",
            "00000001",          // ino
            "00002180",          // mode
            "00000000",          // uid
            "00000000",          // gid
            "00000001",          // nlink
            "00000000",          // mtime
            "00000000",          // filesize
            "00000000",          // devmajor
            "00000000",          // devminor
            "00000005",          // rdevmajor
            "00000001",          // rdevminor
            "0000000C",          // namesize, with its zero byte
            "00000000",          // check
            "dev/console\0\0\0", // 110 + 12, padded to 124
            "070701",
            "00000002000081A4000000000000000000000001000000000000000500000000000000000000000000000000",
            "0000000200000000",
            "a\0hello\0\0\0",
            "070701",
            "00000000000000000000000000000000000000010000000000000000",
            "00000000000000000000000000000000",
            "0000000B00000000",
            "TRAILER!!!\0\0\0\0",
        ]
        .concat();
        assert_eq!(String::from_utf8(archive.finish()).unwrap(), expected);
    }
}
