//! `git am` in the sandbox, one patch at a time, and what git says has changed.

use super::check::{self, Refused};
use super::error::SeriesError;
use super::mail::Mail;
use super::shell::Shell;
use super::split::Bad;
use std::path::Path;

/// `$1` is applied; the paths that changed, with their modes.
const AM: &str = "git -c core.hooksPath=/dev/null -c commit.gpgSign=false am -q --no-3way --no-scissors \
--patch-format=mbox --committer-date-is-author-date \"$1\" >&2 && git diff-tree -r -z --raw --no-renames HEAD~1 HEAD";

/// Applies one patch.
///
/// # Errors
/// The outer one: git cannot work. The inner one: the patch does not apply, or has changed what it must not.
pub fn apply(mail: &Mail, dir: &Path, shell: &Shell<'_>) -> Result<Result<(), NotApplied>, SeriesError> {
    let ended = shell.run("git am", AM, &[&mail.file], dir)?;
    if !ended.good {
        return Ok(Err(NotApplied::Failed(bad(mail, said(&ended.said)))));
    }
    let changed = check::changed(&ended.output).map(|_| ());
    Ok(changed.map_err(|why: Refused| NotApplied::Refused(bad(mail, why.to_string()))))
}

/// Why a patch is not in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotApplied {
    /// it does not fit
    Failed(Bad),
    /// it changed something that a patch must not
    Refused(Bad),
}

fn bad(mail: &Mail, why: String) -> Bad {
    Bad { patch: format!("patch {}", mail.name()), why }
}

/// git's words without its advice to the user of a terminal.
fn said(text: &str) -> String {
    let advice = |l: &&str| !l.starts_with("hint:") && !l.starts_with("When you have resolved");
    text.lines().filter(advice).map(super::mail::plain).collect::<Vec<_>>().join("\n")
}
