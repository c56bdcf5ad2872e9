//! `memhp parse DIR`: judges a saved run again, from its events alone.

use super::args::ParseArgs;
use super::failure::Failure;
use super::run::exit_mode;
use crate::report::{self, Stdout};
use crate::run::rejudge::rejudge;
use crate::verdict::{self, ExitOptions};

/// Reads the events, prints the report, gives the exit status.
pub fn parse(args: &ParseArgs) -> Result<i32, Failure> {
    let saved = report::parse_dir(&args.dir).map_err(Failure::usage)?;
    let known = super::run::known(args.cases.as_deref())?;
    let counts = (!args.no_known_issues && args.exit != super::args::Exit::Bisect).then_some(&known);
    let wrong = |(seq, why)| Failure::usage(format!("{}: event {seq}: {why}", args.dir.display()));
    let judged = rejudge(saved, counts).map_err(wrong)?;
    let ends = report::replay(&judged, stdout(args), super::run::issues(&known)).map_err(Failure::host)?;
    let options = ExitOptions { mode: exit_mode(args.exit), require: args.require, ..ExitOptions::default() };
    Ok(verdict::exit_status(&ends, options))
}

fn stdout(args: &ParseArgs) -> Stdout {
    match args.format {
        super::args::Format::Human => Stdout::Human,
        super::args::Format::Ktap => Stdout::Ktap,
        super::args::Format::Jsonl => Stdout::Jsonl,
    }
}
