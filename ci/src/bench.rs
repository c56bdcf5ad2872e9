//! `cargo ci bench`: what restored guests save, and what they cost. Every figure compares things measured in this run.
//!
//! What is compared takes turns, so that a host that is busy for a while is so for both. Medians with the least and
//! the greatest; nothing here judges anything.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

mod cost;
mod figure;
mod host;

use figure::Figure;

/// Options of `cargo ci bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// kernels, as for `memhp run -k`
    #[arg(default_values = ["debian-6.1", "debian-6.12", "debian-7"])]
    kernels: Vec<String>,
    /// what is measured; all without any
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// measurements of each thing
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,
    /// scenarios of the part `suite`
    #[arg(long, default_value = "zone/* unplug/*")]
    suite: String,
    /// a memhp that is built already
    #[arg(long)]
    memhp: Option<PathBuf>,
    /// where the figures go as JSON
    #[arg(long, default_value = "target/bench.json")]
    out: PathBuf,
}

/// Parts of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// first answer and whole scenario: the packaged bzImage booted as it is, memhp's own boot, and restored
    First,
    /// a suite, booted and restored, with memhp's processor time and QEMU's
    Suite,
    /// one plug, online, offline, unplug round: 256 of them in one guest, divided
    Rounds,
    /// proportional memory of a restored guest, and what templates take on disk
    Memory,
    /// cost of a scenario against their number, and against the guests at once
    Scale,
    /// virtme-ng from PyPI, booting the same kernel to a command
    Peer,
}

const PARTS: [Part; 6] = [Part::First, Part::Suite, Part::Rounds, Part::Memory, Part::Scale, Part::Peer];

/// A short scenario with a template of its own kind.
const CASE: &str = "zone/movable-then-kernel";

/// What every part needs.
struct Bench<'a> {
    sh: &'a Shell,
    memhp: PathBuf,
    turns: u32,
    suite: Vec<String>,
    figures: Vec<Value>,
}

/// Measures and prints.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    crate::setup::run(sh, crate::setup::TEST_TOOLS)?;
    if args.memhp.is_none() {
        cmd!(sh, "cargo build --quiet --release --package memhp --bin memhp").run()?;
    }
    let memhp = args.memhp.clone().unwrap_or_else(|| sh.current_dir().join("target/release/memhp"));
    let suite = args.suite.split_whitespace().map(str::to_string).collect();
    let mut bench = Bench { sh, memhp, turns: args.turns, suite, figures: Vec::new() };
    println!("kernel\tfigure\tvalues: median (least, greatest)");
    let parts = if args.part.is_empty() { PARTS.to_vec() } else { args.part.clone() };
    for kernel in &args.kernels {
        for part in &parts {
            bench.part(kernel, *part).with_context(|| format!("{kernel}: {part:?}"))?;
            sh.write_file(&args.out, format!("{:#}\n", Value::Array(bench.figures.clone())))?;
        }
    }
    Ok(())
}

