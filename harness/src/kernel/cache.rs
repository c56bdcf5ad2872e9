//! Directories that appear whole or not at all: what was fetched and unpacked, kept under names made from checksums.
//!
//! An entry is built in a temporary directory next to its place, sealed with the size and sha256 of its files, and
//! renamed. The seal is checked when an entry is used for the first time in a process: a damaged one is thrown away.
//! One lock per kind of entry makes a second process wait for the first instead of fetching the same again.

use super::error::{KernelError, Notice, at};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

/// File that names the others and their checksums.
pub(super) const SEAL: &str = "SEAL.json";
const TEMPORARY: &str = ".new-";

/// Entries whose seal was found good by this process.
static CHECKED: LazyLock<Mutex<BTreeSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// The cache directory.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Sealed {
    size: u64,
    sha256: String,
}

impl Cache {
    /// `$XDG_CACHE_HOME/memhp` or `~/.cache/memhp`.
    pub fn of_user() -> Result<Self, KernelError> {
        let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let base = var("XDG_CACHE_HOME").filter(|p| p.is_absolute());
        let base = base.or_else(|| Some(var("HOME")?.join(".cache"))).ok_or(KernelError::NoCacheDir)?;
        Ok(Self::at(base.join("memhp")))
    }

    /// In this directory, which need not exist.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where entries of a kind are.
    pub fn dir(&self, kind: &str) -> PathBuf {
        self.root.join(kind)
    }

    /// Keys of the entries of a kind, sorted; none where there is no cache yet.
    pub fn keys(&self, kind: &str) -> Result<Vec<String>, KernelError> {
        let dir = self.dir(kind);
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(at("reading", &dir))?,
        };
        let mut keys = Vec::new();
        for entry in entries {
            let entry = entry.map_err(at("reading", &dir))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') && entry.path().join(SEAL).is_file() {
                keys.push(name);
            }
        }
        keys.sort();
        Ok(keys)
    }

    /// An entry whose seal is good; a damaged one is removed and told.
    pub fn entry(
        &self,
        kind: &str,
        key: &str,
        notify: &dyn Fn(Notice),
    ) -> Result<Option<PathBuf>, KernelError> {
        let path = self.dir(kind).join(key);
        let mut checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
        if !path.exists() {
            checked.remove(&path);
            return Ok(None);
        }
        if checked.contains(&path) {
            return Ok(Some(path));
        }
        match check_seal(&path) {
            Ok(()) => {
                checked.insert(path.clone());
                Ok(Some(path))
            }
            Err(why) => {
                fs::remove_dir_all(&path).map_err(at("removing", &path))?;
                notify(Notice::BadEntry { path, why });
                Ok(None)
            }
        }
    }

    /// The entry, which `build` fills (a directory is handed to it) where there is none yet. `build` names the files
    /// to be sealed, relative to the directory.
    pub fn entry_or_build(
        &self,
        kind: &str,
        key: &str,
        notify: &dyn Fn(Notice),
        build: impl FnOnce(&Path) -> Result<Vec<&'static str>, KernelError>,
    ) -> Result<PathBuf, KernelError> {
        if let Some(path) = self.entry(kind, key, notify)? {
            return Ok(path);
        }
        let _lock = self.lock(kind, notify)?;
        if let Some(path) = self.entry(kind, key, notify)? {
            return Ok(path);
        }
        let dir = self.dir(kind);
        remove_left_overs(&dir)?;
        let temporary = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(&dir);
        let temporary = temporary.map_err(at("creating a directory in", &dir))?;
        let files = build(temporary.path())?;
        seal(temporary.path(), &files)?;
        let path = dir.join(key);
        fs::rename(temporary.path(), &path).map_err(at("creating", &path))?;
        let _ = temporary.keep();
        CHECKED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        Ok(path)
    }

    /// Makes an entry of a directory that lies on the same file system. The caller holds a lock for this key.
    pub(super) fn adopt(
        &self,
        kind: &str,
        key: &str,
        from: &Path,
        files: &[&str],
    ) -> Result<PathBuf, KernelError> {
        seal(from, files)?;
        let path = self.dir(kind).join(key);
        fs::rename(from, &path).map_err(at("creating", &path))?;
        CHECKED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        Ok(path)
    }

    /// Holds the lock of a kind until the file is dropped. The holder waits for nothing without a limit of its own.
    pub fn lock(&self, kind: &str, notify: &dyn Fn(Notice)) -> Result<File, KernelError> {
        let dir = self.dir(kind);
        fs::create_dir_all(&dir).map_err(at("creating", &dir))?;
        let path = dir.join(".lock");
        let file = File::options().create(true).append(true).open(&path).map_err(at("opening", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                notify(Notice::Waiting { lock: path.clone() });
                file.lock().map_err(at("locking", &path))?;
            }
            Err(TryLockError::Error(error)) => return Err(at("locking", &path)(error)),
        }
        Ok(file)
    }
}

