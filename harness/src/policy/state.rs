//! User space writes `memoryN/state` or `memoryN/online` (drivers/base/memory.c:state_store,
//! drivers/base/core.c:online_store).

use super::add::{set_offline, set_online};
use super::number::{c_string, switch};
use super::spans::has_holes;
use super::writes::empty_write;
use super::zones::zone_for;
use super::{Block, BlockState, Errno, Knobs, Layout, OnlineType, Ruling, Subject, Unknown, Zone};
use std::fmt;

const STATE: &str = "drivers/base/memory.c:state_store (5.10 to 7.3)";
const ONLINE: &str = "drivers/base/core.c:online_store (5.10 to 7.3)";
const SUBSYS: &str = "drivers/base/memory.c:memory_subsys_online (5.10 to 7.3)";
const OFFLINE: &str = "mm/memory_hotplug.c:offline_pages (5.10 to 7.3)";
const BLOCK_OFFLINE: &str =
    "drivers/base/memory.c:memory_block_offline (since 5.18; before: test_pages_in_a_zone)";

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// the write succeeded and the block is so afterwards
    Done {
        /// its state
        state: BlockState,
        /// its zone while online
        zone: Option<Zone>,
    },
    /// the write failed and the block is as before
    Failed(Errno),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { state, zone: Some(zone) } => write!(f, "{state} in {zone}"),
            Self::Done { state, zone: None } => write!(f, "{state}"),
            Self::Failed(errno) => write!(f, "{errno}"),
        }
    }
}

/// One outcome that the kernel may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// how it ends
    pub outcome: Outcome,
    /// right only while memory is short
    pub only_under_pressure: bool,
    /// why it is right
    pub ruling: Ruling,
}

/// All outcomes that are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    /// the outcomes, what is wanted first; never empty
    pub allowed: Vec<Allowed>,
    /// the write may take for ever, for this reason: the block is `going-offline` meanwhile, and a signal
    /// ends it with EINTR, the block online in its zone as before
    pub may_hang: Option<Ruling>,
}

impl Permitted {
    fn one(outcome: Outcome, ruling: Ruling) -> Self {
        Self { allowed: vec![Allowed { outcome, only_under_pressure: false, ruling }], may_hang: None }
    }

    fn failed(errno: Errno, rule: &'static str, source: &'static str, text: impl Into<String>) -> Self {
        Self::one(Outcome::Failed(errno), Ruling::new(rule, source, text))
    }

    fn or(mut self, outcome: Outcome, only_under_pressure: bool, ruling: Ruling) -> Self {
        self.allowed.push(Allowed { outcome, only_under_pressure, ruling });
        self
    }

    /// The ruling that allows this outcome, if one does; `pressure`: memory was short.
    pub fn allows(&self, outcome: &Outcome, pressure: bool) -> Option<&Ruling> {
        let right = |a: &&Allowed| a.outcome == *outcome && (pressure || !a.only_under_pressure);
        self.allowed.iter().find(right).map(|a| &a.ruling)
    }

    /// The only outcome that is right while memory is not short, if there is just one.
    pub fn only(&self) -> Option<&Allowed> {
        let mut always = self.allowed.iter().filter(|a| !a.only_under_pressure);
        always.next().filter(|_| always.next().is_none())
    }
}

/// What writing `text` to `memoryN/state` may do. The layout does not change: see [`apply_write_state`].
///
/// # Errors
/// [`Unknown`] as [`zone_for`], and for a block that is going offline (the write waits for its end).
pub fn write_state(
    layout: &Layout,
    knobs: &Knobs,
    subject: &Subject,
    number: u32,
    text: &str,
) -> Result<Permitted, Unknown> {
    subject.known()?;
    let Some(block) = settled(layout, number)? else { return Ok(no_such_block(number)) };
    if text.is_empty() {
        return Ok(unchanged(block, empty_write()));
    }
    let Some(online) = OnlineType::parse(c_string(text)) else {
        let why = format!("{text:?} is no online type");
        return Ok(Permitted::failed(Errno::Einval, "state.word", STATE, why));
    };
    match (block.state, online) {
        (BlockState::Offline, OnlineType::Offline) => {
            let why = "offline already: device_offline() answers 1, which is EINVAL here";
            Ok(Permitted::failed(Errno::Einval, "state.again", STATE, why))
        }
        (BlockState::Online, OnlineType::Offline) => offline(layout, subject, number, block),
        (BlockState::Offline, online) => go_online(layout, knobs, subject, number, online),
        (_, online) => {
            let why = format!("online already: EINVAL, but {online} is remembered for its next onlining");
            Ok(Permitted::failed(Errno::Einval, "state.again", STATE, why))
        }
    }
}

