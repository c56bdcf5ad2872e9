//! git, as a command: the state of a working tree, and revisions checked out in a clone of our own, so that the user's
//! repository and index are only read.

use super::error::BuildError;
use super::process;
use super::step::{Step, Tools};
use crate::kernel::cache::sha256;
use crate::kernel::error::at;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What identifies the content of a directory that git tracks: the tree of HEAD, everything that differs from it, and
/// the files that git does not track. `None` where git does not track it.
pub(super) fn state(dir: &Path) -> Result<Option<String>, BuildError> {
    if super::make::on_path("git").is_none() {
        return Ok(None);
    }
    let Ok(tree) = git(dir, &["rev-parse", "--verify", "--quiet", "HEAD:./"]) else { return Ok(None) };
    let differs =
        git(dir, &["diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--relative", "--", "."])?;
    let untracked = git(dir, &["ls-files", "--others", "--exclude-standard", "-z"])?;
    let mut text = tree;
    text.extend(differs);
    for name in untracked.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        use std::os::unix::ffi::OsStrExt;
        let path = dir.join(std::ffi::OsStr::from_bytes(name));
        text.extend([name, b"\0"].concat());
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() => text.extend(fs::read(&path).map_err(at("reading", &path))?),
            Ok(_) => {}
            Err(e) => return Err(at("reading", &path)(e).into()),
        }
    }
    Ok(Some(sha256(&text)))
}

/// The commit that a revision names.
pub(super) fn commit(repository: &Path, revision: &str) -> Result<String, BuildError> {
    let spec = format!("{revision}^{{commit}}");
    let out = git(repository, &["rev-parse", "--verify", "--end-of-options", &spec])?;
    Ok(String::from_utf8_lossy(&out).trim().to_string())
}

/// The tree of a commit: the same for commits with the same files.
pub(super) fn tree(repository: &Path, commit: &str) -> Result<String, BuildError> {
    let out = git(repository, &["rev-parse", "--verify", &format!("{commit}^{{tree}}")])?;
    Ok(String::from_utf8_lossy(&out).trim().to_string())
}

/// Brings `checkout`, a clone that borrows the repository's objects, to a commit. Files that are the same keep their
/// times, so that a build of another commit can be built on.
pub(super) fn check_out(
    repository: &Path,
    commit: &str,
    checkout: &Path,
    log: &Path,
    tools: &Tools<'_>,
) -> Result<(), BuildError> {
    if !checkout.join(".git/HEAD").is_file() {
        let _ = fs::remove_dir_all(checkout);
        let clone = ["clone", "--shared", "--no-checkout", "--quiet", "--"].map(OsString::from);
        let argv = clone.into_iter().chain([repository.into(), checkout.into()]).collect();
        run("git clone", argv, checkout, log, tools)?;
    }
    let c = ["-C".into(), checkout.as_os_str().to_owned(), "-c".into(), "advice.detachedHead=false".into()];
    let arguments = ["checkout", "--quiet", "--force", "--detach", commit].map(OsString::from);
    run("git checkout", c.into_iter().chain(arguments).collect(), checkout, log, tools)
}

fn run(
    what: &str,
    arguments: Vec<OsString>,
    writes: &Path,
    log: &Path,
    tools: &Tools<'_>,
) -> Result<(), BuildError> {
    let parent = writes.parent().unwrap_or(Path::new("/")).to_path_buf();
    fs::create_dir_all(&parent).map_err(at("creating", &parent))?;
    let argv = std::iter::once("git".into()).chain(arguments).collect();
    let env = vec![("LC_ALL".into(), Some("C".into())), ("GIT_TERMINAL_PROMPT".into(), Some("0".into()))];
    let step = Step { argv, cwd: parent, env, reads: vec![], writes: vec![PathBuf::from(writes)] };
    fs::write(log, "").map_err(at("writing", log))?;
    let status = process::run(what, step, log, tools)?;
    if status.success() {
        return Ok(());
    }
    let stderr = fs::read_to_string(log).map_err(at("reading", log))?;
    Err(BuildError::Git { command: what.into(), stderr: stderr.trim().to_string() })
}

/// Runs git for what it prints. It is given no chance to write: optional locks are off.
fn git(dir: &Path, arguments: &[&str]) -> Result<Vec<u8>, BuildError> {
    let out = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .envs([("GIT_OPTIONAL_LOCKS", "0"), ("LC_ALL", "C")])
        .stdin(Stdio::null())
        .output()
        .map_err(at("starting", Path::new("git")))?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    let stderr = String::from_utf8_lossy(&out.stderr).trim().to_string();
    Err(BuildError::Git { command: format!("git {}", arguments.join(" ")), stderr })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(dir: &Path, script: &str) {
        let env = [("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a"), ("GIT_COMMITTER_NAME", "a")];
        let status = Command::new("sh")
            .args(["-ec", script])
            .envs(env)
            .env("GIT_COMMITTER_EMAIL", "a")
            .current_dir(dir)
            .status();
        assert!(status.unwrap().success(), "{script}");
    }

    #[test]
    fn the_state_follows_commits_edits_and_new_files() {
        let dir = tempfile::tempdir().unwrap();
        let now = || state(dir.path()).unwrap();
        assert_eq!(now(), None);
        sh(dir.path(), "git init -q; echo 1 > a; echo '*.o' > .gitignore; git add .; git commit -qm 1");
        let first = now().unwrap();
        sh(dir.path(), "touch x.o; touch -d 2001-01-01 a");
        assert_eq!(now().unwrap(), first, "neither what is ignored nor times");
        sh(dir.path(), "echo 2 > a");
        let edited = now().unwrap();
        sh(dir.path(), "echo new > b");
        let untracked = now().unwrap();
        assert!(first != edited && edited != untracked && first != untracked);
        sh(dir.path(), "rm b; git checkout -q a");
        assert_eq!(now().unwrap(), first);
    }

    #[test]
    fn revisions_in_a_clone_of_our_own() {
        let dir = tempfile::tempdir().unwrap();
        let (repository, checkout) = (dir.path().join("r"), dir.path().join("c"));
        fs::create_dir(&repository).unwrap();
        sh(&repository, "git init -q; echo 1 > a; echo same > s; git add .; git commit -qm 1; git tag one");
        sh(&repository, "echo 2 > a; git commit -qam 2; echo dirty > a");
        let log = dir.path().join("log");
        let time = || fs::metadata(checkout.join("s")).unwrap().modified().unwrap();
        let to = |revision: &str| {
            let commit = commit(&repository, revision).unwrap();
            check_out(&repository, &commit, &checkout, &log, &Tools::default()).unwrap();
            fs::read_to_string(checkout.join("a")).unwrap()
        };
        assert_eq!(to("HEAD"), "2\n");
        let before = time();
        assert_eq!(to("one"), "1\n");
        assert_eq!(time(), before);
        assert_eq!(fs::read_to_string(repository.join("a")).unwrap(), "dirty\n");
        assert!(commit(&repository, "two").unwrap_err().to_string().contains("git rev-parse"));
        assert!(commit(&repository, "--help").is_err());
    }
}
