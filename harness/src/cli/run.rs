//! `memhp run`: resolve everything, run the plan, write every report.

use super::args::{Boot, Format, RunArgs};
use super::failure::Failure;
use super::prove::prove;
use super::signals::before_a_run;
use super::sources;
use super::verify::Forked;
use crate::event::{self, Kind};
use crate::kernel::Kernel;
use crate::report::{self, Reports};
use crate::run::durations;
use crate::run::host::{BootMode, Host};
use crate::run::plan::{self, Planned};
use crate::run::schedule::{self, News};
use crate::run::spec;
use crate::verdict::known::{Entry, Reproduces};
use crate::verdict::{self, ExitOptions, Known, Mode, Signal};
use crate::vm::arch::Arch;
use crate::vm::{Accel, Qemu};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs; the exit status.
pub fn run(args: &RunArgs) -> Result<i32, Failure> {
    run_to(args, stdout_format(args.format))
}

/// Runs with something else on standard output than the command line says.
pub fn run_to(args: &RunArgs, stdout: report::Stdout) -> Result<i32, Failure> {
    if args.setup {
        super::setup::install()?;
    }
    let shard = args.shard.as_deref().map(parse_shard).transpose()?;
    crate::vm::sweep(&crate::vm::run_base()).map_err(Failure::host)?;
    let qemu = Qemu::find(args.host.qemu.as_deref(), Arch::X86_64).map_err(|e| missing_tool(args, e))?;
    let args = &of_this_directory(args)?;
    let mut resolved = sources::kernels(&args.sources.kernels, args.sources.kernels_dir.as_deref())?;
    let chosen = sources::scenarios(&args.patterns, &args.sources, &resolved.all)?;
    let mut host = host(args, qemu)?;
    prove(args, &mut host, &resolved.all, &mut resolved.notices)?;
    let met = before_a_run(&host, || super::subjects::of(&resolved.all, Some(&host)))?;
    let dead: BTreeMap<String, _> =
        met.iter().filter_map(|m| Some((m.kernel.name.clone(), m.dead.clone()?))).collect();
    let kernels: Vec<_> = met.into_iter().map(|met| (met.kernel, met.subject)).collect();
    let mut plan = plan::plan(chosen, &kernels, &args.sources.append, args.seed);
    plan.iter_mut().for_each(|planned| planned.dead = dead.get(&planned.kernel.name).cloned());
    if let Some((part, of)) = shard {
        plan = plan::shard(plan, part, of);
    }
    if args.dry_run {
        return dry_run(&plan, &host);
    }
    host.known = (!args.no_known_issues && args.exit != super::args::Exit::Bisect)
        .then(|| known(args.sources.cases.as_deref()))
        .transpose()?;
    let cache = crate::kernel::Cache::of_user().map_err(Failure::kernel)?;
    host.durations = durations::load(cache.root());
    let again = |round| plan.iter().cloned().map(move |planned| Planned { round, ..planned });
    let plan: Vec<Planned> = (0..args.repeat.max(1)).flat_map(again).collect();
    let out = args.out.clone().map_or_else(default_out, Ok);
    let out = out.map_err(|e| Failure::usage(format!("memhp-out: {e}; name a directory with --out")))?;
    let issues = issues(&known(args.sources.cases.as_deref())?);
    let reports = Reports::open(&out, stdout, issues).map_err(Failure::usage)?;
    let mut session = Session {
        reports,
        out,
        fail_fast: args.fail_fast,
        timelines: args.timelines,
        host: &host,
        ends: Vec::new(),
        forked: Vec::new(),
        took: BTreeMap::new(),
    };
    session.say(None, Kind::RunStart(start_of(args, &host, &kernels)))?;
    for text in resolved.notices {
        session.say(None, Kind::Notice { text })?;
    }
    session.say(None, Kind::Plan { scenarios: plan.iter().map(|p| p.id.clone()).collect() })?;
    let jobs = jobs(args.jobs);
    let mut trouble = None;
    super::signals::with_signals(&host, || {
        schedule::run(&host, &plan, jobs, cache.root(), &mut |planned, news| {
            if let Err(failure) = session.take(planned, news) {
                host.stop();
                trouble.get_or_insert(failure);
            }
        });
        Ok(())
    })?;
    if let Err(e) = durations::add(cache.root(), std::mem::take(&mut session.took)) {
        tracing::warn!("durations are not kept: {e}");
    }
    let forks_in_doubt = session.verify(args, jobs, cache.root())?;
    finish(args, &host, session, forks_in_doubt, trouble)
}

