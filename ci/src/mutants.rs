//! `cargo ci mutants`: builds deliberately broken kernels and sees whether the corpus notices.
//!
//! Each file in ci/mutants/ is one find-and-replace edit on Debian's linux-source-6.12. The pristine kernel must pass;
//! then every mutant is built by `memhp kernels build`, from what the one before left, and run with `--fail-fast`.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Options of `cargo ci mutants`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// mutants by file name without .yaml; all without any
    names: Vec<String>,
    /// go on from mutants that were judged already (results are kept beside the build)
    #[arg(long)]
    resume: bool,
    /// do not judge the pristine kernel first
    #[arg(long)]
    skip_pristine: bool,
    /// the whole corpus for each mutant, not just up to the first failure
    #[arg(long)]
    all_failures: bool,
    /// of each mutant only the scenarios that its `first` names: quick, but what survives them may be caught by others
    #[arg(long)]
    first_only: bool,
}

/// One defect.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    summary: String,
    area: String,
    file: PathBuf,
    find: String,
    replace: String,
    breaks: String,
    /// patterns of the scenarios that look where the defect is: judged before the whole corpus
    #[serde(default)]
    first: Vec<String>,
}

const SOURCE: &str = "linux-source-6.12";
const FRAGMENT: &str = "default-online-off";

/// Builds and judges.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    crate::setup::run(sh, crate::setup::TEST_TOOLS)?;
    crate::setup::run(sh, crate::setup::KERNEL_BUILD_TOOLS)?;
    let mutants = load(sh, &args.names)?;
    let work = Work { sh, dir: cache_dir()?.join("mutants"), root: sh.current_dir() };
    work.source()?;
    cmd!(sh, "cargo build --release --package memhp").run()?;
    if !args.skip_pristine {
        let verdict = work.judge("pristine", &work.build()?, &[], true)?;
        ensure!(verdict.is_none(), "the pristine kernel fails: {}", verdict.unwrap_or_default());
        println!("pristine\tpasses");
    }
    let (mut killed, mut rest) = (0, Vec::new());
    for (name, mutant) in &mutants {
        match work.kept(name, args.resume).map_or_else(|| work.mutant(name, mutant, args), Ok) {
            Ok(Some(how)) => {
                killed += 1;
                println!("killed\t{name}\t{}\t{how}", mutant.area);
            }
            Ok(None) => {
                rest.push(name.clone());
                println!("survived\t{name}\t{}\t{}: {}", mutant.area, mutant.summary, mutant.breaks);
            }
            Err(error) => {
                rest.push(name.clone());
                println!("not judged\t{name}\t{}\t{error:#}", mutant.area);
            }
        }
    }
    println!("{killed} of {} killed", mutants.len());
    ensure!(
        args.first_only || killed * 10 >= mutants.len() * 9,
        "fewer than 90 % are killed; the others: {}",
        rest.join(" ")
    );
    Ok(())
}

fn load(sh: &Shell, names: &[String]) -> Result<Vec<(String, Mutant)>> {
    let mut mutants = Vec::new();
    for path in sh.read_dir("ci/mutants")? {
        let Some(name) = path.file_name().and_then(|n| n.to_str()?.strip_suffix(".yaml").map(str::to_string))
        else {
            continue;
        };
        if names.is_empty() || names.contains(&name) {
            let text = sh.read_file(&path)?;
            let mutant = serde_saphyr::from_str(&text).with_context(|| format!("{}", path.display()))?;
            mutants.push((name, mutant));
        }
    }
    ensure!(!mutants.is_empty(), "no such mutant in ci/mutants: {}", names.join(" "));
    mutants.sort_by(|(a, _): &(String, Mutant), (b, _)| a.cmp(b));
    Ok(mutants)
}

/// The source that mutants are made of, without any of them.
pub(crate) fn pristine_source(sh: &Shell) -> Result<PathBuf> {
    let work = Work { sh, dir: cache_dir()?.join("mutants"), root: sh.current_dir() };
    work.source()?;
    Ok(work.tree())
}

