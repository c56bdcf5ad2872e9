//! Modules of a kernel: found by name, in the order in which they must be loaded, unpacked for the guest.
//!
//! Dependencies are read from the modules themselves (`depends=` in .modinfo): modules.dep is made by depmod when a
//! package is installed and is in no package, nor in a build tree.

use super::decompress;
use super::elf::{Elf, Kind};
use super::error::{KernelError, at};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the modules of one kernel are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    release: String,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Unknown,
    /// what /lib/modules/RELEASE is
    Installed(PathBuf),
    /// a build directory
    Tree(PathBuf),
}

/// A module ready to be handed to the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name with underscores, as in /proc/modules.
    pub name: String,
    /// The ELF object.
    pub object: Vec<u8>,
}

impl Modules {
    /// Nothing is known of modules: only what is built in can be had, and that is not known either.
    pub fn unknown(release: &str) -> Self {
        Self { release: release.into(), place: Place::Unknown }
    }

    /// A directory like /lib/modules/RELEASE.
    pub fn installed(release: &str, dir: PathBuf) -> Self {
        Self { release: release.into(), place: Place::Installed(dir) }
    }

    /// A build directory.
    pub fn tree(release: &str, dir: PathBuf) -> Self {
        Self { release: release.into(), place: Place::Tree(dir) }
    }

    /// Whether a module of this name exists (built in or not); `None` where nothing is known of modules.
    pub fn has(&self, name: &str) -> Result<Option<bool>, KernelError> {
        if self.place == Place::Unknown {
            return Ok(None);
        }
        let name = normal(name);
        Ok(Some(self.builtin()?.contains(&name) || self.files()?.contains_key(&name)))
    }

    /// The modules asked for and what they depend on, each once, in the order of loading. Those that are built in
    /// need no loading and are left out.
    pub fn load(&self, names: &[&str]) -> Result<Vec<Module>, KernelError> {
        let mut job = Job {
            release: &self.release,
            builtin: self.builtin()?,
            files: self.files()?,
            seen: BTreeSet::new(),
            loaded: Vec::new(),
        };
        for name in names {
            job.add(&normal(name), 0)?;
        }
        Ok(job.loaded)
    }

    fn builtin(&self) -> Result<BTreeSet<String>, KernelError> {
        let (Place::Installed(dir) | Place::Tree(dir)) = &self.place else { return Ok(BTreeSet::new()) };
        Ok(read_list(&dir.join("modules.builtin"))?
            .iter()
            .filter_map(|l| module_name(Path::new(l)))
            .collect())
    }

    fn files(&self) -> Result<BTreeMap<String, PathBuf>, KernelError> {
        match &self.place {
            Place::Unknown => Ok(BTreeMap::new()),
            Place::Installed(dir) => {
                let mut found = BTreeMap::new();
                walk(&dir.join("kernel"), &mut found)?;
                Ok(found)
            }
            Place::Tree(dir) => Ok(read_list(&dir.join("modules.order"))?
                .iter()
                .map(|line| dir.join(line.strip_prefix("kernel/").unwrap_or(line)).with_extension("ko"))
                .filter_map(|path| Some((module_name(&path)?, path)))
                .collect()),
        }
    }
}

struct Job<'a> {
    release: &'a str,
    builtin: BTreeSet<String>,
    files: BTreeMap<String, PathBuf>,
    seen: BTreeSet<String>,
    loaded: Vec<Module>,
}

impl Job<'_> {
    /// Depth first: what a module depends on comes before it.
    fn add(&mut self, name: &str, depth: usize) -> Result<(), KernelError> {
        let error = |why: String| KernelError::Module { module: name.to_string(), why };
        if self.builtin.contains(name) || !self.seen.insert(name.to_string()) {
            return Ok(());
        }
        if depth > 32 {
            return Err(error("depends on itself".into()));
        }
        let path = self.files.get(name).cloned();
        let path =
            path.ok_or_else(|| error(format!("neither built into {} nor among its modules", self.release)))?;
        let object = read_object(&path)?;
        let info =
            Info::read(&object).ok_or_else(|| error(format!("{} is no x86 module", path.display())))?;
        if info.release.is_some_and(|r| r != self.release) {
            let found = info.release.unwrap_or_default();
            return Err(error(format!("{} is for {found}, not for {}", path.display(), self.release)));
        }
        for needed in info.depends.iter().map(|d| normal(d)) {
            self.add(&needed, depth + 1)?;
        }
        self.loaded.push(Module { name: name.to_string(), object });
        Ok(())
    }
}

