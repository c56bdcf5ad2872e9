//! What must hold for every history of a guest.

use super::testing::*;
use super::*;
use proptest::prelude::*;

/// One operation; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Op {
    Plug { blocks: u64, node: u32 },
    Write { nth: usize, text: &'static str },
    Switch { nth: usize, text: &'static str },
    Policy { online: &'static str },
    Unplug { nth: usize },
    Refuse { nth: usize, every: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let word =
        prop::sample::select(vec!["offline", "online", "online_kernel", "online_movable", "bogus", ""]);
    let online = prop::sample::select(vec!["offline", "online", "online_kernel", "online_movable"]);
    let switch = prop::sample::select(vec!["0", "1", "x"]);
    prop_oneof![
        2 => (1u64..5, 0u32..2).prop_map(|(blocks, node)| Op::Plug { blocks, node }),
        6 => (any::<usize>(), word).prop_map(|(nth, text)| Op::Write { nth, text }),
        2 => (any::<usize>(), switch).prop_map(|(nth, text)| Op::Switch { nth, text }),
        1 => online.prop_map(|online| Op::Policy { online }),
        1 => any::<usize>().prop_map(|nth| Op::Unplug { nth }),
        1 => (any::<usize>(), 1usize..4).prop_map(|(nth, every)| Op::Refuse { nth, every }),
    ]
}

fn cmdline() -> impl Strategy<Value = String> {
    let policy = prop::sample::select(vec![
        "",
        "movable_node",
        "memory_hotplug.online_policy=auto-movable",
        "memory_hotplug.online_policy=auto-movable memory_hotplug.auto_movable_ratio=800",
        "memory_hotplug.online_policy=auto-movable memory_hotplug.auto_movable_numa_aware=0",
    ]);
    let default =
        prop::sample::select(vec!["", "offline", "online", "online_kernel", "online_movable", "bogus"]);
    (policy, default).prop_map(|(policy, default)| format!("{policy} memhp_default_state={default}"))
}

fn version() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["5.10", "6.1", "6.12", "7.3"])
}

/// A guest after a history.
fn history() -> impl Strategy<Value = Guest> {
    (version(), cmdline(), prop::collection::vec(op(), 0..24)).prop_map(|(version, cmdline, ops)| {
        let mut guest = Guest::new(subject(version), &cmdline);
        ops.iter().for_each(|op| run(&mut guest, op));
        guest
    })
}

fn pick<T: Clone>(from: &[T], nth: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[nth % from.len()].clone())
}

fn run(guest: &mut Guest, op: &Op) {
    let blocks: Vec<u32> = guest.layout.blocks.keys().copied().collect();
    let dimms: Vec<String> = guest.layout.dimms.keys().cloned().collect();
    match op {
        Op::Plug { blocks, node } if dimms.len() < 6 => plug(guest, *blocks, *node),
        Op::Plug { .. } => {}
        Op::Write { nth, text } => guest.write(pick(&blocks, *nth).unwrap(), text),
        Op::Switch { nth, text } => {
            let block = pick(&blocks, *nth).unwrap();
            let permitted = write_online(&guest.layout, &guest.knobs, &guest.subject, block, text).unwrap();
            apply_write_online(&mut guest.layout, block, &permitted.allowed[0].outcome);
        }
        Op::Policy { online } => {
            guest.knobs.write_auto_online(online).unwrap();
        }
        Op::Unplug { nth } => {
            if let Some(name) = pick(&dimms, *nth) {
                apply_unplugged(&mut guest.layout, &name);
            }
        }
        Op::Refuse { nth, every } => {
            let Some(name) = pick(&dimms, *nth) else { return };
            let online = guest.layout.blocks_of(&name).filter(|(_, b)| b.state == BlockState::Online);
            let offlined: Vec<u32> = online.map(|(n, _)| n).step_by(*every).collect();
            let back = rollback(&guest.layout, &guest.knobs, &guest.subject, &offlined).unwrap();
            apply_rollback(&mut guest.layout, &back);
        }
    }
}

/// Where QEMU would put it, under a name that is free.
fn plug(guest: &mut Guest, blocks: u64, node: u32) {
    let size = blocks * guest.layout.block_bytes;
    let addr = free_address(&guest.layout, 4 << 30, size);
    let names = (0..).map(|nth| format!("dimm{nth}"));
    let name = names.into_iter().find(|name| !guest.layout.dimms.contains_key(name)).unwrap();
    let dimm = Dimm { addr, size, slot: 0, node, cold: false };
    add(&mut guest.layout, &guest.knobs, &guest.subject, &name, dimm).unwrap();
}

fn zone(guest: &Guest, block: u32, online: OnlineType) -> Zone {
    zone_for(&guest.layout, &guest.knobs, &guest.subject, block, online).unwrap().0
}

fn offline_blocks(guest: &Guest) -> Vec<u32> {
    let offline = guest.layout.blocks.iter().filter(|(_, b)| b.state == BlockState::Offline);
    offline.map(|(number, _)| *number).collect()
}

