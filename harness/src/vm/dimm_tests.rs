use super::*;
use crate::vm::hub;
use crate::vm::qmp::Qmp;
use crate::vm::start::tests::{machine, paused};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

fn plug(name: &str, size: u64) -> Plug {
    Plug { name: name.into(), size, node: None, slot: None, addr: None }
}

fn refusal(error: PlugError) -> String {
    error.to_string()
}

#[test]
fn plugged_into_a_paused_machine() {
    let vm = paused(machine()).unwrap();
    let at = Plug { slot: Some(2), ..plug("d0", 1 << 30) };
    let plugged = vm.plug(&at).unwrap();
    let device = MemoryDevice {
        kind: "dimm".into(),
        id: Some("d0".into()),
        slot: Some(2),
        node: Some(0),
        addr: 0x1_0000_0000,
        size: 1 << 30,
    };
    assert_eq!((&plugged.device, plugged.since), (&device, 0));
    assert!(plugged.sent <= plugged.answered);
    assert_eq!(vm.memory_devices().unwrap(), [device]);
    // The guest does not run: nobody reports, nothing goes.
    let now = Deadline::within(Duration::ZERO);
    assert!(matches!(vm.wait_inserted(&plugged, now), Err(WaitError::Timeout { .. })));
    let asked = vm.unplug("d0").unwrap();
    assert_eq!(asked, Unplugging { name: "d0".into(), slot: 2, since: 0 });
    assert_eq!(vm.unplug_outcome(&asked, now), Ok(UnplugOutcome::Pending { osts: vec![] }));
    assert!(matches!(vm.remove_backend("d0"), Err(QmpError::Refused { .. })));
}

#[test]
fn a_refused_plug_leaves_nothing_behind() {
    let vm = paused(machine()).unwrap();
    let bad_slot = Plug { slot: Some(9), ..plug("d0", 1 << 30) };
    assert!(refusal(vm.plug(&bad_slot).unwrap_err()).contains("invalid slot number"));
    let bad_addr = Plug { addr: Some(0x20_0000), ..plug("d0", 1 << 30) };
    assert!(refusal(vm.plug(&bad_addr).unwrap_err()).contains("usable range for memory devices"));
    let too_big = vm.plug(&plug("d0", 64 << 30)).unwrap_err();
    assert!(matches!(&too_big, PlugError::Device(_)) && refusal(too_big).contains("not enough space"));
    assert!(matches!(vm.plug(&plug("d0", 0)).unwrap_err(), PlugError::Backend(_)));
    assert_eq!(vm.memory_devices().unwrap(), []);
    vm.plug(&plug("d0", 1 << 30)).unwrap(); // the name is free
}

#[test]
fn no_such_dimm() {
    let vm = paused(machine()).unwrap();
    assert_eq!(vm.unplug("ghost").unwrap_err(), UnplugError::NoDimm("ghost".into()));
}

/// What the judge makes of a stream of events.
fn judged(events: &[Value]) -> UnplugOutcome {
    let (ours, mut qemu) = UnixStream::pair().unwrap();
    let hub = hub::silent(None);
    let _qmp = Qmp::start(Arc::clone(&hub), ours).unwrap();
    for event in events {
        let mut event = event.clone();
        event["timestamp"] = json!({ "seconds": 1, "microseconds": 0 });
        writeln!(qemu, "{event}").unwrap();
    }
    drop(qemu);
    hub.wait(deadline(), |state| state.qmp.is_closed().then_some(())).unwrap();
    hub.look(|state| judge(state, &Unplugging { name: "d0".into(), slot: 3, since: 0 }))
}

fn ost(slot: u64, source: u64, status: u64) -> Value {
    let info = json!({ "source": source, "status": status, "slot": slot.to_string(), "slot-type": "DIMM" });
    json!({ "event": "ACPI_DEVICE_OST", "data": { "info": info } })
}

fn deleted(device: &str) -> Value {
    json!({ "event": "DEVICE_DELETED", "data": { "device": device, "path": format!("/machine/peripheral/{device}") } })
}

/// Variant, (source, status) of the reports, and what else it says.
fn short(outcome: UnplugOutcome) -> (&'static str, Vec<(u64, u64)>, String) {
    let codes = |osts: Vec<Ost>| osts.iter().map(|o| (o.source, o.status)).collect();
    match outcome {
        UnplugOutcome::Done { osts, reported } => ("done", codes(osts), reported.to_string()),
        UnplugOutcome::Refused { osts, error } => ("refused", codes(osts), error.unwrap_or_default()),
        UnplugOutcome::Pending { osts } => ("pending", codes(osts), String::new()),
    }
}

#[test]
fn outcomes_from_events() {
    let case = |events: &[Value]| short(judged(events));
    assert_eq!(case(&[]), ("pending", vec![], "".into()));
    assert_eq!(case(&[ost(3, 3, 132)]), ("pending", vec![(3, 132)], "".into()));
    assert_eq!(
        case(&[ost(3, 3, 132), deleted("d0"), ost(3, 3, 0)]),
        ("done", vec![(3, 132), (3, 0)], "true".into())
    );
    assert_eq!(case(&[ost(3, 3, 132), deleted("d0")]), ("done", vec![(3, 132)], "false".into()));
    assert_eq!(case(&[ost(3, 3, 132), ost(3, 3, 130)]), ("refused", vec![(3, 132), (3, 130)], "".into()));
    assert_eq!(case(&[ost(3, 3, 128)]), ("refused", vec![(3, 128)], "".into()));
    assert_eq!(case(&[ost(3, 3, 132), ost(3, 259, 130)]), ("refused", vec![(3, 132), (259, 130)], "".into()));
}

#[test]
fn reports_on_a_second_request_do_not_hide_the_first_ones_outcome() {
    let first = [ost(3, 3, 132), deleted("d0"), ost(3, 3, 0)];
    let second = [ost(3, 3, 132), ost(3, 3, 0)];
    for n in 0..=second.len() {
        let events = [&first[..], &second[..n]].concat();
        let done = ("done", vec![(3, 132), (3, 0)], "true".to_string());
        assert_eq!(short(judged(&events)), done);
    }
}

#[test]
fn other_slots_devices_and_sources_do_not_count() {
    let events = [ost(2, 3, 130), ost(3, 1, 0), ost(3, 1, 130), deleted("d1")];
    assert_eq!(short(judged(&events)), ("pending", vec![], "".into()));
}

#[test]
fn error_events_are_refusals() {
    let failed = json!({ "event": "MEM_UNPLUG_ERROR", "data": { "device": "d0", "msg": "busy" } });
    assert_eq!(short(judged(&[ost(3, 3, 132), failed])), ("refused", vec![(3, 132)], "busy".into()));
    let guest = json!({ "event": "DEVICE_UNPLUG_GUEST_ERROR", "data": { "device": "d0", "path": "/d0" } });
    assert_eq!(short(judged(&[guest])).0, "refused");
}
