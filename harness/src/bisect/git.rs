//! git as a command: without the user's hooks, prompts, environment or background chores, and with a deadline.

use std::path::Path;
use std::time::Duration;

/// A checkout of a kernel on a slow disk takes minutes.
const LIMIT: Duration = Duration::from_secs(1800);
/// What would lead git to another repository than the one of its directory.
const STRAY: [&str; 6] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"];

/// Why git did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// not there, or not to be started
    #[error("git cannot be started: {0}")]
    Start(String),
    /// it said no
    #[error("git {command} failed: {complaint}")]
    Failed {
        /// its arguments
        command: String,
        /// what it wrote
        complaint: String,
        /// exit status
        status: Option<i32>,
    },
    /// it did not end
    #[error("git {command} did not end within {seconds} s")]
    Timeout {
        /// its arguments
        command: String,
        /// the limit
        seconds: u64,
    },
}

/// Runs git in a directory; what it wrote to standard output.
///
/// # Errors
/// See [`GitError`].
pub fn git(dir: &Path, arguments: &[&str]) -> Result<String, GitError> {
    // Detached chores would outlive the worktree.
    let settings =
        ["core.hooksPath=/dev/null", "gc.auto=0", "maintenance.auto=false", "advice.detachedHead=false"];
    let settings = settings.iter().flat_map(|s| ["-c", s]);
    let all: Vec<&str> = settings.chain(arguments.iter().copied()).collect();
    let mut expression = duct::cmd("git", all).dir(dir).env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
    for name in STRAY {
        expression = expression.env_remove(name);
    }
    let command = arguments.join(" ");
    let start = |e: std::io::Error| GitError::Start(e.to_string());
    let handle =
        expression.stdin_null().stdout_capture().stderr_capture().unchecked().start().map_err(start)?;
    let Some(output) = handle.wait_timeout(LIMIT).map_err(start)? else {
        handle.kill().map_err(start)?;
        return Err(GitError::Timeout { command, seconds: LIMIT.as_secs() });
    };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = if stderr.trim().is_empty() { stdout.trim() } else { stderr.trim() };
    Err(GitError::Failed { command, complaint: said.to_string(), status: output.status.code() })
}
