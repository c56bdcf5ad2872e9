//! The kernels of a comparison, run in turns: A, B, B, A, ... so that a host that slows down slows both.

use super::args::RunArgs;
use super::failure::Failure;
use super::signals::before_a_run;
use super::{run, sources};
use crate::compare::{self, Kernels, RunFacts};
use crate::event::{Kind, ScenarioEnd};
use crate::kernel::{Cache, Kernel};
use crate::policy::Subject;
use crate::report::{self, Reports, Stdout};
use crate::run::durations;
use crate::run::host::Host;
use crate::run::plan::{self, Planned};
use crate::run::schedule::{self, News};
use crate::verdict::{self, ExitOptions, Signal};
use crate::vm::Qemu;
use crate::vm::arch::Arch;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A side that runs.
pub(super) struct Live {
    spec: String,
    args: RunArgs,
    kernel: (Arc<Kernel>, Subject),
    plan: Vec<Planned>,
    /// where its run goes: `DIR/a`
    dir: PathBuf,
    /// where its batches go, until they are one
    parts: Vec<PathBuf>,
    /// repeats so far
    rounds: u32,
}

/// Both sides; one that is saved does not run.
pub(super) struct Runs {
    host: Host,
    jobs: usize,
    cache: PathBuf,
    /// directory of the comparison
    pub(super) out: PathBuf,
    /// A and B
    pub(super) sides: [Option<Live>; 2],
    notices: Vec<String>,
}

impl Runs {
    /// Finds QEMU, resolves the kernels, proves the accelerator, plans. Nothing is judged yet.
    pub(super) fn prepare(args: &RunArgs, specs: &[Option<String>; 2]) -> Result<Self, Failure> {
        crate::vm::sweep(&crate::vm::run_base()).map_err(Failure::host)?;
        let qemu = Qemu::find(args.host.qemu.as_deref(), Arch::X86_64).map_err(Failure::host)?;
        let mut notices = Vec::new();
        let mut kernels: Vec<(usize, String, Arc<Kernel>)> = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let Some(spec) = spec else { continue };
            let one = || Failure::usage(format!("{spec}: each side of a comparison is one kernel"));
            if spec == "all" {
                return Err(one());
            }
            let resolved = sources::kernels(std::slice::from_ref(spec), args.sources.kernels_dir.as_deref())?;
            let [kernel] = &resolved.all[..] else {
                return Err(one());
            };
            kernels.push((index, spec.clone(), Arc::clone(kernel)));
            notices.extend(resolved.notices);
        }
        let mut host = run::host(args, qemu)?;
        let all: Vec<Arc<Kernel>> = kernels.iter().map(|(.., kernel)| Arc::clone(kernel)).collect();
        // Wrong patterns are told before a guest is started.
        for kernel in &all {
            sources::scenarios(&args.patterns, &args.sources, std::slice::from_ref(kernel))?;
        }
        let out = args.out.clone().map_or_else(run::default_out, Ok);
        let out = out.map_err(|e| Failure::usage(format!("memhp-out: {e}; name a directory with --out")))?;
        super::prove::prove(args, &mut host, &all, &mut notices)?;
        let mut sides = [None, None];
        for (index, spec, kernel) in kernels {
            let dir = out.join(if index == 0 { "a" } else { "b" });
            if dir.exists() {
                return Err(Failure::usage(format!(
                    "{}: is of an earlier comparison: name another --out",
                    dir.display()
                )));
            }
            sides[index] = Some(Live::plan(args, &host, spec, kernel, dir)?);
        }
        let jobs = run::jobs(args.jobs);
        let cache = Cache::of_user().map_err(Failure::kernel)?.root().to_path_buf();
        host.durations = durations::load(&cache);
        Ok(Self { host, jobs, cache, out, sides, notices })
    }

    /// Leaves out scenarios whose name (the id without its kernel) is not wanted.
    pub(super) fn keep_only(&mut self, wanted: impl Fn(&str) -> bool) {
        for live in self.sides.iter_mut().flatten() {
            live.plan.retain(|planned| wanted(durations::name(&planned.id)));
        }
    }

    /// Runs the wanted scenarios `times` times on each side that runs.
    pub(super) fn batch(&mut self, times: u32, wanted: impl Fn(&str) -> bool) -> Result<(), Failure> {
        let mut writers: [Option<Writer>; 2] = [None, None];
        let mut plans: [Vec<Planned>; 2] = [Vec::new(), Vec::new()];
        for (index, live) in self.sides.iter_mut().enumerate() {
            let Some(live) = live else { continue };
            let is_wanted = |p: &&Planned| wanted(durations::name(&p.id));
            plans[index] = live.plan.iter().filter(is_wanted).cloned().collect();
            writers[index] = Some(live.open(&self.host, &self.notices, &plans[index], times)?);
        }
        let mut first = [0, 0];
        for (index, live) in self.sides.iter_mut().enumerate() {
            let Some(live) = live else { continue };
            first[index] = live.rounds;
            live.rounds += times;
        }
        for turn in 0..times {
            let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
            for index in order {
                let (Some(writer), Some(live)) = (&mut writers[index], &self.sides[index]) else { continue };
                self.host.repeat_options = run::repeat_options(&live.args);
                let round = first[index] + turn;
                let plan: Vec<Planned> =
                    plans[index].iter().map(|p| Planned { round, ..p.clone() }).collect();
                let name = if index == 0 { "A" } else { "B" };
                say!("memhp: {name} ({}): {} scenarios, repeat {}", live.spec, plan.len(), round + 1);
                writer.run(&self.host, &plan, self.jobs, &self.cache)?;
            }
        }
        let signal = self.signal();
        writers.into_iter().flatten().try_for_each(|writer| writer.finish(signal))
    }

    /// Makes one run of the batches of each side.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        for live in self.sides.iter_mut().flatten() {
            live.merge()?;
        }
        Ok(())
    }

    fn signal(&self) -> Option<Signal> {
        self.host.signal().map(|s| if s == 2 { Signal::Interrupt } else { Signal::Terminate })
    }

    /// Exit status of a comparison that a signal ended.
    pub(super) fn ended_by(&self) -> Option<i32> {
        let options = ExitOptions { signal: Some(self.signal()?), ..ExitOptions::default() };
        Some(verdict::exit_status(&[], options))
    }
}

