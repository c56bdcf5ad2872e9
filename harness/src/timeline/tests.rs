use super::*;
use std::collections::BTreeMap;
use std::time::Duration;

const BLOCK: u64 = 128 << 20;

fn uevent(action: &str, block: u32, t_ns: u64) -> Uevent {
    let devpath = format!("/devices/system/memory/memory{block}");
    Uevent { t_ns, seqnum: 1, action: action.into(), devpath, env: BTreeMap::new(), skipped: 0 }
}

/// The guest's clock is at 1,000,000 when the host's stands at `begun`, with an error of 10.
fn recorder(begun: Instant, events: &[(&str, u32, u64)]) -> Recorder {
    let mut recorder = Recorder::default();
    recorder.tie(Tie { host: begun, guest_ns: 1_000_000, error_ns: 10 });
    recorder.tie(Tie { host: begun + Duration::from_secs(1), guest_ns: 1_001_000_000, error_ns: 7 });
    events.iter().for_each(|(action, block, t)| recorder.uevent(&uevent(action, *block, *t)));
    recorder
}

fn plug(begun: Instant, sent: u64, answered: u64, ost: Option<u64>) -> PlugTimes {
    let at = |ns| begun + Duration::from_nanos(ns);
    let (addr, size) = (32 * BLOCK, 2 * BLOCK);
    PlugTimes { dimm: "a".into(), addr, size, sent: at(sent), answered: at(answered), ost: ost.map(at) }
}

#[test]
fn times_are_since_device_add_and_tell_who_onlined() {
    let begun = Instant::now();
    let recorder = recorder(
        begun,
        &[
            ("add", 32, 1_002_000),
            ("online", 32, 1_002_500),
            ("add", 33, 1_002_600),
            ("online", 33, 1_005_000),
            ("online", 33, 1_006_000), // offlined and onlined again
            ("change", 32, 1_001_500),
            ("add", 34, 1_002_700), // not of this DIMM
        ],
    );
    let timeline = recorder.timeline(&[plug(begun, 1_000, 1_200, Some(4_000))], BLOCK).unwrap();
    let block =
        |block, add, online, by| Block { block, add_ns: Some(add), online_ns: Some(online), by: Some(by) };
    assert_eq!(
        timeline,
        Timeline {
            clock_error_ns: 10,
            clock_drift_unknown: false,
            plugs: vec![Plug {
                dimm: "a".into(),
                answered_ns: 200,
                ost_ns: Some(3_000),
                used: None,
                blocks: vec![block(32, 1_000, 1_500, By::Kernel), block(33, 1_600, 4_000, By::UserSpace),],
            }],
        }
    );
}

#[test]
fn what_is_too_close_to_tell_or_never_came_is_left_open() {
    let begun = Instant::now();
    let recorder =
        recorder(begun, &[("add", 32, 1_002_000), ("online", 32, 1_004_995), ("add", 33, 1_002_100)]);
    let plugs = recorder.timeline(&[plug(begun, 1_000, 1_200, Some(4_990))], BLOCK).unwrap().plugs;
    assert_eq!(plugs[0].blocks[0].by, None);
    assert_eq!((plugs[0].blocks[1].add_ns, plugs[0].blocks[1].online_ns), (Some(1_100), None));
    let silent = recorder.timeline(&[plug(begun, 1_000, 1_200, None)], BLOCK).unwrap().plugs;
    assert_eq!((silent[0].ost_ns, silent[0].blocks[0].by), (None, None));
}

#[test]
fn a_replugged_dimm_does_not_inherit_events() {
    let begun = Instant::now();
    let recorder =
        recorder(begun, &[("add", 32, 1_002_000), ("online", 32, 1_002_500), ("add", 32, 1_012_000)]);
    let plugs = [plug(begun, 1_000, 1_200, Some(4_000)), plug(begun, 10_000, 10_100, Some(14_000))];
    let plugs = recorder.timeline(&plugs, BLOCK).unwrap().plugs;
    assert_eq!(plugs[0].blocks[0].online_ns, Some(1_500));
    assert_eq!((plugs[1].blocks[0].add_ns, plugs[1].blocks[0].online_ns), (Some(2_000), None));
}

#[test]
fn the_first_page_in_use_belongs_to_the_plug_that_it_came_with() {
    let begun = Instant::now();
    let mut recorder = recorder(begun, &[]);
    let frame = |block: u64| block * BLOCK / PAGE;
    for (pfn, t) in
        [(frame(33) + 5, 1_003_000), (frame(32), 1_003_500), (frame(34), 1_002_000), (7, 1_001_500)]
    {
        recorder.used(pfn, t);
    }
    recorder.used(frame(33), 1_013_000);
    let plugs = [plug(begun, 1_000, 1_200, Some(4_000)), plug(begun, 10_000, 10_100, Some(14_000))];
    let timeline = recorder.timeline(&plugs, BLOCK).unwrap();
    let used: Vec<Option<Used>> = timeline.plugs.iter().map(|p| p.used).collect();
    assert_eq!(used, [Some(Used { block: 33, at_ns: 2_000 }), Some(Used { block: 33, at_ns: 3_000 })]);
    assert_eq!(svg(&timeline, "t").matches("first page in use").count(), 2);
}

#[test]
fn no_plug_or_no_clock_is_no_timeline() {
    let begun = Instant::now();
    assert_eq!(recorder(begun, &[]).timeline(&[], BLOCK), None);
    assert_eq!(Recorder::default().timeline(&[plug(begun, 0, 1, None)], BLOCK), None);
}

#[test]
fn the_drawing_has_every_plug_and_block_and_states_the_error() {
    let begun = Instant::now();
    let recorder =
        recorder(begun, &[("add", 32, 1_002_000), ("online", 32, 1_002_500), ("add", 33, 1_002_000)]);
    let timeline = recorder.timeline(&[plug(begun, 1_000, 1_200, Some(4_000))], BLOCK).unwrap();
    let svg = svg(&timeline, "zone/<x>@k");
    for part in ["memory32", "memory33", "zone/&lt;x&gt;@k", "never came online", "± 0.000 ms"] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
}

#[test]
fn only_memory_blocks_count() {
    assert_eq!(block_of("/devices/system/memory/memory7"), Some(7));
    assert_eq!(block_of("/devices/system/memory"), None);
    assert_eq!(block_of("/devices/system/node/node0"), None);
    let mut recorder = Recorder::default();
    let mut synthetic = uevent("add", 32, 5);
    synthetic.env.insert("SYNTH_UUID".into(), "0".into());
    recorder.uevent(&synthetic);
    assert!(recorder.told.is_empty());
}
