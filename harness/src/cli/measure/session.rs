//! Trials, round by round, until all are done, the budget is used up, or a signal comes.

use super::{BLOCK, OnliningArgs, Wanted};
use crate::cli::failure::Failure;
use crate::kernel::Kernel;
use crate::measure::design::{self, Design};
use crate::measure::guest::{Fault, Guests};
use crate::measure::sample::{self, Outcome, Sample, Seen};
use crate::measure::summary::{self, NotRun, Summary};
use crate::measure::{Cell, Clock, limits, plots, script, table};
use crate::run::host::Host;
use crate::vm::template::Template;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A kernel, ready for trials.
enum Ready<'a> {
    Host(Guests<'a>, Box<Template>),
    Instructions(Guests<'a>, script::Idle),
}

pub(super) struct Session<'a> {
    pub(super) args: &'a OnliningArgs,
    pub(super) wanted: &'a Wanted,
    pub(super) host: &'a Host,
    pub(super) user_space: Vec<u8>,
    pub(super) design: Design,
    pub(super) begun: Instant,
    pub(super) csv: Csv,
    pub(super) samples: Vec<Sample>,
    pub(super) impossible: Vec<NotRun>,
    pub(super) ended: Option<String>,
}

impl<'a> Session<'a> {
    /// All rounds; ends early when the budget does, or at a signal.
    pub(super) fn run(&mut self, kernels: &'a [Arc<Kernel>]) -> Result<(), Failure> {
        let mut ready: BTreeMap<String, Ready<'a>> = BTreeMap::new();
        for kernel in kernels {
            if self.over() {
                return Ok(());
            }
            match self.prepare(kernel) {
                Ok((name, one, free)) => {
                    self.rule_out(&name, free);
                    ready.insert(name, one);
                }
                Err(Fault::Interrupted) => {
                    self.over();
                    return Ok(());
                }
                Err(Fault::Died(why) | Fault::NotMeasured(why)) => {
                    say!("memhp: {}: not measured: {why}", kernel.name);
                    self.without(&kernel.name, &why);
                }
            }
        }
        for round in 0..self.wanted.repeats {
            for cell in design::round(&self.possible(), round, self.args.seed) {
                if self.over() {
                    return Ok(());
                }
                let Some(one) = ready.get(&cell.kernel) else { continue };
                let taken = self.trial(one, &cell);
                let Some(sample) = self.sample(round, &cell, taken) else {
                    self.over();
                    return Ok(());
                };
                self.csv.add(&sample)?;
                self.tell(&sample);
                self.samples.push(sample);
            }
        }
        Ok(())
    }

    /// Is it time to end?
    fn over(&mut self) -> bool {
        if self.host.interrupted() {
            self.ended = Some("interrupted".into());
        } else if self.wanted.budget.is_some_and(|budget| self.begun.elapsed() >= budget) {
            self.ended = Some("the budget was used up".into());
        }
        self.ended.is_some()
    }

    /// Cells that can be measured.
    fn possible(&self) -> Vec<Cell> {
        let possible = |cell: &&Cell| !self.impossible.iter().any(|n| n.cell == **cell);
        self.design.cells.iter().filter(possible).cloned().collect()
    }

    fn prepare(&self, kernel: &'a Arc<Kernel>) -> Result<(String, Ready<'a>, u64), Fault> {
        let missed = |e: String| Fault::NotMeasured(e);
        say!("memhp: preparing {} ({})", kernel.name, kernel.release);
        let mut guests = Guests {
            host: self.host,
            kernel,
            initrd: self.host.files().join("initramfs-measure"),
            largest: self.wanted.sizes.iter().copied().max().unwrap_or(BLOCK),
            processors: self.wanted.processors,
            append: self.args.append.clone(),
            extra: self.args.host.qemu_args.split_whitespace().map(str::to_string).collect(),
        };
        match self.args.clock {
            Clock::Host => {
                let mut bytes = crate::image::Initramfs::with_agent().build();
                bytes.extend_from_slice(&self.user_space);
                let path = &guests.initrd;
                std::fs::write(path, bytes).map_err(|e| missed(format!("{}: {e}", path.display())))?;
                let (template, free) = guests.template().map_err(missed)?;
                Ok((kernel.name.clone(), Ready::Host(guests, Box::new(template)), free))
            }
            Clock::Instructions => {
                guests.extra.extend(script::args(self.args.seed));
                guests.append = format!("{} {}", script::APPEND, guests.append).trim_end().to_string();
                let idle = script::idle(&guests, &self.user_space, self.args.seed)?;
                Ok((kernel.name.clone(), Ready::Instructions(guests, idle), idle.free))
            }
        }
    }

    /// Names the cells of a kernel that cannot be.
    fn rule_out(&mut self, kernel: &str, free: u64) {
        let all = self.design.cells.iter().chain(&self.design.left_out).filter(|cell| cell.kernel == kernel);
        let none = all.filter_map(|cell| {
            design::cannot_fit(cell, free)
                .map(|why| NotRun { cell: cell.clone(), why: format!("N/A: {why}") })
        });
        self.impossible.extend(none.collect::<Vec<_>>());
    }

