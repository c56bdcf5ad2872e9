use super::*;
use crate::policy::testing::*;
use crate::policy::{OnlineType, Zone, apply_unplugged};

fn events(texts: &[&str]) -> Vec<Event> {
    let event = |text: &&str| {
        let (action, name) = text.split_once('@').unwrap();
        let kind = if name.starts_with("node") { "node" } else { "memory" };
        Event { action: action.into(), devpath: format!("/devices/system/{kind}/{name}") }
    };
    texts.iter().map(event).collect()
}

fn guest(version: &str, online: OnlineType) -> Guest {
    let mut guest = Guest::new(subject(version), "");
    guest.knobs.auto_online = online;
    guest
}

#[test]
fn several_operations() {
    let one = |texts: &[&str]| Expected::Exactly(events(texts));
    let both = [one(&["offline@memory32"]), one(&["add@memory40"])];
    let (forth, back) = (["offline@memory32", "add@memory40"], ["add@memory40", "offline@memory32"]);
    assert_eq!(check_all_uevents(&events(&forth), &both, false), []);
    assert_eq!(check_all_uevents(&events(&back), &both, false).len(), 2);
    assert_eq!(check_all_uevents(&events(&back), &both, true), []);
    assert_eq!(check_all_uevents(&events(&back[..1]), &both, true).len(), 1);
    let too_many = ["add@memory40", "offline@memory32", "offline@memory32"];
    assert_eq!(check_all_uevents(&events(&too_many), &both, true).len(), 1);
    assert_eq!(check_all_uevents(&events(&forth[..1]), &[], false).len(), 1);
    let refused = [Expected::Refused { online: [32, 33].into() }, one(&["add@memory40"])];
    let seen = ["offline@memory32", "online@memory32", "add@memory40"];
    assert_eq!(check_all_uevents(&events(&seen), &refused, false), []);
    assert_eq!(check_all_uevents(&events(&seen), &refused, true), []);
}

#[test]
fn a_contested_removal() {
    let mut guest = guest("6.12", OnlineType::Offline);
    guest.plug(2, 0);
    let name = guest.layout.dimms.keys().next().unwrap().clone();
    let want = expect_contested(&guest.layout, &guest.subject, &name);
    let check = |texts: &[&str]| check_uevents(&events(texts), &want).len();
    let tail = ["remove@memory32", "remove@memory33"];
    assert_eq!(check(&tail), 0);
    let both = ["online@memory33", "online@memory32", "offline@memory32", "offline@memory33"];
    assert_eq!(check(&[&both[..], &tail].concat()), 0);
    assert_eq!(check(&[&["online@memory33", "offline@memory33"][..], &tail].concat()), 0);
    for wrong in [&both[..3], &both[1..], &["online@memory34", "offline@memory34"], &both[2..]] {
        assert_eq!(check(&[wrong, &tail].concat()), 1, "{wrong:?}");
    }
    assert_eq!(check(&[&both[..], &tail[..1]].concat()), 1);
}

#[test]
fn plug() {
    let mut offline = guest("6.12", OnlineType::Offline);
    let added = offline.plug(2, 0);
    let want = Expected::Exactly(events(&["add@memory32", "add@memory33"]));
    assert_eq!(expect_plug(&offline.subject, &added), Ok(want));
    let mut online = guest("6.12", OnlineType::Online);
    let added = online.plug(2, 0);
    let all = ["add@memory32", "add@memory33", "online@memory32", "online@memory33"];
    let want = expect_plug(&online.subject, &added).unwrap();
    assert_eq!(want, Expected::Exactly(events(&all)));
    assert_eq!(check_uevents(&events(&all), &want), []);
    for wrong in [&all[..3], &["add@memory32"][..], &[]] {
        assert_eq!(check_uevents(&events(wrong), &want).len(), 1);
    }
}

#[test]
fn new_node() {
    for (version, want) in [
        ("5.10", Some(["add@memory32", "add@node1", "online@memory32"])),
        ("6.12", Some(["add@memory32", "add@node1", "online@memory32"])),
        ("6.15", None),
        ("6.18", Some(["add@node1", "add@memory32", "online@memory32"])),
        ("7.3", Some(["add@node1", "add@memory32", "online@memory32"])),
    ] {
        let mut guest = guest(version, OnlineType::OnlineMovable);
        let added = guest.plug(1, 1);
        let expected = expect_plug(&guest.subject, &added).ok();
        assert_eq!(expected, want.map(|want| Expected::Exactly(events(&want))), "{version}");
    }
}

#[test]
fn writes() {
    let online = Outcome::Done { state: BlockState::Online, zone: Some(Zone::Normal) };
    let offline = Outcome::Done { state: BlockState::Offline, zone: None };
    let busy = Outcome::Failed(crate::policy::Errno::Ebusy);
    for (before, outcome, want) in [
        (BlockState::Offline, online, &["online@memory7"][..]),
        (BlockState::Online, online, &[]),
        (BlockState::Online, offline, &["offline@memory7"]),
        (BlockState::Offline, offline, &[]),
        (BlockState::Online, busy, &[]),
    ] {
        assert_eq!(expect_write(7, before, &outcome), Expected::Exactly(events(want)));
    }
}

