//! `memhp measure`: choose cells, run trials round by round, write every sample at once and the reports at the end.

use super::args::{Accel, HostArgs, RunArgs};
use super::failure::Failure;
use super::{run, sources};
use crate::case::units;
use crate::measure::design::{self, Factors};
use crate::measure::{Clock, Load, Policy, table};
use crate::vm::Qemu;
use crate::vm::arch::Arch;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::{Duration, Instant};

mod session;
use session::{Csv, Session, write};

/// What can be measured.
#[derive(Debug, Clone, Subcommand)]
pub enum What {
    /// from a plug to memory that is online: policy by load by size by kernel
    Onlining(Box<OnliningArgs>),
}

/// `memhp measure onlining`.
#[derive(Debug, Clone, Args)]
pub struct OnliningArgs {
    /// kernel, as for run; repeatable [default: debian-6.1 debian-6.12; with --quick: debian-6.12]
    #[arg(short = 'k', long = "kernel", value_name = "SPEC")]
    pub kernels: Vec<String>,
    /// a first look: three loads, one size, seven repeats, eight minutes at most
    #[arg(long)]
    pub quick: bool,
    /// stop after this time (`8m`, `2h`); where it does not carry all cells, a fraction is measured and the rest listed
    #[arg(long, value_name = "TIME")]
    pub budget: Option<String>,
    /// the guest's clock: the host's, or instructions (-icount)
    #[arg(long, value_enum, default_value_t = Clock::Host)]
    pub clock: Clock,
    /// seed of the order, of the fraction, and of the guests' entropy with --clock instructions
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// policy: online, online_movable, udev, udev_movable, agent; repeatable [default: all]
    #[arg(long = "policy", value_name = "POLICY")]
    pub policies: Vec<String>,
    /// load: idle, cpu-Nx, memory-N, uevents, all; repeatable [default: nine levels]
    #[arg(long = "load", value_name = "LOAD")]
    pub loads: Vec<String>,
    /// size of the DIMM; repeatable [default: 128M 1G 4G 16G; with --quick: 1G]
    #[arg(long = "size", value_name = "SIZE")]
    pub sizes: Vec<String>,
    /// trials of each cell [default: 20; with --quick: 7; with --clock instructions: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: Option<u32>,
    /// longest wait for all blocks, of the guest's time [default: 60s; with --quick: 20s]
    #[arg(long, value_name = "TIME")]
    pub limit: Option<String>,
    /// where results go [default: ./memhp-out/TIMESTAMP]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// further kernel parameters for every guest
    #[arg(long, value_name = "PARAMS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// kernel definitions from this directory instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub kernels_dir: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub host: HostArgs,
}

/// Measures; the exit status.
pub fn measure(what: &What) -> Result<i32, Failure> {
    let What::Onlining(args) = what;
    onlining(args, &Wanted::of(args)?)
}

/// The command line, checked.
struct Wanted {
    kernels: Vec<String>,
    policies: Vec<Policy>,
    loads: Vec<Load>,
    sizes: Vec<u64>,
    repeats: u32,
    budget: Option<Duration>,
    limit: Duration,
    processors: u32,
}

/// A block of x86 with little memory: DIMMs are whole blocks.
const BLOCK: u64 = 128 << 20;

impl Wanted {
    fn of(args: &OnliningArgs) -> Result<Self, Failure> {
        let instructions = args.clock == Clock::Instructions;
        let words = |given: &[String], usual: &[&str]| match given.is_empty() {
            true => usual.iter().map(|w| (*w).to_string()).collect(),
            false => given.to_vec(),
        };
        let quick = args.quick;
        let kernels =
            words(&args.kernels, if quick { &["debian-6.12"] } else { &["debian-6.1", "debian-6.12"] });
        let sizes = words(&args.sizes, if quick { &["1G"] } else { &["128M", "1G", "4G", "16G"] });
        let policies = each(&args.policies, "--policy", &Policy::ALL)?;
        let usual: &[Load] = if quick { &[Load::Idle, Load::Cpu(4), Load::Memory(80)] } else { &Load::ALL };
        let loads = each(&args.loads, "--load", usual)?;
        let size = |text: &String| match units::size(text) {
            Ok(size) if size > 0 && size.is_multiple_of(BLOCK) => Ok(size),
            Ok(_) => {
                Err(Failure::usage(format!("--size {text}: no multiple of the memory block size, 128M")))
            }
            Err(e) => Err(Failure::usage(format!("--size {text}: {e}"))),
        };
        let budget =
            args.budget.as_deref().or(quick.then_some("8m")).map(|t| time("budget", t)).transpose()?;
        let limit = time("limit", args.limit.as_deref().unwrap_or(if quick { "20s" } else { "60s" }))?;
        let repeats = args.repeats.unwrap_or(if instructions {
            3
        } else if quick {
            7
        } else {
            20
        });
        let processors = match (instructions, args.host.smp) {
            (true, Some(n)) if n != 1 => {
                return Err(Failure::usage("--smp: with --clock instructions a guest has one processor"));
            }
            (true, _) => 1,
            (false, n) => n.unwrap_or(2),
        };
        if instructions && args.host.accel == Accel::Kvm {
            return Err(Failure::usage("--accel kvm: instructions are counted by emulation (tcg) only"));
        }
        let sizes = sizes.iter().map(size).collect::<Result<_, _>>()?;
        Ok(Self { kernels, policies, loads, sizes, repeats, budget, limit, processors })
    }
}

