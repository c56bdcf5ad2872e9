//! `memhp merge DIR... --out DIR`: the parts of a run, as one run with all its reports.

use super::args::{Exit, Format};
use super::failure::Failure;
use crate::event::{Event, Kind, ScenarioEnd};
use crate::report::merge::{MergeError, Part, merge};
use crate::report::{self, Reports, Stdout};
use crate::verdict::{self, ExitOptions, Known};
use std::path::{Path, PathBuf};

/// `memhp merge`.
#[derive(Debug, Clone, clap::Args)]
pub struct MergeArgs {
    /// directories of saved runs: all parts of a run (`--shard`), runs of other kernels, other rounds
    #[arg(value_name = "DIR", required = true)]
    pub dirs: Vec<PathBuf>,
    /// where the merged run goes
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// what stdout carries
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// what the exit status means
    #[arg(long, value_enum, default_value_t = Exit::Memhp)]
    pub exit: Exit,
    /// SKIP and MISS count as ERROR
    #[arg(long)]
    pub require: bool,
}

/// Merges, reports, gives the exit status of the whole.
pub fn run(args: &MergeArgs) -> Result<i32, Failure> {
    let options = ExitOptions {
        mode: super::run::exit_mode(args.exit),
        require: args.require,
        ..ExitOptions::default()
    };
    merge_dirs(&args.dirs, &args.out, super::run::stdout_format(args.format), options)
}

/// Merges runs into `out`; the exit status of the whole.
pub(super) fn merge_dirs(
    dirs: &[PathBuf],
    out: &Path,
    stdout: Stdout,
    options: ExitOptions,
) -> Result<i32, Failure> {
    let mut parts: Vec<Part> = Vec::new();
    for dir in dirs {
        if out.exists() && same_directory(dir, out) {
            return Err(Failure::usage(format!("--out {}: is one of the runs to be merged", out.display())));
        }
        parts.push((dir.display().to_string(), report::parse_dir(dir).map_err(Failure::usage)?));
    }
    let argv = std::env::args().collect();
    let mut events = merge(&parts, argv).map_err(|e: MergeError| Failure::usage(e))?;
    events.extend(report::cut_short(&events));
    let ends: Vec<&ScenarioEnd> = events.iter().filter_map(end).collect();
    let status = verdict::exit_status(ends, options);
    let known = Known::embedded().map_err(Failure::usage)?;
    let mut reports = Reports::open(out, stdout, super::run::issues(&known)).map_err(Failure::usage)?;
    for event in &events {
        reports.put(event).map_err(Failure::host)?;
    }
    reports.take(None, Kind::RunEnd { status, signal: None, cpu: None }).map_err(Failure::host)?;
    for dir in dirs {
        copy(&dir.join("scenarios"), &out.join("scenarios"))?;
    }
    reports.finish().map_err(Failure::host)?;
    Ok(status)
}

fn same_directory(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn end(event: &Event) -> Option<&ScenarioEnd> {
    match &event.kind {
        Kind::ScenarioEnd(end) => Some(end),
        _ => None,
    }
}

/// The folders of what did not pass. A folder that is there already is of the same scenario and round, judged alike.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let wrong = |path: &Path, e: std::io::Error| Failure::host(format!("copy {}: {e}", path.display()));
    if !from.is_dir() {
        return Ok(());
    }
    for folder in std::fs::read_dir(from).map_err(|e| wrong(from, e))? {
        let folder = folder.map_err(|e| wrong(from, e))?;
        let target = to.join(folder.file_name());
        if target.exists() {
            continue;
        }
        std::fs::create_dir_all(&target).map_err(|e| wrong(&target, e))?;
        let files = std::fs::read_dir(folder.path()).map_err(|e| wrong(&folder.path(), e))?;
        for file in files {
            let file = file.map_err(|e| wrong(&folder.path(), e))?;
            std::fs::copy(file.path(), target.join(file.file_name())).map_err(|e| wrong(&file.path(), e))?;
        }
    }
    Ok(())
}
