//! How long scenarios took when they last ran, kept in the cache so that the longest can start first.
//!
//! A hint for the order, nothing more: what cannot be read counts as never run, and nothing is judged by it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

fn path(cache: &Path) -> PathBuf {
    cache.join("durations.json")
}

/// What durations are kept under: the id without its kernel, for a kernel that was never run takes much the same.
pub fn name(id: &str) -> &str {
    id.rsplit_once('@').map_or(id, |(name, _)| name)
}

/// Durations in ns by [`name`].
pub fn load(cache: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read(path(cache)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Adds `new` to what is kept; whole or not at all.
///
/// # Errors
/// The cache cannot be written.
pub fn add(cache: &Path, new: BTreeMap<String, u64>) -> io::Result<()> {
    let mut all = load(cache);
    all.extend(new);
    std::fs::create_dir_all(cache)?;
    let mut file = tempfile::NamedTempFile::new_in(cache)?;
    file.write_all(&serde_json::to_vec(&all)?)?;
    file.persist(path(cache))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_to_what_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("memhp");
        assert_eq!(load(&cache), BTreeMap::new());
        add(&cache, BTreeMap::from([("a".into(), 1), ("b".into(), 2)])).unwrap();
        add(&cache, BTreeMap::from([("b".into(), 3)])).unwrap();
        assert_eq!(load(&cache), BTreeMap::from([("a".into(), 1), ("b".into(), 3)]));
        std::fs::write(path(&cache), "{").unwrap();
        assert_eq!(load(&cache), BTreeMap::new());
    }
}
