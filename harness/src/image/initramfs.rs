//! What is in the initramfs.

use super::agent::AGENT;
use super::newc::{Archive, Head, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG};
use std::collections::BTreeMap;

/// Directories that the agent mounts on.
const MOUNT_POINTS: [&str; 4] = ["proc", "sys", "dev", "tmp"];

/// Why something cannot be put into an initramfs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Not the path of something below the root.
    #[error("path in the initramfs is not absolute and plain: {0:?}")]
    Path(String),
    /// Something else is there.
    #[error("{0} is in the initramfs already")]
    Taken(String),
    /// A part of its path is there and is no directory.
    #[error("{0} in the initramfs is no directory")]
    NotADirectory(String),
    /// The format has 32 bits for a size.
    #[error("{path} is too large for an initramfs: {bytes} bytes")]
    TooLarge {
        /// where it was to go
        path: String,
        /// its size
        bytes: usize,
    },
}

/// An initramfs being put together. The same entries make the same bytes, whatever the order they came in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Initramfs {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Dir { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Node { mode: u32, major: u32, minor: u32 },
    Link { target: String },
}

impl Initramfs {
    /// Nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The agent as `/init`, the directories it mounts on, and the nodes that must be there before it can mount
    /// anything: `/dev/console`, which the kernel opens for it, and `/dev/null`, which takes its place where the kernel
    /// has no console.
    pub fn with_agent() -> Self {
        let mut image = Self::new();
        for dir in MOUNT_POINTS {
            image.entries.insert(dir.into(), Entry::Dir { mode: 0o755 });
        }
        let init = Entry::File { mode: 0o755, content: AGENT.to_vec() };
        image.entries.insert("init".into(), init);
        image.entries.insert("dev/console".into(), Entry::Node { mode: 0o600, major: 5, minor: 1 });
        image.entries.insert("dev/null".into(), Entry::Node { mode: 0o666, major: 1, minor: 3 });
        image
    }

    /// A regular file; missing directories above it are made.
    ///
    /// # Errors
    /// As [`ImageError`] says; the image is unchanged then.
    pub fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) -> Result<&mut Self, ImageError> {
        if u32::try_from(content.len()).is_err() {
            return Err(ImageError::TooLarge { path: path.into(), bytes: content.len() });
        }
        self.put(path, Entry::File { mode, content })
    }

    /// A kernel module as `/modules/NAME.ko`.
    ///
    /// # Errors
    /// As [`Initramfs::file`].
    pub fn module(&mut self, name: &str, content: Vec<u8>) -> Result<&mut Self, ImageError> {
        self.file(&format!("/modules/{name}.ko"), 0o644, content)
    }

    /// A directory; one that is there already stays as it is.
    ///
    /// # Errors
    /// As [`ImageError`] says.
    pub fn dir(&mut self, path: &str, mode: u32) -> Result<&mut Self, ImageError> {
        if let Some(Entry::Dir { .. }) = self.entries.get(relative(path)?) {
            return Ok(self);
        }
        self.put(path, Entry::Dir { mode })
    }

    /// A character device.
    ///
    /// # Errors
    /// As [`ImageError`] says.
    pub fn node(&mut self, path: &str, mode: u32, major: u32, minor: u32) -> Result<&mut Self, ImageError> {
        self.put(path, Entry::Node { mode, major, minor })
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// As [`ImageError`] says.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<&mut Self, ImageError> {
        self.put(path, Entry::Link { target: target.into() })
    }

    fn put(&mut self, path: &str, entry: Entry) -> Result<&mut Self, ImageError> {
        let name = relative(path)?;
        if self.entries.contains_key(name) {
            return Err(ImageError::Taken(path.into()));
        }
        let above: Vec<&str> = name.match_indices('/').map(|(at, _)| &name[..at]).collect();
        let is_file = |dir: &&&str| !matches!(self.entries.get(**dir), None | Some(Entry::Dir { .. }));
        if let Some(file) = above.iter().find(is_file) {
            return Err(ImageError::NotADirectory(format!("/{file}")));
        }
        for dir in above {
            self.entries.entry(dir.into()).or_insert(Entry::Dir { mode: 0o755 });
        }
        self.entries.insert(name.into(), entry);
        Ok(self)
    }

    /// The archive, uncompressed. Sorted paths put every directory before what is in it.
    pub fn build(&self) -> Vec<u8> {
        let mut archive = Archive::default();
        for (name, entry) in &self.entries {
            let (mode, device, content): (u32, (u32, u32), &[u8]) = match entry {
                Entry::Dir { mode } => (S_IFDIR | mode, (0, 0), &[]),
                Entry::File { mode, content } => (S_IFREG | mode, (0, 0), content),
                Entry::Node { mode, major, minor } => (S_IFCHR | mode, (*major, *minor), &[]),
                Entry::Link { target } => (S_IFLNK | 0o777, (0, 0), target.as_bytes()),
            };
            archive.add(&Head { name, mode, device }, content);
        }
        archive.finish()
    }
}

