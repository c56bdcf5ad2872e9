//! `memhp compare A B [CASE...]`: two kernels run now, or two saved runs, or one of each; prints what changed.

use super::args::{Boot, HostArgs, RunArgs, Sources};
use super::compare_live::{Live, Runs};
use super::failure::Failure;
use crate::case::Pattern;
use crate::compare::{self, Comparison, Expectations, Kernels, Options, RunFacts};
use crate::event::Event;
use crate::report;
use std::path::{Path, PathBuf};

/// `memhp compare`.
#[derive(Debug, Clone, clap::Args)]
pub struct CompareArgs {
    /// what to compare with: a kernel as for run, or the directory of a saved run (DIR@KERNEL if it has several)
    #[arg(value_name = "A")]
    pub a: String,
    /// what is compared
    #[arg(value_name = "B")]
    pub b: String,
    /// cases, as for run
    #[arg(value_name = "CASE")]
    pub patterns: Vec<String>,
    /// intended changes (YAML): a list of { scenario: PATTERN, reason: TEXT, class: … }; one that does not come is an error
    #[arg(long, value_name = "FILE")]
    pub expect: Option<PathBuf>,
    /// what stdout carries
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// keep the runs (DIR/a, DIR/b) and comparison.json [default for kernels: ./memhp-out/TIMESTAMP]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// run everything N times on each kernel
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// run what differs N more times, and three times as often again what does not show in every repeat; 0: never
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub confirm: u32,
    /// seed of all random choices, the same on both sides
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// further kernel parameters for every guest
    #[arg(long, value_name = "PARAMS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// case files from this directory instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub cases: Option<PathBuf>,
    /// kernel definitions from this directory instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub kernels_dir: Option<PathBuf>,
    /// guests at once
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// boot every guest, restore it from a template, or what fits
    #[arg(long, value_enum, default_value_t = Boot::Auto)]
    pub boot: Boot,
    /// draw scenarios that could share a template over N of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub templates: u32,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub host: HostArgs,
}

/// What stdout carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// what changed, in lines
    Human,
    /// the whole comparison
    Json,
}

/// A comparison, and the signal's exit status if one ended it.
pub struct Outcome {
    /// what was compared so far
    pub comparison: Comparison,
    /// 130 or 143
    pub ended_by: Option<i32>,
}

/// Compares, prints, gives the exit status.
pub fn run(args: &CompareArgs) -> Result<i32, Failure> {
    let Outcome { comparison, ended_by } = compared(args)?;
    let text = match args.format {
        Format::Human => compare::human(&comparison),
        Format::Json => json(&comparison)?,
    };
    super::print(&text);
    Ok(ended_by.unwrap_or_else(|| comparison.status()))
}

/// Compares; writes comparison.json where runs are kept.
pub fn compared(args: &CompareArgs) -> Result<Outcome, Failure> {
    let options = Options { expect: args.expect.as_deref().map(expectations).transpose()? };
    let (a, b) = (Side::of(&args.a)?, Side::of(&args.b)?);
    let (out, facts, ended_by) = match (&a, &b) {
        (Side::Saved(a), Side::Saved(b)) => {
            if let Some(file) = args.patterns.iter().find(|p| Pattern::new(p.as_str()).is_case_file()) {
                return Err(Failure::usage(format!("{file}: case files choose nothing in saved runs")));
            }
            (args.out.clone(), saved_both(a, b)?, None)
        }
        _ => {
            let (runs, facts) = live(args, &a, &b)?;
            (Some(runs.out.clone()), facts, runs.ended_by())
        }
    };
    let (a, b) = chosen(facts, &args.patterns)?;
    let comparison = compare::compare(&a, &b, &options);
    if let Some(out) = out {
        let path = out.join("comparison.json");
        let wrong = |e: std::io::Error| Failure::host(format!("write {}: {e}", path.display()));
        std::fs::create_dir_all(&out).map_err(wrong)?;
        std::fs::write(&path, json(&comparison)?).map_err(wrong)?;
        say!("memhp: comparison in {}", path.display());
    }
    Ok(Outcome { comparison, ended_by })
}

fn json(comparison: &Comparison) -> Result<String, Failure> {
    let mut value = serde_json::to_value(comparison).map_err(Failure::host)?;
    value["status"] = comparison.status().into();
    Ok(format!("{value:#}\n"))
}

fn expectations(file: &Path) -> Result<Expectations, Failure> {
    let text =
        std::fs::read_to_string(file).map_err(|e| Failure::usage(format!("read {}: {e}", file.display())))?;
    Expectations::parse(file, &text).map_err(Failure::usage)
}

/// One side as the user named it.
pub(super) enum Side {
    /// a run that was saved
    Saved(Saved),
    /// a kernel to run
    Kernel(String),
}

/// A saved run.
pub(super) struct Saved {
    name: String,
    events: Vec<Event>,
    /// the one of its kernels that is meant
    kernel: Option<String>,
}

impl Side {
    /// A directory with events is a saved run, all else a kernel.
    fn of(spec: &str) -> Result<Self, Failure> {
        let is_run = |dir: &str| Path::new(dir).join("events.jsonl").is_file();
        let (dir, kernel) = match spec.rsplit_once('@') {
            _ if is_run(spec) => (spec, None),
            Some((dir, kernel)) if is_run(dir) => (dir, Some(kernel.to_string())),
            _ => return Ok(Self::Kernel(spec.to_string())),
        };
        let events = report::parse_dir(Path::new(dir)).map_err(Failure::usage)?;
        Ok(Self::Saved(Saved { name: spec.to_string(), events, kernel }))
    }
}

