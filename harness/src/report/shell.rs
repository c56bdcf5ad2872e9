//! Small things of the command line: quoting, timestamps, a standard output that may be a closed pipe.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Quoted for a POSIX shell, where it needs to be.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// UTC as `20261122T233000Z`.
pub fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of a day number since 1970 (H. Hinnant, chrono-Compatible Low-Level Date Algorithms).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// Standard output. Once its reader has closed the pipe, what is written is dropped: that is success.
pub(super) struct Pipe<W> {
    inner: Option<W>,
}

impl<W: Write> Pipe<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner: Some(inner) }
    }

    fn attempt<T>(&mut self, dropped: T, work: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        match self.inner.as_mut().map(work) {
            None => Ok(dropped),
            Some(Err(e)) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.inner = None;
                Ok(dropped)
            }
            Some(result) => result,
        }
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(bytes.len(), |w| w.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt((), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates() {
        let at = |s| timestamp(UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!(at(0), "19700101T000000Z");
        assert_eq!(at(951_782_400), "20000229T000000Z");
        assert_eq!(at(1_795_390_199), "20261122T232959Z");
    }

    #[test]
    fn quoting() {
        assert_eq!(quote("./bzImage"), "./bzImage");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn a_closed_pipe_is_success() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(Pipe::new(Closed).write_all(b"more").is_ok());
    }
}
