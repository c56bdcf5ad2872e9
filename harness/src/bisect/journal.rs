//! Runs kept on disk as they are made, so that a search that was ended goes on where it was.
//!
//! One file for each search, named by a checksum of what was asked: the same command line goes on by itself. Marks are
//! not kept, they follow from the runs. The file goes when there is an answer.

use super::search::{Journal, Revision, Run, Step};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Serialize, Deserialize)]
struct Line {
    revision: Revision,
    #[serde(flatten)]
    run: Run,
}

/// See the module.
pub struct Kept<'a> {
    path: PathBuf,
    file: File,
    runs: BTreeMap<Revision, Vec<Run>>,
    told: &'a mut dyn FnMut(&Step),
}

impl<'a> Kept<'a> {
    /// Opens it; `told` hears of every judged revision. A last line that was cut off is left out.
    ///
    /// # Errors
    /// It cannot be read or written, or holds what is no run.
    pub fn open(path: &Path, told: &'a mut dyn FnMut(&Step)) -> Result<Self, String> {
        let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let text = match fs::read_to_string(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|e| wrong(&e))?,
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut runs: BTreeMap<Revision, Vec<Run>> = BTreeMap::new();
        for (number, line) in whole.lines().enumerate() {
            let line: Line = serde_json::from_str(line)
                .map_err(|e| format!("{}:{}: {e} (delete it to begin anew)", path.display(), number + 1))?;
            runs.entry(line.revision).or_default().push(line.run);
        }
        fs::write(path, whole).map_err(|e| wrong(&e))?;
        let file = File::options().append(true).open(path).map_err(|e| wrong(&e))?;
        Ok(Self { path: path.to_path_buf(), file, runs, told })
    }

    /// Runs that an earlier search kept, and of how many revisions.
    pub fn found(&self) -> (usize, usize) {
        (self.runs.values().map(Vec::len).sum(), self.runs.len())
    }

    /// There is an answer: nothing is to be gone on with.
    pub fn done(self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Journal for Kept<'_> {
    fn kept(&self, revision: &Revision) -> Vec<Run> {
        self.runs.get(revision).cloned().unwrap_or_default()
    }

    fn run(&mut self, revision: &Revision, run: &Run) -> Result<(), String> {
        let line = Line { revision: revision.clone(), run: run.clone() };
        let mut bytes = serde_json::to_vec(&line).map_err(|e| e.to_string())?;
        bytes.push(b'\n');
        self.file.write_all(&bytes).map_err(|e| format!("{}: {e}", self.path.display()))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        (self.told)(step);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bisect::search::Outcome;

    #[test]
    fn what_was_kept_is_found_again_and_a_cut_line_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.jsonl");
        let mut none = |_: &Step| {};
        let failed = Outcome::Failed { titles: vec!["wrong".into()], scenarios: vec!["a/b".into()] };
        let runs = [
            Run { template: 0, outcome: Outcome::Clean },
            Run { template: 1, outcome: failed },
            Run { template: 2, outcome: Outcome::Missed { reason: "r".into() } },
            Run { template: 3, outcome: Outcome::Unfit { reason: "u".into() } },
        ];
        let mut kept = Kept::open(&path, &mut none).unwrap();
        for run in &runs {
            kept.run(&"abc".to_string(), run).unwrap();
        }
        drop(kept);
        let mut cut = fs::read(&path).unwrap();
        cut.extend(b"{\"revision\":\"abc\",\"temp");
        fs::write(&path, cut).unwrap();
        let mut kept = Kept::open(&path, &mut none).unwrap();
        assert_eq!(kept.kept(&"abc".to_string()), runs);
        assert_eq!((kept.found(), kept.kept(&"x".to_string())), ((4, 1), vec![]));
        kept.run(&"x".to_string(), &runs[0]).unwrap();
        drop(kept);
        let kept = Kept::open(&path, &mut none).unwrap();
        assert_eq!(kept.found(), (5, 2));
        kept.done();
        assert!(!path.exists());
        fs::write(&path, "nonsense\n").unwrap();
        let error = Kept::open(&path, &mut none).err().unwrap();
        assert!(error.contains("runs.jsonl:1: "), "{error}");
    }
}
