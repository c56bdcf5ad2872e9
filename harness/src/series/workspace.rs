//! The directory in which a series is applied and built: private, one process at a time, gone afterwards.
//!
//! Its path is the same every time a tree is used, because compilers record the path of what they compile: ccache finds
//! what it compiled there before.

use super::error::{SeriesError, at};
use crate::kernel::sha256;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
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
        sweep(base).map_err(at("clearing", base))?;
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
        if let Err(e) = fs::remove_dir_all(&self.path) {
            tracing::warn!("cannot remove {}: {e}", self.path.display());
        }
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
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
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
}
