//! What can be seen of a kernel's source tree and of a build directory without running anything.

use super::error::BuildError;
use crate::kernel::error::at;
use crate::version::Version;
use std::fs;
use std::path::{Path, PathBuf};

/// A source tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) path: PathBuf,
    pub(super) version: Version,
}

impl Tree {
    /// Looks at a directory.
    pub(super) fn open(path: &Path) -> Result<Self, BuildError> {
        let path = directory(path)?;
        let lacks = |lacks| BuildError::NotASource { path: path.clone(), lacks };
        for file in ["MAINTAINERS", "Kconfig", "Makefile"] {
            if !path.join(file).is_file() {
                return Err(lacks(file));
            }
        }
        let makefile = path.join("Makefile");
        let text = fs::read_to_string(&makefile).map_err(at("reading", &makefile))?;
        let version = version(&text).ok_or_else(|| lacks("VERSION in its Makefile"))?;
        Ok(Self { path, version })
    }

    /// Refuses what the kernel's own Makefile refuses (its target outputmakefile): a build elsewhere would mix its files
    /// with those that lie in the source.
    pub(super) fn check_clean(&self) -> Result<(), BuildError> {
        const TRACES: [&str; 3] = [".config", "include/config", "arch/x86/include/generated"];
        match TRACES.iter().find(|t| self.path.join(t).exists()) {
            Some(found) => Err(BuildError::InTreeBuild { path: self.path.clone(), found }),
            None => Ok(()),
        }
    }
}

/// Absolute, and a directory.
pub(super) fn directory(path: &Path) -> Result<PathBuf, BuildError> {
    let absolute = fs::canonicalize(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            BuildError::Missing(path.to_path_buf())
        }
        _ => at("reading", path)(e).into(),
    })?;
    if absolute.is_dir() { Ok(absolute) } else { Err(BuildError::Missing(path.to_path_buf())) }
}

/// Whether this is the top of a kernel source that was configured in place: where `memhp run` alone means this kernel.
pub fn is_configured_source(dir: &Path) -> bool {
    [".config", "MAINTAINERS", "Kconfig"].iter().all(|f| dir.join(f).is_file())
}

/// `VERSION = 6`, `PATCHLEVEL = 12`, `SUBLEVEL = 117`, `EXTRAVERSION = -rc3` at the top of the Makefile.
fn version(makefile: &str) -> Option<Version> {
    let field = |name: &str| {
        makefile
            .lines()
            .take(20)
            .find_map(|l| Some(l.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim()))
    };
    let rc = field("EXTRAVERSION").filter(|e| e.starts_with("-rc")).unwrap_or_default();
    format!("{}.{}.{}{rc}", field("VERSION")?, field("PATCHLEVEL")?, field("SUBLEVEL")?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_a_makefile() {
        let text = "# SPDX\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\nEXTRAVERSION =\nNAME = x\n";
        assert_eq!(version(text).unwrap().to_string(), "6.12.117");
        let rc = text.replace("117", "0").replace("EXTRAVERSION =", "EXTRAVERSION = -rc3");
        assert_eq!(version(&rc).unwrap().to_string(), "6.12-rc3");
        assert_eq!(version("all:\n\tcc\n"), None);
    }

    #[test]
    fn what_is_no_source_and_what_was_built_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let lacks = |path: &Path| Tree::open(path).unwrap_err().to_string();
        assert!(lacks(dir.path()).ends_with("is not a kernel source tree: it has no MAINTAINERS"));
        assert!(lacks(&dir.path().join("none")).starts_with("no such directory: "));
        for (name, text) in [
            ("MAINTAINERS", ""),
            ("Kconfig", ""),
            ("Makefile", "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 2\n"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let tree = Tree::open(dir.path()).unwrap();
        assert!(tree.check_clean().is_ok());
        fs::write(dir.path().join(".config"), "").unwrap();
        assert!(is_configured_source(dir.path()));
        assert!(tree.check_clean().unwrap_err().to_string().contains("make mrproper"));
    }
}
