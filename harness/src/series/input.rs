//! PATCHES as typed: an mbox, a directory of patches, or standard input; copied, with a limit, to where git reads them.

use super::error::{INPUT, SeriesError, at};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Most bytes of all patches together.
pub const MOST_BYTES: u64 = 64 << 20;
/// Most mails, answers and cover letter among them.
pub const MOST_MAILS: usize = 2000;

/// Copies them into `dir` as `0001`, `0002`, …; the copies.
pub fn copy(patches: &str, dir: &Path) -> Result<Vec<PathBuf>, SeriesError> {
    fs::create_dir_all(dir).map_err(at("making", dir))?;
    let mut left = Room { from: patches.into(), bytes: MOST_BYTES, copies: Vec::new(), dir: dir.into() };
    let path = Path::new(patches);
    if patches == "-" {
        left.from = "standard input".into();
        left.take(&mut io::stdin().lock(), Path::new("standard input"))?;
    } else if path.is_dir() {
        for file in files(path)? {
            left.take(&mut File::open(&file).map_err(at(INPUT, &file))?, &file)?;
        }
    } else {
        left.take(&mut File::open(path).map_err(at(INPUT, path))?, path)?;
    }
    Ok(left.copies)
}

/// Files of a directory that are patches, sorted by name: what `git format-patch` and `b4 am` write.
fn files(dir: &Path) -> Result<Vec<PathBuf>, SeriesError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(INPUT, dir))? {
        let path = entry.map_err(at(INPUT, dir))?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        let named = path.extension().is_some_and(|e| ["patch", "eml", "mbox"].iter().any(|x| e == *x));
        if named && !hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(SeriesError::NoFiles(dir.into())) } else { Ok(files) }
}

struct Room {
    from: String,
    bytes: u64,
    copies: Vec<PathBuf>,
    dir: PathBuf,
}

impl Room {
    fn take(&mut self, from: &mut dyn Read, name: &Path) -> Result<(), SeriesError> {
        let copy = self.dir.join(format!("{:04}", self.copies.len() + 1));
        let mut file = File::create(&copy).map_err(at("making", &copy))?;
        // One byte more than there is room for shows that there is more.
        let taken = io::copy(&mut from.take(self.bytes + 1), &mut file).map_err(at(INPUT, name))?;
        self.copies.push(copy);
        match self.bytes.checked_sub(taken) {
            Some(left) if self.copies.len() <= MOST_MAILS => self.bytes = left,
            _ => {
                return Err(SeriesError::TooLarge {
                    from: self.from.clone(),
                    bytes: MOST_BYTES,
                    mails: MOST_MAILS,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_the_order_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0002-b.patch", "0001-a.patch", ".0003.patch", "notes.txt"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let copies = copy(dir.path().to_str().unwrap(), &dir.path().join("in")).unwrap();
        let texts: Vec<_> = copies.iter().map(|c| fs::read_to_string(c).unwrap()).collect();
        assert_eq!(texts, ["0001-a.patch", "0002-b.patch"]);
        let empty = tempfile::tempdir().unwrap();
        let error = copy(empty.path().to_str().unwrap(), &empty.path().join("in")).unwrap_err();
        assert!(error.is_usage() && error.to_string().starts_with("no patches in "), "{error}");
    }

    #[test]
    fn what_is_absurdly_large_is_refused_before_git_sees_it() {
        let dir = tempfile::tempdir().unwrap();
        let large = dir.path().join("large.mbox");
        File::create(&large).unwrap().set_len(MOST_BYTES + 1).unwrap();
        let error = copy(large.to_str().unwrap(), &dir.path().join("in")).unwrap_err();
        assert!(error.to_string().contains("is absurdly large: more than 64 MiB"), "{error}");
        let none = copy("/proc/none", &dir.path().join("in")).unwrap_err();
        assert!(none.is_usage(), "{none}");
    }
}
