//! The directory in which a series is applied and built: private, one process at a time, gone afterwards.
//!
//! Its path is the same every time a tree is used, because compilers record the path of what they compile: ccache finds
//! what it compiled there before.

use super::error::{SeriesError, at};
use crate::kernel::sha256;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

const LOCK: &str = "memhp-lock";

/// Removed when dropped.
#[derive(Debug)]
pub struct Workspace {
    path: PathBuf,
    _lock: File,
}

impl Workspace {
    /// Makes `BASE/KEY-N` for a tree, with the smallest N that no other process uses, and removes what died processes
    /// left.
    pub fn open(base: &Path, tree: &Path) -> Result<Self, SeriesError> {
        DirBuilder::new().recursive(true).mode(0o700).create(base).map_err(at("making", base))?;
        sweep(base).map_err(at("reading", base))?;
        let key = &sha256(tree.as_os_str().as_bytes())[..12];
        let mut n = 1;
        loop {
            let path = base.join(format!("{key}-{n}"));
            match hold(&path).map_err(at("making", &path))? {
                Some(lock) => return Ok(Self { path, _lock: lock }),
                None => n += 1,
            }
        }
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Makes it and locks it; `None`: another process has it.
fn hold(path: &Path) -> io::Result<Option<File>> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        made => made?,
    }
    match File::create(path.join(LOCK)) {
        // Swept in between.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        made => made.map(|lock| lock.try_lock().is_ok().then_some(lock)),
    }
}

/// Removes directories whose owner is no more. One without a lock file is being made right now.
fn sweep(base: &Path) -> io::Result<()> {
    for entry in fs::read_dir(base)? {
        let path = entry?.path();
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            remove(&path);
        }
    }
    Ok(())
}

/// Removes a directory with all that foreign code left there, also in directories that it closed to us. What stays takes
/// room and no more: another series gets a directory of another number.
fn remove(dir: &Path) {
    let removed = fs::remove_dir_all(dir).or_else(|_| {
        open_up(dir);
        fs::remove_dir_all(dir)
    });
    if let Err(e) = removed.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }) {
        tracing::warn!("cannot remove {}: {e}", dir.display());
    }
}

/// Gives us back every directory below `dir`. Links are not followed; what cannot be opened stays as it is.
fn open_up(dir: &Path) {
    let mut rest = vec![dir.to_path_buf()];
    while let Some(dir) = rest.pop() {
        let _ = fs::set_permissions(&dir, Permissions::from_mode(0o700));
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        let is_dir = |e: &fs::DirEntry| e.file_type().is_ok_and(|t| t.is_dir());
        rest.extend(entries.flatten().filter(is_dir).map(|e| e.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_nothing_is_left() {
        let base = tempfile::tempdir().unwrap();
        let tree = Path::new("/usr/src/linux");
        let first = Workspace::open(base.path(), tree).unwrap();
        let second = Workspace::open(base.path(), tree).unwrap();
        let path = first.path.clone();
        assert!(path.to_str().unwrap().ends_with("-1") && second.path.to_str().unwrap().ends_with("-2"));
        drop((first, second));
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
        fs::create_dir_all(path.join("source")).unwrap();
        fs::write(path.join(LOCK), "").unwrap();
        let again = Workspace::open(base.path(), tree).unwrap();
        assert_eq!(again.path, path);
        assert!(!path.join("source").exists());
    }

    #[test]
    fn directories_that_were_closed_are_removed_too() {
        let base = tempfile::tempdir().unwrap();
        let tree = Path::new("/usr/src/linux");
        let (closed, outside) = (base.path().join("left-1/a/closed"), base.path().join("outside"));
        fs::create_dir_all(closed.join("b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(base.path().join("left-1").join(LOCK), "").unwrap();
        std::os::unix::fs::symlink(&outside, closed.join("link")).unwrap();
        for (path, mode) in [(&closed, 0o000), (&base.path().join("left-1/a"), 0o500), (&outside, 0o550)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        // Root would get in anyway: what is opened is looked at by itself.
        open_up(&base.path().join("left-1"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&closed), mode(&outside)), (0o700, 0o550));
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        drop(Workspace::open(base.path(), tree).unwrap());
        assert!(!base.path().join("left-1").exists());
        assert!(outside.exists());
    }
}
