//! `cargo ci bench`: what a restored guest saves. Every figure is a ratio of two things measured in this run.
//!
//! Guests that boot and guests that are restored take turns, so that a host that is busy for a while is so for both.
//! Medians of [`TURNS`] with the least and the greatest; nothing here judges anything.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use xshell::{Shell, cmd};

/// Options of `cargo ci bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// kernels, as for `memhp run -k`
    #[arg(default_values = ["debian-6.1", "debian-6.12", "debian-7"])]
    kernels: Vec<String>,
    /// where the figures go as JSON
    #[arg(long, default_value = "target/bench.json")]
    out: std::path::PathBuf,
}

const TURNS: usize = 9;
/// A short scenario with a template of its own kind.
const CASE: &str = "zone/movable-then-kernel";

/// Measures and prints.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    crate::setup::run(sh, crate::setup::TEST_TOOLS)?;
    cmd!(sh, "cargo build --quiet --release --package memhp --bin memhp").run()?;
    let mut figures = Vec::new();
    println!("kernel\tfigure\tboot (median, least, greatest)\tfork (median, least, greatest)\tboot / fork");
    for kernel in &args.kernels {
        let (mut cold, mut fork) = (Vec::new(), Vec::new());
        scenario(sh, kernel, "fork")?; // the template is made
        for _ in 0..TURNS {
            cold.push(scenario(sh, kernel, "cold")?);
            fork.push(scenario(sh, kernel, "fork")?);
        }
        for (name, key) in [("first answer", "boot_ns"), ("whole scenario", "duration_ns")] {
            let (cold, fork) = (Figure::of(&cold, key)?, Figure::of(&fork, key)?);
            let ratio = cold.median / fork.median;
            println!("{kernel}\t{name}\t{cold}\t{fork}\t{ratio:.1}");
            figures.push(json!({ "kernel": kernel, "figure": name, "case": CASE, "turns": TURNS,
                                 "boot": cold.json(), "fork": fork.json(), "ratio": ratio }));
        }
    }
    sh.write_file(&args.out, format!("{:#}\n", Value::Array(figures)))?;
    Ok(())
}

/// The judgement of one run of the scenario; it must have passed.
fn scenario(sh: &Shell, kernel: &str, boot: &str) -> Result<Value> {
    let dir = sh.create_temp_dir()?;
    let out = dir.path().join("out");
    cmd!(sh, "target/release/memhp run {CASE} -k {kernel} -j1 --boot {boot} --out {out} --format jsonl")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()?;
    end(&out)
}

fn end(out: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(out.join("events.jsonl"))?;
    let line =
        text.lines().find(|l| l.contains("\"event\":\"scenario-end\"")).context("no scenario ended")?;
    let end: Value = serde_json::from_str(line)?;
    ensure!(end["verdict"] == "PASS", "{line}");
    Ok(end)
}

/// Milliseconds.
struct Figure {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Figure {
    fn of(ends: &[Value], key: &str) -> Result<Self> {
        let ms = |end: &Value| Some(end[key].as_u64()? as f64 / 1e6);
        let mut all: Vec<f64> = ends.iter().map(ms).collect::<Option<_>>().context("a figure is missing")?;
        all.sort_by(f64::total_cmp);
        Ok(Self { median: all[all.len() / 2], least: all[0], greatest: all[all.len() - 1] })
    }

    fn json(&self) -> Value {
        json!({ "median_ms": self.median, "least_ms": self.least, "greatest_ms": self.greatest })
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} ms ({:.0}, {:.0})", self.median, self.least, self.greatest)
    }
}
