//! What a step may leave behind: files, directories, and links that stay where the step was.
//!
//! A link that leads elsewhere would make the next write of this process hit the user's files; a pipe or a socket in the
//! place of a file would make it wait for ever.

use crate::kernel::build::Trouble;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// What was left must not be touched.
#[derive(Debug, thiserror::Error)]
pub enum Left {
    /// A link out.
    #[error("it left {}, a link to {}, which leads out of its directories", link.display(), target.display())]
    Link {
        /// the link
        link: PathBuf,
        /// what it says
        target: PathBuf,
    },
    /// No file, directory or link.
    #[error("it left {}, which is neither a file nor a directory", .0.display())]
    Special(PathBuf),
    /// Cannot be looked at.
    #[error("what it left cannot be looked at: {}: {source}", path.display())]
    Read {
        /// where
        path: PathBuf,
        /// why
        source: io::Error,
    },
}

impl From<Left> for Trouble {
    fn from(left: Left) -> Self {
        let why = left.to_string();
        match left {
            Left::Link { .. } | Left::Special(_) => Self::Step(why),
            Left::Read { .. } => Self::Host(why),
        }
    }
}

/// Looks at everything in `writes`; links may lead into `writes` and `reads`.
pub fn check(writes: &[PathBuf], reads: &[PathBuf]) -> Result<(), Left> {
    let real = |dir: &PathBuf| fs::canonicalize(dir).map_err(failed(dir));
    let roots: Vec<PathBuf> = writes.iter().chain(reads).map(real).collect::<Result<_, _>>()?;
    let mut rest = writes.to_vec();
    while let Some(dir) = rest.pop() {
        for entry in fs::read_dir(&dir).map_err(failed(&dir))? {
            let entry = entry.map_err(failed(&dir))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed(&dir))?);
            if kind.is_dir() {
                rest.push(path);
            } else if kind.is_symlink() {
                stays(&path, &roots)?;
            } else if !kind.is_file() {
                return Err(Left::Special(path));
            }
        }
    }
    Ok(())
}

fn stays(link: &Path, roots: &[PathBuf]) -> Result<(), Left> {
    let target = fs::read_link(link).map_err(failed(link))?;
    let within = |path: &Path| roots.iter().any(|root| path.starts_with(root));
    let good = match fs::canonicalize(link) {
        Ok(real) => within(&real),
        // It leads nowhere yet: a write would make the file. Without `..` it says where.
        Err(_) => {
            let plain = !target.components().any(|c| c == Component::ParentDir);
            plain && (target.is_relative() || within(&target))
        }
    };
    if good { Ok(()) } else { Err(Left::Link { link: link.into(), target }) }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Left + '_ {
    move |source| Left::Read { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_that_stay_and_links_that_leave() {
        let dir = tempfile::tempdir().unwrap();
        let (build, source) = (dir.path().join("build"), dir.path().join("source"));
        fs::create_dir_all(build.join("arch")).unwrap();
        fs::create_dir(&source).unwrap();
        fs::write(build.join("image"), "").unwrap();
        symlink("../image", build.join("arch/image")).unwrap();
        symlink(&source, build.join("source")).unwrap();
        let look = || check(std::slice::from_ref(&build), std::slice::from_ref(&source));
        look().unwrap();
        let says = |target: &str| {
            let link = build.join("arch/bad");
            symlink(target, &link).unwrap();
            let error = look().unwrap_err().to_string();
            fs::remove_file(&link).unwrap();
            error
        };
        assert!(says("/etc/passwd").contains("a link to /etc/passwd, which leads out"));
        assert!(says("/nowhere/yet").contains("leads out"));
        assert!(says("../../../gone").contains("leads out"));
        rustix::fs::mknodat(rustix::fs::CWD, build.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        assert!(look().unwrap_err().to_string().ends_with("neither a file nor a directory"));
    }
}