/// What writing `text` to the driver core's `memoryN/online` may do: a switch, idempotent, and the kernel
/// picks the zone.
///
/// # Errors
/// [`Unknown`] as [`write_state`], and for switches whose meaning for this version was not read.
pub fn write_online(
    layout: &Layout,
    knobs: &Knobs,
    subject: &Subject,
    number: u32,
    text: &str,
) -> Result<Permitted, Unknown> {
    subject.known()?;
    let Some(block) = settled(layout, number)? else { return Ok(no_such_block(number)) };
    if text.is_empty() {
        return Ok(unchanged(block, empty_write()));
    }
    match (switch(text, subject.version)?, block.state) {
        (Err(errno), _) => {
            Ok(Permitted::failed(errno, "online.word", ONLINE, format!("{text:?} is no switch")))
        }
        (Ok(true), BlockState::Offline) => {
            go_online(layout, knobs, subject, number, remembered(layout, number))
        }
        (Ok(false), BlockState::Online) => offline(layout, subject, number, block),
        (Ok(_), state) => {
            Ok(unchanged(block, Ruling::new("online.again", ONLINE, format!("{state} already"))))
        }
    }
}

/// The type that the next onlining without one of its own uses.
pub(super) fn remembered(layout: &Layout, number: u32) -> OnlineType {
    layout.remembered.get(&number).copied().unwrap_or(OnlineType::Online)
}

/// The block if its state is settled; `None` if there is none.
fn settled(layout: &Layout, number: u32) -> Result<Option<&Block>, Unknown> {
    match layout.blocks.get(&number) {
        Some(block) if block.state == BlockState::GoingOffline => {
            Err(Unknown::because(format!("memory{number} is going offline: a write waits for how that ends")))
        }
        block => Ok(block),
    }
}

fn no_such_block(number: u32) -> Permitted {
    let why = format!("there is no memory{number}");
    Permitted::failed(Errno::Enoent, "block.absent", "fs/kernfs/dir.c:kernfs_iop_lookup (5.10 to 7.3)", why)
}

fn unchanged(block: &Block, ruling: Ruling) -> Permitted {
    Permitted::one(Outcome::Done { state: block.state, zone: block.zone }, ruling)
}

/// An offline block comes online.
fn go_online(
    layout: &Layout,
    knobs: &Knobs,
    subject: &Subject,
    number: u32,
    online: OnlineType,
) -> Result<Permitted, Unknown> {
    let (zone, ruling) = zone_for(layout, knobs, subject, number, online)?;
    let short = Ruling::new("online.no-memory", SUBSYS, "what the zone needs could not be allocated");
    let done = Outcome::Done { state: BlockState::Online, zone: Some(zone) };
    Ok(Permitted::one(done, ruling).or(Outcome::Failed(Errno::Enomem), true, short))
}

/// An online block goes offline, if its pages can be moved.
fn offline(layout: &Layout, subject: &Subject, number: u32, block: &Block) -> Result<Permitted, Unknown> {
    let einval = |rule, source, why: String| Ok(Permitted::failed(Errno::Einval, rule, source, why));
    if !subject.hotremove {
        return einval("offline.not-built", OFFLINE, "CONFIG_MEMORY_HOTREMOVE is not set".into());
    }
    let Some(zone) = block.zone else {
        return einval(
            "offline.zones",
            BLOCK_OFFLINE,
            format!("memory{number} spans several zones or nodes"),
        );
    };
    let done = Outcome::Done { state: BlockState::Offline, zone: None };
    let hang = "the pages in use are moved elsewhere, again and again until there is room";
    let hang = Ruling::new("offline.no-room", OFFLINE, hang);
    if zone == Zone::Movable && block.dimm.is_some() {
        let ruling = Ruling::new("offline.movable", OFFLINE, "all of Movable can be moved");
        return Ok(Permitted { may_hang: Some(hang), ..Permitted::one(done, ruling) });
    }
    let busy =
        Ruling::new("offline.unmovable", OFFLINE, format!("{zone} may hold pages that cannot be moved"));
    let ruling = Ruling::new("offline.kernel-zone", OFFLINE, format!("all in use in {zone} could be moved"));
    let permitted = Permitted::one(done, ruling).or(Outcome::Failed(Errno::Ebusy), false, busy);
    let permitted = Permitted { may_hang: Some(hang), ..permitted };
    let holes = Ruling::new("offline.holes", OFFLINE, format!("memory{number} has holes"));
    Ok(match has_holes(layout, number, block) {
        Some(false) => permitted,
        Some(true) => Permitted::one(Outcome::Failed(Errno::Einval), holes),
        None => permitted.or(Outcome::Failed(Errno::Einval), false, holes),
    })
}