/// In a kernel tree that is configured, a run without `-k` is about this kernel.
fn of_this_directory(args: &RunArgs) -> Result<RunArgs, Failure> {
    let mut args = args.clone();
    let here = Path::new(".");
    if args.sources.kernels.is_empty() && crate::kernel::build::is_configured_source(here) {
        let dir = here.canonicalize().map_err(Failure::host)?;
        args.sources.kernels = vec![format!("tree:{}", dir.display())];
        say!("memhp: a kernel tree: building what is stale and testing it (-k tree:.)");
    }
    Ok(args)
}

fn finish(
    args: &RunArgs,
    host: &Host,
    mut session: Session<'_>,
    forks_in_doubt: bool,
    trouble: Option<Failure>,
) -> Result<i32, Failure> {
    let signal = host.signal().map(|s| if s == 2 { Signal::Interrupt } else { Signal::Terminate });
    let options = ExitOptions { mode: exit_mode(args.exit), require: args.require, forks_in_doubt, signal };
    let status = verdict::exit_status(&session.ends, options);
    let signal = signal.map(|s| s.name().to_string());
    let said = session.say(None, Kind::RunEnd { status, signal, cpu: cpu() });
    // The other reports are ended even if one cannot be written.
    let ended = session.reports.finish().map_err(Failure::host);
    trouble.map_or(said.and(ended).map(|()| status), Err)
}

/// What is going on, for the reports.
struct Session<'a> {
    reports: Reports,
    out: PathBuf,
    fail_fast: bool,
    timelines: bool,
    host: &'a Host,
    ends: Vec<event::ScenarioEnd>,
    forked: Vec<Forked>,
    took: BTreeMap<String, u64>,
}

impl Session<'_> {
    fn say(&mut self, scenario: Option<(&str, u32)>, kind: Kind) -> Result<(), Failure> {
        self.reports.take(scenario, kind).map_err(Failure::host)
    }

    /// `--verify-forks`: are restored guests in doubt after it? Says so, as a part of the record.
    fn verify(&mut self, args: &RunArgs, jobs: usize, cache: &Path) -> Result<bool, Failure> {
        let forked = std::mem::take(&mut self.forked);
        let ran = self.ends.iter().any(|end| end.boot.is_some());
        let wanted = args.verify_forks as usize;
        if wanted == 0 || !ran || self.host.interrupted() {
            return Ok(false);
        }
        let verified = super::verify::verify(self.host, forked, (wanted, args.seed), jobs, cache)?;
        for text in verified.texts() {
            say!("memhp: {text}");
            self.say(None, Kind::Notice { text })?;
        }
        Ok(verified.in_doubt())
    }

    fn take(&mut self, planned: &Planned, news: News) -> Result<(), Failure> {
        match news {
            News::Entry(kind) => self.say(Some((&planned.id, planned.round)), kind),
            News::End(end) => {
                let (end, remains) = *end;
                super::folder::write(&self.out, planned, self.host, &end, &remains)?;
                if self.timelines {
                    super::folder::timeline(&self.out, planned, &remains)?;
                }
                if self.fail_fast && end.verdict == verdict::Verdict::Fail && end.known.is_none() {
                    self.host.no_more();
                }
                if end.boot.is_some() {
                    self.took.insert(durations::name(&planned.id).to_string(), end.duration_ns);
                }
                // What was missed has nothing to compare.
                if end.boot.as_deref() == Some("fork") && end.verdict != verdict::Verdict::Miss {
                    let (planned, end) = (planned.clone(), end.clone());
                    self.forked.push(Forked { planned, end, trail: remains.trail });
                }
                self.ends.push(end.clone());
                self.say(Some((&planned.id, planned.round)), Kind::ScenarioEnd(end))
            }
        }
    }
}