fn cache_dir() -> Result<PathBuf> {
    let xdg = std::env::var_os("XDG_CACHE_HOME").filter(|d| !d.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Ok(xdg.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?.join("memhp"))
}

/// What `memhp kernels build` says of a kernel, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct BuiltLine {
    dir: PathBuf,
}

/// Where everything is built.
struct Work<'a> {
    sh: &'a Shell,
    dir: PathBuf,
    root: PathBuf,
}

impl Work<'_> {
    fn tree(&self) -> PathBuf {
        self.dir.join(SOURCE)
    }

    /// The package's source, unpacked once, at its place when it is whole; apt verifies it. What a run that was ended left
    /// broken is put back.
    fn source(&self) -> Result<()> {
        if self.tree().exists() {
            return restore_all(&self.tree());
        }
        let sh = self.sh;
        sh.create_dir(&self.dir)?;
        sh.remove_path(self.dir.join("unpacking"))?;
        sh.create_dir(self.dir.join("unpacking"))?;
        let _dir = sh.push_dir(self.dir.join("unpacking"));
        cmd!(sh, "apt-get download {SOURCE}").run().context("apt-get update may be due")?;
        let is_deb = |p: &PathBuf| p.extension().is_some_and(|e| e == "deb");
        let deb = sh.read_dir(".")?.into_iter().find(is_deb).context("apt-get left no .deb file")?;
        cmd!(sh, "dpkg-deb -x {deb} package").run()?;
        let archive = format!("package/usr/src/{SOURCE}.tar.xz");
        cmd!(sh, "tar -xJf {archive}").run()?;
        std::fs::rename(self.dir.join("unpacking").join(SOURCE), self.tree())?;
        sh.remove_path(self.dir.join("unpacking"))?;
        Ok(())
    }

    /// Builds what the tree holds now; the directory of the build.
    fn build(&self) -> Result<PathBuf> {
        let (sh, memhp, tree) = (self.sh, self.memhp(), self.tree());
        let built =
            cmd!(sh, "{memhp} kernels build --tree {tree} --fragment {FRAGMENT} --format json").output()?;
        let lines: Vec<BuiltLine> = serde_json::from_slice(&built.stdout).context("memhp kernels build")?;
        let [line] = <[BuiltLine; 1]>::try_from(lines).ok().context("one kernel was to be built")?;
        Ok(line.dir)
    }

    fn memhp(&self) -> PathBuf {
        self.root.join("target/release/memhp")
    }

    /// Applies the edit, builds, takes the edit back, judges.
    fn mutant(&self, name: &str, mutant: &Mutant, args: &Args) -> Result<Option<String>> {
        let path = self.tree().join(&mutant.file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let places = text.matches(&mutant.find).count();
        ensure!(
            places == 1,
            "ci/mutants/{name}.yaml: {:?} is {places} times in {}",
            mutant.find,
            mutant.file.display()
        );
        let _whole = Restore::of(&path)?;
        std::fs::write(&path, text.replacen(&mutant.find, &mutant.replace, 1))?;
        let build = self.build().with_context(|| format!("ci/mutants/{name}.yaml"))?;
        let all = args.all_failures;
        ensure!(!args.first_only || !mutant.first.is_empty(), "it names no scenarios to begin with");
        let found =
            if mutant.first.is_empty() { None } else { self.judge(name, &build, &mutant.first, all)? };
        if args.first_only && found.is_none() {
            // the rest of the corpus was not asked: nothing to go on from
            self.sh.remove_path(self.results(name))?;
        }
        if args.first_only || (found.is_some() && !all) {
            Ok(found)
        } else {
            self.judge(name, &build, &[], all)
        }
    }

    fn results(&self, name: &str) -> PathBuf {
        self.dir.join("results").join(name)
    }

    /// `None`: the kernel passes; else the scenario that failed, and its message.
    fn judge(&self, name: &str, build: &Path, patterns: &[String], all: bool) -> Result<Option<String>> {
        let (sh, memhp) = (self.sh, self.memhp());
        let out = self.results(name);
        sh.remove_path(&out)?;
        let fast: &[&str] = if all { &[] } else { &["--fail-fast"] };
        let run = cmd!(sh, "{memhp} run -k {build} --out {out} --format ktap {fast...} {patterns...}");
        let run = run.ignore_status().output()?;
        match run.status.code() {
            Some(0) => Ok(None),
            Some(1) => {
                let text = String::from_utf8(run.stdout)?;
                let failed = text.lines().filter(|l| l.starts_with("not ok") && !l.contains("# XFAIL"));
                let failed: Vec<&str> = failed.collect();
                let how = failed.first().context("exit status 1 without a failure")?;
                let title = title_of(&out, how)?;
                let more = if failed.len() > 1 {
                    format!(" (and {} more)", failed.len() - 1)
                } else {
                    String::new()
                };
                Ok(Some(format!("{}{title}{more}", how.trim_start_matches("not ok "))))
            }
            other => bail!("memhp ended with {other:?}:\n{}", String::from_utf8_lossy(&run.stderr)),
        }
    }

    /// The result of an earlier run, if it is to be kept.
    fn kept(&self, name: &str, resume: bool) -> Option<Option<String>> {
        let events = self.results(name).join("events.jsonl");
        let text = std::fs::read_to_string(events).ok().filter(|_| resume)?;
        let end: serde_json::Value = serde_json::from_str(text.lines().last()?).ok()?;
        match end.get("status")?.as_i64()? {
            0 => Some(None),
            1 => Some(Some("judged in an earlier run".into())),
            _ => None,
        }
    }
}

