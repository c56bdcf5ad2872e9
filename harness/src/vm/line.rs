//! What a serial port of the guest is connected to: a pipe each way.
//!
//! QEMU writes each byte of a port with a system call of its own. A pipe takes them for less than a socket does, and keeps
//! 64 KiB and more of them for a reader that is late, where a socket is full after a few hundred: a packet each. A guest
//! whose port is full spins in its driver, and is the slower for it.

use super::args::End;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A pipe is made as large as this where the host lets us (/proc/sys/fs/pipe-max-size is no less by default).
const ROOM: usize = 1 << 20;
/// A port of an emulated guest sends a hundred bytes in this time; an answer is late by it at most.
const MOMENT: Duration = Duration::from_micros(500);

/// Our ends.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) from_guest: File,
    pub(super) to_guest: File,
}

/// QEMU's ends.
#[derive(Debug)]
pub(super) struct Far {
    from_us: OwnedFd,
    to_us: OwnedFd,
}

/// A new line.
pub(super) fn pair() -> io::Result<(Line, Far)> {
    let (from_us, to_guest) = pipe_with(PipeFlags::CLOEXEC)?;
    let (from_guest, to_us) = pipe_with(PipeFlags::CLOEXEC)?;
    let _ = fcntl_setpipe_size(&from_guest, ROOM); // a smaller one does as well
    Ok((Line { from_guest: from_guest.into(), to_guest: to_guest.into() }, Far { from_us, to_us }))
}

impl Far {
    /// Makes them known in QEMU's directory as `NAME.in` and `NAME.out`, which a character device of kind `pipe` opens.
    pub(super) fn link(&self, dir: &Path, name: &str) -> io::Result<End> {
        for (end, fd) in [("in", &self.from_us), ("out", &self.to_us)] {
            symlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), dir.join(format!("{name}.{end}")))?;
        }
        Ok(End::Pipe(PathBuf::from(name)))
    }

    /// What QEMU must inherit.
    pub(super) fn fds(&self) -> [RawFd; 2] {
        [self.from_us.as_raw_fd(), self.to_us.as_raw_fd()]
    }
}

/// Waits for bytes; 0 at the end of the connection, which errors are as well.
///
/// Whoever blocks in `read` is woken for every byte, which takes as much of the host's time as the guest's work does. So
/// a byte that comes wakes the reader, the reader waits a moment for those that follow it, and takes them together.
pub(super) fn read(from: &mut File, bytes: &mut [u8]) -> usize {
    loop {
        match poll(&mut [PollFd::new(&*from, PollFlags::IN)], None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(_) => return 0,
        }
    }
    std::thread::sleep(MOMENT);
    loop {
        match from.read(bytes) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read.unwrap_or(0),
        }
    }
}

#[cfg(test)]
impl Line {
    /// A line whose far end is one socket: what a test holds.
    pub(super) fn of_test() -> (Self, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = |end: std::os::unix::net::UnixStream| File::from(OwnedFd::from(end));
        (Self { from_guest: file(ours.try_clone().unwrap()), to_guest: file(ours) }, theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_late_reader_has_room_and_gets_all() {
        let (mut line, far) = pair().unwrap();
        let mut port = File::from(far.to_us);
        (0..60_000u32).for_each(|n| port.write_all(&[n as u8]).unwrap()); // would block for ever in a socket
        drop(port);
        let (mut got, mut bytes) = (Vec::new(), [0; 4096]);
        while let n @ 1.. = read(&mut line.from_guest, &mut bytes) {
            got.extend_from_slice(&bytes[..n]);
        }
        assert_eq!(got, (0..60_000u32).map(|n| n as u8).collect::<Vec<_>>());
        drop(far.from_us);
        let gone = line.to_guest.write_all(b"x").unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn the_names_lead_to_the_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (mut line, far) = pair().unwrap();
        assert_eq!(far.link(dir.path(), "port").unwrap(), End::Pipe("port".into()));
        // as QEMU opens them
        let open = |name| File::options().read(true).write(true).open(dir.path().join(name)).unwrap();
        let (mut input, mut output) = (open("port.in"), open("port.out"));
        line.to_guest.write_all(b"to").unwrap();
        output.write_all(b"from").unwrap();
        let mut bytes = [0; 8];
        assert_eq!((input.read(&mut bytes).unwrap(), &bytes[..2]), (2, &b"to"[..]));
        assert_eq!((read(&mut line.from_guest, &mut bytes), &bytes[..4]), (4, &b"from"[..]));
    }
}
