//! Where the source of a kernel comes from, made ready as a directory, and what identifies its content.

use super::error::BuildError;
use super::git;
use super::manifest::Manifest;
use super::step::Tools;
use super::tree::{Tree, directory};
use crate::kernel::Context;
use crate::kernel::cache::sha256;
use crate::kernel::definition::SourcePackage;
use crate::kernel::error::{Notice, at};
use crate::kernel::lock::Pin;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a source comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Debian's linux-source package.
    Package {
        /// what it is for: the definition's name
        name: String,
        /// which
        wanted: SourcePackage,
        /// by the lock
        pin: Option<Pin>,
    },
    /// A directory, with whatever is in it.
    Directory(PathBuf),
    /// A revision of a git repository, checked out in the cache.
    Git {
        /// its directory
        repository: PathBuf,
        /// commit, tag or branch
        revision: String,
    },
}

/// A source that is at hand.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) tree: Tree,
    /// For people: `linux-source-6.12 6.12.117-1`.
    pub(super) title: String,
    /// Changes with the content, and with nothing else.
    pub(super) identity: String,
    /// Of a directory that others may edit.
    pub(super) manifest: Option<Manifest>,
    /// Kept while it is built: others may not check out something else.
    _lock: Option<File>,
}

impl Source {
    /// Fetches, checks out or looks.
    pub(super) fn ready(&self, ctx: &Context<'_>, tools: &Tools<'_>) -> Result<Ready, BuildError> {
        match self {
            Self::Package { name, wanted, pin } => {
                let kept = crate::kernel::fetch::fetch(name, wanted, pin.as_ref(), ctx)?;
                let tree = Tree::open(&kept.dir.join(crate::kernel::deb::SOURCE))?;
                let (title, identity) = (kept.pin.title(), kept.pin.key());
                Ok(Ready { tree, title, identity, manifest: None, _lock: None })
            }
            Self::Directory(dir) => of_directory(dir),
            Self::Git { repository, revision } => of_revision(repository, revision, ctx, tools),
        }
    }
}

impl Ready {
    /// An error where somebody edited the source since it was looked at.
    pub(super) fn check_unchanged(&self) -> Result<(), BuildError> {
        let Some(before) = &self.manifest else { return Ok(()) };
        if Manifest::of(&self.tree.path)? == *before {
            return Ok(());
        }
        Err(BuildError::SourceChanged(self.tree.path.clone()))
    }
}

fn of_directory(dir: &Path) -> Result<Ready, BuildError> {
    let tree = Tree::open(dir)?;
    tree.check_clean()?;
    let manifest = Manifest::of(&tree.path)?;
    let identity = match git::state(&tree.path)? {
        Some(state) => format!("git {state}"),
        None => format!("files {}", manifest.checksum()),
    };
    Ok(Ready {
        title: tree.path.display().to_string(),
        identity,
        manifest: Some(manifest),
        tree,
        _lock: None,
    })
}

fn of_revision(
    repository: &Path,
    revision: &str,
    ctx: &Context<'_>,
    tools: &Tools<'_>,
) -> Result<Ready, BuildError> {
    let repository = directory(repository)?;
    if super::make::on_path("git").is_none() {
        return Err(BuildError::NoTool { program: "git", package: "git" });
    }
    let commit = git::commit(&repository, revision)?;
    let identity = format!("git {}", git::tree(&repository, &commit)?);
    let dir = ctx.cache.dir("checkouts");
    fs::create_dir_all(&dir).map_err(at("creating", &dir))?;
    let name = sha256(repository.as_os_str().as_encoded_bytes())[..16].to_string();
    let lock = lock(&dir.join(format!(".lock-{name}")), ctx, tools)?;
    let checkout = dir.join(&name);
    git::check_out(&repository, &commit, &checkout, &dir.join(format!("{name}.log")), tools)?;
    let title = format!("{} {revision} ({})", repository.display(), &commit[..12.min(commit.len())]);
    Ok(Ready { tree: Tree::open(&checkout)?, title, identity, manifest: None, _lock: Some(lock) })
}

/// Holds a lock until the file is dropped. It is asked for again and again instead of waited for, so that Ctrl-C is
/// answered while another process builds for an hour.
pub(super) fn lock(path: &Path, ctx: &Context<'_>, tools: &Tools<'_>) -> Result<File, BuildError> {
    let file = File::options().create(true).append(true).open(path).map_err(at("opening", path))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(at("locking", path)(error).into()),
        }
        if let Some(signal) = tools.stop.signal() {
            return Err(BuildError::Stopped(signal));
        }
        if !std::mem::replace(&mut told, true) {
            (ctx.notify)(Notice::Waiting { lock: path.to_path_buf() });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