/// Takes the outcome of a write to `state` into the layout. A rejected `online*` to an online block leaves
/// its trace too.
pub fn apply_write_state(layout: &mut Layout, number: u32, text: &str, outcome: &Outcome) {
    let online_already = layout.blocks.get(&number).is_some_and(|b| b.state == BlockState::Online);
    let online = OnlineType::parse(c_string(text)).filter(|online| *online != OnlineType::Offline);
    match (outcome, online) {
        (Outcome::Failed(Errno::Einval), Some(online)) if online_already && !text.is_empty() => {
            layout.remembered.insert(number, online);
        }
        (Outcome::Failed(_), Some(_)) => {
            layout.remembered.remove(&number);
        }
        _ => apply(layout, number, outcome),
    }
}

/// Takes the outcome of a write to `online` into the layout.
pub fn apply_write_online(layout: &mut Layout, number: u32, outcome: &Outcome) {
    let offline = layout.blocks.get(&number).is_some_and(|b| b.state == BlockState::Offline);
    if offline && *outcome == Outcome::Failed(Errno::Enomem) {
        layout.remembered.remove(&number);
    }
    apply(layout, number, outcome);
}

fn apply(layout: &mut Layout, number: u32, outcome: &Outcome) {
    let was = layout.blocks.get(&number).map(|b| b.state);
    match outcome {
        Outcome::Done { state: BlockState::Online, zone: Some(zone) } if was == Some(BlockState::Offline) => {
            set_online(layout, number, *zone);
        }
        Outcome::Done { state: BlockState::Offline, .. } => set_offline(layout, number),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::*;

    fn permitted(guest: &Guest, block: u32, text: &str) -> Permitted {
        write_state(&guest.layout, &guest.knobs, &guest.subject, block, text).unwrap()
    }

    /// The outcomes while memory is not short, as text.
    fn outcomes(permitted: &Permitted) -> Vec<String> {
        let always = permitted.allowed.iter().filter(|a| !a.only_under_pressure);
        always.map(|a| a.outcome.to_string()).collect()
    }

    #[test]
    fn words() {
        for version in ["5.10", "6.1", "6.12", "7.3"] {
            let mut guest = Guest::new(subject(version), "memhp_default_state=offline");
            guest.plug(2, 0);
            for bad in ["bogus", "Online", "online ", "1", "\n", "online\n\n", "online_"] {
                assert_eq!(outcomes(&permitted(&guest, 32, bad)), ["EINVAL"], "{bad:?}");
            }
            assert_eq!(outcomes(&permitted(&guest, 32, "offline")), ["EINVAL"]);
            assert_eq!(outcomes(&permitted(&guest, 32, "")), ["offline"]);
            assert_eq!(outcomes(&permitted(&guest, 32, "online\n")), ["online in Normal"]);
            assert_eq!(outcomes(&permitted(&guest, 32, "online\0rubbish")), ["online in Normal"]);
            assert_eq!(outcomes(&permitted(&guest, 32, "online_movable")), ["online in Movable"]);
            assert_eq!(outcomes(&permitted(&guest, 99, "online")), ["ENOENT"]);
            guest.write(32, "online");
            for again in ["online", "online_kernel", "online_movable"] {
                assert_eq!(outcomes(&permitted(&guest, 32, again)), ["EINVAL"]);
            }
            assert_eq!(outcomes(&permitted(&guest, 32, "offline")), ["offline", "EBUSY"]);
            guest.write(33, "online_movable");
            let movable = permitted(&guest, 33, "offline");
            assert_eq!(outcomes(&movable), ["offline"]);
            assert_eq!(movable.may_hang.unwrap().rule, "offline.no-room");
        }
    }

    #[test]
    fn boot_blocks() {
        let guest = Guest::new(subject("6.12"), "");
        assert_eq!(outcomes(&permitted(&guest, 0, "offline")), ["EINVAL"]);
        assert_eq!(outcomes(&permitted(&guest, 1, "offline")), ["offline", "EBUSY"]);
        assert_eq!(outcomes(&permitted(&guest, 3, "offline")), ["EINVAL"]);
        let mut ragged = Guest::new(subject("6.12"), "");
        ragged.layout.early.get_mut(&(0, Zone::Dma32)).unwrap().present -= 1;
        assert_eq!(outcomes(&permitted(&ragged, 1, "offline")), ["offline", "EBUSY", "EINVAL"]);
    }

    /// 3 GiB: DMA32 is spanned up to 4 GiB, and some page of its blocks is the firmware's.
    #[test]
    fn boot_blocks_of_a_split_guest() {
        let mut guest = Guest::new(subject("7.3"), "");
        guest.layout = crate::policy::guest(3 << 30).unwrap();
        assert_eq!(outcomes(&permitted(&guest, 15, "offline")), ["offline", "EBUSY", "EINVAL"]);
        assert_eq!(outcomes(&permitted(&guest, 32, "offline")), ["offline", "EBUSY"]);
        guest.layout.early.get_mut(&(0, Zone::Dma32)).unwrap().present += 32;
        assert_eq!(outcomes(&permitted(&guest, 15, "offline")), ["offline", "EBUSY"]);
    }

    #[test]
    fn boot_blocks_come_back_to_their_zone() {
        let mut guest = Guest::new(subject("6.12"), "");
        guest.write(1, "offline");
        assert_eq!(guest.valid_zones(1), "DMA32 Movable");
        assert_eq!(super::super::present_pages(&guest.layout, 0, Zone::Dma32), 126_944 - 32_768);
        guest.write(1, "online_movable");
        assert_eq!(super::super::present_pages(&guest.layout, 0, Zone::Movable), 32_768);
        assert_eq!(outcomes(&permitted(&guest, 1, "offline")), ["offline", "EBUSY"]);
        guest.write(1, "offline");
        assert_eq!(guest.valid_zones(1), "DMA32 Movable");
        guest.write(1, "online");
        assert_eq!(guest.layout, layout());
    }

    #[test]
    fn short_memory_excuses_enomem_only() {
        let mut guest = Guest::new(subject("6.12"), "memhp_default_state=offline");
        guest.plug(1, 0);
        let permitted = permitted(&guest, 32, "online");
        assert!(permitted.allows(&Outcome::Failed(Errno::Enomem), true).is_some());
        assert!(permitted.allows(&Outcome::Failed(Errno::Enomem), false).is_none());
        assert!(permitted.allows(&Outcome::Failed(Errno::Ebusy), true).is_none());
        assert_eq!(permitted.only().unwrap().ruling.rule, "zone.contig.tie");
    }

    #[test]
    fn online_is_a_switch() {
        let mut guest = Guest::new(subject("6.12"), "memhp_default_state=offline");
        guest.plug(2, 0);
        let online = |guest: &Guest, text| {
            let permitted = write_online(&guest.layout, &guest.knobs, &guest.subject, 32, text).unwrap();
            outcomes(&permitted)
        };
        assert_eq!(online(&guest, "online_movable"), ["online in Normal"]);
        assert_eq!(online(&guest, "0"), ["offline"]);
        assert_eq!(online(&guest, "bogus"), ["EINVAL"]);
        guest.write(32, "online_movable");
        assert_eq!(online(&guest, "1"), ["online in Movable"]);
        assert_eq!(online(&guest, "off"), ["offline"]);
    }

    /// A write that was refused decides the zone of the next onlining without a type.
    #[test]
    fn rejected_types_are_remembered() {
        let mut guest = Guest::new(subject("6.12"), "memhp_default_state=online");
        guest.plug(1, 0);
        assert_eq!(guest.pattern(), "N");
        guest.write(32, "online_movable");
        assert_eq!((guest.pattern().as_str(), guest.layout.remembered.len()), ("N", 1));
        guest.write(32, "offline");
        let permitted = write_online(&guest.layout, &guest.knobs, &guest.subject, 32, "1").unwrap();
        assert_eq!(outcomes(&permitted), ["online in Movable"]);
        guest.write(32, "online");
        assert_eq!((guest.pattern().as_str(), guest.layout.remembered.len()), ("N", 0));
    }

    #[test]
    fn without_hot_removal_nothing_goes_offline() {
        let mut fixed = subject("6.12");
        fixed.hotremove = false;
        let mut guest = Guest::new(fixed, "memhp_default_state=online_movable");
        guest.plug(1, 0);
        assert_eq!(outcomes(&permitted(&guest, 32, "offline")), ["EINVAL"]);
    }
}
