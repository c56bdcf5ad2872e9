//! Every message about a mistake that the types let through, with its place.

use super::load::{LoadError, parse};
use std::path::Path;

/// First lines of all messages about a case whose lines after `summary` and `origin` are `text` (from line 3).
fn mistakes(text: &str) -> Vec<String> {
    let text = format!("summary: s\norigin: o\n{text}\n");
    match parse("folder", "case", Path::new("x.yaml"), &text) {
        Err(LoadError::Yaml(all)) => all
            .iter()
            .map(|e| e.to_string().lines().next().unwrap_or_default().replace("x.yaml:", ""))
            .collect(),
        Ok(_) => Vec::new(),
        other => panic!("{text} gives {other:?}"),
    }
}

fn assert_mistakes(table: &[(&str, &str)]) {
    let seen: Vec<(&str, String)> =
        table.iter().map(|(text, _)| (*text, mistakes(text).join(" & "))).collect();
    let want: Vec<(&str, String)> = table.iter().map(|(text, what)| (*text, (*what).to_string())).collect();
    assert_eq!(seen, want);
}

/// A step after `a` (three blocks) is plugged; it stands in line 5.
fn assert_steps(table: &[(&str, &str)]) {
    let seen = |step: &str| {
        mistakes(&format!("steps:\n  - plug: {{ dimm: a, size: 384M }}\n  - {step}")).join(" & ")
    };
    let seen: Vec<(&str, String)> = table.iter().map(|(step, _)| (*step, seen(step))).collect();
    let want: Vec<(&str, String)> = table.iter().map(|(step, what)| (*step, format!("5:{what}"))).collect();
    assert_eq!(seen, want);
}

#[test]
fn an_unplug_is_waited_for_before_what_it_might_meet() {
    let case = |more: &str| {
        mistakes(&format!("steps:\n  - plug: {{ dimm: a, size: 384M }}\n  - unplug: {{ dimm: a }}\n{more}"))
    };
    let told = "the unplug of a may still be under way: `expect` its outcome before";
    assert_eq!(case("  - plug: { dimm: b, size: 128M }"), [format!("6:11: {told}")]);
    assert_eq!(case("  - set: { blocks: \"a[0]\", to: online }"), [format!("6:10: {told}")]);
    assert_eq!(case("  - plug: { dimm: b, size: 128M, race: true }"), [""; 0]);
    let expect = "  - expect: { unplug: a, outcome: done }\n  - plug: { dimm: b, size: 128M }";
    assert_eq!(case(expect), [""; 0]);
}

#[test]
fn blocks_of_large_guests_are_larger() {
    let steps = "steps:\n  - plug: { dimm: a, size: 512M }\n  - set: { blocks: \"a[2]\", to: online, result: ok }\n  - plug: { dimm: b, size: 128M }";
    let machine = |memory: &str| format!("machine: {{ memory: {memory}, max_memory: 80G }}\n{steps}");
    assert_eq!(mistakes(&machine("61G")), [""; 0]);
    assert_eq!(
        mistakes(&machine("63744M")),
        [
            "6:20: a[2] is beyond the 2 blocks of a",
            "7:28: 128M is no multiple of the memory block size (256M), so that the kernel adds nothing; a case about that has \"unaligned hotplug range\" under provokes"
        ]
    );
}

#[test]
fn heads() {
    assert_mistakes(&[
        ("steps: []", "3:8: no steps"),
        (
            "kernel: six\nsteps: [ { plug: { dimm: a, size: 1G } } ]",
            "3:9: not a comparison with a kernel version: \"six\" (want for example \">=5.10\")",
        ),
        (
            "config: [CONFIG_NUMA]\nsteps: [ { plug: { dimm: a, size: 1G } } ]",
            "3:10: not a configuration need: \"CONFIG_NUMA\" (want NAME, NAME=y, NAME=m or !NAME, no CONFIG_)",
        ),
        ("modules: [a b]\nsteps: [ { plug: { dimm: a, size: 1G } } ]", "3:11: not a module's name: \"a b\""),
        (
            "provokes: [ { message: \"a(\", reason: r } ]\nsteps: [ { plug: { dimm: a, size: 1G } } ]",
            "3:24: bad regular expression \"a(\": unclosed group",
        ),
        (
            "provokes: [ { message: \"\", reason: r } ]\nsteps: [ { plug: { dimm: a, size: 1G } } ]",
            "3:24: an empty regular expression matches everything",
        ),
    ]);
}

