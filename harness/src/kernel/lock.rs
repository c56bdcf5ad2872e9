//! kernels.lock: what each package definition resolved to, so that a run of today tests what yesterday's did.

use super::definition::from_yaml;
use super::error::{KernelError, at};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const EMBEDDED: &str = include_str!("../../../kernels/kernels.lock");
/// Its name, next to the definitions.
pub(super) const FILE: &str = "kernels.lock";
const HEAD: &str =
    "# What each package definition stands for. Moved by `memhp kernels update`, not by hand.\n";

/// Definition -> pin.
pub type Lock = BTreeMap<String, Pin>;

/// One kernel, exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// `uname -r`
    pub release: String,
    /// Where it was found.
    pub suite: String,
    /// Package files that make it up; the first is linux-image-RELEASE.
    pub packages: Vec<PackageFile>,
}

/// One package file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageFile {
    /// Package name.
    pub package: String,
    /// Version, as Debian writes it.
    pub version: String,
    /// Hex sha256 of the .deb.
    pub sha256: String,
}

impl Pin {
    /// Version of the package that gives the kernel its name.
    pub fn version(&self) -> &str {
        self.packages.first().map_or("", |p| &p.version)
    }

    /// Name of the cache entry: changes with every byte of every package.
    pub fn key(&self) -> String {
        let lines: String = self.packages.iter().map(|p| format!("{} {}\n", p.package, p.sha256)).collect();
        format!("{}-{}", self.release, &super::cache::sha256(lines.as_bytes())[..16])
    }

    /// `linux-image-… VERSION`, for people.
    pub fn title(&self) -> String {
        self.packages.first().map_or_else(String::new, |p| format!("{} {}", p.package, p.version))
    }
}

/// The lock of a directory of definitions (none is fine there), or the one that comes with the command.
pub(super) fn load(dir: Option<&Path>) -> Result<Lock, KernelError> {
    let Some(dir) = dir else { return parse(FILE, EMBEDDED) };
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => parse(&path.display().to_string(), &text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Lock::new()),
        Err(e) => Err(at("reading", &path)(e)),
    }
}

fn parse(file: &str, text: &str) -> Result<Lock, KernelError> {
    let error = |error: String| KernelError::Lock { file: file.to_string(), error };
    if text.lines().all(|l| l.trim().is_empty() || l.starts_with('#')) {
        return Ok(Lock::new());
    }
    let lock: Lock = from_yaml(text).map_err(error)?;
    for (name, pin) in &lock {
        check(pin)
            .map_err(|e| KernelError::Lock { file: file.to_string(), error: format!("{name}: {e}") })?;
    }
    Ok(lock)
}

fn check(pin: &Pin) -> Result<(), String> {
    if pin.packages.is_empty() {
        return Err("packages is empty".into());
    }
    if pin.release.contains('/') || pin.release.starts_with('.') || pin.release.is_empty() {
        return Err(format!("{:?} is no release name", pin.release));
    }
    let hex = |s: &str| s.len() == 64 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match pin.packages.iter().find(|p| !hex(&p.sha256)) {
        Some(p) => Err(format!("{}: sha256 {:?} is not 64 hex digits", p.package, p.sha256)),
        None => Ok(()),
    }
}

/// The file's text.
pub(super) fn render(lock: &Lock) -> String {
    let mut text = HEAD.to_string();
    for (name, pin) in lock {
        text += &format!("{name}:\n  release: {}\n  suite: {}\n  packages:\n", pin.release, pin.suite);
        for p in &pin.packages {
            text += &format!(
                "    - package: {}\n      version: {:?}\n      sha256: {}\n",
                p.package, p.version, p.sha256
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(sha: char) -> Pin {
        let file = |package: &str| PackageFile {
            package: package.into(),
            version: "1:6.1.192-2~x".into(),
            sha256: String::from_iter([sha; 64]),
        };
        Pin {
            release: "6.1.0-56-cloud-amd64".into(),
            suite: "s".into(),
            packages: vec![file("a"), file("b")],
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let lock = Lock::from([("debian-6.1".to_string(), pin('a')), ("debian-7".to_string(), pin('1'))]);
        assert_eq!(parse("f", &render(&lock)).unwrap(), lock);
        assert_eq!(parse("f", &render(&Lock::new())).unwrap(), Lock::new());
    }

    #[test]
    fn the_embedded_lock_pins_every_package_definition() {
        let lock = load(None).unwrap();
        let names: Vec<String> = super::super::definition::load(None).unwrap().into_keys().collect();
        assert_eq!(lock.into_keys().collect::<Vec<_>>(), names);
    }

    #[test]
    fn bad_locks() {
        let good = render(&Lock::from([("k".to_string(), pin('a'))]));
        let error = |from: &str, to: &str| parse("f", &good.replacen(from, to, 1)).unwrap_err().to_string();
        assert_eq!(error(&"a".repeat(64), "abc"), "f: k: a: sha256 \"abc\" is not 64 hex digits");
        assert_eq!(error("6.1.0-56-cloud-amd64", "../x"), "f: k: \"../x\" is no release name");
        assert!(error("release:", "relase:").starts_with("f: "));
        assert!(parse("f", "k: [").is_err());
    }

    #[test]
    fn the_key_follows_every_package() {
        let mut other = pin('a');
        other.packages[1].sha256 = "b".repeat(64);
        assert_ne!(pin('a').key(), other.key());
        assert!(pin('a').key().starts_with("6.1.0-56-cloud-amd64-"));
    }
}
