//! Snapshots: reading all that is watched, and telling what differs from the last time.

use crate::files::{Reader, entries as entries_of, names, open_dir, with_modes};
use crate::glob;
use crate::kcore;
use crate::kthreads::KernelThreads;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, FileType};
use std::collections::{BTreeMap, BTreeSet};
use wire::{Delta, State, Value, WatchSet};

/// What is watched, and what of it was sent.
pub(crate) struct Watcher {
    sets: Vec<WatchSet>,
    threads: KernelThreads,
    sent: State,
    reader: Reader,
    /// directories of sets that are read once, and were read
    done: BTreeSet<String>,
}

impl Watcher {
    /// Watches nothing.
    pub(crate) fn new() -> Self {
        Self {
            sets: Vec::new(),
            threads: KernelThreads::default(),
            sent: State::new(),
            reader: Reader::new(),
            done: BTreeSet::new(),
        }
    }

    /// Watches these from now on.
    pub(crate) fn watch(&mut self, sets: Vec<WatchSet>, threads: Vec<String>) {
        self.sets = sets;
        self.threads = KernelThreads::new(threads);
        self.sent.clear();
        self.done.clear();
    }

    /// A file was written: what is read once, and has it, is read again.
    pub(crate) fn written(&mut self, path: &str) {
        if let Some((dir, _)) = path.rsplit_once('/') {
            self.done.remove(dir);
        }
    }

    /// Reads everything. `breath` is called after each directory, for what cannot wait.
    pub(crate) fn snapshot(&mut self, breath: &mut dyn FnMut()) -> Delta {
        let mut now = State::new();
        for set in &self.sets {
            let reader = &mut self.reader;
            let (done, sent) = (&mut self.done, &self.sent);
            let mut leaf = |path: &str, dir: BorrowedFd<'_>| {
                let entries = now.entry(path.to_owned()).or_default();
                let read_before = set.once && !done.insert(path.to_owned());
                match sent.get(path).filter(|_| read_before) {
                    Some(known) => keep(set, known, entries),
                    None => read_set(set, dir, reader, entries),
                }
                breath();
            };
            descend(CWD, "", &set.dir, &mut leaf);
        }
        let threads = self.threads.names(&mut self.reader);
        let delta = Delta::new(&self.sent, &now, threads);
        self.sent = now;
        delta
    }
}

/// Calls `leaf` with every directory that fits `pattern` (what is left of the path) below `at`, whose path is `path`.
///
/// A directory that cannot be opened does not exist, for all that a snapshot says: it may go at any moment.
fn descend(at: BorrowedFd<'_>, path: &str, pattern: &str, leaf: &mut dyn FnMut(&str, BorrowedFd<'_>)) {
    let (fixed, star, rest) = split_at_star(pattern);
    let base = format!("{path}{fixed}");
    // Below `at` the path is relative; at the top it is the absolute one.
    let relative = if path.is_empty() { fixed } else { fixed.trim_start_matches('/') };
    let opened = if relative.is_empty() { open_dir(at, ".") } else { open_dir(at, relative) };
    let Ok(dir) = opened else { return };
    let Some(star) = star else { return leaf(&base, dir.as_fd()) };
    let Ok(names) = names(&dir) else { return };
    for name in names.iter().filter(|name| glob::matches(star, name)) {
        let Ok(below) = open_dir(&dir, name) else { continue };
        let base = format!("{base}/{name}");
        if rest.is_empty() {
            leaf(&base, below.as_fd());
        } else {
            descend(below.as_fd(), &base, rest, leaf);
        }
    }
}

/// The path before the first component with a `*`, that component, and what follows it (with its slash).
fn split_at_star(pattern: &str) -> (&str, Option<&str>, &str) {
    let pattern = pattern.trim_end_matches('/');
    let Some(star) = pattern.find('*') else { return (pattern, None, "") };
    let begin = pattern[..star].rfind('/').map_or(0, |slash| slash + 1);
    let end = pattern[star..].find('/').map_or(pattern.len(), |slash| star + slash);
    (pattern[..begin].trim_end_matches('/'), Some(&pattern[begin..end]), &pattern[end..])
}

/// What is known of the files of a set, as it is.
fn keep(set: &WatchSet, known: &BTreeMap<String, Value>, entries: &mut BTreeMap<String, Value>) {
    let known = |file: &String| known.get(file).map(|value| (file.clone(), value.clone()));
    entries.extend(set.files.iter().filter_map(known));
}

