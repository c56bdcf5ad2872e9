//! Reading and writing files, for requests that are answered at once.

use crate::outbox::{failed, io_failed, refused};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::mem::MaybeUninit;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use wire::{Failure, Value};

/// The largest file that is read; a bigger one is not text about the kernel's state.
const LARGEST: usize = 16 << 20;

/// Reads whole files through one buffer.
pub(crate) struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// With a buffer that holds any sysfs file (one page) and most of /proc.
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; 64 << 10] }
    }

    /// A file as text, whole. `path` is taken relative to `dir`.
    pub(crate) fn text(&mut self, dir: impl AsFd, path: &str) -> Result<String, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(dir, path, flags, Mode::empty())?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                if filled >= LARGEST {
                    return Err(Errno::FBIG);
                }
                self.buffer.resize(filled * 2, 0);
            }
            match rustix::io::read(&fd, &mut self.buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(String::from_utf8_lossy(&self.buffer[..filled]).into_owned())
    }

    /// The same as a [`Value`].
    pub(crate) fn value(&mut self, dir: impl AsFd, path: &str) -> Value {
        match self.text(dir, path) {
            Ok(text) => Value::Text(text),
            Err(errno) => Value::Errno(errno.raw_os_error()),
        }
    }
}

/// Opens a directory for [`names`] and for what is in it.
pub(crate) fn open_dir(at: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// Names in a directory that was just opened, sorted, without `.` and `..`.
pub(crate) fn names(dir: impl AsFd) -> Result<Vec<String>, Errno> {
    Ok(entries(dir)?.into_iter().map(|(name, _)| name).collect())
}

/// The same with what each is; a file system may leave that open (`FileType::Unknown`).
pub(crate) fn entries(dir: impl AsFd) -> Result<Vec<(String, FileType)>, Errno> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            found.push((String::from_utf8_lossy(name).into_owned(), entry.file_type()));
        }
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// The names, with the permissions of those that are regular files: `state=644`, in octal, or `state=gone`.
pub(crate) fn with_modes(entries: Vec<(String, FileType)>, dir: impl AsFd) -> Result<Vec<String>, Errno> {
    let with_mode = |(mut name, kind): (String, FileType)| {
        if matches!(kind, FileType::RegularFile | FileType::Unknown) {
            let stat = match rustix::fs::statat(&dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // it went since the directory was read, or is listed and not there: a mode that no file has
                Err(Errno::NOENT) => return Ok(name + "=gone"),
                Err(other) => return Err(other),
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                name.push_str(&format!("={:o}", stat.st_mode & 0o7777));
            }
        }
        Ok(name)
    };
    entries.into_iter().map(with_mode).collect()
}

/// One `write(2)` of the whole text; what is written less than whole is a failure.
pub(crate) fn write(path: &str, text: &str) -> Result<(), Failure> {
    let fd = open_for_write(path)?;
    write_once(&fd, path, text)
}

/// Opens as `echo >` would, but never creates or cuts off a file.
pub(crate) fn open_for_write(path: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(failed(format_args!("open {path}")))
}

/// The write itself.
pub(crate) fn write_once(fd: impl AsFd, path: &str, text: &str) -> Result<(), Failure> {
    let n = rustix::io::write(fd, text.as_bytes()).map_err(failed(format_args!("write {path}")))?;
    match n == text.len() {
        true => Ok(()),
        false => Err(Failure {
            errno: wire::SHORT_WRITE,
            why: format!("write {path}: {n} of {} bytes", text.len()),
        }),
    }
}

/// Stores part of a file; at offset 0 the file begins anew, and its directories are made.
pub(crate) fn put(path: &str, mode: u32, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
    if offset == 0 {
        if let Some(parent) = Path::new(path).parent() {
            std::fs::create_dir_all(parent).map_err(io_failed(format_args!("mkdir {}", parent.display())))?;
        }
    }
    let opened =
        OpenOptions::new().write(true).create(offset == 0).truncate(offset == 0).mode(mode).open(path);
    let file = opened.map_err(io_failed(format_args!("open {path}")))?;
    file.write_all_at(bytes, offset).map_err(io_failed(format_args!("write {path}")))?;
    let permissions = std::fs::Permissions::from_mode(mode);
    file.set_permissions(permissions).map_err(io_failed(format_args!("chmod {path}")))
}

/// Loads a module and waits for its init function.
pub(crate) fn load_module(path: &str, params: &str) -> Result<(), Failure> {
    let file = File::open(path).map_err(io_failed(format_args!("open {path}")))?;
    let params = std::ffi::CString::new(params).map_err(|e| refused(format!("module parameters: {e}")))?;
    rustix::system::finit_module(&file, &params, 0).map_err(failed(format_args!("finit_module {path}")))
}

/// Mounts a file system; the mount point is made where it is missing.
pub(crate) fn mount(source: &str, target: &str, fstype: &str, data: &str) -> Result<(), Failure> {
    std::fs::create_dir_all(target).map_err(io_failed(format_args!("mkdir {target}")))?;
    let data = std::ffi::CString::new(data).map_err(|e| refused(format!("mount data: {e}")))?;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount(source, target, fstype, flags, data.as_c_str())
        .map_err(failed(format_args!("mount {fstype} on {target}")))
}

/// Makes a cgroup below the root with the memory controller, where it is missing, and sets its limits.
pub(crate) fn cgroup(name: &str, limits: &BTreeMap<String, String>) -> Result<(), Failure> {
    let root = crate::manner::CGROUPS;
    write(&format!("{root}/cgroup.subtree_control"), "+memory")?;
    let dir = format!("{root}/{name}");
    std::fs::create_dir_all(&dir).map_err(io_failed(format_args!("mkdir {dir}")))?;
    limits.iter().try_for_each(|(file, text)| write(&format!("{dir}/{file}"), text))
}