/// Title of a failed scenario, from the event log.
fn title_of(out: &Path, ktap_line: &str) -> Result<String> {
    let id = ktap_line.split_whitespace().nth(3).context("a line of KTAP without an id")?;
    for line in std::fs::read_to_string(out.join("events.jsonl"))?.lines() {
        let event: serde_json::Value = serde_json::from_str(line)?;
        if event["event"] == "scenario-end" && event["scenario"] == id {
            return Ok(format!(": {}", event["title"].as_str().context("a judgement without a title")?));
        }
    }
    bail!("{id} failed, and {} has no judgement of it", out.display())
}

/// What a file that is being broken is kept as, beside it: a run may end without a word.
const ORIGINAL: &str = "memhp-orig";

/// Puts a file back when dropped.
struct Restore<'a>(&'a Path);

impl<'a> Restore<'a> {
    /// Keeps the file; it appears under its second name whole or not at all.
    fn of(path: &'a Path) -> Result<Self> {
        let new = beside(path, "memhp-new");
        std::fs::copy(path, &new).with_context(|| format!("{}", new.display()))?;
        std::fs::rename(&new, beside(path, ORIGINAL))?;
        Ok(Self(path))
    }
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        if let Err(e) = restore(self.0) {
            eprintln!("cannot restore {}: {e:#}", self.0.display());
        }
    }
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{extension}"));
    name.into()
}

/// From the copy beside it, which goes. The file is written anew: make goes by times.
fn restore(path: &Path) -> Result<()> {
    let original = beside(path, ORIGINAL);
    let text = std::fs::read(&original).with_context(|| format!("{}", original.display()))?;
    std::fs::write(path, text).with_context(|| format!("{}", path.display()))?;
    Ok(std::fs::remove_file(&original)?)
}

/// Every file below `dir` that has a copy beside it.
fn restore_all(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            restore_all(&path)?;
        } else if path.extension().is_some_and(|e| e == ORIGINAL) {
            let broken = path.with_extension("");
            restore(&broken)?;
            eprintln!("{} was left broken by an earlier run: put back", broken.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_again_after_a_run_and_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mm/memory_hotplug.c");
        std::fs::create_dir(dir.path().join("mm")).unwrap();
        std::fs::write(&path, "good").unwrap();
        let names = || std::fs::read_dir(dir.path().join("mm")).unwrap().count();
        let text = || std::fs::read_to_string(&path).unwrap();
        let whole = Restore::of(&path).unwrap();
        std::fs::write(&path, "bad").unwrap();
        drop(whole);
        assert_eq!((text(), names()), ("good".into(), 1));
        // Ended by a signal: nothing is dropped.
        std::mem::forget(Restore::of(&path).unwrap());
        std::fs::write(&path, "bad").unwrap();
        restore_all(dir.path()).unwrap();
        assert_eq!((text(), names()), ("good".into(), 1));
    }
}