#[test]
fn unplug_in_one_or_two_passes() {
    let mut guest = guest("6.12", OnlineType::OnlineMovable);
    guest.plug(3, 1);
    guest.write(33, "offline");
    let want = expect_unplug(&guest.layout, &guest.subject, "dimm0");
    let gone = ["remove@memory32", "remove@memory33", "remove@memory34", "remove@node1"];
    let seen = |offline: &[&str]| check_uevents(&events(&[offline, &gone].concat()), &want).len();
    assert_eq!(seen(&["offline@memory32", "offline@memory34"]), 0);
    assert_eq!(seen(&["offline@memory34", "offline@memory32"]), 0);
    assert_eq!(seen(&["offline@memory32"]), 1);
    assert_eq!(seen(&["offline@memory32", "offline@memory33", "offline@memory34"]), 1);
    assert_eq!(seen(&["offline@memory32", "offline@memory32", "offline@memory34"]), 1);
    assert_eq!(check_uevents(&events(&gone[..3]), &want).len(), 1);
    assert_eq!(check_uevents(&[], &want).len(), 1);
}

#[test]
fn a_node_stays_while_anything_is_on_it() {
    let mut guest = guest("6.12", OnlineType::OnlineMovable);
    guest.plug(1, 1);
    guest.plug(1, 1);
    let Expected::Unplugged { tail, .. } = expect_unplug(&guest.layout, &guest.subject, "dimm0") else {
        panic!("not an unplug");
    };
    assert_eq!(tail, events(&["remove@memory32"]));
    apply_unplugged(&mut guest.layout, "dimm0");
    guest.subject.cpu_nodes.insert(1);
    let Expected::Unplugged { tail, .. } = expect_unplug(&guest.layout, &guest.subject, "dimm1") else {
        panic!("not an unplug");
    };
    assert_eq!(tail, events(&["remove@memory33"]), "its CPUs keep the node");
}

#[test]
fn refusals() {
    let mut guest = guest("6.12", OnlineType::Online);
    guest.plug(4, 0);
    let want = expect_refusal(&guest.layout, "dimm0");
    let seen = |texts: &[&str]| check_uevents(&events(texts), &want).len();
    let (off, on) = (|n| format!("offline@memory{n}"), |n| format!("online@memory{n}"));
    let run = |offline: &[u32], online: &[u32]| {
        let texts: Vec<String> =
            offline.iter().map(|n| off(*n)).chain(online.iter().map(|n| on(*n))).collect();
        seen(&texts.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(run(&[], &[]), 0, "nothing could be taken");
    assert_eq!(run(&[32, 34, 35], &[32, 34, 35]), 0, "33 is pinned");
    assert_eq!(run(&[34, 35, 32], &[32, 34, 35]), 0, "32 in the second pass, then 33 is in the way");
    assert_eq!(run(&[32, 35, 34], &[32, 34, 35]), 1, "the second pass stops at 33");
    assert_eq!(run(&[32, 33, 34, 35], &[32, 33, 34, 35]), 1, "nothing was in the way");
    assert_eq!(run(&[32, 34], &[32]), 1, "34 did not come back");
    assert_eq!(run(&[32, 34], &[34, 32]), 1, "not ascending");
    assert_eq!(run(&[32, 36], &[32, 36]), 1, "not of this DIMM");
    assert_eq!(seen(&["change@memory32"]), 1);
    assert_eq!(brought_back(&events(&["offline@memory32", "online@memory32"])), [32]);
}

#[test]
fn only_blocks_and_nodes() {
    let of = |devpath: &str| {
        let (action, devpath) = ("online".to_string(), devpath.to_string());
        Event::of(&wire::Uevent { t_ns: 0, seqnum: 1, action, devpath, env: Default::default(), skipped: 0 })
    };
    assert!(of("/devices/system/memory/memory32").is_some());
    assert!(of("/devices/system/node/node1").is_some());
    for other in [
        "/devices/system/container/PNP0A06:04",
        "/devices/system/node/node1/access0",
        "/devices/system/memory",
    ] {
        assert_eq!(of(other), None);
    }
}

#[test]
fn an_event_names_its_subsystem_and_nothing_else() {
    let found = |devpath: &str, env: &[(&str, &str)]| {
        let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let (action, devpath) = ("add".to_string(), devpath.to_string());
        let found =
            check_environments(&[wire::Uevent { t_ns: 0, seqnum: 1, action, devpath, env, skipped: 0 }]);
        found.into_iter().map(|f| format!("{} {} / {}", f.subject, f.expected, f.seen)).collect::<Vec<_>>()
    };
    let (block, node) = ("/devices/system/memory/memory32", "/devices/system/node/node1");
    let none = [""; 0];
    assert_eq!(found(block, &[("SUBSYSTEM", "memory")]), none);
    assert_eq!(found(node, &[("SUBSYSTEM", "node")]), none);
    assert_eq!(found("/devices/system/cpu/cpu1", &[("SUBSYSTEM", "x")]), none);
    assert_eq!(found(block, &[("SUBSYSTEM", "node"), ("SYNTH_UUID", "0")]), none);
    let about = format!("add@{block} SUBSYSTEM=memory / ");
    assert_eq!(found(block, &[("SUBSYSTEM", "node")]), [format!("{about}SUBSYSTEM=node")]);
    assert_eq!(
        found(block, &[("SUBSYSTEM", "memory"), ("X", "1")]),
        [format!("{about}SUBSYSTEM=memory X=1")]
    );
    assert_eq!(found(node, &[]), [format!("add@{node} SUBSYSTEM=node / ")]);
}
