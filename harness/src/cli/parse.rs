//! `memhp parse DIR`: judges a saved run again, from its events alone.

use super::args::ParseArgs;
use super::failure::Failure;
use super::run::exit_mode;
use crate::report::{self, Stdout};
use crate::verdict::{self, ExitOptions, Known};

/// Reads the events, prints the report, gives the exit status.
pub fn parse(args: &ParseArgs) -> Result<i32, Failure> {
    let saved = report::parse_dir(&args.dir).map_err(Failure::usage)?;
    let known = Known::embedded().map_err(Failure::usage)?;
    let mut ends = report::replay(&saved, stdout(args), super::run::issues(&known)).map_err(Failure::host)?;
    if args.no_known_issues {
        ends.iter_mut().for_each(|end| end.known = None);
    }
    let options = ExitOptions { mode: exit_mode(args.exit), require: args.require, signal: None };
    Ok(verdict::exit_status(&ends, options))
}

fn stdout(args: &ParseArgs) -> Stdout {
    match args.format {
        super::args::Format::Human => Stdout::Human,
        super::args::Format::Ktap => Stdout::Ktap,
        super::args::Format::Jsonl => Stdout::Jsonl,
    }
}