impl Live {
    fn plan(
        args: &RunArgs,
        host: &Host,
        spec: String,
        kernel: Arc<Kernel>,
        dir: PathBuf,
    ) -> Result<Self, Failure> {
        let mut args = args.clone();
        args.sources.kernels = vec![spec.clone()];
        let kernels = [kernel];
        let chosen = sources::scenarios(&args.patterns, &args.sources, &kernels)?;
        let met = before_a_run(host, || super::subjects::of(&kernels, Some(host)))?.into_iter().next();
        let met = met.ok_or_else(|| Failure::host("no kernel"))?;
        let kernel = (met.kernel, met.subject);
        let kernels = std::slice::from_ref(&kernel);
        let mut plan = plan::plan(chosen, kernels, &args.sources.append, args.seed);
        plan.iter_mut().for_each(|planned| planned.dead.clone_from(&met.dead));
        Ok(Self { spec, args, kernel, plan, dir, parts: Vec::new(), rounds: 0 })
    }

    /// Begins the log of a batch.
    fn open(
        &mut self,
        host: &Host,
        notices: &[String],
        plan: &[Planned],
        times: u32,
    ) -> Result<Writer, Failure> {
        let dir = match self.parts.len() {
            0 => self.dir.clone(),
            n => self.dir.with_extension(format!("again-{n}")),
        };
        let known = verdict::Known::embedded().map_err(Failure::usage)?;
        let reports = Reports::open(&dir, Stdout::Nothing, run::issues(&known)).map_err(Failure::usage)?;
        let mut writer = Writer { reports, dir: dir.clone(), ends: Vec::new() };
        self.parts.push(dir);
        let kernels = std::slice::from_ref(&self.kernel);
        writer.say(None, Kind::RunStart(run::start_of(&self.args, host, kernels)))?;
        for text in notices {
            writer.say(None, Kind::Notice { text: text.clone() })?;
        }
        let ids = plan.iter().map(|p| p.id.clone());
        let scenarios = (0..times).flat_map(|_| ids.clone()).collect();
        writer.say(None, Kind::Plan { scenarios })?;
        Ok(writer)
    }

    /// What was recorded so far.
    pub(super) fn facts(&self) -> Result<RunFacts, Failure> {
        let mut all = RunFacts::default();
        for dir in &self.parts {
            let events = report::parse_dir(dir).map_err(Failure::host)?;
            let part = compare::read(&self.spec, &events, Kernels::One).map_err(Failure::host)?;
            all.origin = part.origin;
            for (name, scenario) in part.scenarios {
                let known = all.scenarios.entry(name).or_default();
                (known.id, known.repeat) = (scenario.id, scenario.repeat);
                known.rounds.extend(scenario.rounds);
            }
        }
        Ok(all)
    }

    fn merge(&mut self) -> Result<(), Failure> {
        if self.parts.len() < 2 {
            return Ok(());
        }
        let wrong = |e: std::io::Error| Failure::host(format!("{}: {e}", self.dir.display()));
        let first = self.dir.with_extension("first");
        std::fs::rename(&self.dir, &first).map_err(wrong)?;
        self.parts[0] = first;
        super::merge::merge_dirs(&self.parts, &self.dir, Stdout::Nothing, ExitOptions::default())?;
        for part in std::mem::replace(&mut self.parts, vec![self.dir.clone()]) {
            std::fs::remove_dir_all(&part).map_err(wrong)?;
        }
        Ok(())
    }
}

/// The log of a batch.
struct Writer {
    reports: Reports,
    dir: PathBuf,
    ends: Vec<ScenarioEnd>,
}

impl Writer {
    fn say(&mut self, scenario: Option<(&str, u32)>, kind: Kind) -> Result<(), Failure> {
        self.reports.take(scenario, kind).map_err(Failure::host)
    }

    /// Runs a plan once.
    fn run(&mut self, host: &Host, plan: &[Planned], jobs: usize, cache: &Path) -> Result<(), Failure> {
        let mut trouble = None;
        super::signals::with_signals(host, || {
            schedule::run(host, plan, jobs, cache, &mut |planned, news| {
                if let Err(failure) = self.take(host, planned, news) {
                    host.stop();
                    trouble.get_or_insert(failure);
                }
            });
            Ok(())
        })?;
        trouble.map_or(Ok(()), Err)
    }

    fn take(&mut self, host: &Host, planned: &Planned, news: News) -> Result<(), Failure> {
        let scenario = Some((planned.id.as_str(), planned.round));
        match news {
            News::Entry(kind) => self.say(scenario, kind),
            News::End(end) => {
                let (end, remains) = *end;
                super::folder::write(&self.dir, planned, host, &end, &remains)?;
                self.ends.push(end.clone());
                self.say(scenario, Kind::ScenarioEnd(end))
            }
        }
    }

    fn finish(mut self, signal: Option<Signal>) -> Result<(), Failure> {
        let options = ExitOptions { signal, ..ExitOptions::default() };
        let status = verdict::exit_status(&self.ends, options);
        let signal = signal.map(|s| s.name().to_string());
        let said = self.say(None, Kind::RunEnd { status, signal, cpu: run::cpu() });
        said.and(self.reports.finish().map_err(Failure::host))
    }
}
