//! Reading a [`Raw`] state by path, with what is absent told apart from what is unreadable.

use super::error::{FactError, Line};
use super::raw::Raw;
use std::collections::{BTreeMap, BTreeSet};
use wire::Value;

const ENOENT: i32 = 2;

/// A raw state, and the paths that were asked for and are not there.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    raw: &'a Raw,
    /// optional paths that are not there
    pub(crate) absent: BTreeSet<String>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(raw: &'a Raw) -> Self {
        Self { raw, absent: BTreeSet::new() }
    }

    /// Content of a file, `None` where the kernel does not have it. Any errno but ENOENT is an error.
    pub(crate) fn optional(&mut self, path: &str) -> Result<Option<&'a str>, FactError> {
        match self.raw.file(path) {
            Some(Value::Text(text)) => Ok(Some(text)),
            None | Some(Value::Errno(ENOENT)) => {
                self.absent.insert(path.to_string());
                Ok(None)
            }
            Some(Value::Errno(errno)) => Err(FactError::Unreadable { path: path.into(), errno: *errno }),
        }
    }

    /// Was this file asked for? An old log has no word of what is watched since.
    pub(crate) fn asked(&self, path: &str) -> bool {
        self.raw.file(path).is_some()
    }

    /// Content of a file that every kernel has.
    pub(crate) fn required(&mut self, path: &str) -> Result<&'a str, FactError> {
        self.optional(path)?.ok_or_else(|| FactError::Missing { path: path.into() })
    }

    /// Names in a directory, `None` where it is not there.
    pub(crate) fn listing(&mut self, dir: &str) -> Result<Option<BTreeSet<String>>, FactError> {
        let names = self.optional(&format!("{dir}/."))?;
        Ok(names.map(|names| entries(names).map(|(name, _)| name.to_string()).collect()))
    }

    /// Permissions of the regular files of a listed directory, in octal.
    pub(crate) fn modes(&self, dir: &str) -> BTreeMap<String, String> {
        let Some(Value::Text(names)) = self.raw.file(&format!("{dir}/.")) else { return BTreeMap::new() };
        entries(names).filter_map(|(name, mode)| Some((name.to_string(), mode?.to_string()))).collect()
    }

    /// Symbolic links of a directory whose name begins with `prefix`: name and last component of the target.
    pub(crate) fn links(&self, dir: &str, prefix: &str) -> Vec<(&'a str, &'a str)> {
        let entries = self.raw.dir(dir).into_iter().flatten();
        let links = entries.filter_map(|(name, value)| match value {
            Value::Text(target) => Some((name.strip_prefix("->")?, target.as_str())),
            Value::Errno(_) => None,
        });
        links.filter(|(name, _)| name.starts_with(prefix)).collect()
    }

    /// Watched directories below `parent` whose name begins with `prefix`: rest of the name and path.
    pub(crate) fn children(&self, parent: &str, prefix: &str) -> Vec<(String, String)> {
        let start = format!("{parent}/{prefix}");
        let rests = self.raw.dirs(&start).map(|(rest, _)| rest.to_string());
        rests.filter(|r| !r.contains('/')).map(|r| (r.clone(), format!("{start}{r}"))).collect()
    }

    /// Names of the watched kernel threads.
    pub(crate) fn threads(&self) -> &'a [String] {
        self.raw.threads()
    }
}

/// Names of a listing, with permissions where they have any.
fn entries(listing: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let words = listing.split(' ').filter(|word| !word.is_empty());
    words.map(|word| word.split_once('=').map_or((word, None), |(name, mode)| (name, Some(mode))))
}

/// The only line of a file that holds one line, which ends as lines do.
pub(crate) fn single<'a>(path: &'a str, text: &'a str) -> Result<Line<'a>, FactError> {
    let line = Line { path, number: 1, text: text.strip_suffix('\n').unwrap_or(text) };
    match text.matches('\n').count() {
        1 if text.ends_with('\n') => Ok(line),
        0 => Err(line.shape("no newline at its end")),
        _ => Err(line.shape("more than one line")),
    }
}

/// Numbers of a kernel list such as `0-2,5`; an empty text is the empty set (lib/bitmap.c:bitmap_print_to_pagebuf).
pub(crate) fn number_list(line: &Line<'_>) -> Result<BTreeSet<u32>, FactError> {
    let mut set = BTreeSet::new();
    for part in line.text.split(',').filter(|_| !line.text.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (small(line, first)?, small(line, last)?);
        if first > last || last - first > 4096 {
            return Err(line.shape("not a list of numbers"));
        }
        set.extend(first..=last);
    }
    Ok(set)
}

/// A decimal number of at most 32 bits.
pub(crate) fn small(line: &Line<'_>, word: &str) -> Result<u32, FactError> {
    u32::try_from(line.number(word)?).map_err(|_| line.shape("number too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        let list = |text| number_list(&Line { path: "/p", number: 1, text });
        assert_eq!(list("0-2,5"), Ok(BTreeSet::from([0, 1, 2, 5])));
        assert_eq!(list(""), Ok(BTreeSet::new()));
        for bad in ["2-1", "a", "0,", "-1", "0-99999"] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_line_means_one() {
        assert_eq!(single("/p", "online\n").map(|l| l.text), Ok("online"));
        assert_eq!(single("/p", "\n").map(|l| l.text), Ok(""));
        for bad in ["a\nb\n", "a\nb", "a\n\n", "online", ""] {
            assert!(single("/p", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_enoent_means_absent() {
        let mut raw = Raw::new();
        let entries = [("a".to_string(), Value::Errno(2)), ("b".to_string(), Value::Errno(5))];
        let changed = [("/d".to_string(), entries.into())].into();
        raw.apply(&wire::Snapshot { changed, gone: vec![], threads: vec![] });
        let mut source = Source::new(&raw);
        assert_eq!(source.optional("/d/a"), Ok(None));
        assert_eq!(source.optional("/d/c"), Ok(None));
        assert_eq!(["/d/a", "/d/c"].map(|path| source.asked(path)), [true, false]);
        assert_eq!(source.optional("/d/b"), Err(FactError::Unreadable { path: "/d/b".into(), errno: 5 }));
        assert_eq!(source.absent.iter().collect::<Vec<_>>(), ["/d/a", "/d/c"]);
        assert_eq!(source.required("/d/c"), Err(FactError::Missing { path: "/d/c".into() }));
    }
}
