//! `memhp series`: is a series of patches good, and what does it change.

use super::args::{Cli, HostArgs, Verb};
use super::failure::Failure;
use super::progress::Told;
use super::signals::with_stop;
use crate::case::Pattern;
use crate::compare::{self, Expectations, Kernels, Options, RunFacts};
use crate::event::Event;
use crate::kernel::build::{Base, BuildError, Fragment, Recipe, Tools};
use crate::kernel::{Cache, sha256};
use crate::report::{self, Stdout};
use crate::series::report::{Outcome, Report, Stage, VERSION, b4, mail, text};
use crate::series::{self, Facts, Kernel, Prepared, Request, SeriesError};
use clap::{Args, Parser, ValueEnum};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// `memhp series`.
#[derive(Debug, Clone, Args)]
pub struct SeriesArgs {
    /// PATCHES: an mbox, a directory of patches, or - for standard input (none with --b4); then cases as for run
    #[arg(value_name = "PATCHES> [CASE")]
    pub words: Vec<String>,
    /// the kernel's source: a git tree or a plain directory; never written to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub tree: PathBuf,
    /// what the series applies to [default: the base-commit that it names, else HEAD]
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,
    /// build and run every patch, each compared with the one before it
    #[arg(long)]
    pub each: bool,
    /// the report as an answer to the series: a mail that is written and never sent
    #[arg(long, conflicts_with = "b4")]
    pub mail: bool,
    /// as b4's review-series-check-cmd: a mail on standard input, a JSON array on standard output
    #[arg(long)]
    pub b4: bool,
    /// output
    #[arg(long, value_enum, default_value_t = SeriesFormat::Text, conflicts_with_all = ["mail", "b4"])]
    pub format: SeriesFormat,
    /// build patches without a sandbox: they can do whatever you can
    #[arg(long)]
    pub trust: bool,
    /// configuration that the base is built with [default: tinyconfig and the fragment hotplug-x86_64]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// configuration fragment on top: a name or a file; repeatable
    #[arg(long = "fragment", value_name = "F")]
    pub fragments: Vec<String>,
    /// intended changes: scenario globs with reasons
    #[arg(long, value_name = "FILE")]
    pub expect: Option<PathBuf>,
    /// guests at once
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// run everything N times, to tell noise from changes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// where kernels, logs and results go [default: ./memhp-out/TIMESTAMP]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub host: HostArgs,
}

/// How the report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SeriesFormat {
    /// lines
    Text,
    /// JSON
    Json,
}

/// Judges the series; the exit status.
pub fn series(args: &SeriesArgs) -> Result<i32, Failure> {
    let made = make(args);
    if args.b4 {
        let seen = made.as_ref().map_err(|f| f.message.as_str());
        super::print(&format!("{:#}\n", b4(seen)));
    }
    let report = made?;
    match (args.b4, args.mail, args.format) {
        (true, ..) => {}
        (_, true, _) => super::print(&mail(&report)),
        (.., SeriesFormat::Text) => super::print(&text(&report)),
        (.., SeriesFormat::Json) => super::print(&json(&report)?),
    }
    Ok(report.status())
}

fn json(report: &Report) -> Result<String, Failure> {
    serde_json::to_string_pretty(report).map(|t| t + "\n").map_err(Failure::host)
}

fn make(args: &SeriesArgs) -> Result<Report, Failure> {
    let out = args.out.clone().map_or_else(super::run::default_out, Ok).map_err(Failure::host)?;
    std::fs::create_dir_all(&out).map_err(|e| Failure::usage(format!("{}: {e}", out.display())))?;
    let out = std::fs::canonicalize(&out).map_err(Failure::host)?;
    let (facts, outcome, cases) = judge(args, &out)?;
    let command: Vec<String> = std::env::args().map(|w| report::quote(&w)).collect();
    let memhp = env!("CARGO_PKG_VERSION").to_string();
    let report = Report {
        v: VERSION,
        memhp,
        facts,
        outcome,
        cases,
        command: command.join(" "),
        out: out.display().to_string(),
    };
    let file = out.join("series.json");
    std::fs::write(&file, json(&report)?).map_err(|e| Failure::host(format!("{}: {e}", file.display())))?;
    Ok(report)
}

fn judge(args: &SeriesArgs, out: &Path) -> Result<(Facts, Outcome, Vec<String>), Failure> {
    let cache = Cache::of_user().map_err(Failure::kernel)?;
    let expect = args.expect.as_deref().map(expectations).transpose()?;
    let recipe = recipe(args)?;
    let scratch = tempfile::tempdir().map_err(Failure::host)?;
    let Input { patches, base, cases } = input(args, scratch.path())?;
    // Before an hour of compiling: the cases must be there.
    super::sources::check(&cases)?;
    let told = Told::new();
    let tools = Tools { progress: &told, ..Tools::default() };
    let stop = tools.stop.clone();
    let request = Request {
        patches: &patches,
        tree: &args.tree,
        base: base.as_deref(),
        each: args.each,
        trust: args.trust,
        recipe: &recipe,
        tools,
        cache: &cache.dir("series"),
        out,
        say: &|text| say!("memhp: {text}"),
    };
    let (facts, prepared) = with_stop(&stop, || series::prepare(&request).map_err(failed))?;
    let outcome = match prepared {
        Prepared::Refused(bad) => Outcome::Refused(bad.into()),
        Prepared::NotApplied(bad) => Outcome::NotApplied(bad.into()),
        Prepared::NotBuilt(bad) => Outcome::NotBuilt(bad.into()),
        Prepared::Kernels(kernels) => Outcome::Compared(compared(args, &kernels, &cases, expect, out)?),
    };
    Ok((facts, outcome, cases))
}

