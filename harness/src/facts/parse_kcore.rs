//! The segments of memory in /proc/kcore, as the agent tells them.

use super::error::{FactError, Line};
use super::source::Source;
use super::watch::KCORE;

/// Memory that a program header of /proc/kcore tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// first address
    pub start: u64,
    /// first address behind it
    pub end: u64,
}

impl std::fmt::Display for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}-{:#x}", self.start, self.end - 1)
    }
}

/// The file; `None` where the kernel does not have it (CONFIG_PROC_KCORE), where it was not asked for (old logs), and where
/// nobody may read it (fs/proc/kcore.c:open_kcore: EPERM with `lockdown=confidentiality`).
pub(super) fn kcore(source: &mut Source<'_>) -> Result<Option<Vec<Segment>>, FactError> {
    const EPERM: i32 = 1;
    if !source.asked(KCORE) {
        return Ok(None);
    }
    match source.optional(KCORE) {
        Err(FactError::Unreadable { errno: EPERM, .. }) => Ok(None),
        text => text?.map(|text| Line::all(KCORE, text).map(|line| segment(&line)).collect()).transpose(),
    }
}

fn segment(line: &Line<'_>) -> Result<Segment, FactError> {
    let (start, size) = line.text.split_once(' ').ok_or_else(|| line.shape("not `ADDRESS SIZE`"))?;
    let (start, size) = (line.hex(start)?, line.hex(size)?);
    let end = start.checked_add(size).filter(|end| *end > start);
    Ok(Segment { start, end: end.ok_or_else(|| line.shape("not a range of addresses"))? })
}

#[cfg(test)]
mod tests {
    use super::super::raw::Raw;
    use super::*;
    use wire::Value;

    fn of(value: Option<Value>) -> Result<Option<Vec<Segment>>, FactError> {
        let mut raw = Raw::new();
        let entries = value.map(|value| ("kcore".to_string(), value)).into_iter().collect();
        let changed = [("/proc".to_string(), entries)].into();
        raw.apply(&wire::Snapshot { changed, gone: vec![], threads: vec![] });
        let mut source = Source::new(&raw);
        let seen = kcore(&mut source);
        let enoent = raw.file(KCORE) == Some(&Value::Errno(2));
        assert_eq!(source.absent.contains(KCORE), enoent);
        seen
    }

    #[test]
    fn segments() {
        let text = |text: &str| of(Some(Value::Text(text.into())));
        let seen = text("1000 9e000\n100000000 8000000\n").unwrap().unwrap();
        let all: Vec<String> = seen.iter().map(ToString::to_string).collect();
        assert_eq!(all, ["0x1000-0x9efff", "0x100000000-0x107ffffff"]);
        assert_eq!(text(""), Ok(Some(Vec::new())));
        for bad in ["1000\n", "1000 0\n", "ffffffffffffffff 1\n", "0x1000 1\n", "1000 1 \n", "\n"] {
            assert!(text(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_kernel_without_it_and_an_old_log_tell_nothing() {
        assert_eq!(
            [None, Some(2), Some(1)].map(|errno| of(errno.map(Value::Errno))),
            [const { Ok(None) }; 3]
        );
        let unreadable = FactError::Unreadable { path: KCORE.into(), errno: 8 };
        assert_eq!(of(Some(Value::Errno(8))), Err(unreadable));
    }
}