#[test]
fn machines() {
    let table = [
        ("memory: lots", "3:20: not a size: \"lots\" (want for example 512M or 2G)"),
        ("memory: \"0\"", "3:20: a size of 0"),
        (
            "memory: 4G, max_memory: 2G",
            "3:36: max_memory is less than memory & 4:35: 1G does not fit: max_memory leaves 0 MiB",
        ),
        ("slots: 300", "3:19: QEMU has at most 256 slots"),
        ("smp: 0", "3:17: no processor"),
        ("nodes: [256M, 128M]", "3:19: the nodes' memory is not 512M together"),
        ("nodes: [512M, none]", "3:26: not a size: \"none\" (want for example 512M or 2G)"),
        ("nodes: [512M, \"0\"], cpu_nodes: [1]", "3:43: want the node of each of 2 processors"),
        ("nodes: [512M, \"0\"], cpu_nodes: [0, 2]", "3:43: the machine has no such node"),
        ("cpu_nodes: [0, 1]", "3:23: the machine has no such node"),
        ("dimms: [ { dimm: b, size: 1G }, { dimm: b, size: 1G } ]", "3:52: DIMM b is there already"),
        (
            "dimms: [ { dimm: b, size: 1G, race: true } ]",
            "3:21: a DIMM of the machine is neither refused nor in a race",
        ),
        ("slots: 0, dimms: [ { dimm: b, size: 1G } ]", "3:29: more DIMMs than 0 slots"),
    ];
    let seen = |machine: &str| {
        mistakes(&format!("machine: {{ {machine} }}\nsteps: [ {{ plug: {{ dimm: a, size: 1G }} }} ]"))
            .join(" & ")
    };
    assert_eq!(
        table.map(|(machine, _)| (machine, seen(machine))),
        table.map(|(m, what)| (m, what.to_string()))
    );
}

#[test]
fn axes() {
    let plug = "steps: [ { plug: { dimm: a, size: \"${s}\" } } ]";
    let table = [
        ("matrix: { s: [] }", "3:14: axis s has no values"),
        ("matrix: { s: [1G, 1G] }", "3:19: axis s has the value \"1G\" twice"),
        (
            "matrix: { s: [\"1,G\"] }",
            "3:15: bad value \"1,G\" of axis s: blanks and any of []@,# would spoil ids",
        ),
        (
            "matrix: { s: [absent] }",
            "3:15: s is no kernel parameter that memhp knows, so it cannot be absent",
        ),
        ("matrix: { \"s t\": [1G] }", "3:18: bad axis name \"s t\" (want letters, digits, '_', '.' and '-')"),
        ("matrix: { t: [1G] }", "4:35: unknown axis ${s}"),
        (
            "matrix: { s: [1G], t: [1G] }",
            "3:23: axis t has no effect: it is no kernel parameter and ${t} is used nowhere",
        ),
        ("matrix: { s: [1G], movable_node: [y] }", "3:35: movable_node takes no value: want absent or \"\""),
        (
            "matrix: { s: [1G], movable_node: [absent] }\nappend: movable_node",
            "4:9: movable_node is an axis too",
        ),
        ("matrix: { s: [1G] }\nexclude: [ {} ]", "4:12: an empty exclude leaves nothing over"),
        ("matrix: { s: [1G] }\nexclude: [ { t: 1G } ]", "4:17: exclude names unknown axis t"),
        ("matrix: { s: [1G] }\nexclude: [ { s: 2G } ]", "4:17: exclude names unknown value \"2G\" of axis s"),
        ("matrix: { s: [1G] }\nexclude: [ { s: 1G } ]", "4:10: exclude leaves no scenario over"),
        ("matrix: { s: [1G, 2X] }", "4:35: not a size: \"2X\" (want for example 512M or 2G)"),
    ];
    for (axes, what) in table {
        assert_eq!(mistakes(&format!("{axes}\n{plug}")).join(" & "), what, "{axes}");
    }
    assert_mistakes(&[
        (
            "matrix: { memhp_default_state: [absent] }\nsteps: [ { write: { path: /x, text: \"${memhp_default_state}\" } } ]",
            "4:37: ${memhp_default_state} has no text where memhp_default_state is absent",
        ),
        ("steps: [ { write: { path: /x, text: \"${s\" } } ]", "3:37: no } after ${ in \"${s\""),
    ]);
}

