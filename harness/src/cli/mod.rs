//! Verbs: parse, resolve, call. No logic of their own.

pub mod args;
mod bisect;
mod bisect_kernels;
mod build;
pub mod compare;
mod compare_live;
mod doctor;
mod failure;
mod folder;
mod kernels;
mod list;
pub mod measure;
mod memory;
pub mod merge;
mod parse;
mod predict;
mod progress;
mod prove;
mod run;
mod series;
mod setup;
mod shell;
mod signals;
mod sources;
mod subjects;
mod verify;

use args::{Cli, Verb};
use clap::{CommandFactory, Parser};
use failure::Failure;
use std::io::Write;

/// Runs the command line of this process; the exit status.
pub fn main() -> i32 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // --help and --version are results, all else is usage; clap knows which stream.
            let status = if error.use_stderr() { usage_status() } else { 0 };
            let _ = error.print();
            return status;
        }
    };
    log(cli.verbose);
    let bisecting = matches!(&cli.verb, Verb::Run(run) if run.exit == args::Exit::Bisect);
    match verb(&cli.verb) {
        Ok(status) => status,
        Err(failure) => {
            say!("memhp: {failure}");
            // A bisection must stop at a wrong command line, and skip what cannot be judged.
            match failure.status {
                _ if bisecting && failure.no_tool => 128,
                2 if bisecting => 128,
                3 if bisecting => 125,
                status => status,
            }
        }
    }
}

/// 128 where the command line asks for bisect's exit statuses: anything else would be taken for "bad" or go on.
fn usage_status() -> i32 {
    let words: Vec<String> = std::env::args().collect();
    let bisect =
        words.iter().any(|w| w == "--exit=bisect") || words.windows(2).any(|w| w == ["--exit", "bisect"]);
    if bisect { 128 } else { 2 }
}

fn verb(verb: &Verb) -> Result<i32, Failure> {
    let text = match verb {
        Verb::Run(args) => return run::run(args),
        Verb::Compare(args) => return compare::run(args),
        Verb::Merge(args) => return merge::run(args),
        Verb::Bisect(args) => return bisect::bisect(args),
        Verb::Parse(args) => return parse::parse(args),
        Verb::Shell(args) => return shell::shell(args),
        Verb::Measure { what } => return measure::measure(what),
        Verb::Series(args) => return series::series(args),
        Verb::Doctor(args) => return doctor::doctor(args),
        Verb::List(args) => list::list(args)?,
        Verb::Kernels(args) => kernels::kernels(args)?,
        Verb::Predict(args) => predict::predict(args)?,
        Verb::Schema => crate::case::schema_json(),
        Verb::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "memhp", &mut text);
            String::from_utf8_lossy(&text).into_owned()
        }
    };
    print(&text);
    Ok(0)
}

/// Results on stdout; a reader that closed the pipe has had enough, which is no error.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("MEMHP_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}
