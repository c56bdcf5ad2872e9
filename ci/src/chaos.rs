//! `cargo ci chaos`: a run whose QEMUs are killed at random, again and again.
//!
//! Shows that every scenario is judged in the end, or MISS with its reason, never FAIL or ERROR; that nothing is left
//! running, nothing is left in the run directories, and no template is damaged.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use xshell::{Shell, cmd};

/// Options of `cargo ci chaos`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// patterns, as for `memhp run`
    #[arg(default_values = ["unplug/*", "zone/*", "repeat/grow-and-shrink", "policy/boot-param-*"])]
    patterns: Vec<String>,
    /// the kernel
    #[arg(short, long, default_value = "debian-6.12")]
    kernel: String,
    /// guests at once
    #[arg(short, long, default_value = "8")]
    jobs: String,
    /// seconds between two kills
    #[arg(long, default_value_t = 2)]
    every: u64,
    /// seed of the choice of victims
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// a memhp that is built already
    #[arg(long, default_value = "")]
    memhp: PathBuf,
}

/// Runs, kills, and looks at what is left.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    crate::setup::run(sh, crate::setup::TEST_TOOLS)?;
    let mut memhp = args.memhp.clone();
    if memhp.as_os_str().is_empty() {
        cmd!(sh, "cargo build --quiet --release --package memhp --bin memhp").run()?;
        memhp = sh.current_dir().join("target/release/memhp");
    }
    let dir = sh.create_temp_dir()?;
    let (out, runs) = (dir.path().join("out"), dir.path().join("runs"));
    fs::create_dir(&runs)?;
    let mut child = Command::new(&memhp)
        .arg("run")
        .args(&args.patterns)
        .args(["-k", &args.kernel, "-j", &args.jobs, "--timeout-scale", "4", "--format", "jsonl", "--out"])
        .arg(&out)
        .env("XDG_RUNTIME_DIR", &runs)
        .env("TMPDIR", &runs)
        .stdout(Stdio::null())
        .spawn()?;
    let killed = kill_now_and_then(sh, &mut child, args, &out)?;
    let status = child.wait()?;
    println!("{killed} QEMUs were killed; memhp ended with {status}");
    let verdicts = judged(&out)?;
    println!("verdicts: {verdicts:?}");
    ensure!(killed > 0, "nothing was killed: nothing is shown");
    ensure!(matches!(status.code(), Some(0 | 3)), "exit status {status}");
    let left = running_with(&runs);
    ensure!(left.is_empty(), "still running: {left:?}");
    let left: Vec<_> = fs::read_dir(&runs)?.flatten().map(|e| e.path()).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    let half = half_written(sh)?;
    ensure!(half.is_empty(), "templates without a description, and nobody works at them: {half:?}");
    undisturbed(sh, args, &memhp, dir.path())
}

/// Kills one child of `child` that is a QEMU every few seconds, from the plan on, until the run ends; how many.
fn kill_now_and_then(sh: &Shell, child: &mut Child, args: &Args, out: &Path) -> Result<u32> {
    let (mut killed, mut random) = (0, args.seed.wrapping_mul(2) + 1);
    let log = out.join("events.jsonl");
    while child.try_wait()?.is_none() {
        // A rhythm, not a wait for anything.
        std::thread::sleep(Duration::from_secs(args.every));
        let planned = fs::read_to_string(&log).is_ok_and(|text| text.contains("\"event\":\"plan\""));
        let victims = if planned { qemus_of(child.id()) } else { Vec::new() };
        if victims.is_empty() {
            continue;
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let victim = victims[usize::try_from(random >> 33)? % victims.len()].to_string();
        // It may have ended by itself.
        killed += u32::from(cmd!(sh, "kill -KILL {victim}").quiet().ignore_stderr().run().is_ok());
    }
    Ok(killed)
}

fn qemus_of(parent: u32) -> Vec<u32> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_victim = |pid: &u32| {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        let Some((name, rest)) = stat.rsplit_once(')') else { return false };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        name.contains("(qemu-system")
            && fields.first() != Some(&"Z")
            && fields.get(1) == Some(&&*parent.to_string())
    };
    numbers.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(is_victim).collect()
}

/// Processes that were started with this directory for what they run.
fn running_with(runs: &Path) -> Vec<String> {
    let wanted = [b"XDG_RUNTIME_DIR=", runs.as_os_str().as_encoded_bytes()].concat();
    let has = |path: &PathBuf| {
        fs::read(path.join("environ")).is_ok_and(|all| all.split(|b| *b == 0).any(|word| word == wanted))
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten().map(|e| e.path());
    all.filter(has).map(|path| path.display().to_string()).collect()
}

/// How many scenarios of the plan have which verdict; each must have one, and none may be the kernel's or the test's.
fn judged(out: &Path) -> Result<BTreeMap<String, u32>> {
    let (mut planned, mut verdicts) = (0, BTreeMap::new());
    for line in fs::read_to_string(out.join("events.jsonl"))?.lines() {
        let event: Value = serde_json::from_str(line)?;
        match event["event"].as_str() {
            Some("plan") => {
                planned = event["scenarios"].as_array().context("a plan without scenarios")?.len()
            }
            Some("scenario-end") => {
                let verdict = event["verdict"].as_str().context("no verdict")?;
                let known = event["known"].is_string();
                ensure!(
                    known || !matches!(verdict, "FAIL" | "ERROR"),
                    "a killed QEMU was blamed on others: {line}"
                );
                ensure!(verdict != "MISS" || event["title"] != "", "MISS without a reason: {line}");
                *verdicts.entry(verdict.to_string()).or_insert(0) += 1;
            }
            _ => {}
        }
    }
    let ended: u32 = verdicts.values().sum();
    ensure!(usize::try_from(ended)? == planned, "{planned} scenarios were planned, {ended} were judged");
    Ok(verdicts)
}

/// Directories of templates that nobody works at (their lock is free) and that have no description.
fn half_written(sh: &Shell) -> Result<Vec<PathBuf>> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let base = cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("memhp/templates");
    let mut half = Vec::new();
    for entry in fs::read_dir(base)? {
        let path = entry?.path();
        let lock = path.with_extension("lock");
        if path.is_dir() && !path.join("template.json").exists() {
            let free = cmd!(sh, "flock -n {lock} true").quiet().run().is_ok();
            half.extend(free.then_some(path));
        }
    }
    Ok(half)
}

/// The same without kills: everything passes, and every guest comes up at the first try.
fn undisturbed(sh: &Shell, args: &Args, memhp: &Path, dir: &Path) -> Result<()> {
    let (out, kernel, patterns) = (dir.join("again"), &args.kernel, &args.patterns);
    cmd!(sh, "{memhp} run {patterns...} -k {kernel} --timeout-scale 4 --out {out}").quiet().run()?;
    let text = fs::read_to_string(out.join("events.jsonl"))?;
    let again: Vec<&str> = text.lines().filter(|line| line.contains("\"event\":\"retry\"")).collect();
    ensure!(again.is_empty(), "guests did not come up: {again:?}");
    println!("and without kills all of it passes");
    Ok(())
}