impl Bench<'_> {
    fn part(&mut self, kernel: &str, part: Part) -> Result<()> {
        match part {
            Part::First => self.first(kernel),
            Part::Suite => self.suite(kernel),
            Part::Rounds => self.long(kernel, "repeat/rounds-256", 256),
            Part::Memory => self.memory(kernel),
            Part::Scale => self.scale(kernel),
            Part::Peer => self.peer(kernel),
        }
    }

    /// Prints a line and keeps it.
    fn say(&mut self, kernel: &str, name: &str, values: &[(&str, Figure)], ratio: Option<f64>) {
        let shown: Vec<String> = values.iter().map(|(what, figure)| format!("{what} {figure}")).collect();
        let ratio_text = ratio.map(|r| format!("\tratio {r:.2}")).unwrap_or_default();
        println!("{kernel}\t{name}\t{}{ratio_text}", shown.join("\t"));
        let values: serde_json::Map<String, Value> =
            values.iter().map(|(what, figure)| ((*what).to_string(), figure.json())).collect();
        self.figures.push(json!({ "kernel": kernel, "figure": name, "values": values, "ratio": ratio }));
    }

    /// A run's log; it must have passed.
    fn run(&self, kernel: &str, patterns: &[String], options: &[&str]) -> Result<Vec<Value>> {
        let (sh, memhp) = (self.sh, &self.memhp);
        let dir = sh.create_temp_dir()?;
        let out = dir.path().join("out");
        cmd!(sh, "{memhp} run {patterns...} -k {kernel} {options...} --out {out} --format jsonl")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run()?;
        log(&out)
    }

    fn first(&mut self, kernel: &str) -> Result<()> {
        let case = [CASE.to_string()];
        self.run(kernel, &case, &["-j1"])?; // the template is made
        // QEMU takes the last of two kernels: the image as it is packaged, which unpacks itself, as a peer boots it
        let plain_args = format!("-kernel {}", self.image(kernel)?.display());
        let (mut plain, mut cold, mut fork) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.turns {
            let image = ["-j1", "--boot", "cold", "--qemu-args", &plain_args];
            plain.push(end(&self.run(kernel, &case, &image)?)?);
            cold.push(end(&self.run(kernel, &case, &["-j1", "--boot", "cold"])?)?);
            fork.push(forked(&self.run(kernel, &case, &["-j1", "--boot", "fork"])?)?);
        }
        for (name, key) in [("first answer", "boot_ns"), ("whole scenario", "duration_ns")] {
            let of = |ends: &[Value]| Figure::of(ends.iter().map(|end| ms(end, key)), "ms");
            let (plain, cold, fork) = (of(&plain)?, of(&cold)?, of(&fork)?);
            let ratio = plain.median / fork.median;
            self.say(kernel, name, &[("plain bzImage", plain), ("boot", cold), ("fork", fork)], Some(ratio));
        }
        Ok(())
    }

    /// A scenario of many like rounds.
    fn long(&mut self, kernel: &str, case: &str, rounds: u32) -> Result<()> {
        let mut all = Vec::new();
        for _ in 0..self.turns {
            let end = end(&self.run(kernel, &[case.to_string()], &["-j1"])?)?;
            all.push(ms(&end, "duration_ns")? / 1e3);
        }
        let whole = Figure::of(all.iter().copied().map(Ok), "s")?;
        let one = Figure::of(all.iter().map(|s| Ok(s * 1e3 / f64::from(rounds))), "ms")?;
        self.say(kernel, case, &[("whole", whole), ("one", one)], None);
        Ok(())
    }
}

fn log(out: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(out.join("events.jsonl"))?;
    text.lines().map(|line| serde_json::from_str(line).context("a line of the log")).collect()
}

fn event<'a>(log: &'a [Value], name: &str) -> Result<&'a Value> {
    log.iter().find(|event| event["event"] == name).with_context(|| format!("no {name} in the log"))
}

fn end(log: &[Value]) -> Result<Value> {
    let end = event(log, "scenario-end")?;
    ensure!(end["verdict"] == "PASS", "{end}");
    Ok(end.clone())
}

/// The end of a scenario whose guest was restored.
fn forked(log: &[Value]) -> Result<Value> {
    let end = end(log)?;
    ensure!(end["boot"] == "fork", "not restored: {end}");
    Ok(end)
}

/// Fails where a scenario that ran was not restored.
fn all_forked(log: &[Value]) -> Result<()> {
    let mut ends = log.iter().filter(|event| event["event"] == "scenario-end");
    match ends.find(|end| end["boot"] != "fork") {
        Some(end) => bail!("not restored: {end}"),
        None => Ok(()),
    }
}

fn ms(event: &Value, key: &str) -> Result<f64> {
    Ok(event[key].as_u64().with_context(|| format!("no {key}"))? as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_restored_was_restored() {
        let end = |boot: &str| json!({ "event": "scenario-end", "verdict": "PASS", "boot": boot });
        let begin = json!({ "event": "run-start" });
        let (fork, mixed) = ([begin.clone(), end("fork")], [begin, end("fork"), end("cold")]);
        assert_eq!(forked(&fork).unwrap(), end("fork"));
        assert!(forked(&mixed[2..]).unwrap_err().to_string().starts_with("not restored: {"));
        all_forked(&fork).unwrap();
        assert!(all_forked(&mixed).unwrap_err().to_string().starts_with("not restored: {"));
    }
}