/// What a module says about itself.
struct Info<'a> {
    depends: Vec<&'a str>,
    release: Option<&'a str>,
}

impl<'a> Info<'a> {
    fn read(object: &'a [u8]) -> Option<Self> {
        let elf =
            Elf::parse(object).filter(|e| e.kind == Kind::Relocatable && e.machine == super::elf::X86_64)?;
        let text = std::str::from_utf8(elf.section(".modinfo")?).ok()?;
        let field = |name: &str| text.split('\0').find_map(|f| f.strip_prefix(name)?.strip_prefix('='));
        let depends = field("depends")?.split(',').filter(|d| !d.is_empty()).collect();
        Some(Self { depends, release: field("vermagic").and_then(|v| v.split(' ').next()) })
    }
}

fn read_object(path: &Path) -> Result<Vec<u8>, KernelError> {
    let data = fs::read(path).map_err(at("reading", path))?;
    if data.starts_with(b"\x7fELF") {
        return Ok(data);
    }
    let module = module_name(path).unwrap_or_default();
    decompress::any(&data)
        .map_err(|e| KernelError::Module { module, why: format!("{}: {e}", path.display()) })
}

fn read_list(path: &Path) -> Result<Vec<String>, KernelError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_string).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(at("reading", path)(e)),
    }
}

fn walk(dir: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<(), KernelError> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(at("reading", dir))?,
    };
    for entry in entries {
        let entry = entry.map_err(at("reading", dir))?;
        let kind = entry.file_type().map_err(at("reading", &entry.path()))?;
        if kind.is_dir() {
            walk(&entry.path(), found)?;
        } else if let Some(name) = module_name(&entry.path()) {
            found.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `virtio-mem.ko.xz` -> `virtio_mem`
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, rest) = file.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst" | ".gz").then(|| normal(name))
}

/// The kernel takes `-` and `_` in module names for the same.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::super::elf::tests::object;
    use super::*;

    fn module(depends: &str) -> Vec<u8> {
        object(
            ".modinfo",
            format!("license=GPL\0depends={depends}\0vermagic=6.1.0-56 SMP mod_unload \0").as_bytes(),
        )
    }

    fn put(dir: &Path, name: &str, content: &[u8]) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn names(modules: &[Module]) -> Vec<&str> {
        modules.iter().map(|m| m.name.as_str()).collect()
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "kernel/a/memory-notifier-error-inject.ko", &module("notifier-error-inject,crc32"));
        put(dir.path(), "kernel/a/virtio_mem.ko", &module("notifier-error-inject"));
        let inject = zstd::encode_all(&module("")[..], 1).unwrap();
        put(dir.path(), "kernel/lib/notifier-error-inject.ko.zst", &inject);
        put(dir.path(), "modules.builtin", b"kernel/lib/crc32.ko\n");
        let modules = Modules::installed("6.1.0-56", dir.path().to_path_buf());
        let loaded = modules.load(&["memory_notifier_error_inject", "virtio-mem", "crc32"]).unwrap();
        assert_eq!(names(&loaded), ["notifier_error_inject", "memory_notifier_error_inject", "virtio_mem"]);
        assert_eq!(loaded[0].object, module(""));
        assert_eq!(modules.has("crc32").unwrap(), Some(true));
        assert_eq!(modules.has("kmem").unwrap(), Some(false));
        assert_eq!(Modules::unknown("6.1.0-56").has("kmem").unwrap(), None);
    }

    #[test]
    fn modules_that_cannot_be_had() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "kernel/kmem.ko", &module("gone"));
        put(dir.path(), "kernel/bad.ko.xz", b"text");
        let modules = |release| Modules::installed(release, dir.path().to_path_buf());
        let error = |release, name| modules(release).load(&[name]).unwrap_err().to_string();
        assert_eq!(
            error("6.1.0-56", "kmem"),
            "module gone: neither built into 6.1.0-56 nor among its modules"
        );
        assert!(error("6.12.1", "kmem").ends_with("kmem.ko is for 6.1.0-56, not for 6.12.1"));
        assert!(error("6.1.0-56", "bad").starts_with("module bad: "));
    }

    #[test]
    fn modules_of_a_build_tree() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "modules.order", b"drivers/dax/kmem.o\nkernel/drivers/dax/hmem.ko\n");
        put(dir.path(), "drivers/dax/kmem.ko", &module(""));
        put(dir.path(), "drivers/dax/hmem.ko", &module("kmem"));
        let modules = Modules::tree("6.1.0-56", dir.path().to_path_buf());
        assert_eq!(names(&modules.load(&["hmem"]).unwrap()), ["kmem", "hmem"]);
    }
}
