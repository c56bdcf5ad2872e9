//! `cargo ci source`: kernels from source, end to end.
//!
//! Debian's 6.12 is built with both compiled defaults and compared: what differs must be exactly the scenarios in which the
//! default decides. Then two series are judged on the same source: one that changes a comment changes nothing; one that
//! takes the knobs away changes exactly what it must. The lists are in harness/tests/data/source; a new case that belongs
//! to one of them is added by `--write`, and read before it is committed.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Options of `cargo ci source`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// patterns, as for `memhp run`
    #[arg(default_values = ["policy/*"])]
    patterns: Vec<String>,
    /// write the lists anew instead of comparing with them
    #[arg(long)]
    write: bool,
}

const LISTS: &str = "harness/tests/data/source";
const SERIES: &str = "harness/tests/data/series";

/// Builds, compares, judges.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    crate::setup::run(sh, crate::setup::TEST_TOOLS)?;
    crate::setup::run(sh, crate::setup::KERNEL_BUILD_TOOLS)?;
    cmd!(sh, "cargo build --release --package memhp").run()?;
    let out = sh.create_temp_dir()?;
    let work = Work { sh, memhp: sh.current_dir().join("target/release/memhp"), out: out.path(), args };
    let (status, comparison) =
        work.memhp("compiled-default", &["compare", "small-6.12-offline", "small-6.12-online"])?;
    ensure!(status == Some(1), "compare of two defaults: exit status {status:?}, not 1");
    work.exactly("compiled-default", &changes(&comparison)?)?;
    let tree = crate::mutants::pristine_source(sh)?;
    let tree = tree.to_str().context("a cache directory that is no text")?;
    let (status, report) =
        work.memhp("harmless", &["series", &format!("{SERIES}/harmless"), "--tree", tree])?;
    let harmless = changes(last_stage(&report)?)?;
    ensure!((status, harmless.len()) == (Some(0), 0), "a comment changes (status {status:?}): {harmless:?}");
    println!("harmless: nothing changes");
    let (status, report) =
        work.memhp("knobs-removed", &["series", &format!("{SERIES}/knobs-removed"), "--tree", tree])?;
    ensure!(status == Some(1), "series without knobs: exit status {status:?}, not 1");
    work.exactly("knobs-removed", &changes(last_stage(&report)?)?)
}

struct Work<'a> {
    sh: &'a Shell,
    memhp: PathBuf,
    out: &'a Path,
    args: &'a Args,
}

impl Work<'_> {
    /// Runs a subcommand; its exit status and its JSON.
    fn memhp(&self, name: &str, words: &[&str]) -> Result<(Option<i32>, Value)> {
        let (sh, memhp, patterns) = (self.sh, &self.memhp, &self.args.patterns);
        let out = self.out.join(name);
        let output = cmd!(sh, "{memhp} {words...} {patterns...} --format json --out {out}").ignore_status();
        let output = output.output()?;
        let json = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("{words:?} ended with {} and {}", output.status, String::from_utf8_lossy(&output.stderr))
        })?;
        Ok((output.status.code(), json))
    }

    /// The changes are those of the list of this name.
    fn exactly(&self, name: &str, seen: &BTreeSet<String>) -> Result<()> {
        let path = Path::new(LISTS).join(format!("{name}.txt"));
        if self.args.write {
            let text: String = seen.iter().map(|line| format!("{line}\n")).collect();
            return Ok(self.sh.write_file(&path, text)?);
        }
        let wanted = self.sh.read_file(&path)?.lines().map(str::to_string).collect::<BTreeSet<_>>();
        let missing: Vec<_> = wanted.difference(seen).collect();
        let more: Vec<_> = seen.difference(&wanted).collect();
        ensure!(
            missing.is_empty() && more.is_empty(),
            "{}: does not change: {missing:#?}, changes and is not listed: {more:#?}",
            path.display()
        );
        println!("{name}: {} scenarios change, as listed", seen.len());
        Ok(())
    }
}

/// `SCENARIO: CLASS` of every change, and scenarios that one kernel alone can run. What repeats showed to be noise is none.
fn changes(comparison: &Value) -> Result<BTreeSet<String>> {
    // Images that are equal byte for byte are not compared.
    if comparison.is_null() {
        return Ok(BTreeSet::new());
    }
    let mut all = BTreeSet::new();
    for change in comparison["changes"].as_array().context("a comparison without changes")? {
        let text = |key: &str| change[key].as_str().with_context(|| format!("no {key}: {change}"));
        if text("class")? == "noise" {
            continue;
        }
        all.insert(format!("{}: {}", text("scenario")?, text("class")?));
    }
    for (key, word) in [("only_a", "only the first runs it"), ("only_b", "only the second runs it")] {
        for one in comparison[key].as_array().with_context(|| format!("a comparison without {key}"))? {
            let scenario = one["scenario"].as_str().with_context(|| format!("{key}: {one}"))?;
            all.insert(format!("{scenario}: {word}"));
        }
    }
    Ok(all)
}

/// The comparison of the whole series with its base.
fn last_stage(report: &Value) -> Result<&Value> {
    let stages =
        report["outcome"]["compared"].as_array().with_context(|| format!("{}", report["outcome"]))?;
    Ok(&stages.last().context("nothing was compared")?["comparison"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_no_change_and_everything_else_is() {
        let one = |scenario: &str, class: &str| serde_json::json!({ "scenario": scenario, "class": class });
        let comparison = serde_json::json!({
            "changes": [one("a", "noise"), one("b", "changed-policy"), one("c", "undecided")],
            "only_a": [{ "scenario": "d" }],
            "only_b": [],
        });
        let wanted = ["b: changed-policy", "c: undecided", "d: only the first runs it"];
        assert_eq!(changes(&comparison).unwrap(), wanted.map(String::from).into());
        assert!(changes(&serde_json::json!({ "changes": [] })).is_err());
    }
}
