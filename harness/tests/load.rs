//! What must come out where the test, and not the kernel, is broken: a load that is not in force, a udev rule with a mistake,
//! and memory that nobody onlines in time. The guest runs the kernel of debian-6.12.

// Helpers of tests are tests: what goes wrong in them is to fail the test where it happens.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// Exit status and output of a run of a case with this head and these steps.
fn run(head: &str, steps: &str) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let case = dir.path().join("case.yaml");
    std::fs::write(&case, format!("summary: s\norigin: o\n{head}\nsteps:\n{steps}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_memhp"));
    command.args(["run", "-j1", "-k", "debian-6.12", "--out"]).arg(dir.path().join("out")).arg(&case);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

fn assert_run(head: &str, steps: &str, status: i32, says: &str) {
    let (code, text) = run(head, steps);
    assert_eq!(code, status, "{text}");
    assert!(text.contains(says), "no {says:?} in {text}");
}

const PLUG: &str = "  - plug: { dimm: a, size: 128M }";

#[test]
fn a_load_that_does_not_start_is_an_error() {
    let steps = format!("  - load: {{ name: l, stress: \"--no-such-stressor 1\" }}\n{PLUG}");
    assert_run("", &steps, 3, "ERROR");
}

#[test]
fn a_load_that_ends_by_itself_is_an_error() {
    let prove = "  - prove: { load: l, pressure: io, within: 20s }";
    let steps = format!("  - load: {{ name: l, stress: \"--cpu 1 --cpu-ops 40\" }}\n{PLUG}\n{prove}");
    assert_run("", &steps, 3, "ERROR");
}

#[test]
fn a_load_that_is_too_weak_is_an_error() {
    let steps =
        format!("  - load: {{ name: l, cpu: \"1\" }}\n{PLUG}\n  - prove: {{ running: \"50\", within: 1s }}");
    assert_run("", &steps, 3, "/proc/loadavg does not prove the load");
}

#[test]
fn a_rule_with_a_mistake_fails() {
    let head = "udev: { rules: misspelt }";
    let knob = "  - write: { path: /sys/devices/system/memory/auto_online_blocks, text: offline }";
    assert_run(head, &format!("{knob}\n{PLUG}"), 1, "block.state: expected online, seen offline");
}

#[test]
fn memory_that_nobody_onlines_does_not_save_whoever_needs_it() {
    let steps = "  - write: { path: /sys/devices/system/memory/auto_online_blocks, text: offline }
  - hold: { name: base, kind: anonymous, size: available-80M }
  - hold: { name: rising, kind: anonymous, size: 400M, pace: 40M, begin: true }
  - plug: { dimm: a, size: 512M }
  - held: { name: rising }";
    assert_run("", steps, 1, "hold.alive");
}
