//! One command of a build as data, and who runs it: directly, or as a caller's [`Runner`] wraps it (a sandbox).

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// A command, and what it needs of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// Changes to this process's environment: `None` removes.
    pub env: Vec<(OsString, Option<OsString>)>,
    /// Directories and files it reads, beyond the system's own.
    pub reads: Vec<PathBuf>,
    /// Directories it writes to.
    pub writes: Vec<PathBuf>,
}

/// Why a step is ended, and whose fault that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// What the step runs: [`super::BuildError::Watch`].
    Step(String),
    /// The host, which would do the same to any step: [`super::BuildError::Host`].
    Host(String),
}

/// Who runs the commands of a build.
pub trait Runner: Sync {
    /// The command to start instead: a sandbox and its arguments before the step's own. Nothing is started here.
    fn wrap(&self, step: Step) -> Step {
        step
    }

    /// Asked a few times a second while a step runs, with the id of its process group's leader: an error ends the step.
    fn watch(&self, _group: u32) -> Result<(), Trouble> {
        Ok(())
    }

    /// Asked when a step has ended by itself, before anything it wrote is read: an error is as one of
    /// [`Runner::watch`].
    fn ended(&self) -> Result<(), Trouble> {
        Ok(())
    }
}

/// Runs steps as they are.
#[derive(Debug, Clone, Copy)]
pub struct Direct;

impl Runner for Direct {}

/// Tells a build to end: its processes are ended and waited for, and the build fails with
/// [`super::BuildError::Stopped`]. Clones tell the same build.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicI32>);

impl Stop {
    /// Ends what looks at it, because of this signal.
    pub fn request(&self, signal: i32) {
        self.0.store(signal, Ordering::SeqCst);
    }

    /// The signal, once there was one.
    pub fn signal(&self) -> Option<i32> {
        Some(self.0.load(Ordering::SeqCst)).filter(|s| *s != 0)
    }
}

/// Told how a build comes along.
pub trait Progress: Sync {
    /// A step has begun: `make vmlinux`.
    fn begin(&self, what: &str);
    /// So many lines of the log name a file that was made; the newest (`CC mm/memory_hotplug.o`).
    fn made(&self, count: usize, newest: &str);
    /// The step has ended.
    fn end(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _: &str) {}
    fn made(&self, _: usize, _: &str) {}
    fn end(&self) {}
}

/// What a build works with.
#[derive(Clone)]
pub struct Tools<'a> {
    /// Wraps every command.
    pub runner: &'a dyn Runner,
    /// Told how it comes along.
    pub progress: &'a dyn Progress,
    /// Ends it.
    pub stop: Stop,
    /// Compilers at once.
    pub jobs: usize,
    /// The longest that one step may take.
    pub limit: std::time::Duration,
    /// Where everything that is said goes; `None`: a file in the build directory. Foreign code could put something
    /// else in that file's place.
    pub log: Option<PathBuf>,
}

impl Default for Tools<'_> {
    /// Directly, quietly, as many compilers as processors, six hours (a large configuration with everything on).
    fn default() -> Self {
        Self {
            runner: &Direct,
            progress: &Quiet,
            stop: Stop::default(),
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            limit: std::time::Duration::from_secs(6 * 3600),
            log: None,
        }
    }
}
