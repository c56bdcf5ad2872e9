//! The command line as it is typed.

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

/// Boots Linux kernels in QEMU, hot-plugs memory and judges what the kernel did with it.
#[derive(Debug, Parser)]
#[command(name = "memhp", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// what to do
    #[command(subcommand)]
    pub verb: Verb,
    /// say more on stderr (-vv: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// run cases and judge the kernels
    Run(Box<RunArgs>),
    /// find the commit, or the packaged kernel, that brought a change in
    Bisect(Box<super::bisect::BisectArgs>),
    /// list scenarios: ID, run or skip, reason
    List(ListArgs),
    /// kernels that memhp knows: list, fetch, build, update
    Kernels(KernelsArgs),
    /// what a kernel will do with memory that is plugged: state, zone and rule of each block
    Predict(PredictArgs),
    /// judge a saved run again, from its events
    Parse(ParseArgs),
    /// run two kernels, or take two saved runs, and tell what changed
    Compare(Box<super::compare::CompareArgs>),
    /// make one run of the parts of one (--shard)
    Merge(super::merge::MergeArgs),
    /// apply, build and judge a series of patches, against its base
    Series(Box<super::series::SeriesArgs>),
    /// measure, judge nothing: how long it takes until plugged memory is online
    Measure {
        /// what
        #[command(subcommand)]
        what: super::measure::What,
    },
    /// what this host can do, what is missing, how to get it
    Doctor(DoctorArgs),
    /// boot a kernel and type commands to its guest: plug, unplug, cat, echo, ...
    Shell(ShellArgs),
    /// shell completions on stdout
    Completions {
        /// the shell
        shell: Shell,
    },
    /// the JSON schema of case files on stdout
    #[command(hide = true)]
    Schema,
}

/// Where kernels and cases come from.
#[derive(Debug, Clone, Args)]
pub struct Sources {
    /// kernel: a definition's name, `all` packaged ones, a path (bzImage, vmlinux, build tree), or tree:DIR to build what is
    /// stale first; repeatable [default: debian-6.1 debian-6.12; run in a configured kernel tree: that tree]
    #[arg(short = 'k', long = "kernel", value_name = "SPEC")]
    pub kernels: Vec<String>,
    /// further kernel parameters for every guest
    #[arg(long, value_name = "PARAMS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// case files from this directory instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub cases: Option<PathBuf>,
    /// kernel definitions from this directory instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub kernels_dir: Option<PathBuf>,
}

/// `memhp run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// cases: FOLDER/CASE with * and ?, whole ids, or paths of .yaml files; all without any
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sources: Sources,
    /// guests at once [default: processors]; fewer while the memory that is free does not carry their worst case
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// where results go [default: ./memhp-out/TIMESTAMP]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// what stdout carries
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// what the exit status means
    #[arg(long, value_enum, default_value_t = Exit::Memhp)]
    pub exit: Exit,
    /// run part I of N (from 1, over sorted ids)
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
    /// run everything N times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// seed of all random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// SKIP and MISS count as ERROR
    #[arg(long)]
    pub require: bool,
    /// start nothing new after the first failure that is not known
    #[arg(long)]
    pub fail_fast: bool,
    /// print what would run, and QEMU's command lines, and end
    #[arg(long)]
    pub dry_run: bool,
    /// install what is missing first (apt; asks sudo when not root)
    #[arg(long)]
    pub setup: bool,
    /// known issues count as failures
    #[arg(long)]
    pub no_known_issues: bool,
    /// boot every guest, restore it from a template, or what fits
    #[arg(long, value_enum, default_value_t = Boot::Auto)]
    pub boot: Boot,
    /// boot N of the scenarios that ran in restored guests as well, and compare; where that cannot be done the status is 3
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub verify_forks: u32,
    /// draw the timeline of every scenario that plugs (timeline.svg in its folder), not only of what did not pass
    #[arg(long)]
    pub timelines: bool,
    /// draw scenarios that could share a template over N of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub templates: u32,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub host: HostArgs,
}

/// How guests run on this host.
#[derive(Debug, Clone, Args)]
pub struct HostArgs {
    /// accelerator; auto proves KVM by running a guest
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// multiply every deadline (debug kernels, slow hosts)
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = scale)]
    pub timeout_scale: f64,
    /// QEMU to use [default: qemu-system-x86_64 on PATH]
    #[arg(long, value_name = "PATH")]
    pub qemu: Option<PathBuf>,
    /// further QEMU arguments, split at blanks
    #[arg(long, value_name = "STR", default_value = "", allow_hyphen_values = true)]
    pub qemu_args: String,
    /// boot memory of guests whose case does not say
    #[arg(short = 'm', long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// virtual processors of guests whose case does not say
    #[arg(long, value_name = "N")]
    pub smp: Option<u32>,
    /// QEMU waits for gdb on this TCP port of the loopback address; one guest at a time, every one boots, no deadlines;
    /// emulated unless --accel kvm says otherwise, for nothing can be proven with a guest that waits
    #[arg(long, value_name = "PORT")]
    pub gdb: Option<u16>,
}

/// The largest factor on deadlines: an hour times this is a time that Linux and Rust can still count.
const MOST_SCALE: f64 = 1e6;

fn scale(text: &str) -> Result<f64, String> {
    let wrong = || format!("want a number above 0, {MOST_SCALE} at most");
    text.parse().ok().filter(|scale| *scale > 0.0 && *scale <= MOST_SCALE).ok_or_else(wrong)
}