    /// A kernel that cannot be measured at all.
    fn without(&mut self, kernel: &str, why: &str) {
        let cells = self.design.cells.iter().filter(|cell| cell.kernel == kernel);
        let none = cells.map(|cell| NotRun { cell: cell.clone(), why: format!("{kernel}: {why}") });
        self.impossible.extend(none.collect::<Vec<_>>());
    }

    fn trial(&self, one: &Ready<'_>, cell: &Cell) -> Result<(Outcome, Seen), Fault> {
        let (limit, seed) = (self.wanted.limit, self.args.seed);
        match one {
            Ready::Host(guests, template) => guests.trial(template, cell, limit, seed),
            Ready::Instructions(guests, idle) => {
                script::trial(guests, &self.user_space, *idle, cell, limit, seed)
            }
        }
    }

    /// `None`: interrupted.
    fn sample(&self, round: u32, cell: &Cell, taken: Result<(Outcome, Seen), Fault>) -> Option<Sample> {
        let (outcome, seen, why) = match taken {
            Ok((outcome, seen)) if seen.added_ns.is_none() => {
                (outcome, seen, "no block was announced: the kernel did not add the memory".to_string())
            }
            Ok((outcome, seen)) => (outcome, seen, String::new()),
            Err(fault) => fault.outcome().map(|(outcome, why)| (outcome, Seen::default(), why))?,
        };
        let order = u32::try_from(self.samples.len() + 1).unwrap_or(u32::MAX);
        Some(Sample { order, round, cell: cell.clone(), outcome, seen, why })
    }

    fn tell(&self, sample: &Sample) {
        let what = match (sample.outcome, sample.seen.latency_ns) {
            (Outcome::Online, latency) => table::value(latency),
            (Outcome::Partly, _) => {
                format!("{} of {} blocks online {}", sample.seen.online, sample.seen.blocks, sample.why)
            }
            (outcome, _) => format!("{}: {}", outcome.word(), sample.why),
        };
        let seconds = self.begun.elapsed().as_secs();
        say!("memhp: {seconds:>5} s  #{:<4} {}: {what}", sample.order, sample.cell);
    }

    pub(super) fn summary(&self, kernels: &[Arc<Kernel>]) -> Summary {
        let accel = self.host.accel.word();
        let (cells, not_run) = summary::cells(&self.design, &self.impossible, &self.samples, self.args.clock);
        Summary {
            v: 1,
            memhp: env!("CARGO_PKG_VERSION").into(),
            argv: std::env::args().collect(),
            clock: self.args.clock,
            accel: accel.into(),
            qemu: self.host.qemu.version.to_string(),
            kernels: kernels.iter().map(|k| (k.name.clone(), k.release.clone())).collect(),
            seed: self.args.seed,
            repeats: self.wanted.repeats,
            fraction: self.design.fraction,
            limit_ms: u64::try_from(self.wanted.limit.as_millis()).unwrap_or(u64::MAX),
            limits: limits(self.args.clock, accel, self.wanted.processors),
            cells,
            not_run,
            ended: self.ended.clone(),
        }
    }
}

/// samples.csv, a line at once.
pub(super) struct Csv {
    file: File,
    path: PathBuf,
}

impl Csv {
    /// Also tells before anything is run that the directory can be written to.
    pub(super) fn create(out: &Path) -> Result<Self, Failure> {
        let wrong = |path: &Path, e| Failure::usage(format!("{}: {e}", path.display()));
        std::fs::create_dir_all(out).map_err(|e| wrong(out, e))?;
        let path = out.join("samples.csv");
        let mut file =
            File::options().write(true).create_new(true).open(&path).map_err(|e| match e.kind() {
                std::io::ErrorKind::AlreadyExists => Failure::usage(format!(
                    "{}: is of an earlier measurement: name another --out",
                    path.display()
                )),
                _ => wrong(&path, e),
            })?;
        file.write_all(sample::HEADER.as_bytes()).map_err(|e| wrong(&path, e))?;
        Ok(Self { file, path })
    }

    fn add(&mut self, sample: &Sample) -> Result<(), Failure> {
        let path = &self.path;
        let written = self.file.write_all(sample.csv().as_bytes());
        written.map_err(|e| Failure::host(format!("write {}: {e}", path.display())))
    }
}

/// Everything but the samples, which are there already.
pub(super) fn write(out: &Path, summary: &Summary, samples: &[Sample]) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(summary).map_err(Failure::host)? + "\n";
    let mut files =
        vec![("summary.json".to_string(), json), ("table.txt".to_string(), table::table(summary))];
    files.extend(plots::plots(summary, samples));
    for (name, text) in files {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(|e| Failure::host(format!("write {}: {e}", path.display())))?;
    }
    Ok(())
}
