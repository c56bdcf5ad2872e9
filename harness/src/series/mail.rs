//! A mail as git decoded it, and what it is to the series. Pure.

use super::header::Header;
use super::subject::Subject;
use std::path::PathBuf;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// file with the raw message, for `git am`
    pub file: PathBuf,
    /// raw header
    pub header: Header,
    /// `Subject:` of `git mailinfo -k`
    pub subject: Subject,
    /// `Author:` and `Email:` of `git mailinfo`
    pub author: String,
    /// the commit message, decoded
    pub message: String,
    /// from `---` or the first line of the diff on, decoded
    pub patch: Vec<u8>,
}

impl Mail {
    /// What `git mailinfo` wrote to standard output and to its two files.
    pub fn new(file: PathBuf, raw: &[u8], info: &str, message: &[u8], patch: Vec<u8>) -> Self {
        let field = |name: &str| info.lines().find_map(|l| Some(l.strip_prefix(name)?.trim().to_string()));
        let author =
            format!("{} <{}>", field("Author:").unwrap_or_default(), field("Email:").unwrap_or_default());
        Self {
            file,
            header: Header::parse(raw),
            subject: Subject::parse(&field("Subject:").unwrap_or_default()),
            author: plain(&author),
            message: String::from_utf8_lossy(message).into_owned(),
            patch,
        }
    }

    /// Whether it carries a change, by git's own rule for where a diff begins.
    pub fn has_diff(&self) -> bool {
        let begins = |line: &[u8]| {
            let name = line.strip_prefix(b"--- ").and_then(|rest| rest.first());
            line.starts_with(b"diff -")
                || line.starts_with(b"Index: ")
                || name.is_some_and(|c| !c.is_ascii_whitespace())
        };
        self.patch.split(|b| *b == b'\n').any(begins)
    }

    /// `base-commit: SHA`, which `git format-patch --base` writes.
    pub fn base_commit(&self) -> Option<String> {
        let text = format!("{}\n{}", self.message, String::from_utf8_lossy(&self.patch));
        let sha = |l: &str| l.strip_prefix("base-commit:").map(|s| s.trim().to_string());
        text.lines().find_map(sha).filter(|s| s.len() >= 12 && s.bytes().all(|b| b.is_ascii_hexdigit()))
    }

    /// How messages name it.
    pub fn name(&self) -> String {
        match self.subject.number {
            Some((i, n)) => format!("{i}/{n} \"{}\"", plain(&self.subject.text)),
            None => format!("\"{}\"", plain(&self.subject.text)),
        }
    }
}

/// Without control characters, which would drive a terminal.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A mail with this subject; `diff` is its patch.
    pub fn mail(subject: &str, diff: &str) -> Mail {
        let info = format!("Author: A\nEmail: a@example.org\nSubject: {subject}\n");
        let raw =
            format!("From: A <a@example.org>\nSubject: {subject}\nMessage-ID: <{subject}@example.org>\n\n");
        Mail::new(PathBuf::from("x"), raw.as_bytes(), &info, b"why\n", diff.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::mail;

    #[test]
    fn base_commit_and_diff() {
        let sha = "a".repeat(40);
        let with = mail("[PATCH 0/1] x", &format!("---\n\nbase-commit: {sha}\n-- \n2.40\n"));
        assert_eq!(with.base_commit(), Some(sha));
        assert!(!with.has_diff());
        let patch = mail("[PATCH] y", "---\n f | 1 +\n\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n");
        assert!(patch.has_diff());
        assert_eq!(patch.base_commit(), None);
        assert_eq!(patch.author, "A <a@example.org>");
    }
}