impl Saved {
    fn facts(&self, several: Kernels<'_>) -> Result<RunFacts, Failure> {
        let kernels = self.kernel.as_deref().map_or(several, Kernels::Named);
        let wrong = |e| Failure::usage(format!("{}: {e}", self.name));
        compare::read(&self.name, &self.events, kernels).map_err(wrong)
    }
}

/// Two saved runs with the same several kernels are compared kernel by kernel.
fn saved_both(a: &Saved, b: &Saved) -> Result<(RunFacts, RunFacts), Failure> {
    let names = compare::kernel_names(&a.events);
    let same = a.kernel.is_none() && b.kernel.is_none() && names == compare::kernel_names(&b.events);
    let kernels = if same && names.len() > 1 { Kernels::All } else { Kernels::One };
    Ok((a.facts(kernels)?, b.facts(kernels)?))
}

/// Runs the sides that are kernels; what differs is run again.
fn live(args: &CompareArgs, a: &Side, b: &Side) -> Result<(Runs, (RunFacts, RunFacts)), Failure> {
    let saved = |side: &Side| match side {
        Side::Saved(saved) => saved.facts(Kernels::One).map(Some),
        Side::Kernel(_) => Ok(None),
    };
    let (saved_a, saved_b) = (saved(a)?, saved(b)?);
    let mut args = args.clone();
    // What is compared with a saved run makes the same random choices.
    if let Some(facts) = saved_a.as_ref().or(saved_b.as_ref()) {
        args.seed = facts.origin.seed;
    }
    let kernel = |side: &Side| match side {
        Side::Kernel(spec) => Some(spec.clone()),
        Side::Saved(_) => None,
    };
    let specs = [kernel(a), kernel(b)];
    let mut runs = Runs::prepare(&run_args(&args), &specs)?;
    if let (Some(facts), true) = (saved_a.as_ref().or(saved_b.as_ref()), args.patterns.is_empty()) {
        runs.keep_only(|name| facts.scenarios.contains_key(name));
    }
    let facts = |runs: &Runs| -> Result<(RunFacts, RunFacts), Failure> {
        let of = |live: &Option<Live>, saved: &Option<RunFacts>| match (live, saved) {
            (Some(live), _) => live.facts(),
            (None, Some(saved)) => Ok(saved.clone()),
            (None, None) => Err(Failure::host("a side is neither saved nor run")),
        };
        Ok((of(&runs.sides[0], &saved_a)?, of(&runs.sides[1], &saved_b)?))
    };
    runs.batch(args.repeat, |_| true)?;
    let mut now = facts(&runs)?;
    for times in [args.confirm, args.confirm.saturating_mul(3)] {
        let first = times == args.confirm;
        let comparison = compare::compare(&now.0, &now.1, &Options::default());
        let again = |c: &&compare::Change| first || c.differences.iter().any(|d| d.p.is_some());
        let names: Vec<&str> = comparison.changes.iter().filter(again).map(|c| c.scenario.as_str()).collect();
        if times == 0 || names.is_empty() || runs.ended_by().is_some() {
            break;
        }
        runs.batch(times, |name| names.contains(&name))?;
        now = facts(&runs)?;
    }
    runs.finish()?;
    Ok((runs, now))
}

/// The scenarios that the patterns name, on either side.
fn chosen(facts: (RunFacts, RunFacts), patterns: &[String]) -> Result<(RunFacts, RunFacts), Failure> {
    let (mut a, mut b) = facts;
    let patterns: Vec<Pattern> = patterns.iter().map(Pattern::new).filter(|p| !p.is_case_file()).collect();
    for pattern in &patterns {
        let any = |run: &RunFacts| run.scenarios.values().any(|s| pattern.matches(&s.id));
        if !any(&a) && !any(&b) {
            return Err(Failure::usage(format!("no scenario matches {:?}", pattern.text())));
        }
    }
    // A scenario that is chosen on one side is chosen on the other: ids differ in the kernel alone.
    let names: Vec<String> = [&a, &b]
        .into_iter()
        .flat_map(|run| &run.scenarios)
        .filter(|(_, s)| patterns.is_empty() || patterns.iter().any(|p| p.matches(&s.id)))
        .map(|(name, _)| name.clone())
        .collect();
    a.scenarios.retain(|name, _| names.contains(name));
    b.scenarios.retain(|name, _| names.contains(name));
    Ok((a, b))
}

/// The arguments of a run with the same options; each side sets its kernel.
fn run_args(args: &CompareArgs) -> RunArgs {
    RunArgs {
        patterns: args.patterns.clone(),
        sources: Sources {
            kernels: Vec::new(),
            append: args.append.clone(),
            cases: args.cases.clone(),
            kernels_dir: args.kernels_dir.clone(),
        },
        jobs: args.jobs,
        out: args.out.clone(),
        seed: args.seed,
        boot: args.boot,
        timelines: false,
        templates: args.templates,
        host: args.host.clone(),
        no_known_issues: true,
        ..RunArgs::usual()
    }
}
