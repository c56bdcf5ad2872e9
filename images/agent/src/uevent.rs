//! Uevents, as they come out of the netlink socket.

use crate::outbox::now_ns;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::collections::BTreeMap;
use wire::{Message, Uevent};

/// Room for what arrives while the agent is busy: about 20,000 events of a memory block.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Multicast group of the kernel's own events (udev's is 2).
const KERNEL_GROUP: u32 = 1;

/// The socket.
pub(crate) struct Uevents {
    fd: OwnedFd,
    buffer: Vec<u8>,
    /// events of a storm since the last one that was told
    skipped: u64,
}

impl Uevents {
    /// Begins to listen. Fails with EAFNOSUPPORT or ENOSYS on a kernel without networking.
    pub(crate) fn open() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER)?;
        bind(&fd, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
        Ok(Self { fd, buffer: vec![0; 16 << 10], skipped: 0 }) // UEVENT_BUFFER_SIZE is 2 KiB plus the devpath
    }

    /// For poll.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Hands every event that has arrived to `sink`.
    pub(crate) fn drain(&mut self, mut sink: impl FnMut(Message)) {
        loop {
            let n = match recv(&self.fd, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((n, _)) => n,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => {
                    sink(Message::UeventsLost { t_ns: now_ns() });
                    continue;
                }
                Err(e) => {
                    sink(Message::Log { t_ns: now_ns(), text: format!("uevent socket: {e}") });
                    return;
                }
            };
            let t_ns = now_ns();
            match parse(&self.buffer[..n], t_ns) {
                Some(event) if of_storm(&event) => self.skipped += 1,
                Some(event) => {
                    let skipped = std::mem::take(&mut self.skipped);
                    sink(Message::Uevent(Uevent { skipped, ..event }));
                }
                None => {
                    let text =
                        format!("not a uevent: {:?}", String::from_utf8_lossy(&self.buffer[..n.min(200)]));
                    sink(Message::Log { t_ns, text });
                }
            }
        }
    }
}

fn of_storm(event: &Uevent) -> bool {
    event.env.get("SYNTH_UUID").is_some_and(|uuid| uuid == wire::STORM_UUID)
}

/// `ACTION@DEVPATH`, then `KEY=VALUE`s, each ended by a zero byte (lib/kobject_uevent.c:kobject_uevent_env).
fn parse(datagram: &[u8], t_ns: u64) -> Option<Uevent> {
    let text = String::from_utf8_lossy(datagram);
    let mut parts = text.trim_end_matches('\0').split('\0');
    let (action, devpath) = parts.next()?.split_once('@')?;
    let mut env = BTreeMap::new();
    for part in parts {
        let (key, value) = part.split_once('=')?;
        env.insert(key.to_owned(), value.to_owned());
    }
    let seqnum = env.remove("SEQNUM")?.parse().ok()?;
    (env.remove("ACTION")? == action).then_some(())?;
    (env.remove("DEVPATH")? == devpath).then_some(())?;
    Some(Uevent { t_ns, seqnum, action: action.into(), devpath: devpath.into(), env, skipped: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONLINE: &[u8] = b"online@/devices/system/memory/memory32\0ACTION=online\0\
        DEVPATH=/devices/system/memory/memory32\0SUBSYSTEM=memory\0X=a=b\0SEQNUM=1234\0";

    #[test]
    fn the_head_and_the_number_leave_the_environment() {
        let event = parse(ONLINE, 7).expect("a uevent");
        assert_eq!(event.t_ns, 7);
        assert_eq!(event.seqnum, 1234);
        assert_eq!(event.action, "online");
        assert_eq!(event.devpath, "/devices/system/memory/memory32");
        let rest = BTreeMap::from([
            ("SUBSYSTEM".to_owned(), "memory".to_owned()),
            ("X".to_owned(), "a=b".to_owned()),
        ]);
        assert_eq!(event.env, rest);
    }

    #[test]
    fn events_of_a_storm_are_told_from_others() {
        let with = |rest: &str| parse(&[ONLINE, rest.as_bytes()].concat(), 0).is_some_and(|e| of_storm(&e));
        assert!(with(&format!("SYNTH_UUID={}\0", wire::STORM_UUID)));
        assert!(!with("SYNTH_UUID=0\0"));
        assert!(!with(""));
    }

    #[test]
    fn a_datagram_that_is_cut_or_contradicts_itself_is_no_uevent() {
        assert_eq!(parse(b"", 0), None);
        assert_eq!(parse(b"libudev\0\xfe\xed\xca\xfe", 0), None);
        assert_eq!(parse(&ONLINE[..ONLINE.len() - 13], 0), None); // no SEQNUM
        let other =
            String::from_utf8(ONLINE.to_vec()).expect("ASCII").replace("ACTION=online", "ACTION=change");
        assert_eq!(parse(other.as_bytes(), 0), None);
    }
}
