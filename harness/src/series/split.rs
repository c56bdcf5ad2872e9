//! From what was given to a series: git splits and decodes the mails in the sandbox, our own rules do the rest.

use super::check::{self, Refused};
use super::error::{SeriesError, at};
use super::mail::Mail;
use super::order::{self, Ordered};
use super::shell::Shell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A patch that will not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// its name
    pub patch: String,
    /// why
    pub why: String,
}

/// Every mail is split off by `git mailsplit` into `$1`, and decoded by `git mailinfo` next to it.
const SPLIT: &str = r#"mails=$1; shift
git mailsplit -b -d6 -o"$mails" -- "$@" || exit 1
for mail in "$mails"/*; do
    git mailinfo -k --no-scissors --encoding=UTF-8 "$mail.message" "$mail.patch" <"$mail" >"$mail.info" || exit 1
done"#;

/// Splits, decodes and sorts the mails of these files.
///
/// # Errors
/// The outer one: no series, or git cannot read it. The inner one: a patch that is refused.
pub fn split(
    from: &str,
    files: &[PathBuf],
    shell: &Shell<'_>,
) -> Result<(Ordered, Result<BTreeSet<String>, Bad>), SeriesError> {
    let dir = shell.scratch.join("mails");
    fs::create_dir(&dir).map_err(at("making", &dir))?;
    let args: Vec<&Path> = std::iter::once(dir.as_path()).chain(files.iter().map(PathBuf::as_path)).collect();
    let ended = shell.run("git mailsplit", SPLIT, &args, &shell.scratch)?;
    if !ended.good {
        return Err(SeriesError::NoMail { from: from.into(), said: ended.said });
    }
    let mails = read(&dir, from)?;
    let ordered = order::order(mails)?;
    let checked = paths(&ordered.patches);
    Ok((ordered, checked))
}

fn read(dir: &Path, from: &str) -> Result<Vec<Mail>, SeriesError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(at("reading", dir))? {
        let path = entry.map_err(at("reading", dir))?.path();
        if path.extension().is_none() {
            files.push(path);
        }
    }
    if files.len() > super::input::MOST_MAILS {
        let (bytes, mails) = (super::input::MOST_BYTES, super::input::MOST_MAILS);
        return Err(SeriesError::TooLarge { from: from.into(), bytes, mails });
    }
    files.sort();
    let bytes = |path: PathBuf| fs::read(&path).map_err(at("reading", &path));
    let one = |file: PathBuf| {
        let info = bytes(file.with_extension("info"))?;
        let (message, patch) = (bytes(file.with_extension("message"))?, bytes(file.with_extension("patch"))?);
        let raw = bytes(file.clone())?;
        Ok(Mail::new(file, &raw, &String::from_utf8_lossy(&info), &message, patch))
    };
    files.into_iter().map(one).collect()
}

fn paths(patches: &[Mail]) -> Result<BTreeSet<String>, Bad> {
    let mut all = BTreeSet::new();
    if patches.len() > check::MOST {
        let why = format!("it has {} patches, more than {}", patches.len(), check::MOST);
        return Err(Bad { patch: "the series".into(), why });
    }
    for mail in patches {
        let refused = |why: Refused| Bad { patch: format!("patch {}", mail.name()), why: why.to_string() };
        all.extend(check::patch(&mail.patch).map_err(refused)?);
    }
    Ok(all)
}