/// The path without its slash, where it is absolute and has no odd components.
fn relative(path: &str) -> Result<&str, ImageError> {
    let bad = || ImageError::Path(path.into());
    let name = path.strip_prefix('/').ok_or_else(bad)?;
    let odd = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0');
    if name.split('/').any(odd) { Err(bad()) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode, and the number of bytes of every entry.
    fn entries(archive: &[u8]) -> Vec<(String, u32, usize)> {
        let mut entries = Vec::new();
        let mut at = 0;
        loop {
            let field = |n: usize| {
                let text = std::str::from_utf8(&archive[at + 6 + 8 * n..][..8]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name_size) = (u32::try_from(field(1)).unwrap(), field(6), field(11));
            let name = String::from_utf8(archive[at + 110..][..name_size - 1].to_vec()).unwrap();
            if name == "TRAILER!!!" {
                return entries;
            }
            entries.push((name, mode, size));
            at = (at + 110 + name_size).next_multiple_of(4);
            at = (at + size).next_multiple_of(4);
        }
    }

    #[test]
    fn an_image_with_the_agent() {
        let mut image = Initramfs::with_agent();
        image.module("zram", vec![1, 2, 3]).unwrap();
        image.symlink("/bin/sh", "/init").unwrap();
        let expected = [
            ("bin", 0o40755, 0),
            ("bin/sh", 0o120777, 5),
            ("dev", 0o40755, 0),
            ("dev/console", 0o20600, 0),
            ("dev/null", 0o20666, 0),
            ("init", 0o100755, AGENT.len()),
            ("modules", 0o40755, 0),
            ("modules/zram.ko", 0o100644, 3),
            ("proc", 0o40755, 0),
            ("sys", 0o40755, 0),
            ("tmp", 0o40755, 0),
        ];
        let expected: Vec<_> = expected.into_iter().map(|(n, m, s)| (n.to_owned(), m, s)).collect();
        assert_eq!(entries(&image.build()), expected);
    }

    #[test]
    fn the_order_of_putting_in_does_not_matter() {
        let (mut one, mut two) = (Initramfs::new(), Initramfs::new());
        one.file("/a/x", 0o644, vec![1]).unwrap().dir("/b", 0o700).unwrap().node("/c", 0o600, 1, 3).unwrap();
        two.node("/c", 0o600, 1, 3).unwrap().dir("/b", 0o700).unwrap().file("/a/x", 0o644, vec![1]).unwrap();
        assert_eq!(one.build(), two.build());
        two.file("/d", 0o644, vec![]).unwrap();
        assert_ne!(one.build(), two.build());
    }

    #[test]
    fn what_cannot_be_there_is_refused() {
        let mut image = Initramfs::new();
        image.file("/a", 0o644, vec![]).unwrap();
        let before = image.clone();
        let error = |r: Result<&mut Initramfs, ImageError>| r.err();
        assert_eq!(error(image.file("/a", 0o644, vec![])), Some(ImageError::Taken("/a".into())));
        assert_eq!(error(image.dir("/a", 0o755)), Some(ImageError::Taken("/a".into())));
        assert_eq!(error(image.file("/a/b/c", 0o644, vec![])), Some(ImageError::NotADirectory("/a".into())));
        for path in ["a", "/", "/x/", "/../x", "/x//y", "/x/./y", ""] {
            assert_eq!(error(image.dir(path, 0o755)), Some(ImageError::Path(path.into())), "{path}");
        }
        assert_eq!(image, before);
        assert!(image.dir("/b", 0o755).is_ok());
        assert!(image.dir("/b", 0o755).is_ok());
    }
}