/// `8m`, `90s`, `2h`: more than nothing.
fn time(name: &str, text: &str) -> Result<Duration, Failure> {
    let minutes = |hours: &str| hours.parse::<u64>().ok()?.checked_mul(60).map(|m| format!("{m}m"));
    let known = text.strip_suffix('h').and_then(minutes).unwrap_or_else(|| text.to_string());
    let number = known.trim_end_matches(['m', 's']);
    if !number.is_empty() && number.bytes().all(|b| b == b'0') {
        return Err(Failure::usage(format!("--{name} {text}: nothing can be measured in no time")));
    }
    units::duration(&known)
        .map_err(|_| Failure::usage(format!("--{name} {text}: not a time (want for example 90s, 8m or 2h)")))
}

/// Words of a repeatable option, each once, in the order given.
fn each<T: Copy + PartialEq + std::str::FromStr<Err = String>>(
    given: &[String],
    option: &str,
    usual: &[T],
) -> Result<Vec<T>, Failure> {
    let mut all = if given.is_empty() { usual.to_vec() } else { Vec::new() };
    for word in given {
        let one = word.parse().map_err(|e| Failure::usage(format!("{option}: {e}")))?;
        if !all.contains(&one) {
            all.push(one);
        }
    }
    Ok(all)
}

/// What a trial takes on a host like those this was made on, in s: for planning within a budget only.
fn estimate(clock: Clock) -> f64 {
    match clock {
        Clock::Host => 2.5,
        Clock::Instructions => 10.0,
    }
}

/// Samples of a cell for a fraction to be worth measuring: a median has an interval from six on.
fn least(clock: Clock, repeats: u32) -> u64 {
    let useful = match clock {
        Clock::Host => 6,
        Clock::Instructions => 1,
    };
    u64::from(repeats.min(useful))
}

fn onlining(args: &OnliningArgs, wanted: &Wanted) -> Result<i32, Failure> {
    let begun = Instant::now();
    crate::vm::sweep(&crate::vm::run_base()).map_err(Failure::host)?;
    let qemu = Qemu::find(args.host.qemu.as_deref(), Arch::X86_64).map_err(Failure::host)?;
    let mut resolved = sources::kernels(&wanted.kernels, args.kernels_dir.as_deref())?;
    let usual = RunArgs { host: args.host.clone(), ..RunArgs::usual() };
    let mut host = run::host(&usual, qemu)?;
    if args.clock == Clock::Host {
        super::prove::prove(&usual, &mut host, &resolved.all, &mut resolved.notices)?;
    }
    let out = args.out.clone().map_or_else(run::default_out, Ok);
    let out = out.map_err(|e| Failure::usage(format!("memhp-out: {e}; name a directory with --out")))?;
    let csv = Csv::create(&out)?;
    let user_space = user_space()?;
    let names: Vec<String> = resolved.all.iter().map(|k| k.name.clone()).collect();
    let factors = Factors {
        kernels: names,
        sizes: wanted.sizes.clone(),
        loads: wanted.loads.clone(),
        policies: wanted.policies.clone(),
    };
    let carried = wanted.budget.map(|budget| (budget.as_secs_f64() / estimate(args.clock)) as u64);
    let design = design::design(&factors, carried, least(args.clock, wanted.repeats), args.seed);
    let mut session = Session {
        args,
        wanted,
        host: &host,
        user_space,
        design,
        begun,
        csv,
        samples: Vec::new(),
        impossible: Vec::new(),
        ended: None,
    };
    super::signals::with_signals(&host, || session.run(&resolved.all))?;
    let summary = session.summary(&resolved.all);
    write(&out, &summary, &session.samples)?;
    super::print(&table::table(&summary));
    say!("memhp: results in {}: samples.csv, summary.json, table.txt, plots (*.svg)", out.display());
    match host.signal() {
        Some(signal) => Ok(128 + signal),
        // Nothing at all was measured: the host's fault, or the kernels'.
        None if summary.cells.iter().all(|c| c.n == 0) => Ok(3),
        None => Ok(0),
    }
}

/// udevd and its libraries, as a part of an initramfs.
fn user_space() -> Result<Vec<u8>, Failure> {
    let notify = |notice: crate::kernel::Notice| say!("memhp: {notice}");
    let context = crate::kernel::Context::new(&notify).map_err(Failure::kernel)?;
    crate::image::part(crate::image::Part::Udev, &context).map_err(Failure::kernel)
}
