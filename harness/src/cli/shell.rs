//! `memhp shell`: a guest at a prompt.

use super::args::{HostArgs, RunArgs, ShellArgs, Sources};
use super::failure::Failure;
use crate::run::console_shell;
use clap::Parser;

/// Boots and reads commands from stdin until `quit` or its end.
pub fn shell(args: &ShellArgs) -> Result<i32, Failure> {
    let mut run = RunArgs::of_shell(args);
    run.sources = Sources {
        kernels: vec![args.kernel.clone()],
        append: args.append.clone(),
        cases: None,
        kernels_dir: args.kernels_dir.clone(),
    };
    let (host, kernel) = super::run::host_and_kernel(&run)?;
    super::signals::with_signals(&host, || {
        console_shell::run(&host, &kernel, &args.append).map_err(Failure::host).map(|()| 0)
    })
}

/// A run's arguments with only the host's ones set.
#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    run: RunArgs,
}

impl RunArgs {
    /// Those of `memhp run` without a word.
    pub(super) fn usual() -> Self {
        Defaults::parse_from(["memhp"]).run
    }

    fn of_shell(args: &ShellArgs) -> Self {
        let mut run = Self::usual();
        let host: &HostArgs = &args.host;
        run.host = host.clone();
        run
    }
}
