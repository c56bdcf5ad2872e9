//! Templates in the cache: the lock of each, and which ones go where all take too much of the disk.
//!
//! A lock is a file beside the template's directory. It goes with the template, while it is held: whoever had opened it
//! before and gets it afterwards sees that it is no longer the file of this name.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes that all templates may take together, however full the disk is.
const LEAST: u64 = 10 << 30;
/// Else this part of what would be free without them.
const PART: u64 = 4;

/// How a template is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// it is used
    Shared,
    /// it is made, or removed
    Exclusive,
}

/// The lock of the template in `dir`, there or not; `None`: others hold it.
pub(super) fn lock(dir: &Path, how: How) -> io::Result<Option<File>> {
    loop {
        let file = File::options().write(true).create(true).truncate(false).open(lock_of(dir))?;
        let locked = match how {
            How::Shared => file.try_lock_shared(),
            How::Exclusive => file.try_lock(),
        };
        match locked {
            Ok(()) if is_of(&file, dir)? => return Ok(Some(file)),
            // It was removed since it was opened.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
}

/// Who holds the shared lock of the template in `dir` is to make it; `None`: others hold it too. The same file is locked
/// again: whatever another thread is just starting has inherited the old lock until it executes its program, and would
/// keep a second file from being locked.
pub(super) fn exclusive(held: File, dir: &Path) -> io::Result<Option<File>> {
    match held.try_lock() {
        Ok(()) if is_of(&held, dir)? => Ok(Some(held)),
        Ok(()) => lock(dir, How::Exclusive),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Whoever has made the template in `dir` lets others use it.
pub(super) fn share(lock: &File, dir: &Path) -> io::Result<()> {
    lock.try_lock_shared()?;
    // The change of lock is not atomic: an eviction may come between, and another process that makes it anew.
    if !is_of(lock, dir)? {
        return Err(io::Error::other("the template was removed as soon as it was made"));
    }
    fs::metadata(dir)?;
    used_now(lock)
}

/// The time of the last use, for eviction.
pub(super) fn used_now(lock: &File) -> io::Result<()> {
    lock.set_modified(SystemTime::now())
}

fn is_of(lock: &File, dir: &Path) -> io::Result<bool> {
    match fs::metadata(lock_of(dir)) {
        Ok(there) => lock.metadata().map(|own| (own.dev(), own.ino()) == (there.dev(), there.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn lock_of(dir: &Path) -> PathBuf {
    dir.with_extension("lock")
}

/// Removes the least recently used templates that nobody uses, but for `spared`, until all take no more than they may.
pub(super) fn evict(base: &Path, spared: &BTreeSet<PathBuf>) -> io::Result<()> {
    let free = rustix::fs::statvfs(base)?;
    let free = free.f_bavail.saturating_mul(free.f_frsize);
    evict_to(base, spared, |taken| limit(free, taken))
}

/// Bytes that templates may take which take `taken` now.
fn limit(free: u64, taken: u64) -> u64 {
    (free.saturating_add(taken) / PART).max(LEAST)
}

fn evict_to(base: &Path, spared: &BTreeSet<PathBuf>, limit: impl Fn(u64) -> u64) -> io::Result<()> {
    let (mut all, mut left) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(base)? {
        let path = entry?.path();
        if path.is_dir() {
            let used = fs::metadata(lock_of(&path)).and_then(|m| m.modified());
            all.push((used.unwrap_or(UNIX_EPOCH), disk_usage(&path), path));
        } else if path.extension().is_some_and(|e| e == "lock") {
            left.push(path.with_extension(""));
        }
    }
    all.sort();
    let mut sum: u64 = all.iter().map(|(_, size, _)| size).sum();
    let limit = limit(sum);
    for (_, size, dir) in all {
        if sum <= limit {
            break;
        }
        if spared.contains(&dir) {
            continue;
        }
        if let Some(_lock) = lock(&dir, How::Exclusive)? {
            // Another process may have been quicker.
            if dir.exists() {
                fs::remove_dir_all(&dir)?;
            }
            fs::remove_file(lock_of(&dir))?;
            sum -= size;
        }
    }
    left.iter().filter(|dir| !spared.contains(*dir)).try_for_each(|dir| remove_lock(dir))
}

/// A lock without a template goes, unless somebody is about to make that.
fn remove_lock(dir: &Path) -> io::Result<()> {
    match lock(dir, How::Exclusive)? {
        Some(_lock) if !dir.exists() => fs::remove_file(lock_of(dir)),
        _ => Ok(()),
    }
}

/// Bytes that the files in `dir` take on disk.
fn disk_usage(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|f| f.metadata().ok()).map(|m| m.blocks() * 512).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn template(base: &Path, name: &str, age: u64) -> PathBuf {
        let dir = base.join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("ram0.ram"), vec![1; 1 << 16]).unwrap();
        let lock = File::create(lock_of(&dir)).unwrap();
        lock.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        dir
    }

    fn names(base: &Path) -> Vec<String> {
        let all = fs::read_dir(base).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    #[test]
    fn the_least_recently_used_go_and_the_ones_in_use_stay() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        let [_, used, new] = [("a", 300), ("b", 400), ("c", 100)].map(|(n, age)| template(base, n, age));
        let held = lock(&used, How::Shared).unwrap().unwrap();
        let one = disk_usage(&new);
        assert!(one >= 1 << 16);
        let none = BTreeSet::new();
        evict_to(base, &none, |taken| taken).unwrap();
        assert_eq!(names(base), ["a", "a.lock", "b", "b.lock", "c", "c.lock"]);
        evict_to(base, &none, |_| 2 * one).unwrap();
        assert_eq!(names(base), ["b", "b.lock", "c", "c.lock"]);
        evict_to(base, &BTreeSet::from([new]), |_| 0).unwrap();
        assert_eq!(names(base), ["b", "b.lock", "c", "c.lock"], "of this run");
        evict_to(base, &none, |_| 0).unwrap();
        assert_eq!(names(base), ["b", "b.lock"]);
        drop(held);
        evict_to(base, &none, |_| 0).unwrap();
        assert!(names(base).is_empty());
    }

    #[test]
    fn a_lock_without_a_template_goes_unless_it_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        let held = lock(&base.join("a"), How::Exclusive).unwrap().unwrap();
        drop(lock(&base.join("b"), How::Shared).unwrap().unwrap());
        evict_to(base, &BTreeSet::new(), |taken| taken).unwrap();
        assert_eq!(names(base), ["a.lock"]);
        drop(held);
    }

    #[test]
    fn a_lock_of_a_template_of_this_run_stays() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        drop(lock(&base.join("a"), How::Shared).unwrap().unwrap());
        evict_to(base, &BTreeSet::from([base.join("a")]), |taken| taken).unwrap();
        assert_eq!(names(base), ["a.lock"]);
    }

    #[test]
    fn what_inherited_a_shared_lock_keeps_nobody_from_making_the_template() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("a");
        let held = lock(&dir, How::Shared).unwrap().unwrap();
        let inherited = held.try_clone().unwrap();
        let held = exclusive(held, &dir).unwrap().unwrap();
        assert!(lock(&dir, How::Shared).unwrap().is_none());
        drop((held, inherited));
        let [one, other] = [(); 2].map(|()| lock(&dir, How::Shared).unwrap().unwrap());
        assert!(exclusive(one, &dir).unwrap().is_none(), "another uses it");
        fs::remove_file(lock_of(&dir)).unwrap();
        let new = exclusive(other, &dir).unwrap().unwrap();
        assert!(is_of(&new, &dir).unwrap());
    }

    #[test]
    fn a_lock_that_was_removed_locks_nothing() {
        let base = tempfile::tempdir().unwrap();
        let dir = template(base.path(), "a", 1);
        let old = lock(&dir, How::Exclusive).unwrap().unwrap();
        assert!(lock(&dir, How::Shared).unwrap().is_none());
        share(&old, &dir).unwrap();
        fs::remove_file(lock_of(&dir)).unwrap();
        let error = share(&old, &dir).unwrap_err();
        assert_eq!(error.to_string(), "the template was removed as soon as it was made");
        let new = lock(&dir, How::Exclusive).unwrap().unwrap();
        assert!(is_of(&new, &dir).unwrap() && !is_of(&old, &dir).unwrap());
    }

    #[test]
    fn the_limit_follows_the_disk() {
        assert_eq!(limit(0, 0), 10 << 30);
        assert_eq!(limit(20 << 30, 10 << 30), 10 << 30);
        assert_eq!(limit(200 << 30, 40 << 30), 60 << 30);
    }
}
