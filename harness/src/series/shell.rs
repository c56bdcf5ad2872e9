//! git as a step: in the sandbox, with none of the user's configuration, its output in a file.

use super::error::{SeriesError, at};
use crate::kernel::build::{Runner, Step, Stop, Tools, run_step};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest that git may take for one thing; a checkout of a kernel on a slow disk is the longest.
const LIMIT: Duration = Duration::from_secs(1800);
/// Most of what git says that is kept.
const SAID: u64 = 4096;

/// Where and how scripts run.
pub struct Shell<'a> {
    /// in a sandbox, or directly
    pub runner: &'a dyn Runner,
    /// ends it
    pub stop: Stop,
    /// a directory for output
    pub scratch: PathBuf,
    /// shown read-only: where the objects are
    pub reads: Vec<PathBuf>,
    /// shown writable, besides `scratch`
    pub writes: Vec<PathBuf>,
}

/// What a script came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// status 0
    pub good: bool,
    /// standard output
    pub output: Vec<u8>,
    /// standard error, its end
    pub said: String,
}

impl Ended {
    /// Output of what must succeed.
    pub fn must(self, what: &str) -> Result<Vec<u8>, SeriesError> {
        if self.good { Ok(self.output) } else { Err(SeriesError::Git { what: what.into(), said: self.said }) }
    }
}

impl Shell<'_> {
    /// Runs a script of /bin/sh in `cwd`; `$1`, `$2`, … are `args`.
    pub fn run(&self, what: &str, script: &str, args: &[&Path], cwd: &Path) -> Result<Ended, SeriesError> {
        let (output, log) = (self.scratch.join("output"), self.scratch.join("said"));
        let mut argv: Vec<OsString> = vec!["/bin/sh".into(), "-c".into()];
        argv.push(format!("exec >\"$0\"\n{script}").into());
        argv.push(output.clone().into());
        argv.extend(args.iter().map(|a| a.as_os_str().to_os_string()));
        let writes = std::iter::once(self.scratch.clone()).chain(self.writes.clone()).collect();
        let step = Step { argv, cwd: cwd.into(), env: environment(), reads: self.reads.clone(), writes };
        let begin = fs::metadata(&log).map_or(0, |m| m.len());
        let tools = Tools { runner: self.runner, stop: self.stop.clone(), limit: LIMIT, ..Tools::default() };
        let status = run_step(what, step, &log, &tools)?;
        let read = |path: &Path, from, most| read(path, from, most).map_err(at("reading", path));
        let said = String::from_utf8_lossy(&read(&log, begin, SAID)?).trim().to_string();
        let output = read(&output, 0, 2 * super::input::MOST_BYTES)?;
        Ok(Ended { good: status.success(), output, said })
    }
}

/// At most `most` bytes from an offset on.
fn read(path: &Path, from: u64, most: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Neither the user's nor the system's configuration, no questions, no other repository around, an identity for commits;
/// packs are mapped in parts, or one of a large clone alone could pass the sandbox's limit of a process's address space.
fn environment() -> Vec<(OsString, Option<OsString>)> {
    const SET: [(&str, &str); 14] = [
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "core.packedGitWindowSize"),
        ("GIT_CONFIG_VALUE_0", "32m"),
        ("GIT_CONFIG_KEY_1", "core.packedGitLimit"),
        ("GIT_CONFIG_VALUE_1", "512m"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_COMMITTER_NAME", "memhp"),
        ("GIT_COMMITTER_EMAIL", "memhp@localhost"),
        ("GIT_AUTHOR_NAME", "memhp"),
        ("GIT_AUTHOR_EMAIL", "memhp@localhost"),
        ("LC_ALL", "C"),
    ];
    const UNSET: [&str; 5] = [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    ];
    let set = SET.map(|(n, v)| (n.into(), Some(v.into())));
    set.into_iter().chain(UNSET.map(|n| (n.into(), None))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::build::Direct;

    #[test]
    fn git_maps_packs_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let shell = Shell {
            runner: &Direct,
            stop: Stop::default(),
            scratch: dir.path().into(),
            reads: Vec::new(),
            writes: Vec::new(),
        };
        let script = "git config --get-regexp core.packedgit";
        let ended = shell.run("git config", script, &[], dir.path()).unwrap();
        let lines = "core.packedgitwindowsize 32m\ncore.packedgitlimit 512m\n";
        assert_eq!(String::from_utf8(ended.output).unwrap(), lines, "{}", ended.said);
    }
}
