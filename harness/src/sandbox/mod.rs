//! Where foreign code runs: bubblewrap, the kernel's limits, and a watch over what both let through.
//!
//! A step sees /usr, its own directories and nothing else of the host, has no network, and ends with this process.
//! What it leaves in its directories is looked at before anything here reads or writes there again (`links`).

mod args;
mod limits;
mod links;
#[cfg(test)]
mod tests;
mod watch;

pub use limits::Limits;

use crate::kernel::build::{BuildError, Runner, Step, Tools, Trouble, run_step};
use args::{System, View};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use watch::Watch;

/// Foreign code cannot be contained on this host.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Not installed.
    #[error(
        "bwrap not found on PATH: patches are built in a sandbox (package bubblewrap); --trust does without"
    )]
    Missing,
    /// Installed, and does not work: a container without user namespaces, say.
    #[error("bwrap does not work here: {0}; --trust does without a sandbox")]
    Broken(String),
}

/// Runs steps so that they can do no harm. One step at a time.
#[derive(Debug)]
pub struct Sandbox {
    /// `None`: trusted; limits and watch alone
    bwrap: Option<PathBuf>,
    system: System,
    limits: Limits,
    /// what is left is looked at
    looks: bool,
    step: Mutex<Option<Result<Current, Trouble>>>,
}

/// The step that runs.
#[derive(Debug)]
struct Current {
    watch: Watch,
    reads: Vec<PathBuf>,
    writes: Vec<PathBuf>,
}

impl Sandbox {
    /// Finds bubblewrap and proves that it works, by running `true` in it; its complaint goes to `log`.
    ///
    /// # Errors
    /// It is not there, or does not work.
    pub fn find(limits: Limits, log: &Path) -> Result<Self, SandboxError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut all = std::env::split_paths(&path).map(|dir| dir.join("bwrap"));
        let bwrap = all.find(|file| file.is_file()).ok_or(SandboxError::Missing)?;
        let sandbox = Self { bwrap: Some(bwrap), ..Self::trusting(limits) };
        let step = Step {
            argv: vec!["true".into()],
            cwd: "/".into(),
            env: Vec::new(),
            reads: Vec::new(),
            writes: Vec::new(),
        };
        let tools = Tools { runner: &sandbox, limit: Duration::from_secs(60), ..Tools::default() };
        let broken = |e: BuildError| SandboxError::Broken(e.to_string());
        let status = run_step("bwrap", step, log, &tools).map_err(broken)?;
        if status.success() {
            return Ok(sandbox);
        }
        let said = std::fs::read_to_string(log).unwrap_or_else(|e| format!("{}: {e}", log.display()));
        Err(SandboxError::Broken(format!("{status}: {}", said.trim())))
    }

    /// No sandbox: the code is trusted (`--trust`). Limits and watch stay.
    pub fn trusting(limits: Limits) -> Self {
        Self { bwrap: None, system: System::of_host(), limits, looks: true, step: Mutex::new(None) }
    }

    /// The same with other limits.
    pub fn with(&self, limits: Limits) -> Self {
        Self { bwrap: self.bwrap.clone(), ..Self::trusting(limits) }
    }

    /// The same for steps that run programs of the host alone, on trees whose own links may lead anywhere: what they leave
    /// is not looked at.
    pub fn for_git(self) -> Self {
        Self { looks: false, ..self }
    }

    /// Whether steps are contained.
    pub fn contains(&self) -> bool {
        self.bwrap.is_some()
    }

    fn current<T>(&self, ask: impl FnOnce(&mut Current) -> Result<T, Trouble>) -> Result<T, Trouble> {
        match self.step.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            None => Err(Trouble::Host("no step was begun".into())),
            Some(Err(why)) => Err(why.clone()),
            Some(Ok(current)) => ask(current),
        }
    }
}

impl Runner for Sandbox {
    fn wrap(&self, step: Step) -> Step {
        let begun = Watch::begin(&self.limits, &step.writes).map_err(Trouble::from);
        let (reads, writes) = (step.reads.clone(), step.writes.clone());
        let current = begun.map(|watch| Current { watch, reads, writes });
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
        let Some(bwrap) = &self.bwrap else {
            let trusted = Limits { threads: u64::MAX, ..self.limits.clone() };
            return Step { argv: args::prlimit(&trusted).into_iter().chain(step.argv).collect(), ..step };
        };
        let env: Vec<(OsString, OsString)> = step.env.into_iter().filter_map(own).collect();
        let view = View { cwd: &step.cwd, env: &env, reads: &step.reads, writes: &step.writes };
        let argv = args::bwrap(bwrap, &self.system, &view, &self.limits);
        Step { argv: argv.into_iter().chain(step.argv).collect(), env: Vec::new(), ..step }
    }

    fn watch(&self, group: u32) -> Result<(), Trouble> {
        self.current(|c| Ok(c.watch.look(group)?))
    }

    fn ended(&self) -> Result<(), Trouble> {
        let looks = self.contains() && self.looks;
        self.current(|c| {
            c.watch.end()?;
            if looks { Ok(links::check(&c.writes, &c.reads)?) } else { Ok(()) }
        })
    }
}

/// Variables that the sandbox does not set itself: the host's PATH can name directories that are not shown.
fn own((name, value): (OsString, Option<OsString>)) -> Option<(OsString, OsString)> {
    let set = ["PATH", "HOME", "TMPDIR", "LC_ALL"].iter().any(|n| name == *n);
    value.filter(|_| !set).map(|value| (name, value))
}
