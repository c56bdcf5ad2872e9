//! `memhp measure` as a user types it: what is refused, and what a measurement leaves behind when it is interrupted.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const KERNEL: &str = "debian-6.12";

fn memhp(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memhp"));
    command.args(["measure", "onlining", "-k", KERNEL]).args(args);
    command
}

#[test]
fn a_wrong_command_line_is_status_2_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let used = dir.path().join("used");
    std::fs::create_dir(&used).unwrap();
    std::fs::write(used.join("samples.csv"), "x").unwrap();
    for (args, why) in [
        (&["--frobnicate"][..], "--frobnicate"),
        (
            &["--policy", "onlin"],
            "no policy \"onlin\" (want online, online_movable, udev, udev_movable, agent)",
        ),
        (&["--load", "cpu-0x"], "no load \"cpu-0x\""),
        (&["--size", "100M"], "no multiple of the memory block size"),
        (&["--size", "0"], "--size 0"),
        (&["--budget", "0s"], "nothing can be measured in no time"),
        (&["--budget", "soon"], "--budget soon"),
        (&["--limit", "0s"], "nothing can be measured in no time"),
        (&["--repeats", "0"], "--repeats"),
        (&["--clock", "sundial"], "--clock"),
        (&["--clock", "instructions", "--smp", "2"], "a guest has one processor"),
        (&["--clock", "instructions", "--accel", "kvm"], "by emulation (tcg) only"),
        (&["--accel", "tcg", "--out", "/proc/none/out"], "/proc/none"),
        (&["--accel", "tcg", "--out", used.to_str().unwrap()], "is of an earlier measurement"),
        (&["-k", "debian-0"], "debian-0"),
    ] {
        let output = memhp(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(why), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_memhp")).arg("measure").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

fn lines(csv: &Path) -> usize {
    std::fs::read_to_string(csv).map_or(0, |text| text.lines().count())
}

#[test]
fn an_interrupt_leaves_the_samples_taken_so_far_and_their_reports() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let args = ["--policy", "online", "--load", "idle", "--size", "128M", "--repeats", "500", "--out"];
    let mut child = memhp(&args).arg(&out).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let csv = out.join("samples.csv");
    let begun = Instant::now();
    while lines(&csv) < 3 {
        assert!(begun.elapsed() < Duration::from_secs(300), "no samples within 300 s");
        assert!(child.try_wait().unwrap().is_none(), "ended by itself");
        std::thread::sleep(Duration::from_millis(100));
    }
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stdout).contains("ended early: interrupted"));
    let samples = lines(&csv) - 1;
    let text = std::fs::read_to_string(out.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    let counted = &summary["cells"][0];
    let all = counted["n"].as_u64().unwrap() + counted["not_measured"].as_u64().unwrap();
    assert_eq!(usize::try_from(all).unwrap(), samples);
    assert_eq!(summary["ended"], "interrupted");
    for plot in ["latency", "heat"] {
        let svg = std::fs::read_to_string(out.join(format!("{plot}-{KERNEL}-128M.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
