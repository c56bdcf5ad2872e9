//! What b4 hands to a series check: one mail on standard input (the cover letter, or the first patch), and in
//! `B4_TRACKING_FILE` where in the tree the series is (b4's documentation, "CI check integration").

use super::error::{INPUT, SeriesError, at};
use super::header::Header;
use super::mail::plain;
use super::shell::Shell;
use super::subject::Subject;
use crate::kernel::build::Direct;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the patches are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// for [`super::Request::patches`]
    pub patches: PathBuf,
    /// the commit that b4 applied them to
    pub base: Option<String>,
}

/// What of b4's tracking data says where the series is.
#[derive(Debug, Deserialize)]
struct Tracking {
    series: Tracked,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Tracked {
    #[serde(default)]
    change_id: Option<String>,
    #[serde(default)]
    base_commit: Option<String>,
    #[serde(default)]
    first_patch_commit: Option<String>,
}

/// The patches of the review branch (b4 keeps its own data in the commit on top), with the mail in front, so that an
/// answer goes to it; or the mail itself, where it is all of the series.
///
/// # Errors
/// The mail is one of several, and nothing says where the others are.
pub fn find(mail: &[u8], tracking: Option<&Path>, tree: &Path, scratch: &Path) -> Result<Found, SeriesError> {
    let dir = scratch.join("b4");
    fs::create_dir_all(&dir).map_err(at("making", &dir))?;
    let head = dir.join("0000.eml");
    let header = Header::parse(mail);
    let subject = Subject::parse(header.get("Subject").unwrap_or_default());
    let text = match mail.starts_with(b"From ") {
        true => mail.to_vec(),
        false => [b"From mail Thu Jan  1 00:00:00 1970\n", mail].concat(),
    };
    fs::write(&head, text).map_err(at("writing", &head))?;
    let is_whole = !matches!(subject.number, Some((0, _)) | Some((_, 2..)));
    let Some(file) = tracking else {
        return match is_whole {
            true => Ok(Found { patches: dir, base: None }),
            false => Err(SeriesError::B4(format!(
                "the mail {:?} is one of several and B4_TRACKING_FILE does not name a review branch: check the series out first (b4 review)",
                plain(&subject.text)
            ))),
        };
    };
    let data = fs::read(file).map_err(at(INPUT, file))?;
    let tracked: Tracking = serde_json::from_slice(&data)
        .map_err(|e| SeriesError::B4(format!("{}: {e}: not b4's tracking data", file.display())))?;
    let Tracked { change_id: Some(id), first_patch_commit: Some(first), base_commit } = tracked.series else {
        return Err(SeriesError::B4(format!("{} names no review branch", file.display())));
    };
    let shell = Shell {
        runner: &Direct,
        stop: Default::default(),
        scratch: scratch.into(),
        reads: Vec::new(),
        writes: Vec::new(),
    };
    // Without the cover letter where the mail is one, and without the mail's patch twice where it is one.
    let script = "git format-patch --stdout --no-signature --no-cover-letter -N --end-of-options \"$1~1..b4/review/$2~1\"";
    let what = "git format-patch of b4's review branch";
    let patches = shell.run(what, script, &[Path::new(&first), Path::new(&id)], tree)?.must(what)?;
    if !matches!(subject.number, Some((0, _))) {
        fs::remove_file(&head).map_err(at("removing", &head))?;
    }
    let file = dir.join("series.mbox");
    fs::write(&file, patches).map_err(at("writing", &file))?;
    Ok(Found { patches: dir, base: base_commit })
}
