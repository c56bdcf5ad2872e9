//! A DIMM is asked back (device_del): how that may end (drivers/acpi/scan.c:acpi_scan_hot_remove).

use super::add::{set_offline, set_online};
use super::state::remembered;
use super::zones::zone_for;
use super::{BlockState, Knobs, Layout, Ruling, Subject, Unknown, Zone};

const EVENT: &str = "drivers/acpi/scan.c:acpi_generic_hotplug_event (5.10 to 7.3)";
const REMOVE: &str = "drivers/acpi/scan.c:acpi_scan_hot_remove (5.10 to 7.3)";
const TRY: &str = "drivers/acpi/scan.c:acpi_scan_try_to_offline (5.10 to 7.3)";

/// One way for a removal to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// the _OST that QEMU reports, in order: (source, status)
    pub osts: &'static [(u32, u32)],
    /// QEMU says DEVICE_DELETED, before the last _OST
    pub device_deleted: bool,
    /// why it may end so
    pub ruling: Ruling,
}

/// All ways for a removal to end; at least one is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnplugPermitted {
    /// the blocks are gone
    pub done: Option<Ending>,
    /// a block could not be taken offline: every block must be as before, in state **and zone**
    pub refused: Option<Ending>,
    /// ejection is forbidden: nothing was tried
    pub disabled: Option<Ending>,
    /// the removal may take for ever (first _OST only) where there is no room for what is in use in the DIMM
    pub may_hang: Option<Ruling>,
    /// bytes of the DIMM that are online: more than this need not be moved elsewhere
    pub online_bytes: u64,
}

/// How asking DIMM `name` back may end. The layout does not change: see [`apply_unplugged`] and [`rollback`].
///
/// # Errors
/// [`Unknown`] for kernels below 5.10 or without CONFIG_MEMORY_HOTREMOVE, for a DIMM that the layout does not
/// have, and while a block of it is going offline.
pub fn unplug(
    layout: &Layout,
    knobs: &Knobs,
    subject: &Subject,
    name: &str,
) -> Result<UnplugPermitted, Unknown> {
    subject.known()?;
    if !layout.dimms.contains_key(name) {
        return Err(Unknown::because(format!("DIMM {name} is not in the layout")));
    }
    let blocks: Vec<_> = layout.blocks_of(name).collect();
    if blocks.iter().any(|(_, b)| b.state == BlockState::GoingOffline) {
        return Err(Unknown::because(format!(
            "a block of {name} is going offline: the removal waits for it"
        )));
    }
    let nothing =
        UnplugPermitted { done: None, refused: None, disabled: None, may_hang: None, online_bytes: 0 };
    if !blocks.is_empty() && !knobs.acpi_eject_enabled {
        let ruling = Ruling::new("unplug.disabled", EVENT, "hotplug/memory/enabled is 0");
        let disabled = Some(Ending { osts: &[(3, 128)], device_deleted: false, ruling });
        return Ok(UnplugPermitted { disabled, ..nothing });
    }
    if !blocks.is_empty() && !subject.hotremove {
        return Err(Unknown::because("ejection without CONFIG_MEMORY_HOTREMOVE was not read"));
    }
    let online: Vec<_> = blocks.iter().filter(|(_, b)| b.state == BlockState::Online).collect();
    let online_bytes = online.len() as u64 * layout.block_bytes;
    let done = Some(done(&online.iter().map(|(number, _)| *number).collect::<Vec<_>>()));
    let pinned = online.iter().find(|(_, b)| b.zone != Some(Zone::Movable));
    let refused = pinned.map(|(number, b)| refused(*number, b.zone));
    let may_hang = (!online.is_empty()).then(|| {
        let text = "the pages in use are moved elsewhere, again and again until there is room";
        Ruling::new("unplug.no-room", TRY, text)
    });
    Ok(UnplugPermitted { done, refused, may_hang, online_bytes, ..nothing })
}

fn done(online: &[u32]) -> Ending {
    let text = match online {
        [] => "no block is online: nothing can be in the way".to_string(),
        some => format!("the kernel takes the {} online blocks offline by itself", some.len()),
    };
    let ruling = Ruling::new("unplug.done", REMOVE, text);
    Ending { osts: &[(3, 132), (3, 0)], device_deleted: true, ruling }
}

fn refused(number: u32, zone: Option<Zone>) -> Ending {
    let zone = zone.map_or("several zones".to_string(), |zone| zone.to_string());
    let text =
        format!("memory{number} is in {zone} and may hold pages that cannot be moved: all must be as before");
    let ruling = Ruling::new("unplug.refused", TRY, text);
    Ending { osts: &[(3, 132), (3, 130)], device_deleted: false, ruling }
}

/// How a removal ends that is refused for a reason outside the oracle: a notifier, a driver, an injected error.
pub fn refusal_for_a_reason_of_the_case() -> Ending {
    let text = "the case gives the kernel a reason to refuse: all must be as before";
    let ruling = Ruling::new("unplug.refused-by-case", TRY, text);
    Ending { osts: &[(3, 132), (3, 130)], device_deleted: false, ruling }
}

