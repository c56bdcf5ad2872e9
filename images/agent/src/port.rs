//! The serial port to the harness: opened once, raw, never blocking.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{ControlModes, OptionalActions, SpecialCodeIndex};
use wire::{FrameError, FrameReader, FrameWriter, Message, Request};

/// The port's device; the first serial port is the kernel's console.
pub(crate) const DEVICE: &str = "/dev/ttyS1";

/// Messages out, requests in.
pub(crate) struct Port {
    fd: OwnedFd,
    reader: FrameReader,
    out: Vec<u8>,
    written: usize,
    writer: FrameWriter,
    /// Messages made before the harness said Hello; `None` afterwards.
    early: Option<Vec<Message>>,
}

impl Port {
    /// Opens the device and makes it raw.
    pub(crate) fn open(device: &str) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(device, flags, Mode::empty())?;
        let mut termios = rustix::termios::tcgetattr(&fd)?;
        termios.make_raw();
        termios.set_speed(115_200)?;
        termios.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        termios.control_modes &= !(ControlModes::CRTSCTS | ControlModes::HUPCL);
        termios.special_codes[SpecialCodeIndex::VMIN] = 1;
        termios.special_codes[SpecialCodeIndex::VTIME] = 0;
        rustix::termios::tcsetattr(&fd, OptionalActions::Now, &termios)?;
        Ok(Self {
            fd,
            reader: FrameReader::new(),
            out: Vec::with_capacity(256 << 10),
            written: 0,
            writer: FrameWriter::new(),
            early: Some(Vec::new()),
        })
    }

    /// For poll.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Bytes wait to be written.
    pub(crate) fn pending(&self) -> bool {
        self.written < self.out.len()
    }

    /// Queues a message; it is held back until the harness has said Hello.
    pub(crate) fn send(&mut self, message: Message) {
        match &mut self.early {
            Some(early) => early.push(message),
            None => self.enqueue(&message),
        }
    }

    /// Sends `hello`, then what was held back.
    pub(crate) fn open_up(&mut self, hello: Message) {
        let early = self.early.take().unwrap_or_default();
        self.enqueue(&hello);
        for message in early {
            self.enqueue(&message);
        }
    }

    fn enqueue(&mut self, message: &Message) {
        self.out.extend_from_slice(&self.writer.encode(message));
    }

    /// Writes what the port takes now.
    pub(crate) fn flush(&mut self) -> Result<(), Errno> {
        while self.pending() {
            match rustix::io::write(&self.fd, &self.out[self.written..]) {
                Ok(n) => self.written += n,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Takes in what has arrived.
    pub(crate) fn fill(&mut self) -> Result<(), Errno> {
        let mut bytes = [0u8; 4096];
        loop {
            match rustix::io::read(&self.fd, &mut bytes) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(()),
                Ok(n) => self.reader.push(&bytes[..n]),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// The next request, or why a line is none.
    pub(crate) fn next(&mut self) -> Option<Result<Request, FrameError>> {
        self.reader.take()
    }
}
