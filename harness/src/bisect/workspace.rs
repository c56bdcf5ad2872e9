//! Where revisions are checked out and built: a worktree and a build directory of one tree and one configuration.
//!
//! The build directory stays in the cache, so that the next search of the same tree builds little; it remembers from
//! which revision it was built, and the next worktree begins there.

use super::git::GitError;
use super::search::Stop;
use super::worktree::Worktree;
use crate::kernel::build::{self, BuildError, Recipe, Runner, Tools, Trouble};
use crate::run::host::Host;
use signal_hook::consts::SIGINT;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// See the module.
pub struct Workspace {
    dir: PathBuf,
    /// the worktree
    pub worktree: Worktree,
    recipe: Recipe,
    _lock: File,
}

impl Workspace {
    /// Makes it ready in `base`, with `bad` or what was built last checked out.
    ///
    /// # Errors
    /// git's, the file system's, or another search of the same tree runs.
    pub fn open(base: &Path, tree: &Path, recipe: Recipe, bad: &str) -> Result<Self, String> {
        let text = format!("{}\0{recipe:?}", tree.display());
        let dir = base.join(&crate::kernel::sha256(text.as_bytes())[..16]);
        let wrong = |e: std::io::Error| format!("{}: {e}", dir.display());
        fs::create_dir_all(&dir).map_err(wrong)?;
        let lock = File::create(dir.join("lock")).map_err(wrong)?;
        lock.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => {
                format!("another search of {} is under way ({})", tree.display(), dir.display())
            }
            fs::TryLockError::Error(e) => wrong(e),
        })?;
        // Of the same name as the tree: compilers' command lines are then those of a build beside it, which a compiler cache
        // knows.
        let place = dir.join(tree.file_name().unwrap_or("tree".as_ref()));
        let built = fs::read_to_string(dir.join(BUILT)).ok();
        let built = built.filter(|sha| super::worktree::commit(tree, sha).is_ok());
        let at = built.as_deref().unwrap_or(bad);
        let worktree =
            Worktree::add(tree, &place, at, built.is_some()).map_err(|e: GitError| e.to_string())?;
        Ok(Self { dir, worktree, recipe, _lock: lock })
    }

    /// Checks a revision out and builds it; the build directory, or the compiler's message.
    ///
    /// # Errors
    /// The host's fault, or the user ends it.
    pub fn build(&self, revision: &str, host: &Host) -> Result<Result<PathBuf, String>, Stop> {
        let (stamp, build_dir) = (self.dir.join(BUILT), self.dir.join("build"));
        let wrong = |e: std::io::Error| Stop::Host(format!("{}: {e}", stamp.display()));
        match fs::remove_file(&stamp) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(wrong(e)),
            _ => {}
        }
        self.worktree.checkout(revision).map_err(|e| Stop::Host(e.to_string()))?;
        let tools = Tools { runner: &Watched(host), ..Tools::default() };
        match build::build_in(self.worktree.dir(), &build_dir, &self.recipe, &tools) {
            Ok(built) => {
                fs::write(&stamp, revision).map_err(wrong)?;
                Ok(Ok(built.dir))
            }
            Err(_) if host.interrupted() => Err(Stop::Signal(host.signal().unwrap_or(SIGINT))),
            // A revision's own fault: what does not compile, and what is not there to be configured.
            Err(e @ (BuildError::Make { .. } | BuildError::NotTaken(_) | BuildError::NotASource { .. })) => {
                Ok(Err(e.to_string()))
            }
            Err(e) => Err(Stop::Host(e.to_string())),
        }
    }
}

/// Holds the name of the revision that the build directory was built from.
const BUILT: &str = "built";

/// Ends a build when the search is to end.
struct Watched<'a>(&'a Host);

impl Runner for Watched<'_> {
    fn watch(&self, _: u32) -> Result<(), Trouble> {
        if self.0.interrupted() { Err(Trouble::Host("interrupted".into())) } else { Ok(()) }
    }
}