/// The DIMM is gone, and its blocks with it.
pub fn apply_unplugged(layout: &mut Layout, name: &str) {
    layout.dimms.remove(name);
    let gone: Vec<u32> = layout.blocks_of(name).map(|(number, _)| number).collect();
    for number in gone {
        layout.blocks.remove(&number);
        layout.remembered.remove(&number);
    }
}

/// What kernels make of a refusal, which is **not** what they must: the blocks that had been taken offline
/// (`offlined`) are onlined again without a type, so that each goes to its default zone instead of its own
/// (drivers/acpi/scan.c:acpi_bus_online, 5.10 to 7.3). Block and zone, ascending; for telling this defect
/// from others and for going on after it ([`apply_rollback`]).
///
/// # Errors
/// [`Unknown`] as [`zone_for`].
pub fn rollback(
    layout: &Layout,
    knobs: &Knobs,
    subject: &Subject,
    offlined: &[u32],
) -> Result<Vec<(u32, Zone, Ruling)>, Unknown> {
    let mut scratch = layout.clone();
    let mut numbers = offlined.to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.iter().for_each(|number| set_offline(&mut scratch, *number));
    let mut zones = Vec::new();
    for number in numbers {
        let online = remembered(&scratch, number);
        let (zone, ruling) = zone_for(&scratch, knobs, subject, number, online)?;
        set_online(&mut scratch, number, zone);
        zones.push((number, zone, ruling));
    }
    Ok(zones)
}

/// Takes what [`rollback`] says into the layout.
pub fn apply_rollback(layout: &mut Layout, zones: &[(u32, Zone, Ruling)]) {
    for (number, zone, _) in zones {
        set_online(layout, *number, *zone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::*;

    fn endings(guest: &Guest) -> (bool, bool, bool, bool) {
        let p = unplug(&guest.layout, &guest.knobs, &guest.subject, "dimm0").unwrap();
        (p.done.is_some(), p.refused.is_some(), p.disabled.is_some(), p.may_hang.is_some())
    }

    fn guest(policy: &str) -> Guest {
        let mut guest = Guest::new(subject("6.12"), &format!("memhp_default_state={policy}"));
        guest.plug(4, 0);
        guest
    }

    #[test]
    fn zones_decide() {
        assert_eq!(endings(&guest("offline")), (true, false, false, false));
        assert_eq!(endings(&guest("online_movable")), (true, false, false, true));
        assert_eq!(endings(&guest("online")), (true, true, false, true));
        let mut one = guest("online_movable");
        one.write(33, "offline");
        one.write(33, "online_kernel");
        assert_eq!(endings(&one), (true, true, false, true));
    }

    #[test]
    fn forbidden() {
        let mut guest = guest("online");
        guest.knobs.write_eject_enabled("0\n").unwrap();
        assert_eq!(endings(&guest), (false, false, true, false));
        let permitted = unplug(&guest.layout, &guest.knobs, &guest.subject, "dimm0").unwrap();
        assert_eq!(permitted.disabled.unwrap().osts, [(3, 128)]);
    }

    #[test]
    fn a_dimm_that_was_not_added_always_goes() {
        let mut guest = Guest::new(subject("6.12"), "acpi_no_memhotplug");
        guest.plug(2, 0);
        guest.knobs.acpi_eject_enabled = false;
        assert_eq!(endings(&guest), (true, false, false, false));
        assert!(unplug(&guest.layout, &guest.knobs, &guest.subject, "other").is_err());
    }

    #[test]
    fn gone_without_a_trace() {
        let mut guest = guest("online");
        guest.write(33, "online_movable");
        apply_unplugged(&mut guest.layout, "dimm0");
        assert_eq!(guest.layout, layout());
    }

    /// M N M M, the N pinned: all end up Normal.
    #[test]
    fn refusal_forgets_zones() {
        let mut guest = guest("offline");
        for (block, text) in
            [(32, "online_movable"), (33, "online_kernel"), (34, "online_movable"), (35, "online_movable")]
        {
            guest.write(block, text);
        }
        assert_eq!(guest.pattern(), "MNMM");
        let back = rollback(&guest.layout, &guest.knobs, &guest.subject, &[35, 32, 34]).unwrap();
        assert_eq!(back.iter().map(|(number, ..)| *number).collect::<Vec<_>>(), [32, 34, 35]);
        apply_rollback(&mut guest.layout, &back);
        assert_eq!(guest.pattern(), "NNNN");
    }

    #[test]
    fn refusal_obeys_remembered_types() {
        let mut guest = guest("online");
        guest.write(34, "online_movable");
        assert_eq!(guest.pattern(), "NNNN");
        let back = rollback(&guest.layout, &guest.knobs, &guest.subject, &[32, 34]).unwrap();
        apply_rollback(&mut guest.layout, &back);
        assert_eq!(guest.pattern(), "NNMN");
    }
}
