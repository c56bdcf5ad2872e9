//! A private directory for each VM, and the removal of those whose owner died.
//!
//! The directory holds a lock file that its owner keeps locked; the kernel lets go of the lock when the owner ends,
//! however that happens. [`sweep`] removes directories that are ours by name and by owner and that nobody holds.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// The directory could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a run directory under {}: {source}", base.display())]
pub struct RunDirError {
    base: PathBuf,
    source: io::Error,
}

/// A run directory; removed when dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    _lock: File,
}

const PREFIX: &str = "memhp-";
const LOCK: &str = "lock";

/// Where run directories are made: `XDG_RUNTIME_DIR`, else `TMPDIR`, else /tmp.
pub fn base() -> PathBuf {
    let usable = |dir: &PathBuf| dir.is_absolute() && dir.is_dir();
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(usable).unwrap_or_else(std::env::temp_dir)
}

impl RunDir {
    /// Makes `BASE/memhp-PID-XXXXXXXX`, mode 0700, locked.
    ///
    /// # Errors
    /// The directory or its lock file cannot be made.
    pub fn create(base: &Path) -> Result<Self, RunDirError> {
        Self::try_create(base).map_err(|source| RunDirError { base: base.to_path_buf(), source })
    }

    fn try_create(base: &Path) -> io::Result<Self> {
        loop {
            let path = base.join(format!("{PREFIX}{}-{:08x}", std::process::id(), unique()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            match hold(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue, // swept before it was locked
                lock => return Ok(Self { _lock: lock?, path }),
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.path) {
            tracing::warn!("cannot remove {}: {e}", self.path.display());
        }
    }
}

/// Makes the lock file and locks it; `NotFound`: somebody else removed the directory meanwhile.
fn hold(dir: &Path) -> io::Result<File> {
    let path = dir.join(LOCK);
    let lock = File::create(&path)?;
    lock.lock()?;
    fs::metadata(&path)?;
    Ok(lock)
}

/// Different for each call in this process, and hardly ever the same in another one.
fn unique() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    now.wrapping_mul(0x9E37_79B9).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Removes run directories under `base` that belong to this user and that no process holds. Returns them.
///
/// # Errors
/// `base` cannot be read. What cannot be removed is left and logged.
pub fn sweep(base: &Path) -> io::Result<Vec<PathBuf>> {
    let me = rustix::process::geteuid().as_raw();
    let mut removed = Vec::new();
    for entry in fs::read_dir(base)? {
        let Ok(entry) = entry else { continue };
        let named = entry.file_name().to_str().is_some_and(is_ours);
        let owned = entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == me); // of a link: the link's own
        if !(named && owned) {
            continue;
        }
        let Some(_held) = take(&entry.path()) else { continue };
        match fs::remove_dir_all(entry.path()) {
            Ok(()) => removed.push(entry.path()),
            Err(e) => tracing::warn!("cannot remove {}: {e}", entry.path().display()),
        }
    }
    Ok(removed)
}

/// `memhp-PID-XXXXXXXX`
fn is_ours(name: &str) -> bool {
    let parts = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(pid, tag)| {
        !pid.is_empty()
            && pid.bytes().all(|b| b.is_ascii_digit())
            && tag.len() == 8
            && tag.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// The directory for ourselves, if nobody else has it. One without a lock file is about to get one, or its owner died
/// just then: it is free once it is old.
fn take(dir: &Path) -> Option<Option<File>> {
    const OLD: Duration = Duration::from_secs(60);
    match File::open(dir.join(LOCK)) {
        Ok(lock) => match lock.try_lock() {
            Ok(()) => Some(Some(lock)),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => is_old(dir, OLD).then_some(None),
        Err(_) => None,
    }
}

fn is_old(dir: &Path, age: Duration) -> bool {
    let modified = fs::metadata(dir).and_then(|m| m.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|since| since >= age))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_held_directory_stays_and_a_free_one_goes() {
        let base = tempfile::tempdir().unwrap();
        let held = RunDir::create(base.path()).unwrap();
        assert_eq!(fs::metadata(held.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let left = base.path().join("memhp-1-0badcafe");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(left.join("ram0.ram"), "x").unwrap();
        for other in ["memhp-1-other", "memhp-out", "memhp--0badcafe", "notes"] {
            fs::create_dir(base.path().join(other)).unwrap();
            fs::write(base.path().join(other).join(LOCK), "").unwrap();
        }
        assert_eq!(sweep(base.path()).unwrap(), [left]);
        assert!(held.path().is_dir());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 5);
    }

    #[test]
    fn a_directory_that_is_being_made_stays() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("memhp-1-00000001")).unwrap();
        assert_eq!(sweep(base.path()).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_link_with_our_name_is_not_followed() {
        let base = tempfile::tempdir().unwrap();
        let target = tempfile::tempdir().unwrap();
        fs::write(target.path().join(LOCK), "").unwrap();
        std::os::unix::fs::symlink(target.path(), base.path().join("memhp-1-00000002")).unwrap();
        assert_eq!(sweep(base.path()).unwrap(), Vec::<PathBuf>::new());
        assert!(target.path().join(LOCK).exists());
    }

    #[test]
    fn dropping_removes() {
        let base = tempfile::tempdir().unwrap();
        drop(RunDir::create(base.path()).unwrap());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
