//! Why what was read in the guest could not be taken as a fact.

use thiserror::Error;

/// A file that is missing, unreadable or of an unknown shape, or a state that says nothing. What of this is the kernel's
/// fault is for the judge to tell: nothing else is known then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FactError {
    /// A file that every kernel has is not there.
    #[error("{path}: not there")]
    Missing {
        /// absolute path in the guest
        path: String,
    },
    /// The kernel gave an errno instead of content.
    #[error("{path}: read failed with errno {errno}")]
    Unreadable {
        /// absolute path in the guest
        path: String,
        /// errno of open or read
        errno: i32,
    },
    /// The content has a shape that this module does not know.
    #[error("{path}:{line}: {why}: {text:?}")]
    Shape {
        /// absolute path in the guest
        path: String,
        /// line number from 1; 0 where the whole file is meant
        line: usize,
        /// what is wrong
        why: &'static str,
        /// the line
        text: String,
    },
    /// The state at boot does not tell what the model needs.
    #[error("baseline: {0}")]
    Baseline(String),
    /// The state at boot contradicts itself.
    #[error("at boot: {0}")]
    Impossible(String),
}

impl FactError {
    /// The file may have gone away between listing and reading, where the guest was not quiet.
    pub fn is_race(&self) -> bool {
        const ENOENT: i32 = 2;
        const ENODEV: i32 = 19;
        matches!(self, Self::Unreadable { errno: ENOENT | ENODEV, .. })
    }

    /// The file cannot be read for want of something: memory, open files.
    pub fn is_want(&self) -> bool {
        const ENOMEM: i32 = 12;
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        matches!(self, Self::Unreadable { errno: ENOMEM | ENFILE | EMFILE, .. })
    }
}

/// One line of a file, so that errors can name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// path of the file
    pub(crate) path: &'a str,
    /// from 1
    pub(crate) number: usize,
    /// without its newline
    pub(crate) text: &'a str,
}

impl<'a> Line<'a> {
    /// All lines of a file.
    pub(crate) fn all(path: &'a str, text: &'a str) -> impl Iterator<Item = Line<'a>> + Clone {
        text.lines().enumerate().map(move |(n, text)| Line { path, number: n + 1, text })
    }

    /// The error that names this line.
    pub(crate) fn shape(&self, why: &'static str) -> FactError {
        FactError::Shape { path: self.path.into(), line: self.number, why, text: self.text.into() }
    }

    /// `word` as a decimal number.
    pub(crate) fn number(&self, word: &str) -> Result<u64, FactError> {
        digits(word, 10).ok_or_else(|| self.shape("not a decimal number"))
    }

    /// `word` as a hexadecimal number without prefix.
    pub(crate) fn hex(&self, word: &str) -> Result<u64, FactError> {
        digits(word, 16).ok_or_else(|| self.shape("not a hexadecimal number"))
    }
}

/// Digits only: no sign, no blanks, no prefix.
fn digits(word: &str, radix: u32) -> Option<u64> {
    if word.is_empty() || !word.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(word, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        let line = Line { path: "/p", number: 3, text: "t" };
        assert_eq!(line.number("0123"), Ok(123));
        assert_eq!(line.hex("8000000"), Ok(0x800_0000));
        for bad in ["", "+1", "-1", " 1", "0x1", "1 kB", "99999999999999999999"] {
            assert!(line.number(bad).is_err(), "{bad}");
        }
        assert_eq!(line.number("x").unwrap_err().to_string(), "/p:3: not a decimal number: \"t\"");
    }

    #[test]
    fn a_file_that_went_away_is_a_race_and_damage_is_not() {
        let errno = |errno| FactError::Unreadable { path: "/p".into(), errno };
        assert!(errno(2).is_race() && errno(19).is_race() && !errno(5).is_race());
        assert!(!FactError::Missing { path: "/p".into() }.is_race());
        assert!(errno(12).is_want() && errno(24).is_want() && !errno(22).is_want());
    }
}
