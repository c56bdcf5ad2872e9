//! What `memoryN/valid_zones` reads (drivers/base/memory.c:valid_zones_show).

use super::zones::{block, zone_for};
use super::{BlockState, Knobs, Layout, OnlineType, Subject, Unknown};

/// The text without its newline; `None` where the kernel has no such file (CONFIG_MEMORY_HOTREMOVE).
///
/// Online: the zone, or `none` for a block in several zones or nodes. Else: what `online`, `online_kernel`
/// and `online_movable` would choose now, in this order, the last two only where they differ from the first
/// (5.10 to 7.3). Reading it while a DIMM is being added crashes kernels before 6.18: their blocks have no
/// node yet.
///
/// # Errors
/// [`Unknown`] as [`zone_for`].
pub fn valid_zones(
    layout: &Layout,
    knobs: &Knobs,
    subject: &Subject,
    number: u32,
) -> Result<Option<String>, Unknown> {
    subject.known()?;
    let block = block(layout, number)?;
    if !subject.hotremove {
        return Ok(None);
    }
    if block.state == BlockState::Online {
        return Ok(Some(block.zone.map_or("none", |zone| zone.name()).to_string()));
    }
    let (default, _) = zone_for(layout, knobs, subject, number, OnlineType::Online)?;
    let mut text = default.name().to_string();
    for online in [OnlineType::OnlineKernel, OnlineType::OnlineMovable] {
        let (zone, _) = zone_for(layout, knobs, subject, number, online)?;
        if zone != default {
            text.push(' ');
            text.push_str(zone.name());
        }
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::*;

    #[test]
    fn fresh_blocks() {
        for (cmdline, text) in [("", "Normal Movable"), ("movable_node", "Movable Normal")] {
            let mut guest = Guest::new(subject("6.12"), &format!("memhp_default_state=offline {cmdline}"));
            guest.plug(4, 0);
            for block in 32..36 {
                assert_eq!(guest.valid_zones(block), text);
            }
        }
    }

    #[test]
    fn boot_blocks() {
        let guest = Guest::new(subject("5.10"), "");
        assert_eq!(guest.valid_zones(0), "none");
        assert_eq!(guest.valid_zones(1), "DMA32");
    }

    /// Being inside a span decides, not being next to it.
    #[test]
    fn neighbours() {
        for version in ["5.10", "6.1", "6.12", "7.3"] {
            let guest = |writes: &[(u32, &str)]| {
                let mut guest = Guest::new(subject(version), "memhp_default_state=offline");
                guest.plug(8, 0);
                writes.iter().for_each(|(block, text)| guest.write(*block, text));
                guest
            };
            let two = guest(&[(32, "online_movable"), (34, "online_movable")]);
            assert_eq!(
                (two.valid_zones(33), two.valid_zones(35)),
                ("Movable Normal".into(), "Normal Movable".into())
            );
            let both = guest(&[
                (33, "online_kernel"),
                (35, "online_kernel"),
                (32, "online_movable"),
                (36, "online_movable"),
            ]);
            assert_eq!(both.valid_zones(34), "Normal Movable");
            let apart = guest(&[(32, "online_movable"), (34, "online_kernel")]);
            assert_eq!(apart.valid_zones(33), "Normal Movable");
            let one = guest(&[(33, "online_movable")]);
            for beside in [32, 34] {
                assert_eq!(one.valid_zones(beside), "Normal Movable", "next to it is outside");
            }
            let shrunk = guest(&[(32, "online_movable"), (34, "online_movable"), (34, "offline")]);
            assert_eq!(
                (shrunk.valid_zones(33), shrunk.valid_zones(34)),
                ("Normal Movable".into(), "Normal Movable".into())
            );
        }
    }

    #[test]
    fn under_auto_movable() {
        let mut guest = Guest::new(
            subject("6.12"),
            "memhp_default_state=offline memory_hotplug.online_policy=auto-movable",
        );
        guest.plug(4, 0);
        assert_eq!(guest.valid_zones(32), "Movable Normal");
        guest.write(33, "online_kernel");
        assert_eq!(guest.valid_zones(32), "Normal Movable", "one kernel block of the DIMM decides for all");
        guest.knobs.auto_movable_ratio = 0;
        guest.write(33, "offline");
        assert_eq!(guest.valid_zones(33), "Normal Movable");
    }

    #[test]
    fn absent_without_hot_removal() {
        let mut fixed = subject("6.12");
        fixed.hotremove = false;
        let guest = Guest::new(fixed, "");
        assert_eq!(valid_zones(&guest.layout, &guest.knobs, &guest.subject, 1), Ok(None));
        assert!(valid_zones(&guest.layout, &guest.knobs, &guest.subject, 99).is_err());
    }
}