fn failed(error: SeriesError) -> Failure {
    if let SeriesError::Step(BuildError::Stopped(signal)) | SeriesError::Base(BuildError::Stopped(signal)) =
        error
    {
        return Failure { status: 128 + signal, ..Failure::host(error) };
    }
    if error.is_usage() { Failure::usage(error) } else { Failure::host(error) }
}

fn expectations(file: &Path) -> Result<Expectations, Failure> {
    let text =
        std::fs::read_to_string(file).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
    Expectations::parse(file, &text).map_err(Failure::usage)
}

fn recipe(args: &SeriesArgs) -> Result<Recipe, Failure> {
    let default: &[String] = if args.config.is_none() { &["hotplug-x86_64".to_string()] } else { &[] };
    let names = default.iter().chain(&args.fragments);
    let fragments =
        names.map(|n| Fragment::load(n, None)).collect::<Result<_, _>>().map_err(Failure::usage)?;
    let base = args.config.clone().map_or(Base::Tinyconfig, Base::File);
    Ok(Recipe { base, fragments })
}

struct Input {
    patches: String,
    base: Option<String>,
    cases: Vec<String>,
}

fn input(args: &SeriesArgs, scratch: &Path) -> Result<Input, Failure> {
    if !args.b4 {
        let none = || Failure::usage("no PATCHES: an mbox, a directory of patches, or - for standard input");
        let (patches, cases) = args.words.split_first().ok_or_else(none)?;
        return Ok(Input { patches: patches.clone(), base: args.base.clone(), cases: cases.to_vec() });
    }
    let mut mail = Vec::new();
    std::io::stdin().take(64 << 20).read_to_end(&mut mail).map_err(Failure::host)?;
    let tracking = std::env::var_os("B4_TRACKING_FILE").filter(|v| !v.is_empty()).map(PathBuf::from);
    let found = series::find_b4(&mail, tracking.as_deref(), &args.tree, scratch).map_err(failed)?;
    Ok(Input {
        patches: found.patches.display().to_string(),
        base: args.base.clone().or(found.base),
        cases: args.words.clone(),
    })
}

/// Runs the cases on every kernel, and compares each with the one before it, and the last with the first.
fn compared(
    args: &SeriesArgs,
    kernels: &[Kernel],
    cases: &[String],
    expect: Option<Expectations>,
    out: &Path,
) -> Result<Vec<Stage>, Failure> {
    let names: Vec<String> = kernels.iter().map(|k| name(&k.dir)).collect::<Result<_, _>>()?;
    let differ = names.iter().any(|n| *n != names[0]);
    let mut judge = Judge { kernels, names, runs: Vec::new(), options: Options { expect } };
    if differ {
        judge.runs.push(run(args, kernels, cases, args.repeat, &out.join("run"))?);
    }
    let mut stages = judge.stages()?;
    // A guest that had bad luck once is no change; what shows now and then takes more repeats to tell.
    for (most, name) in [(AGAIN, "again"), (3 * AGAIN, "once-more")] {
        let in_doubt = |s: &Stage| s.changed(name != "again").map(str::to_string).collect::<Vec<_>>();
        let changed: BTreeSet<String> = stages.iter().flat_map(in_doubt).collect();
        if changed.is_empty() {
            break;
        }
        let times = repeats(changed.len(), most);
        say!("memhp: {} scenarios differ: running them again, {times} times", changed.len());
        judge.runs.push(run(args, kernels, &again(&changed, cases), times, &out.join(name))?);
        stages = judge.stages()?;
    }
    Ok(stages)
}

/// How often scenarios that differ are run again; three times as often what still does not show in every repeat.
const AGAIN: u32 = 4;
/// So many runs of scenarios on a kernel that takes, if more of them differ: each is run once at least.
const MOST_AGAIN: usize = 400;

/// Repeats of so many scenarios that differ.
fn repeats(scenarios: usize, most: u32) -> u32 {
    u32::try_from(MOST_AGAIN / scenarios.max(1)).unwrap_or(most).clamp(1, most)
}