/// Hex sha256 of a file's content.
pub(super) fn sha256_file(path: &Path) -> Result<String, KernelError> {
    let mut file = File::open(path).map_err(at("opening", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).map_err(at("reading", path))?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..n]);
    }
}

/// Hex sha256 of bytes.
pub fn sha256(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn measure(path: &Path) -> Result<Sealed, KernelError> {
    let size = fs::metadata(path).map_err(at("reading", path))?.len();
    Ok(Sealed { size, sha256: sha256_file(path)? })
}

fn seal(dir: &Path, files: &[&str]) -> Result<(), KernelError> {
    let mut sealed = BTreeMap::new();
    for name in files {
        sealed.insert(*name, measure(&dir.join(name))?);
    }
    let text = serde_json::to_string_pretty(&sealed).expect("strings and numbers always serialize");
    let path = dir.join(SEAL);
    fs::write(&path, text).map_err(at("writing", &path))
}

fn check_seal(dir: &Path) -> Result<(), String> {
    let text = fs::read_to_string(dir.join(SEAL)).map_err(|e| format!("{SEAL}: {e}"))?;
    let sealed: BTreeMap<String, Sealed> = serde_json::from_str(&text).map_err(|e| format!("{SEAL}: {e}"))?;
    for (name, wanted) in sealed {
        let path = dir.join(&name);
        let size = fs::metadata(&path).map_err(|e| format!("{name}: {e}"))?.len();
        if size != wanted.size {
            return Err(format!("{name} has {size} bytes, not {}", wanted.size));
        }
        if sha256_file(&path).map_err(|e| e.to_string())? != wanted.sha256 {
            return Err(format!("{name} has another sha256"));
        }
    }
    Ok(())
}

/// Called with the lock held: temporary directories are those of processes that are gone.
fn remove_left_overs(dir: &Path) -> Result<(), KernelError> {
    for entry in fs::read_dir(dir).map_err(at("reading", dir))? {
        let entry = entry.map_err(at("reading", dir))?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            fs::remove_dir_all(entry.path()).map_err(at("removing", &entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    fn write(
        name: &'static str,
        text: &'static str,
    ) -> impl FnOnce(&Path) -> Result<Vec<&'static str>, KernelError> {
        move |dir| {
            fs::write(dir.join(name), text).unwrap();
            Ok(vec![name])
        }
    }

    #[test]
    fn built_once_then_found() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("memhp"));
        let built = Cell::new(0);
        for _ in 0..2 {
            let path = cache.entry_or_build("k", "a", &|_| {}, |dir| {
                built.set(built.get() + 1);
                write("f", "x")(dir)
            });
            assert_eq!(fs::read_to_string(path.unwrap().join("f")).unwrap(), "x");
        }
        assert_eq!(built.get(), 1);
        assert_eq!(cache.keys("k").unwrap(), ["a"]);
        assert!(cache.keys("other").unwrap().is_empty());
    }

    #[test]
    fn an_interrupted_build_leaves_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_path_buf());
        let broken = cache.entry_or_build("k", "a", &|_| {}, |dir| {
            fs::write(dir.join("f"), "half").unwrap();
            Err(KernelError::NoCacheDir)
        });
        assert!(broken.is_err() && cache.keys("k").unwrap().is_empty());
        let killed = dir.path().join("k").join(format!("{TEMPORARY}killed"));
        fs::create_dir(&killed).unwrap();
        cache.entry_or_build("k", "a", &|_| {}, write("f", "whole")).unwrap();
        assert!(!killed.exists(), "what a killed process left is cleared away");
    }

    #[test]
    fn a_damaged_entry_is_thrown_away_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k/a");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("f"), "good").unwrap();
        seal(&path, &["f"]).unwrap();
        fs::write(path.join("f"), "evil").unwrap();
        let told = RefCell::new(Vec::new());
        let cache = Cache::at(dir.path().to_path_buf());
        let found = cache.entry("k", "a", &|n| told.borrow_mut().push(n)).unwrap();
        assert_eq!((found, path.exists()), (None, false));
        assert_eq!(told.into_inner(), [Notice::BadEntry { path, why: "f has another sha256".into() }]);
    }

    #[test]
    fn checksum_of_a_known_text() {
        let hash = sha256(b"abc");
        assert_eq!(&hash[..16], "ba7816bf8f01cfea");
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "abc").unwrap();
        assert_eq!(sha256_file(&dir.path().join("f")).unwrap(), hash);
    }
}
