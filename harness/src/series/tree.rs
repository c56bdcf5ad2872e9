//! The base: the user's tree as it is without the series, in a worktree of our own.
//!
//! Of a git tree the objects are read and nothing is written: the worktree has a repository of its own that borrows
//! them (alternates), so that the user's refs, index, configuration and objects stay as they are. A plain directory is
//! copied, and the files that the series names are put under git there.

use super::error::{SeriesError, at};
use super::shell::Shell;
use crate::kernel::build::{Direct, Stop};
use crate::sandbox::Sandbox;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the user's tree is and what of it is the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Base {
    /// the tree, absolute
    pub tree: PathBuf,
    /// commit, for a git tree
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// its subject
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// directories of objects that the worktree borrows
    #[serde(skip)]
    objects: Vec<PathBuf>,
    /// the commits below the base are not all there
    #[serde(skip)]
    shallow: Option<PathBuf>,
}

impl Base {
    /// Looks at a tree. `rev` as typed; without it the `base-commit:` that the series names, where the tree has it, else
    /// HEAD. git is asked as the user would ask it: the tree is theirs.
    ///
    /// The base is built without a sandbox. A repository holds more than its user has looked at (what was fetched, what
    /// was applied once), so that a mail chooses only among what HEAD has come from.
    pub fn find(
        tree: &Path,
        rev: Option<&str>,
        named: Option<&str>,
        scratch: &Path,
    ) -> Result<Self, SeriesError> {
        let wrong = |why: &str| SeriesError::Tree { path: tree.into(), why: why.into() };
        let real = fs::canonicalize(tree).map_err(|e| wrong(&e.to_string()))?;
        for file in ["Makefile", "Kconfig", "MAINTAINERS"] {
            if !real.join(file).is_file() && !real.join(".git").exists() {
                return Err(wrong(&format!("it has no {file}")));
            }
        }
        let git = Git { tree: &real, scratch };
        if !real.join(".git").exists() {
            return match rev {
                Some(_) => Err(wrong("--base needs a git tree")),
                None => {
                    Ok(Self { tree: real, commit: None, subject: None, objects: Vec::new(), shallow: None })
                }
            };
        }
        let commit = match (rev, named) {
            (Some(rev), _) => git.commit(rev)?,
            (None, Some(named)) => match git.commit(named)? {
                Some(commit) if !git.has_come_from(&commit)? => {
                    return Err(SeriesError::StrayBase { path: tree.into(), commit });
                }
                Some(commit) => Some(commit),
                None => git.commit("HEAD")?,
            },
            (None, None) => git.commit("HEAD")?,
        };
        let no_base = || SeriesError::NoBase { path: tree.into(), rev: rev.unwrap_or("HEAD").into() };
        let commit = commit.ok_or_else(no_base)?;
        let subject = git.ask("git log -1 --format=%s \"$1\" --", &commit)?;
        let objects = git.ask("git rev-parse --path-format=absolute --git-path \"$1\"", "objects")?;
        let shallow = git.ask("git rev-parse --path-format=absolute --git-path \"$1\"", "shallow")?;
        let shallow = Some(PathBuf::from(shallow)).filter(|p| p.is_file());
        let objects = with_alternates(PathBuf::from(objects))?;
        Ok(Self { tree: real, commit: Some(commit), subject: Some(subject), objects, shallow })
    }

