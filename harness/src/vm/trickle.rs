//! Reading what a serial port sends: QEMU hands over one byte at a time, each with a system call of its own.
//!
//! Whoever blocks in `read` is woken for every byte, which takes as much of the host's time as the guest's work does.
//! So a byte that comes wakes the reader, the reader waits a moment for those that follow it, and takes them together.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A port of an emulated guest sends a hundred bytes in this time; an answer is late by it at most.
const MOMENT: Duration = Duration::from_micros(500);

/// Waits for bytes; 0 at the end of the connection, which errors are as well.
pub(super) fn read(stream: &mut UnixStream, bytes: &mut [u8]) -> usize {
    // Not read yet: one look, without taking, wakes for the first byte.
    let first = loop {
        match rustix::net::recv(&*stream, &mut bytes[..1], rustix::net::RecvFlags::PEEK) {
            Err(rustix::io::Errno::INTR) => {}
            Ok((_, n)) => break n,
            Err(_) => return 0,
        }
    };
    if first == 0 {
        return 0;
    }
    std::thread::sleep(MOMENT);
    loop {
        match stream.read(bytes) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            read => return read.unwrap_or(0),
        }
    }
}