/// Processor time so far; `None` where /proc/self/stat does not tell (proc_pid_stat(5): fields 14 to 17, in ticks).
pub fn cpu() -> Option<event::Cpu> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ms = |at: usize| Some(fields.get(at)?.parse::<u64>().ok()? * 1000 / TICKS);
    Some(event::Cpu { memhp_ms: ms(11)? + ms(12)?, children_ms: ms(13)? + ms(14)? })
}

/// Ticks of user space in a second: USER_HZ is 100 on every architecture that QEMU runs on with Linux.
const TICKS: u64 = 100;

/// The host as the command line wants it; its accelerator is not proven yet.
pub fn host(args: &RunArgs, qemu: Qemu) -> Result<Host, Failure> {
    let mut host = Host::new(qemu, Accel::Tcg, args.host.scale()).map_err(Failure::host)?;
    host.qemu_args = args.host.qemu_args.split_whitespace().map(str::to_string).collect();
    if let Some(port) = args.host.gdb {
        host.qemu_args.extend(["-gdb".into(), format!("tcp:127.0.0.1:{port}"), "-S".into()]);
    }
    host.memory.clone_from(&args.host.memory);
    host.smp = args.host.smp;
    host.repeat_options = repeat_options(args);
    (host.seed, host.templates) = (args.seed, args.templates);
    host.short_first = args.fail_fast;
    // Guests wait for one and the same debugger: no two of them at once.
    host.room = if args.host.gdb.is_some() { 0 } else { super::memory::budget()? };
    host.boot = match args.boot {
        _ if args.host.gdb.is_some() => BootMode::Cold,
        Boot::Auto => BootMode::Auto,
        Boot::Fork if !host.qemu.ignore_shared => {
            return Err(Failure::usage(
                "--boot fork: this QEMU cannot leave shared memory out of a migration",
            ));
        }
        Boot::Fork if !host.qemu_args.is_empty() => {
            return Err(Failure::usage("--boot fork: guests with --qemu-args or --gdb are not restored"));
        }
        Boot::Fork => BootMode::Fork,
        Boot::Cold => BootMode::Cold,
    };
    Ok(host)
}

/// A host whose accelerator is not proven yet, for verbs that have no kernel at first.
pub(super) fn bare_host(args: &RunArgs) -> Result<Host, Failure> {
    crate::vm::sweep(&crate::vm::run_base()).map_err(Failure::host)?;
    host(args, Qemu::find(args.host.qemu.as_deref(), Arch::X86_64).map_err(Failure::host)?)
}

/// Known issues: of a directory of cases, or those that come with memhp.
pub fn known(cases: Option<&Path>) -> Result<Known, Failure> {
    cases.map_or_else(Known::embedded, Known::from_dir).map_err(Failure::usage)
}

/// Known issues as the reports need them.
pub fn issues(known: &Known) -> Vec<report::Issue> {
    let one = |e: &Entry| report::Issue {
        id: e.id.clone(),
        reason: e.reason.clone(),
        link: e.link.clone(),
        always: e.reproduces == Reproduces::Always,
    };
    known.entries().iter().map(one).collect()
}

/// Further words of the lines that repeat a scenario.
pub fn repeat_options(args: &RunArgs) -> String {
    let kernels = args.sources.kernels.iter().map(|k| format!(" -k {}", report::quote(k)));
    let mut options: String = kernels.collect();
    if !args.sources.append.is_empty() {
        options += &format!(" --append {}", report::quote(&args.sources.append));
    }
    if let Some(dir) = &args.sources.cases {
        options += &format!(" --cases {}", report::quote(&dir.display().to_string()));
    }
    if args.seed != 1 {
        options += &format!(" --seed {}", args.seed);
    }
    options
}

