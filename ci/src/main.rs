//! Chores: `cargo ci setup | test | lint | schema | bench | chaos | mutants | source | history`. `.ci/run` calls `cargo ci test`.
//!
//! xshell has no time limits: what may hang (guests) is bounded by memhp's own deadlines.

mod bench;
mod chaos;
mod history;
mod lint;
mod mutants;
mod schema;
mod setup;
mod source;
mod test;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xshell::Shell;

/// Chores of the memhp repository.
#[derive(Parser)]
#[command(name = "cargo ci", bin_name = "cargo ci")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// install what is missing with apt (asks sudo when not root)
    Setup,
    /// set up, lint, test, and judge real kernels
    Test,
    /// formatting, clippy, rustdoc, stale generated files
    Lint,
    /// write cases/case.schema.json anew
    Schema,
    /// what restoring guests saves against booting them: a table, and JSON
    Bench(bench::Args),
    /// kill QEMUs of a run at random and look at what becomes of it
    Chaos(chaos::Args),
    /// build deliberately broken kernels and see whether the corpus notices
    Mutants(mutants::Args),
    /// build kernels and judge series of patches: exactly what must change changes
    Source(source::Args),
    /// bisect histories with a known first bad commit
    History(history::Args),
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let sh = Shell::new()?;
    sh.change_dir(root());
    match cli.task {
        Task::Setup => setup::run(&sh, setup::TEST_TOOLS),
        Task::Test => test::run(&sh),
        Task::Lint => lint::run(&sh),
        Task::Schema => schema::write(&sh),
        Task::Bench(args) => bench::run(&sh, &args),
        Task::Chaos(args) => chaos::run(&sh, &args),
        Task::Mutants(args) => mutants::run(&sh, &args),
        Task::Source(args) => source::run(&sh, &args),
        Task::History(args) => history::run(&sh, &args),
    }
}

/// The repository's top directory.
fn root() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("ci/ is a directory of the repository").to_path_buf()
}