impl HostArgs {
    /// Factor on deadlines: who stands at a breakpoint has all the time there is.
    pub fn scale(&self) -> f64 {
        if self.gdb.is_some() { MOST_SCALE } else { self.timeout_scale }
    }
}

/// `memhp list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// as for run
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sources: Sources,
    /// output
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
}

/// `memhp kernels`.
#[derive(Debug, Clone, Args)]
pub struct KernelsArgs {
    /// list (the default), fetch, build or update
    #[command(subcommand)]
    pub action: Option<KernelsAction>,
    /// output
    #[arg(long, value_enum, default_value_t = TextOrJson::Text, global = true)]
    pub format: TextOrJson,
    /// kernel definitions from this directory instead of the built-in ones
    #[arg(long, value_name = "DIR", global = true)]
    pub kernels_dir: Option<PathBuf>,
}

/// What to do with kernels.
#[derive(Debug, Clone, Subcommand)]
pub enum KernelsAction {
    /// definitions, and what they resolve to
    List,
    /// fetch now what a run would fetch
    Fetch {
        /// definitions; `all` for every one
        names: Vec<String>,
    },
    /// build from source: definitions, or any source directory
    Build(super::build::BuildArgs),
    /// move kernels.lock to the newest of each series
    Update {
        /// definitions; all without any
        names: Vec<String>,
    },
}

/// `memhp predict`.
#[derive(Debug, Clone, Args)]
pub struct PredictArgs {
    /// a kernel as for run, or VERSION:default=offline|online|online_kernel|online_movable for one that is not at hand
    #[arg(short = 'k', long = "kernel", value_name = "SPEC")]
    pub kernel: String,
    /// kernel parameters
    #[arg(long, value_name = "PARAMS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// written to auto_online_blocks before plugging
    #[arg(long, value_name = "V")]
    pub auto_online_blocks: Option<String>,
    /// boot memory of the guest
    #[arg(long, value_name = "M", default_value = "512M")]
    pub memory: String,
    /// take the command line compiled into the kernel (CONFIG_CMDLINE) into account
    #[arg(long)]
    pub cmdline_config: bool,
    /// DIMM to plug; repeatable
    #[arg(long, value_name = "SIZE", required = true)]
    pub plug: Vec<String>,
    /// output
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
    /// kernel definitions from this directory instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub kernels_dir: Option<PathBuf>,
}

/// `memhp parse`.
#[derive(Debug, Clone, Args)]
pub struct ParseArgs {
    /// directory of a saved run
    pub dir: PathBuf,
    /// known issues from this directory, as the run had them, instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub cases: Option<PathBuf>,
    /// what stdout carries
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// what the exit status means
    #[arg(long, value_enum, default_value_t = Exit::Memhp)]
    pub exit: Exit,
    /// SKIP and MISS count as ERROR
    #[arg(long)]
    pub require: bool,
    /// known issues count as failures
    #[arg(long)]
    pub no_known_issues: bool,
}

/// `memhp doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// output
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
    /// QEMU to look at
    #[arg(long, value_name = "PATH")]
    pub qemu: Option<PathBuf>,
}

/// `memhp shell`.
#[derive(Debug, Clone, Args)]
pub struct ShellArgs {
    /// a kernel as for run
    #[arg(short = 'k', long = "kernel", value_name = "SPEC")]
    pub kernel: String,
    /// further kernel parameters
    #[arg(long, value_name = "PARAMS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// kernel definitions from this directory instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub kernels_dir: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub host: HostArgs,
}

/// What stdout carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// a line a scenario, and a summary
    Human,
    /// KTAP version 1
    Ktap,
    /// the event log
    Jsonl,
}

/// Text or JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextOrJson {
    /// lines
    Text,
    /// JSON
    Json,
}

/// What the exit status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Exit {
    /// 1 FAIL, 3 ERROR or MISS, 0 else
    Memhp,
    /// kselftest: 4 when all is skipped
    Kselftest,
    /// git bisect run: 0 good, 1 bad, 125 not judged, 128 cannot go on
    Bisect,
}

/// Boot mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Boot {
    /// restore where the case allows it
    Auto,
    /// restore where the case allows it; a guest that cannot be restored, or has no template, is MISS, not booted instead
    Fork,
    /// boot every guest
    Cold,
}

/// Accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM if a guest runs with it, else TCG
    Auto,
    /// KVM or nothing
    Kvm,
    /// emulation
    Tcg,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_that_deadlines_can_have() {
        assert_eq!(["5", "0.5", "1e6"].map(scale), [Ok(5.0), Ok(0.5), Ok(1e6)]);
        for bad in ["nan", "inf", "-1", "0", "-0", "1e7", "x", ""] {
            assert_eq!(scale(bad), Err("want a number above 0, 1000000 at most".into()), "{bad}");
        }
    }
    #[test]
    fn a_debugger_has_time() {
        let of = |more: &[&str]| parsed(more).scale();
        assert_eq!(of(&["--timeout-scale", "2"]), 2.0);
        assert_eq!(of(&["--timeout-scale", "2", "--gdb", "1234"]), 1e6);
    }

    fn parsed(more: &[&str]) -> HostArgs {
        let words = ["memhp", "run"].iter().chain(more);
        match Cli::try_parse_from(words).unwrap().verb {
            Verb::Run(args) => args.host,
            other => panic!("{other:?}"),
        }
    }
}