/// How the run is made, for its log.
pub fn start_of(
    args: &RunArgs,
    host: &Host,
    kernels: &[(Arc<Kernel>, crate::policy::Subject)],
) -> event::RunStart {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let subject = |s: &crate::policy::Subject| serde_json::to_value(s).unwrap_or(serde_json::Value::Null);
    let identity = |k: &Kernel| serde_json::to_value(k.identity()).unwrap_or(serde_json::Value::Null);
    event::RunStart {
        memhp: env!("CARGO_PKG_VERSION").into(),
        argv: std::env::args().collect(),
        unix_time: now.map_or(0, |d| d.as_secs()),
        qemu: host.qemu.version.to_string(),
        accel: host.accel.word().into(),
        seed: args.seed,
        shard: args.shard.clone(),
        kernels: kernels.iter().map(|(k, _)| (k.name.clone(), identity(k))).collect::<BTreeMap<_, _>>(),
        subjects: kernels.iter().map(|(k, s)| (k.name.clone(), subject(s))).collect::<BTreeMap<_, _>>(),
    }
}

fn dry_run(plan: &[Planned], host: &Host) -> Result<i32, Failure> {
    let mut text = String::new();
    for planned in plan {
        match &planned.skip {
            Some(reason) => text += &format!("skip {}: {reason}\n", planned.id),
            None => {
                let spec = spec::of(host, planned).map_err(Failure::host)?;
                text += &format!("run {}\n    {}\n", planned.id, spec.proof());
            }
        }
    }
    super::print(&text);
    Ok(0)
}

fn parse_shard(text: &str) -> Result<(usize, usize), Failure> {
    let wrong = || Failure::usage(format!("--shard {text:?}: want I/N with 1 <= I <= N"));
    let (part, of) = text.split_once('/').ok_or_else(wrong)?;
    let (part, of) = (part.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
    if part >= 1 && part <= of { Ok((part, of)) } else { Err(wrong()) }
}

/// A new directory, also when two runs begin in one second.
pub fn default_out() -> std::io::Result<PathBuf> {
    let base = PathBuf::from("memhp-out");
    std::fs::create_dir_all(&base)?;
    let stamp = report::timestamp(std::time::SystemTime::now());
    for n in 1.. {
        let dir = base.join(if n == 1 { stamp.clone() } else { format!("{stamp}-{n}") });
        match std::fs::create_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| dir),
        }
    }
    unreachable!("numbers do not end")
}

/// As many guests at once as there are processors, unless told; memory is the schedule's to count.
pub fn jobs(wanted: Option<u32>) -> usize {
    wanted.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |jobs| jobs as usize)
}

/// What stdout carries.
pub fn stdout_format(format: Format) -> report::Stdout {
    match format {
        Format::Human => report::Stdout::Human,
        Format::Ktap => report::Stdout::Ktap,
        Format::Jsonl => report::Stdout::Jsonl,
    }
}

/// What the exit status means.
pub fn exit_mode(exit: super::args::Exit) -> Mode {
    match exit {
        super::args::Exit::Memhp => Mode::Normal,
        super::args::Exit::Kselftest => Mode::Kselftest,
        super::args::Exit::Bisect => Mode::Bisect,
    }
}

/// Under bisect a missing tool must stop the bisection.
fn missing_tool(args: &RunArgs, error: impl std::fmt::Display) -> Failure {
    let mut failure = Failure::host(error);
    if args.exit == super::args::Exit::Bisect {
        failure.status = 128;
    }
    failure
}

/// Host and the only kernel of a `shell`.
pub fn host_and_kernel(args: &RunArgs) -> Result<(Host, Arc<Kernel>), Failure> {
    let qemu = Qemu::find(args.host.qemu.as_deref(), Arch::X86_64).map_err(Failure::host)?;
    let mut resolved = sources::kernels(&args.sources.kernels, args.sources.kernels_dir.as_deref())?;
    let one = || Failure::usage("-k all: the shell takes one kernel");
    let kernel = (resolved.all.len() == 1).then(|| Arc::clone(&resolved.all[0])).ok_or_else(one)?;
    let mut host = host(args, qemu)?;
    prove(args, &mut host, &resolved.all, &mut resolved.notices)?;
    Ok((host, kernel))
}