    /// Makes the worktree `dir` with the base in it, with `sandbox` for everything that is not the user's own; the
    /// shell in which patches are applied there.
    pub fn check_out<'a>(
        &self,
        dir: &Path,
        paths: &BTreeSet<String>,
        sandbox: &'a Sandbox,
        scratch: &Path,
        stop: &Stop,
    ) -> Result<Shell<'a>, SeriesError> {
        fs::create_dir_all(dir).map_err(at("making", dir))?;
        let shell = Shell {
            runner: sandbox,
            stop: stop.clone(),
            scratch: scratch.into(),
            reads: self.objects.clone(),
            writes: vec![dir.into()],
        };
        match &self.commit {
            Some(commit) => self.borrow(commit, dir, &shell)?,
            None => self.copy(dir, paths, &shell)?,
        }
        Ok(shell)
    }

    fn borrow(&self, commit: &str, dir: &Path, shell: &Shell<'_>) -> Result<(), SeriesError> {
        shell.run("git init", "git init -q --template= .", &[], dir)?.must("git init")?;
        let alternates = dir.join(".git/objects/info/alternates");
        let lines: String = self.objects.iter().map(|o| format!("{}\n", o.display())).collect();
        fs::create_dir_all(dir.join(".git/objects/info")).map_err(at("making", dir))?;
        fs::write(&alternates, lines).map_err(at("writing", &alternates))?;
        if let Some(shallow) = &self.shallow {
            fs::copy(shallow, dir.join(".git/shallow")).map_err(at("copying", shallow))?;
        }
        let what = "git checkout of the base";
        let ended = shell.run(what, "git checkout -q --detach \"$1\"", &[Path::new(commit)], dir)?;
        ended.must(what).map(|_| ())
    }

    fn copy(&self, dir: &Path, paths: &BTreeSet<String>, shell: &Shell<'_>) -> Result<(), SeriesError> {
        let direct = Shell {
            runner: &Direct,
            stop: shell.stop.clone(),
            scratch: shell.scratch.clone(),
            reads: Vec::new(),
            writes: Vec::new(),
        };
        let what = "copying the tree";
        direct
            .run(what, "cp -a --reflink=auto -T -- \"$1\" \"$2\"", &[&self.tree, dir], Path::new("/"))?
            .must(what)?;
        let list = shell.scratch.join("paths");
        let there = paths.iter().filter(|p| dir.join(p).symlink_metadata().is_ok_and(|m| !m.is_dir()));
        let text: String = there.map(|p| format!("{p}\0")).collect();
        fs::write(&list, text).map_err(at("writing", &list))?;
        let script = "git init -q --template= . && { test ! -s \"$1\" || GIT_LITERAL_PATHSPECS=1 git add -f --pathspec-from-file=\"$1\" --pathspec-file-nul; } && git commit -q -uno --allow-empty --no-verify -m base";
        shell.run("git commit of the base", script, &[&list], dir)?.must("git commit of the base").map(|_| ())
    }
}

/// A directory of objects, and those that it borrows from in turn.
fn with_alternates(first: PathBuf) -> Result<Vec<PathBuf>, SeriesError> {
    let mut all = vec![first];
    let mut next = 0;
    while let Some(dir) = all.get(next).cloned() {
        let file = dir.join("info/alternates");
        let text = match fs::read_to_string(&file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(at("reading", &file))?,
        };
        for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let path = fs::canonicalize(dir.join(line)).map_err(at("reading", &file))?;
            if !all.contains(&path) {
                all.push(path);
            }
        }
        next += 1;
    }
    Ok(all)
}

/// The user's own git in the user's own tree, asked and never told.
struct Git<'a> {
    tree: &'a Path,
    scratch: &'a Path,
}

impl Git<'_> {
    fn shell(&self) -> Shell<'static> {
        Shell {
            runner: &Direct,
            stop: Stop::default(),
            scratch: self.scratch.into(),
            reads: Vec::new(),
            writes: Vec::new(),
        }
    }

    fn commit(&self, rev: &str) -> Result<Option<String>, SeriesError> {
        let script = "git rev-parse --verify --quiet --end-of-options \"$1^{commit}\"";
        let ended = self.shell().run("git rev-parse", script, &[Path::new(rev)], self.tree)?;
        if !ended.good && !ended.said.is_empty() {
            return Err(SeriesError::Git { what: "git rev-parse".into(), said: ended.said });
        }
        Ok(ended.good.then(|| line(&ended.output)))
    }

    /// Whether HEAD is this commit or came from it.
    fn has_come_from(&self, commit: &str) -> Result<bool, SeriesError> {
        let script = "git merge-base --is-ancestor \"$1\" HEAD";
        let ended = self.shell().run("git merge-base", script, &[Path::new(commit)], self.tree)?;
        if !ended.good && !ended.said.is_empty() {
            return Err(SeriesError::Git { what: "git merge-base".into(), said: ended.said });
        }
        Ok(ended.good)
    }

    fn ask(&self, script: &str, arg: &str) -> Result<String, SeriesError> {
        Ok(line(&self.shell().run("git", script, &[Path::new(arg)], self.tree)?.must("git")?))
    }
}

fn line(output: &[u8]) -> String {
    super::mail::plain(String::from_utf8_lossy(output).trim())
}
