//! A worktree of its own in which git walks the history: `git bisect` with its refs and state there.
//!
//! Nothing of the user's tree, index, HEAD or branches is touched; what git bisect keeps is kept for each worktree, and
//! goes with it. `--no-checkout`: a revision is checked out when it is to be built, so that files keep their times.

use super::git::{GitError, git};
use super::search::{History, Next, Revision};
use super::sprt::Mark;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// full name
    pub sha: Revision,
    /// first line of its message
    pub subject: String,
}

/// What a revision, as typed, is in this repository.
///
/// # Errors
/// No commit by this name, or no repository.
pub fn commit(tree: &Path, revision: &str) -> Result<Commit, GitError> {
    let spec = format!("{revision}^{{commit}}");
    let sha = git(tree, &["rev-parse", "--verify", "--end-of-options", &spec])?.trim().to_string();
    let subject = git(tree, &["log", "-1", "--format=%s", &sha])?.trim().to_string();
    Ok(Commit { sha, subject })
}

/// See the module. Dropping it removes the worktree.
#[derive(Debug)]
pub struct Worktree {
    tree: PathBuf,
    dir: PathBuf,
}

/// git's walk between two ends; it is over when the worktree goes.
#[derive(Debug)]
pub struct Walk {
    dir: PathBuf,
    marked: BTreeMap<Revision, Mark>,
}

/// Files that are as they were when they were last built are older than anything that was built.
const OLD: Duration = Duration::from_secs(1_000_000_000);

impl Worktree {
    /// Adds a worktree of the repository `tree` at `dir`, with `at` checked out; what a killed search left there goes
    /// first. With `built`, every file of `at` counts as older than what was built from it.
    ///
    /// # Errors
    /// git's, and files that cannot be given a time.
    pub fn add(tree: &Path, dir: &Path, at: &str, built: bool) -> Result<Self, GitError> {
        let worktree = Self { tree: tree.to_path_buf(), dir: dir.to_path_buf() };
        worktree.remove();
        let path = dir.to_string_lossy();
        git(tree, &["worktree", "add", "--quiet", "--detach", &path, at])?;
        if built {
            let old = SystemTime::UNIX_EPOCH + OLD;
            age(dir, old).map_err(|e| GitError::Start(format!("{}: {e}", dir.display())))?;
            git(dir, &["update-index", "-q", "--refresh"])?;
        }
        Ok(worktree)
    }

    /// Begins: git says which revisions lie between. An end must come before the other in the history as git walks it.
    ///
    /// # Errors
    /// git's.
    pub fn start(&self, good: &str, bad: &str) -> Result<Walk, GitError> {
        git(&self.dir, &["bisect", "start", "--no-checkout", bad, good])?;
        let marked = BTreeMap::from([(good.to_string(), Mark::Good), (bad.to_string(), Mark::Bad)]);
        Ok(Walk { dir: self.dir.clone(), marked })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Checks a revision out. Changed files get the time of now, all others keep theirs.
    ///
    /// # Errors
    /// git's.
    pub fn checkout(&self, revision: &str) -> Result<(), GitError> {
        git(&self.dir, &["checkout", "--quiet", "--force", "--detach", revision]).map(drop)
    }

    fn remove(&self) {
        let path = self.dir.to_string_lossy();
        let removed = git(&self.tree, &["worktree", "remove", "--force", "--force", &path]);
        if self.dir.exists() {
            let removed = removed.err().map(|e| format!(" ({e})")).unwrap_or_default();
            if let Err(e) = fs::remove_dir_all(&self.dir) {
                tracing::warn!("cannot remove {}: {e}{removed}", self.dir.display());
            }
            let _ = git(&self.tree, &["worktree", "prune"]);
        }
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Walk {
    /// Revisions of which one is the first bad one, newest first.
    ///
    /// # Errors
    /// git's.
    pub fn candidates(&self) -> Result<Vec<Revision>, GitError> {
        let goods = git(&self.dir, &["for-each-ref", "--format=%(refname)", "refs/bisect/good-*"])?;
        let mut arguments = vec!["rev-list", "refs/bisect/bad", "--not"];
        arguments.extend(goods.lines());
        Ok(git(&self.dir, &arguments)?.lines().map(str::to_string).collect())
    }
}

impl History for Walk {
    fn next(&mut self) -> Result<Next, String> {
        let text = |e: GitError| e.to_string();
        let candidates = self.candidates().map_err(text)?;
        if let [only] = candidates.as_slice() {
            return Ok(Next::Found(only.clone()));
        }
        if candidates.iter().all(|c| self.marked.contains_key(c)) {
            return Ok(Next::OneOf(candidates));
        }
        let head =
            git(&self.dir, &["rev-parse", "--verify", "BISECT_HEAD"]).map_err(text)?.trim().to_string();
        if self.marked.contains_key(&head) {
            return Err(format!("git bisect names {head} again"));
        }
        Ok(Next::Judge(head))
    }

    fn mark(&mut self, revision: &Revision, mark: Mark) -> Result<(), String> {
        self.marked.insert(revision.clone(), mark);
        match git(&self.dir, &["bisect", mark.word(), revision]) {
            Ok(_) => Ok(()),
            // "There are only 'skip'ped commits left to test."
            Err(GitError::Failed { status: Some(2), .. }) => Ok(()),
            Err(e) => Err(e.to_string()),
        }
    }

    fn steps(&self) -> u32 {
        self.candidates().map_or(0, |c| u32::try_from(c.len()).unwrap_or(u32::MAX).max(1).ilog2())
    }
}

fn age(dir: &Path, time: SystemTime) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            age(&entry.path(), time)?;
        } else if kind.is_file() {
            fs::File::open(entry.path())?.set_modified(time)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "worktree_tests.rs"]
mod tests;