#[test]
fn dimms() {
    assert_steps(&[
        ("plug: { dimm: a, size: 1G }", "19: DIMM a is plugged already"),
        (
            "plug: { dimm: boot, size: 1G }",
            "19: bad name \"boot\" (want a lowercase letter, then letters, digits, - and _; not boot, not memory…)",
        ),
        ("plug: { dimm: b, size: 1T }", "28: not a size: \"1T\" (want for example 512M or 2G)"),
        ("plug: { dimm: b, size: 8G }", "28: 8G does not fit: max_memory leaves 7680 MiB"),
        ("plug: { dimm: b, size: 1G, node: \"1\" }", "38: the machine has no such node"),
        ("plug: { dimm: b, size: 1G, node: x }", "38: not a number: \"x\""),
        ("plug: { dimm: b, size: 1G, slot: 4 }", "38: the machine has no such slot"),
        (
            "plug: { dimm: b, size: 1G, addr: 12 }",
            "38: not an address: \"12\" (want for example 0x140000000)",
        ),
        ("plug: { dimm: b, size: 1G, within: 5 }", "40: not a time: \"5\" (want for example 5s or 300ms)"),
        ("unplug: { dimm: b }", "21: no DIMM b is plugged before"),
        ("repeat: { times: 2, steps: [ { plug: { dimm: b, size: 1G } } ] }", "50: DIMM b is plugged already"),
        ("repeat: { times: 0, steps: [ { unplug: { dimm: a } } ] }", "22: repeated 0 times"),
        ("repeat: { times: 2, steps: [] }", "32: no steps"),
    ]);
}

#[test]
fn blocks_and_words() {
    assert_steps(&[
        ("set: { blocks: b, to: online }", "20: no DIMM b is plugged before"),
        ("set: { blocks: \"a[3]\", to: online }", "20: a[3] is beyond the 3 blocks of a"),
        (
            "set: { blocks: \"a[\", to: online }",
            "20: bad block selection: \"a[\" (want a, a[0], a[1..3], boot or memory32, several with commas)",
        ),
        (
            "set: { blocks: a, to: online, result: EFOO }",
            "43: no errno that memhp knows: \"EFOO\"; or policy, or ok",
        ),
        ("write: { path: x, text: y }", "20: want an absolute path, or one that begins with ${BLOCK:a[0]}"),
        (
            "write: { path: \"${BLOCK:a}/state\", text: y }",
            "20: not one block: \"a\" (want for example a[0] or memory32)",
        ),
        (
            "write: { path: \"${BLOCK:a[0]}\", text: y }",
            "20: want a file below ${BLOCK:…}, for example ${BLOCK:a[0]}/state",
        ),
        ("write: { path: /x, text: y, errno: EFOO }", "40: no errno that memhp knows: \"EFOO\""),
        (
            "start: { name: s, block: a, to: online }",
            "30: not one block: \"a\" (want for example a[0] or memory32) & 4:3: s is started and never finished",
        ),
        ("finish: { name: s }", "21: nothing is started as s"),
        ("hold: { name: h, kind: slab, size: 101% }", "40: not a share: \"101%\" (want 1% to 100%)"),
        ("hold: { name: h, kind: slab, size: 1M, reaches: b }", "53: no DIMM b is plugged before"),
        ("release: { name: h }", "22: nothing is held as h"),
        ("exec: { program: /bin/none }", "22: no such file: \"/bin/none\""),
        (
            "exec: { program: /bin/sh, within: soon }",
            "39: not a time: \"soon\" (want for example 5s or 300ms)",
        ),
    ]);
}

#[test]
fn loads() {
    let kinds = "want exactly one of cpu, forks, uevents and stress";
    assert_steps(&[
        ("load: { name: l }", &format!("11: {kinds}")),
        ("load: { name: l, cpu: \"1\", forks: \"1\" }", &format!("11: {kinds}")),
        ("load: { name: l, cpu: \"0\" }", "27: no process"),
        ("load: { name: l, cpu: many }", "27: not a number: \"many\""),
        ("load: { name: l, cpu: \"1\", nice: 20 }", "38: want -20 to 19"),
        ("load: { name: l, cpu: \"1\", memory_max: \"0\" }", "44: a size of 0"),
        ("load: { name: l, uevents: { blocks: b, per_second: 9 } }", "41: no DIMM b is plugged before"),
        ("load: { name: l, uevents: { blocks: a, per_second: 0 } }", "56: no event"),
        (
            "load: { name: l, uevents: { blocks: a, per_second: 9 }, nice: 1 }",
            "11: uevents come from the agent: no nice, no memory_max",
        ),
        ("load: { name: l, stress: hard }", "30: want options of stress-ng (--vm 2)"),
        (
            "load: { name: l, stress: \"--vm 1 -t 5\" }",
            "30: the load ends when the case says so: no timeout, no background",
        ),
        ("end: { name: l }", "18: no load is named l"),
        ("prove: {}", "12: want load, running, pressure or free"),
        ("prove: { load: l }", "20: no load is named l"),
        ("prove: { running: few }", "23: not a number: \"few\""),
        ("prove: { free: lots }", "20: not a size: \"lots\" (want for example 512M or 2G)"),
        ("held: { name: h }", "19: no hold is begun as h"),
        (
            "hold: { name: h, kind: tmpfs, size: 1M, pace: 1M }",
            "51: only anonymous and mlocked memory is taken at a pace",
        ),
        (
            "hold: { name: h, kind: tmpfs, size: 1M, begin: true, reaches: a }",
            "67: what is only begun has not taken its pages yet & 4:3: hold h is begun and never waited for",
        ),
    ]);
    let twice = "steps:\n  - load: { name: l, cpu: \"1\" }\n  - load: { name: l, cpu: \"1\" }";
    assert_mistakes(&[(twice, "5:19: l is not ended yet")]);
}

