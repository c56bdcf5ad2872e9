//! The command as a user types it: exit statuses, messages, files, signals. Guests run the kernel of debian-6.12.

// Helpers of tests are tests: what goes wrong in them is to fail the test where it happens.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const KERNEL: &str = "debian-6.12";
/// A scenario whose guest is restored from a kept template.
const CASE: &str = "zone/movable-then-kernel";

fn memhp(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memhp"));
    command.args(args);
    command
}

fn output(args: &[&str]) -> Output {
    memhp(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Status, and a part of what standard error says.
fn refused(args: &[&str], status: i32, why: &str) {
    let output = output(args);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {stderr}");
    assert!(stderr.contains(why), "{args:?}: {stderr}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
}

#[test]
fn a_wrong_command_line_is_status_2() {
    refused(&["run", "--frobnicate"], 2, "--frobnicate");
    refused(&["run", "-k", "./no/such/kernel"], 2, "./no/such/kernel");
    refused(&["run", "-k", "debian-0"], 2, "debian-0");
    refused(&["run", "-k", "/bin/sh"], 2, "not a kernel");
    refused(&["run", "no/such-case", "-k", KERNEL], 2, "no scenario matches \"no/such-case\"");
    refused(&["run", "./no-such-case.yaml", "-k", KERNEL], 2, "./no-such-case.yaml");
    refused(&["run", "-j", "0"], 2, "-j");
    for scale in ["nan", "inf", "-1", "0", "1e7"] {
        refused(&["run", &format!("--timeout-scale={scale}")], 2, "want a number above 0");
    }
    refused(&["run", CASE, "-k", KERNEL, "--shard", "3/2"], 2, "want I/N with 1 <= I <= N");
    refused(&["run", CASE, "-k", KERNEL, "--out", "/proc/none/out"], 2, "/proc/none");
    refused(&["parse", "/proc/none"], 2, "/proc/none");
    refused(&["parse", ".", "--cases", "/proc/none"], 2, "events.jsonl");
    refused(&["predict", "-k", "6.12:default=maybe", "--plug", "1G"], 2, "maybe");
}

#[test]
fn a_missing_qemu_is_no_verdict_and_stops_a_bisection() {
    let run = ["run", CASE, "-k", KERNEL, "--qemu", "/no/such/qemu"];
    refused(&run, 3, "/no/such/qemu");
    refused(&[&run[..], &["--exit", "bisect"]].concat(), 128, "/no/such/qemu");
}

#[test]
fn mistakes_in_a_case_file_have_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.yaml");
    let path = file.to_str().unwrap();
    let head = "summary: s\norigin: o\n";
    for (rest, line, why) in [
        ("steps: []\nsteps: []\n", 4, "duplicate"),
        ("steps:\n", 3, "null"),
        ("colour: red\nsteps: []\n", 3, "unknown field `colour`"),
        ("steps:\n  - plug: { dimm: a, size: 100M }\n", 4, "no multiple of the memory block size"),
        ("steps:\n  - unplug: { dimm: a }\n", 4, "no DIMM a is plugged"),
    ] {
        std::fs::write(&file, format!("{head}{rest}")).unwrap();
        refused(&["run", path, "-k", KERNEL], 2, &format!("{path}:{line}:"));
        refused(&["run", path, "-k", KERNEL], 2, why);
    }
}

#[test]
fn predict_prints_number_state_zone_and_rule() {
    let output = output(&[
        "predict",
        "-k",
        "6.1:default=offline",
        "--append",
        "memhp_default_state=online_movable",
        "--plug",
        "256M",
    ]);
    assert_eq!(output.status.code(), Some(0));
    let stdout = text(&output.stdout);
    let lines: Vec<Vec<&str>> = stdout.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!(
        lines.iter().map(|l| l[..3].to_vec()).collect::<Vec<_>>(),
        [["32", "online", "Movable"], ["33", "online", "Movable"]]
    );
}

#[test]
fn list_is_sorted_and_shards_are_a_partition() {
    let lines = |args: &[&str]| -> Vec<String> {
        let output = output(args);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).lines().map(str::to_string).collect()
    };
    let list = lines(&["list", "zone/*", "-k", KERNEL]);
    let ids: Vec<&str> = list.iter().map(|l| l.split('\t').next().unwrap()).collect();
    assert!(ids.is_sorted() && ids.len() > 30, "{ids:?}");
    assert!(list.iter().all(|l| ["run", "skip"].contains(&l.split('\t').nth(1).unwrap())));
    let mut parts: Vec<String> = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let plan = lines(&["run", "zone/*", "-k", KERNEL, "--dry-run", "--shard", shard]);
        let planned = plan.iter().filter_map(|l| l.strip_prefix("run ").or(l.strip_prefix("skip ")));
        parts.extend(planned.map(|l| l.split(": ").next().unwrap().to_string()));
    }
    parts.sort();
    assert_eq!(parts, ids);
}