/// Patterns that choose them again. Case files are run whole: their scenarios have no other name.
fn again(changed: &BTreeSet<String>, cases: &[String]) -> Vec<String> {
    let (files, globs): (Vec<Pattern>, Vec<Pattern>) =
        cases.iter().map(Pattern::new).partition(Pattern::is_case_file);
    let is_shipped =
        |id: &&String| cases.is_empty() || globs.iter().any(|g| g.matches(&format!("{id}@base")));
    let ids = changed.iter().filter(is_shipped).map(|id| format!("{id}@*"));
    ids.chain(files.iter().map(|f| f.text().to_string())).collect()
}

/// Kernels, their names, and the events of all runs of them.
struct Judge<'a> {
    kernels: &'a [Kernel],
    names: Vec<String>,
    runs: Vec<Vec<Event>>,
    options: Options,
}

impl Judge<'_> {
    fn stages(&self) -> Result<Vec<Stage>, Failure> {
        let last = self.kernels.len() - 1;
        let steps = (1..=last).filter(|_| last > 1).map(|i| self.stage(i - 1, i, &Options::default()));
        steps.chain([self.stage(0, last, &self.options)]).collect()
    }

    fn stage(&self, a: usize, b: usize, options: &Options) -> Result<Stage, Failure> {
        let comparison = match self.names[a] == self.names[b] {
            true => None,
            false => Some(compare::compare(&self.facts(a)?, &self.facts(b)?, options)),
        };
        // What is expected does not come where nothing is run.
        let expected = options.expect.as_ref().filter(|_| comparison.is_none());
        let unused = expected.map(Expectations::unused).unwrap_or_default();
        Ok(Stage { before: self.kernels[a].clone(), after: self.kernels[b].clone(), comparison, unused })
    }

    /// What all runs say of a kernel; rounds of a later run come after those of an earlier one.
    fn facts(&self, kernel: usize) -> Result<RunFacts, Failure> {
        let mut all: Option<RunFacts> = None;
        for events in &self.runs {
            let more = compare::read(&self.kernels[kernel].name, events, Kernels::Named(&self.names[kernel]));
            let more = more.map_err(Failure::host)?;
            let Some(all) = &mut all else {
                all = Some(more);
                continue;
            };
            for (id, scenario) in more.scenarios {
                let Some(known) = all.scenarios.get_mut(&id) else { continue };
                let next = known.rounds.keys().max().map_or(0, |n| n + 1);
                known.rounds.extend(scenario.rounds.into_iter().map(|(n, round)| (next + n, round)));
            }
        }
        all.ok_or_else(|| Failure::host("nothing was run"))
    }
}

/// The name that its image gives a kernel.
fn name(dir: &Path) -> Result<String, Failure> {
    let images = ["arch/x86/boot/bzImage", "vmlinux"].map(|n| dir.join(n));
    let none = || Failure::host(format!("{}: no image was built", dir.display()));
    let image = images.iter().find(|i| i.is_file()).ok_or_else(none)?;
    let bytes = std::fs::read(image).map_err(|e| Failure::host(format!("{}: {e}", image.display())))?;
    Ok(format!("local-{}", &sha256(&bytes)[..12]))
}

fn run(
    args: &SeriesArgs,
    kernels: &[Kernel],
    cases: &[String],
    repeat: u32,
    out: &Path,
) -> Result<Vec<Event>, Failure> {
    let mut words: Vec<String> = ["memhp", "run", "--no-known-issues"].map(String::from).to_vec();
    for kernel in kernels {
        words.extend(["-k".into(), kernel.dir.display().to_string()]);
    }
    words.extend(["--out".into(), out.display().to_string(), "--repeat".into(), repeat.to_string()]);
    words.extend(args.jobs.iter().flat_map(|j| ["-j".to_string(), j.to_string()]));
    words.push("--".into());
    words.extend(cases.iter().cloned());
    let parsed = Cli::try_parse_from(words).map_err(Failure::host)?;
    let Verb::Run(mut run) = parsed.verb else { return Err(Failure::host("no run")) };
    run.host = args.host.clone();
    say!("memhp: running the cases on {} kernels, results in {}", kernels.len(), out.display());
    let status = super::run::run_to(&run, Stdout::Nothing)?;
    if status > 128 {
        return Err(Failure { status, ..Failure::host("interrupted") });
    }
    report::parse_dir(out).map_err(Failure::host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_always_run_again_within_bounds() {
        assert_eq!([1, 100, 101, 200, 900].map(|n| repeats(n, 4)), [4, 4, 3, 2, 1]);
        assert_eq!([1, 33, 50, 900].map(|n| repeats(n, 12)), [12, 12, 8, 1]);
    }

    #[test]
    fn scenarios_of_case_files_are_chosen_by_their_file() {
        let changed = BTreeSet::from(["mine/a".to_string(), "policy/b[x=1]".to_string()]);
        let words =
            |cases: &[&str]| again(&changed, &cases.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&[]), ["mine/a@*", "policy/b[x=1]@*"]);
        assert_eq!(words(&["policy/*", "./a.yaml"]), ["policy/b[x=1]@*", "./a.yaml"]);
        assert_eq!(words(&["./a.yaml"]), ["./a.yaml"]);
    }
}
