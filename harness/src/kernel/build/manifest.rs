//! The state of a directory of sources: every file's size and time. What make goes by is times, so this is what tells
//! whether a build of an earlier state may be built on.

use super::error::BuildError;
use crate::kernel::cache::sha256;
use crate::kernel::error::at;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Path below the directory -> size, and time of its last change in nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Manifest(BTreeMap<String, (u64, i128)>);

impl Manifest {
    /// Looks at every file but git's own.
    pub(super) fn of(dir: &Path) -> Result<Self, BuildError> {
        let mut manifest = Self::default();
        manifest.walk(dir, "")?;
        Ok(manifest)
    }

    fn walk(&mut self, dir: &Path, below: &str) -> Result<(), BuildError> {
        for entry in fs::read_dir(dir).map_err(at("reading", dir))? {
            let entry = entry.map_err(at("reading", dir))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if below.is_empty() && name == ".git" {
                continue;
            }
            let path = entry.path();
            let meta = match fs::symlink_metadata(&path) {
                // Editors make and remove files at any time.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.map_err(at("reading", &path))?,
            };
            let below = if below.is_empty() { name } else { format!("{below}/{name}") };
            if meta.is_dir() {
                self.walk(&path, &below)?;
            } else {
                let time = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
                self.0.insert(below, (meta.size(), time));
            }
        }
        Ok(())
    }

    /// Changes with every file.
    pub(super) fn checksum(&self) -> String {
        sha256(self.render().as_bytes())
    }

    /// A line a file.
    pub(super) fn render(&self) -> String {
        self.0.iter().map(|(path, (size, time))| format!("{size} {time} {path}\n")).collect()
    }

    /// What was rendered; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let line = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let (size, time) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some((words.next()?.to_string(), (size, time)))
        };
        text.lines().map(line).collect::<Option<BTreeMap<_, _>>>().map(Self)
    }

    /// A file that is another than in the earlier state although its time is not after `built`: make would take it for
    /// unchanged.
    pub(super) fn changed_unseen(&self, earlier: &Self, built: i128) -> Option<&str> {
        let changed = self.0.iter().filter(|(path, state)| earlier.0.get(*path) != Some(state));
        changed.filter(|(_, (_, time))| *time <= built).map(|(path, _)| path.as_str()).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(files: &[(&str, u64, i128)]) -> Manifest {
        Manifest(files.iter().map(|(path, size, time)| (path.to_string(), (*size, *time))).collect())
    }

    #[test]
    fn what_a_directory_holds() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("a.c", "int"), ("mm/b c.c", "x"), (".git/HEAD", "ref")] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let manifest = Manifest::of(dir.path()).unwrap();
        let files: Vec<(&str, u64)> = manifest.0.iter().map(|(p, (s, _))| (p.as_str(), *s)).collect();
        assert_eq!(files, [("a.c", 3), ("mm/b c.c", 1)]);
        assert_eq!(Manifest::parse(&manifest.render()), Some(manifest.clone()));
        assert_eq!(Manifest::parse("no manifest\n"), None);
        fs::write(dir.path().join("a.c"), "long").unwrap();
        assert_ne!(Manifest::of(dir.path()).unwrap().checksum(), manifest.checksum());
    }

    #[test]
    fn a_change_that_make_would_not_see() {
        let earlier = state(&[("a", 1, 5), ("b", 1, 5)]);
        let built = 10;
        assert_eq!(state(&[("a", 1, 5), ("b", 2, 11)]).changed_unseen(&earlier, built), None);
        assert_eq!(state(&[("a", 1, 5)]).changed_unseen(&earlier, built), None, "make sees what is gone");
        assert_eq!(state(&[("a", 1, 5), ("b", 2, 5)]).changed_unseen(&earlier, built), Some("b"));
        assert_eq!(state(&[("a", 1, 9)]).changed_unseen(&earlier, built), Some("a"), "an old file put back");
        assert_eq!(state(&[("new", 1, 9)]).changed_unseen(&earlier, built), Some("new"));
    }
}