/// Of an image without its configuration everything is planned that is planned with it, but what needs an option that does
/// not show, or a module; with the configuration next to it, all but what needs a module.
#[test]
fn an_image_alone_is_asked_what_it_was_built_with() {
    let context = memhp::kernel::Context::new(&|_| ()).unwrap();
    let packaged = memhp::kernel::resolve(&[KERNEL.to_string()], &context).unwrap().remove(0);
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("mine.img");
    std::fs::copy(&packaged.image, &image).unwrap();
    let skipped = |kernel: &str| -> BTreeMap<String, String> {
        let output = output(&["run", "-k", kernel, "--dry-run"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let lines = text(&output.stdout);
        let skipped = lines.lines().filter_map(|l| l.strip_prefix("skip ")?.split_once(": "));
        skipped.map(|(id, why)| (id.split('@').next().unwrap().to_string(), why.to_string())).collect()
    };
    let known = skipped(KERNEL);
    let more = || -> BTreeSet<String> {
        let all = skipped(image.to_str().unwrap());
        assert!(known.iter().all(|(id, why)| all.get(id) == Some(why)), "{known:?} {all:?}");
        all.into_iter().filter(|(id, _)| !known.contains_key(id)).map(|(_, why)| why).collect()
    };
    let unknown =
        |option: &str| format!("needs CONFIG_{option}=y or m, and the kernel's configuration is not known");
    let want = ["CONTIG_ALLOC", "MEMCG", "MEMORY_NOTIFIER_ERROR_INJECT", "SWIOTLB", "ZONE_DMA"];
    assert_eq!(more(), want.map(unknown).into());

    std::fs::copy(packaged.image.with_file_name("config"), dir.path().join("mine.config")).unwrap();
    let reasons = more();
    assert!(reasons.iter().all(|why| why.starts_with("module ")), "{reasons:?}");
}

fn events(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("events.jsonl")).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn run(out: &Path, more: &[&str]) -> Output {
    let mut command = memhp(&["run", "-k", KERNEL, "--out"]);
    command.arg(out).args(more).output().unwrap()
}

#[test]
fn a_run_is_recorded_and_judged_again_from_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    assert_eq!(run(&out, &[CASE]).status.code(), Some(0));
    for name in ["events.jsonl", "results.ktap", "junit.xml", "kcidb.json"] {
        assert!(out.join(name).is_file(), "{name}");
    }
    let again = run(&out, &[CASE, "--verify-forks", "1"]);
    assert!(text(&again.stderr).contains("1 scenarios went the same way"), "{}", text(&again.stderr));
    let template =
        |events: &[Value]| events.iter().find(|e| e["event"] == "template").unwrap()["built"].clone();
    assert_eq!(template(&events(&out)), false, "the second run boots nothing of its own");
    let parse = |out: &Path| output(&["parse", out.to_str().unwrap(), "--format", "ktap"]);
    assert_eq!(parse(&out).status.code(), Some(0));
    assert_eq!(text(&parse(&out).stdout), std::fs::read_to_string(out.join("results.ktap")).unwrap());

    // Another state of a block in the record is another verdict, whatever the record says at its end.
    let log = out.join("events.jsonl");
    let whole = std::fs::read_to_string(&log).unwrap();
    let last = whole.rfind("\"state\":{\"text\":\"offline\\n\"}").unwrap();
    let (before, after) = whole.split_at(last);
    std::fs::write(&log, before.to_string() + &after.replacen("offline", "online", 1)).unwrap();
    let judged = parse(&out);
    assert_eq!(judged.status.code(), Some(1), "{}", text(&judged.stdout));

    // A record that was cut short misses what it does not tell.
    let end = whole.find("\"event\":\"scenario-end\"").unwrap();
    std::fs::write(&log, &whole[..whole[..end].rfind('\n').unwrap() + 1]).unwrap();
    assert_eq!(parse(&out).status.code(), Some(3));
}

/// Process ids of the children of all threads of a process.
fn children(pid: u32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of =
        |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks
        .flatten()
        .map(of)
        .flat_map(|t| t.split_whitespace().map(|p| p.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// A run that has begun to work in a guest, and the guests' processes.
fn begun(out: &Path) -> (Child, Vec<rustix::fd::OwnedFd>) {
    use std::io::BufRead;
    let mut command = memhp(&["run", "zone/*", "-k", KERNEL, "-j", "1", "--format", "jsonl", "--out"]);
    let mut child = command.arg(out).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    lines.find(|l| l.as_ref().unwrap().contains("\"event\":\"observation\"")).unwrap().unwrap();
    // Nobody reads on: memhp writes into a pipe that is closed, and goes on.
    let pidfd = |pid| {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
    };
    let guests: Vec<_> = children(child.id()).into_iter().filter_map(|pid| pidfd(pid).ok()).collect();
    assert!(!guests.is_empty());
    (child, guests)
}

fn kill(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

/// A pidfd becomes readable when its process ends.
fn gone(guest: &rustix::fd::OwnedFd, within: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let time = Timespec::try_from(within).unwrap();
    poll(&mut [PollFd::new(guest, PollFlags::IN)], Some(&time)).unwrap() == 1
}

#[test]
fn an_interrupted_run_keeps_what_was_judged_and_leaves_nothing_behind() {
    for (signal, status, name) in
        [(rustix::process::Signal::INT, 130, "SIGINT"), (rustix::process::Signal::TERM, 143, "SIGTERM")]
    {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, guests) = begun(dir.path());
        kill(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(status));
        assert!(guests.iter().all(|g| gone(g, Duration::ZERO)));
        let events = events(dir.path());
        let end = events.last().unwrap();
        assert_eq!((end["event"].as_str(), end["signal"].as_str()), (Some("run-end"), Some(name)));
        let planned =
            events.iter().find(|e| e["event"] == "plan").unwrap()["scenarios"].as_array().unwrap().len();
        assert_eq!(events.iter().filter(|e| e["event"] == "scenario-end").count(), planned);
    }
}

#[test]
fn guests_die_with_a_killed_memhp_and_the_next_one_clears_up() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, guests) = begun(dir.path());
    let mine = format!("memhp-{}-", child.id());
    let left = || {
        let base = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, Into::into);
        let names = std::fs::read_dir(base)
            .unwrap()
            .flatten()
            .map(|e| e.file_name().into_string().unwrap_or_default());
        names.filter(|n| n.starts_with(&mine)).count()
    };
    assert!(left() > 0);
    kill(&child, rustix::process::Signal::KILL);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(guests.iter().all(|g| gone(g, Duration::from_secs(10))), "a guest outlives memhp");
    let next = dir.path().join("next");
    assert_eq!(run(&next, &[CASE]).status.code(), Some(0));
    assert_eq!(left(), 0);
}