proptest! {
    #[test]
    fn types_name_their_zone(guest in history()) {
        for block in guest.layout.blocks.keys() {
            prop_assert_eq!(zone(&guest, *block, OnlineType::OnlineMovable), Zone::Movable);
            prop_assert_ne!(zone(&guest, *block, OnlineType::OnlineKernel), Zone::Movable);
            let plain = zone(&guest, *block, OnlineType::Online);
            prop_assert_eq!(zone(&guest, *block, OnlineType::Offline), plain);
        }
    }

    #[test]
    fn spans_hold_what_is_in_the_zone(guest in history()) {
        let layout = &guest.layout;
        let mut present = 0;
        for node in 0..2 {
            for zone in Zone::ALL {
                let span = span(layout, node, zone);
                let pages = present_pages(layout, node, zone);
                prop_assert!(present_early_pages(layout, node, zone) <= pages);
                prop_assert!(span.map_or(0, |s| s.end - s.start) >= pages);
                present += pages;
            }
        }
        for (number, block) in &layout.blocks {
            let Some(zone) = block.zone else { continue };
            let first = layout.first_pfn(*number);
            let end = first + layout.block_pages();
            let span = span(layout, block.node, zone).unwrap();
            prop_assert!(span.start < end && first < span.end);
            prop_assert!(block.dimm.is_none() || (span.start <= first && end <= span.end));
        }
        let count = |hot: bool, state: BlockState| {
            layout.blocks.values().filter(|b| b.dimm.is_some() == hot && b.state == state).count() as u64
        };
        let (hot, away) = (count(true, BlockState::Online), count(false, BlockState::Offline));
        prop_assert_eq!(present, 3998 + 126_944 + hot * 32_768 - away * 32_768);
    }

    #[test]
    fn valid_zones_begins_with_what_online_does(guest in history()) {
        for block in offline_blocks(&guest) {
            let text = guest.valid_zones(block);
            let words: Vec<&str> = text.split(' ').collect();
            prop_assert_eq!(words[0], zone(&guest, block, OnlineType::Online).name());
            prop_assert!(words.contains(&"Movable") && (2..=3).contains(&words.len()));
            let distinct: std::collections::BTreeSet<_> = words.iter().collect();
            prop_assert_eq!(distinct.len(), words.len());
        }
    }

    /// What comes online by the default policy goes back to the same zone while nothing else changes
    /// (contig-zones; the remembered types of rejected writes aside).
    #[test]
    fn offline_and_online_again(guest in history()) {
        let mut guest = guest;
        prop_assume!(guest.knobs.online_policy == OnlinePolicy::ContigZones);
        for block in offline_blocks(&guest) {
            guest.write(block, "online");
            let before = guest.layout.clone();
            guest.write(block, "offline");
            guest.write(block, "online");
            prop_assert_eq!(&guest.layout, &before);
            guest.write(block, "offline");
        }
    }

    #[test]
    fn explicit_types_do_not_depend_on_order(guest in history()) {
        let blocks = offline_blocks(&guest);
        let online = |blocks: &mut dyn Iterator<Item = &u32>| {
            let mut layout = guest.layout.clone();
            for block in blocks {
                let text = if block % 2 == 0 { "online_movable" } else { "online_kernel" };
                let permitted = write_state(&layout, &guest.knobs, &guest.subject, *block, text).unwrap();
                apply_write_state(&mut layout, *block, text, &permitted.allowed[0].outcome);
            }
            layout
        };
        prop_assert_eq!(online(&mut blocks.iter()), online(&mut blocks.iter().rev()));
    }

    #[test]
    fn a_failed_write_changes_no_block(guest in history(), text in "[a-z_ \n]{0,16}") {
        for block in guest.layout.blocks.keys() {
            let permitted = write_state(&guest.layout, &guest.knobs, &guest.subject, *block, &text).unwrap();
            for allowed in &permitted.allowed {
                if matches!(allowed.outcome, Outcome::Failed(_)) {
                    let mut after = guest.layout.clone();
                    apply_write_state(&mut after, *block, &text, &allowed.outcome);
                    prop_assert_eq!(&after.blocks, &guest.layout.blocks);
                }
            }
        }
    }

    #[test]
    fn only_kernel_zones_can_refuse(guest in history()) {
        for name in guest.layout.dimms.keys() {
            let permitted = unplug(&guest.layout, &guest.knobs, &guest.subject, name).unwrap();
            let blocks: Vec<&Block> = guest.layout.blocks_of(name).map(|(_, b)| b).collect();
            let pinned = blocks.iter().any(|b| b.zone.is_some_and(|zone| zone != Zone::Movable));
            prop_assert_eq!(permitted.refused.is_some(), pinned);
            prop_assert!(permitted.done.is_some() && permitted.disabled.is_none());
            let idle = blocks.iter().all(|b| b.state == BlockState::Offline);
            prop_assert_eq!(permitted.may_hang.is_none(), idle);
        }
    }

    #[test]
    fn plug_and_unplug_leave_nothing(guest in history(), blocks in 1u64..5) {
        let mut guest = guest;
        let before = guest.layout.clone();
        plug(&mut guest, blocks, 0);
        let name = guest.layout.dimms.keys().find(|name| !before.dimms.contains_key(*name)).unwrap().clone();
        apply_unplugged(&mut guest.layout, &name);
        prop_assert_eq!(guest.layout, before);
    }

    #[test]
    fn a_bad_default_state_is_no_default_state(bad in "[a-zA-Z0-9_]{0,20}", version in version()) {
        prop_assume!(OnlineType::parse(&bad).is_none());
        let subject = subject(version);
        let (knobs, _) = Knobs::boot(&subject, &format!("quiet memhp_default_state={bad}")).unwrap();
        prop_assert_eq!(knobs, Knobs::defaults(&subject));
    }

    #[test]
    fn any_command_line_is_read(cmdline in "\\PC{0,80}") {
        prop_assume!(!cmdline.contains("numa"));
        prop_assert!(Knobs::boot(&subject("6.12"), &cmdline).is_ok());
    }
}
