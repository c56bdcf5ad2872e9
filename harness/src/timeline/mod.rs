//! What happened when, for every plug and every block of it: what memhp and QEMU did (the host's clock) beside what the
//! kernel and user space did (the guest's), with the error of relating the two. Pure: moments in, a record out.
//!
//! It judges nothing. A block's times are when the agent took the uevent from its socket: after the fact, by as long as
//! the agent waited for a processor.

pub mod clock;
mod draw;
#[cfg(test)]
mod tests;

pub use clock::{Clock, Tie};
pub use draw::svg;

use clock::nanoseconds;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Instant;
use wire::Uevent;

/// Bytes of a page (x86).
const PAGE: u64 = 4096;

/// A plug as the host saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlugTimes {
    /// its name
    pub dimm: String,
    /// guest physical address
    pub addr: u64,
    /// bytes
    pub size: u64,
    /// `device_add` was sent
    pub sent: Instant,
    /// QEMU had answered it
    pub answered: Instant,
    /// the guest's report came (_OST), if one was waited for
    pub ost: Option<Instant>,
}

/// A uevent of a memory block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    block: u32,
    online: bool,
    t_ns: u64,
}

/// Collects while a scenario runs.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    ties: Vec<Tie>,
    told: Vec<Told>,
    used: Vec<(u64, u64)>,
}

/// The record. Times are in ns since `device_add` of the plug was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// greatest error of relating the guest's times to the host's, in ns
    pub clock_error_ns: u64,
    /// the guest was asked for its time only once: how the clocks ran apart afterwards is not in the error
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clock_drift_unknown: bool,
    /// every plug that QEMU took, in order
    pub plugs: Vec<Plug>,
}

/// One plug.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plug {
    /// its name
    pub dimm: String,
    /// QEMU had answered `device_add`: the host's clock, no error of relation
    pub answered_ns: i64,
    /// the guest's report came: as above; absent: none came, or none was waited for
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ost_ns: Option<i64>,
    /// the first of its pages that was seen in use (step `touch`): the guest's clock; absent: none was looked for
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
    /// its blocks, by number: the guest's clock, each time exact to `clock_error_ns`
    pub blocks: Vec<Block>,
}

/// A page that was taken by a program of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// the block that it is in
    pub block: u32,
    /// when it was written to: exact to `clock_error_ns`
    pub at_ns: i64,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// its number
    pub block: u32,
    /// its first `add` uevent; absent: none came
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_ns: Option<i64>,
    /// its first `online` uevent; absent: none came
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online_ns: Option<i64>,
    /// who brought it online; absent: it is not online, or the times are too close to tell
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
}

/// Who brings a block online. The kernel does so before it reports on the plug, and whoever else wants to has to wait
/// for that: both hold device_hotplug_lock (acpi_device_hotplug, state_store).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// the kernel's policy
    Kernel,
    /// udevd, or the case itself
    UserSpace,
}

impl Recorder {
    /// Notes a relation of the clocks.
    pub fn tie(&mut self, tie: Tie) {
        self.ties.push(tie);
    }

    /// Notes a uevent, if it is one of a memory block that matters here.
    pub fn uevent(&mut self, uevent: &Uevent) {
        let online = match uevent.action.as_str() {
            "add" => false,
            "online" => true,
            _ => return,
        };
        // udevadm trigger sends `add` again.
        let synthetic = uevent.env.contains_key("SYNTH_UUID");
        if let Some(block) = block_of(&uevent.devpath).filter(|_| !synthetic) {
            self.told.push(Told { block, online, t_ns: uevent.t_ns });
        }
    }

    /// Notes that a page, by its frame, was in use at a time of the guest's.
    pub fn used(&mut self, pfn: u64, t_ns: u64) {
        self.used.push((pfn, t_ns));
    }

    /// The record; `None` where nothing was plugged or the guest never told its time. `block_bytes`: size of a block.
    pub fn timeline(&self, plugs: &[PlugTimes], block_bytes: u64) -> Option<Timeline> {
        let clock = Clock::new(&self.ties)?;
        if plugs.is_empty() || block_bytes == 0 {
            return None;
        }
        let one = |(at, plug): (usize, &PlugTimes)| {
            let until = plugs[at + 1..].iter().find(|later| later.overlaps(plug)).map(|p| p.sent);
            self.plug(plug, until, &clock, block_bytes)
        };
        Some(Timeline {
            clock_error_ns: clock.error_ns(),
            clock_drift_unknown: clock.drift_unknown(),
            plugs: plugs.iter().enumerate().map(one).collect(),
        })
    }

    /// One plug, whose blocks are another one's from `until` on.
    fn plug(&self, plug: &PlugTimes, until: Option<Instant>, clock: &Clock, block_bytes: u64) -> Plug {
        let begun = clock.guest_ns(plug.sent);
        let error = i128::from(clock.error_ns());
        let end = until.map_or(i128::MAX, |at| clock.guest_ns(at) - error);
        let ours = |t: &i128| (begun - error..end).contains(t);
        let first = |block: u32, online: bool| {
            let told = self.told.iter().filter(|t| t.block == block && t.online == online);
            told.map(|t| i128::from(t.t_ns)).filter(ours).min().map(|t| t - begun)
        };
        let own = plug.addr / PAGE..(plug.addr + plug.size) / PAGE;
        let used = self.used.iter().filter(|(pfn, _)| own.contains(pfn));
        let used = used.map(|(pfn, t)| (i128::from(*t), *pfn)).filter(|(t, _)| ours(t)).min();
        let ost = plug.ost.map(|at| nanoseconds(plug.sent, at));
        let block = |block: u32| {
            let online = first(block, true);
            Block {
                block,
                add_ns: first(block, false).map(narrow),
                online_ns: online.map(narrow),
                by: online.zip(ost).and_then(|(online, ost)| by(online, ost, error)),
            }
        };
        Plug {
            dimm: plug.dimm.clone(),
            answered_ns: narrow(nanoseconds(plug.sent, plug.answered)),
            ost_ns: ost.map(narrow),
            used: used.map(|(t, pfn)| Used {
                block: u32::try_from(pfn * PAGE / block_bytes).unwrap_or(u32::MAX),
                at_ns: narrow(t - begun),
            }),
            blocks: plug.blocks(block_bytes).map(block).collect(),
        }
    }
}

impl PlugTimes {
    fn overlaps(&self, other: &Self) -> bool {
        self.addr < other.addr + other.size && other.addr < self.addr + self.size
    }

    /// Numbers of the blocks that lie in it whole.
    fn blocks(&self, block_bytes: u64) -> Range<u32> {
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        number(self.addr.div_ceil(block_bytes))..number((self.addr + self.size) / block_bytes)
    }
}

fn by(online: i128, ost: i128, error: i128) -> Option<By> {
    if online + error < ost { Some(By::Kernel) } else { (online - error > ost).then_some(By::UserSpace) }
}

fn narrow(ns: i128) -> i64 {
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

/// Number of a memory block by its path below /sys.
pub fn block_of(devpath: &str) -> Option<u32> {
    devpath.strip_prefix("/devices/system/memory/memory")?.parse().ok()
}