#[test]
fn what_is_started_is_finished() {
    let plug = "steps:\n  - plug: { dimm: a, size: 384M }\n";
    assert_mistakes(&[
        (
            &format!("{plug}  - start: {{ name: s, block: \"a[0]\", to: online }}"),
            "4:3: s is started and never finished",
        ),
        (
            &format!("{plug}  - start: {{ name: s, block: a[0], to: x }}"),
            "5:31: while parsing a flow mapping, did not find expected ',' or '}' (within { } a text with [ ] needs quotes)",
        ),
    ]);
}

#[test]
fn expectations() {
    assert_steps(&[
        ("expect: { as: policy }", "13: want exactly one of blocks, unplug, file, console and pinned"),
        (
            "expect: { blocks: a, unplug: a }",
            "13: want exactly one of blocks, unplug, file, console and pinned",
        ),
        (
            "expect: { blocks: a }",
            "13: nothing is expected of the blocks: want as, state, zone, valid_zones or uniform",
        ),
        (
            "expect: { pinned: a, as: policy }",
            "13: state, zone, valid_zones and uniform belong to blocks, outcome to unplug, is, line and errno to file, \
          as to blocks and unplug",
        ),
        (
            "expect: { blocks: a, state: up }",
            "33: unknown word \"up\" (want online, offline or going-offline)",
        ),
        ("expect: { blocks: a, state: online offline }", "33: 2 words for 3 blocks"),
        (
            "expect: { blocks: a, zone: normal }",
            "32: unknown word \"normal\" (want DMA, DMA32, Normal, Movable or -)",
        ),
        ("expect: { blocks: a, valid_zones: None }", "39: unknown word \"None\" (want zones, or none)"),
        (
            "expect: { blocks: a, uniform: true, zone: Normal }",
            "13: uniform takes states and zones as they are: no as, state or zone beside it",
        ),
        ("expect: { unplug: a, as: policy }", "23: no unplug of a was asked for"),
        ("expect: { unplug: b, as: policy }", "23: no DIMM b is plugged before"),
        ("expect: { file: /x }", "13: want one of is, line and errno"),
        ("expect: { file: /x, is: y, line: z }", "13: want one of is, line and errno"),
        ("expect: { file: /x, line: \"(\" }", "31: bad regular expression \"(\": unclosed group"),
        ("expect: { file: /x, errno: EFOO }", "32: no errno that memhp knows: \"EFOO\""),
        ("expect: { console: \"(\" }", "24: bad regular expression \"(\": unclosed group"),
        (
            "expect: { blocks: a, state: online, within: 5 }",
            "49: not a time: \"5\" (want for example 5s or 300ms)",
        ),
    ]);
    let unplugged = "steps:\n  - plug: { dimm: a, size: 384M }\n  - unplug: { dimm: a }\n";
    assert_mistakes(&[
        (&format!("{unplugged}  - expect: {{ unplug: a }}"), "6:13: want as or outcome"),
        (
            &format!("{unplugged}  - expect: {{ unplug: a, outcome: gone }}"),
            "6:35: no outcome: \"gone\" (want done, refused or disabled)",
        ),
        (
            &format!("{unplugged}  - expect: {{ unplug: a, outcome: done }}\n  - unplug: {{ dimm: a }}"),
            "7:21: no DIMM a is plugged before",
        ),
    ]);
}

#[test]
fn all_mistakes_of_a_file_at_once() {
    assert_mistakes(&[(
        "kernel: six\nsteps:\n  - unplug: { dimm: a }\n  - release: { name: h }",
        "3:9: not a comparison with a kernel version: \"six\" (want for example \">=5.10\") & \
         5:21: no DIMM a is plugged before & 6:22: nothing is held as h",
    )]);
}