fn read_set(set: &WatchSet, dir: BorrowedFd<'_>, reader: &mut Reader, entries: &mut BTreeMap<String, Value>) {
    for file in &set.files {
        let value = match (set.dir.as_str(), file.as_str()) {
            (kcore::DIR, kcore::NAME) => kcore::value(dir, file),
            _ => reader.value(dir, file),
        };
        entries.insert(file.clone(), value);
    }
    if !set.list && set.links.is_empty() {
        return;
    }
    let found = match entries_of(dir) {
        Ok(found) => found,
        Err(errno) => {
            entries.insert(".".into(), Value::Errno(errno.raw_os_error()));
            return;
        }
    };
    let may_be_link = |kind| matches!(kind, FileType::Symlink | FileType::Unknown);
    let wanted = |name: &str| set.links.iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in found.iter().filter(|(name, kind)| may_be_link(*kind) && wanted(name)) {
        let target = match rustix::fs::readlinkat(dir, name.as_str(), Vec::new()) {
            Ok(target) => target.to_string_lossy().into_owned(),
            Err(rustix::io::Errno::INVAL) => continue, // not a link
            Err(errno) => {
                entries.insert(format!("->{name}"), Value::Errno(errno.raw_os_error()));
                continue;
            }
        };
        let last = target.rsplit('/').next().unwrap_or_default();
        entries.insert(format!("->{name}"), Value::Text(last.to_owned()));
    }
    if set.list {
        let listing = with_modes(found, dir).map(|names| names.join(" "));
        entries.insert(".".into(), listing.map_or_else(|e| Value::Errno(e.raw_os_error()), Value::Text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use wire::Snapshot;

    fn set(dir: String, files: &[&str], links: &[&str], list: bool) -> WatchSet {
        let owned = |s: &[&str]| s.iter().map(|s| (*s).to_owned()).collect();
        WatchSet { dir, files: owned(files), links: owned(links), list, once: false }
    }

    fn text(s: &str) -> Value {
        Value::Text(s.to_owned())
    }

    #[test]
    fn a_pattern_is_cut_at_its_first_star() {
        assert_eq!(split_at_star("/sys/memory"), ("/sys/memory", None, ""));
        assert_eq!(split_at_star("/sys/memory*"), ("/sys", Some("memory*"), ""));
        assert_eq!(split_at_star("/sys/n*/m*/x"), ("/sys", Some("n*"), "/m*/x"));
        assert_eq!(
            split_at_star("/m*/x/"),
            ("/m*/x".split('/').next().unwrap_or_default(), Some("m*"), "/x")
        );
        assert_eq!(split_at_star("/*"), ("", Some("*"), ""));
    }

    #[test]
    fn what_an_effect_has_is_read_once_and_again_after_a_write() {
        let root = std::env::temp_dir().join(format!("memhp-once-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let base = root.to_str().unwrap().to_owned();
        let write = |ratio: &str, other: &str| {
            std::fs::write(root.join("ratio"), ratio).unwrap();
            std::fs::write(root.join("other"), other).unwrap();
        };
        let mut watcher = Watcher::new();
        let once = WatchSet { once: true, ..set(base.clone(), &["ratio"], &[], false) };
        watcher.watch(vec![set(base.clone(), &["other"], &[], false), once], vec![]);
        let mut state = State::new();
        let mut next = |watcher: &mut Watcher| {
            watcher.snapshot(&mut || ()).snapshot(&mut state).unwrap();
            state[&base].clone()
        };
        let seen = |ratio, other| {
            BTreeMap::from([("other".to_owned(), text(other)), ("ratio".to_owned(), text(ratio))])
        };
        write("1", "1");
        assert_eq!(next(&mut watcher), seen("1", "1"));
        write("2", "2");
        assert_eq!(next(&mut watcher), seen("1", "2"));
        watcher.written(&format!("{base}/ratio"));
        assert_eq!(next(&mut watcher), seen("2", "2"));
        write("3", "3");
        assert_eq!(next(&mut watcher), seen("2", "3"));
        std::fs::remove_dir_all(&root).unwrap();
    }

    /// A tree like sysfs, snapshots of it, and what each tells.
    #[test]
    fn only_what_changed_is_told() {
        let root = std::env::temp_dir().join(format!("memhp-watch-{}", std::process::id()));
        let dir = |name: &str| root.join(name);
        for name in ["memory1", "memory2", "power"] {
            std::fs::create_dir_all(dir(name)).unwrap();
        }
        std::fs::write(dir("memory1/state"), "online\n").unwrap();
        std::fs::write(dir("memory2/state"), "offline\n").unwrap();
        std::fs::write(dir("memory2/node5"), "a file, not a link").unwrap();
        std::fs::write(dir("probe"), "").unwrap();
        std::fs::set_permissions(dir("probe"), Permissions::from_mode(0o200)).unwrap();
        symlink("../../node/node0", dir("memory1/node0")).unwrap();
        let base = root.to_str().unwrap().to_owned();
        let mut watcher = Watcher::new();
        let blocks = set(format!("{base}/memory*"), &["state", "absent"], &["node"], false);
        watcher.watch(vec![blocks, set(base.clone(), &[], &[], true)], vec![]);

        let mut state = State::new();
        let mut next = || watcher.snapshot(&mut || ()).snapshot(&mut state).unwrap();
        let first = next();
        let enoent = Value::Errno(2);
        let memory1 = BTreeMap::from([
            ("->node0".to_owned(), text("node0")),
            ("absent".to_owned(), enoent.clone()),
            ("state".to_owned(), text("online\n")),
        ]);
        let memory2 =
            BTreeMap::from([("absent".to_owned(), enoent.clone()), ("state".to_owned(), text("offline\n"))]);
        let listing = BTreeMap::from([(".".to_owned(), text("memory1 memory2 power probe=200"))]);
        let expected = State::from([
            (base.clone(), listing),
            (format!("{base}/memory1"), memory1),
            (format!("{base}/memory2"), memory2),
        ]);
        assert_eq!(first, Snapshot { changed: expected, gone: vec![], threads: vec![] });

        let nothing = next();
        assert_eq!(nothing, Snapshot { changed: State::new(), gone: vec![], threads: vec![] });

        std::fs::write(dir("memory2/state"), "online\n").unwrap();
        std::fs::remove_dir_all(dir("memory1")).unwrap();
        let third = next();
        let memory2 = BTreeMap::from([("absent".to_owned(), enoent), ("state".to_owned(), text("online\n"))]);
        let listing = BTreeMap::from([(".".to_owned(), text("memory2 power probe=200"))]);
        let expected = State::from([(base.clone(), listing), (format!("{base}/memory2"), memory2)]);
        assert_eq!(
            third,
            Snapshot { changed: expected, gone: vec![format!("{base}/memory1")], threads: vec![] }
        );
        std::fs::remove_dir_all(&root).unwrap();
    }
}
