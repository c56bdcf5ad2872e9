//! A running VM: its start, its parts, its end.

use super::args::{Accel, Boot, End, Ends, Layout, Machine, Ram, shell_line};
use super::channel::Channel;
use super::console::{self, Console, Predicate};
use super::hub::{Deadline, Hub, State, WaitError};
use super::inbox::{self, Counters};
use super::line;
use super::process::{Exit, Process};
use super::qemu::Qemu;
use super::qmp::{self, Qmp, QmpError, Stamped};
use super::rundir::{RunDir, RunDirError};
use super::starved::Waited;
use serde_json::Value;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What to start.
pub struct Spec {
    /// with which QEMU
    pub qemu: Qemu,
    /// accelerator, proven by now
    pub accel: Accel,
    /// machine
    pub machine: Machine,
    /// kernel, initramfs, command line; `None`: none
    pub boot: Option<Boot>,
    /// the processors do not run until told so (`cont`)
    pub paused: bool,
    /// memory on the host
    pub ram: Ram,
    /// `-incoming`
    pub incoming: Option<String>,
    /// where the agent's counters stand (a guest that was forked)
    pub counters: Counters,
    /// console lines that end the scenario
    pub alarm: Option<Predicate>,
}

impl Spec {
    /// A guest that boots, with private memory and nothing watched.
    pub fn new(qemu: Qemu, accel: Accel, machine: Machine, boot: Option<Boot>) -> Self {
        Self {
            qemu,
            accel,
            machine,
            boot,
            paused: false,
            ram: Ram::Private,
            incoming: None,
            counters: Counters::default(),
            alarm: None,
        }
    }

    /// The command line to paste, as [`Vm::proof`] of the VM that it would start.
    pub fn proof(&self) -> String {
        let listen = |name: &str| End::Listen(PathBuf::from(name));
        let ends = Ends { console: End::Stdio, agent: listen("agent.sock"), qmp: listen("qmp.sock") };
        shell_line(&self.qemu.path, &self.layout().args(&ends))
    }

    /// The command line, but for the ends of the character devices.
    pub fn layout(&self) -> Layout {
        Layout {
            machine: self.machine.clone(),
            boot: self.boot.clone(),
            accel: self.accel,
            ram: self.ram.clone(),
            incoming: self.incoming.clone(),
            paused: self.paused,
            sandbox: self.qemu.sandbox,
        }
    }
}

/// QEMU did not start: the host's or the caller's fault, never the guest kernel's.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// no run directory
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// a socket, a thread or the process could not be made
    #[error("cannot start {}: {source}", path.display())]
    Spawn {
        /// the program
        path: PathBuf,
        /// why
        source: io::Error,
    },
    /// it started, and did not talk; with QEMU's own words if it ended
    #[error("QEMU did not come up: {0}")]
    Qmp(#[from] QmpError),
}

/// A VM. Dropping it kills QEMU, waits for its end and removes the run directory.
#[derive(Debug)]
pub struct Vm {
    qmp: Qmp,
    console: Console,
    channel: Channel,
    process: Process,
    run: RunDir,
    pub(super) hub: Arc<Hub>,
    args: Vec<String>,
    program: PathBuf,
    layout: Layout,
    begun: Instant,
}

/// QEMU greets within this time on any host that works; memory that is backed by files may take a while to map.
const GREETING: Duration = Duration::from_secs(30);

impl Vm {
    /// Starts QEMU and waits until it answers over QMP. The guest runs by then, unless it was to be paused.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(spec: Spec) -> Result<Self, StartError> {
        let run = RunDir::create(&super::rundir::base())?;
        let path = spec.qemu.path.clone();
        let vm = Self::spawn(spec, run).map_err(|source| StartError::Spawn { path, source })?;
        vm.qmp.negotiate(Deadline::within(GREETING))?;
        Ok(vm)
    }

    fn spawn(spec: Spec, run: RunDir) -> io::Result<Self> {
        let begun = Instant::now();
        let layout = spec.layout();
        let hub = Arc::new(Hub::new(State {
            qmp: qmp::Inbox::new(),
            console: console::Inbox::new(spec.alarm),
            agent: inbox::Inbox::new(),
            exit: None,
        }));
        let (console, console_end) = line::pair()?;
        let (agent, agent_end) = line::pair()?;
        let (monitor, monitor_end) = UnixStream::pair()?;
        let ends = Ends {
            console: console_end.link(run.path(), "console")?,
            agent: agent_end.link(run.path(), "agent")?,
            qmp: End::Fd(monitor_end.as_raw_fd()),
        };
        let args = layout.args(&ends);
        let mut command = Command::new(&spec.qemu.path);
        command.args(&args).current_dir(run.path());
        let inherit = [&console_end.fds()[..], &agent_end.fds(), &[monitor_end.as_raw_fd()]].concat();
        let process = Process::start(Arc::clone(&hub), command, inherit, run.path().join("stderr"))?;
        drop((console_end, agent_end, monitor_end)); // QEMU's copies are the last ones: they close when it ends
        Ok(Self {
            qmp: Qmp::start(Arc::clone(&hub), monitor)?,
            console: Console::start(Arc::clone(&hub), console)?,
            channel: Channel::start(Arc::clone(&hub), agent, spec.counters)?,
            process,
            run,
            hub,
            program: spec.qemu.path,
            layout,
            args,
            begun,
        })
    }

    /// QEMU's monitor.
    pub fn qmp(&self) -> &Qmp {
        &self.qmp
    }

    /// The kernel's console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// The line to the agent.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The private directory of this VM; it goes with it.
    pub fn run_dir(&self) -> &Path {
        self.run.path()
    }

    /// QEMU's process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// How much of its life the thread of QEMU that waited most for a processor of the host has waited for it: 0 to 1;
    /// `None` where the kernel does not tell (/proc/PID/task/TID/schedstat, CONFIG_SCHED_INFO).
    pub fn starved(&self) -> Option<f64> {
        let most = Waited::of(self.pid()?).most()?;
        Some(most.as_secs_f64() / self.begun.elapsed().as_secs_f64())
    }

    /// The arguments as QEMU got them.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// What the command line was made from.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The command line to paste: the same machine with its console on the terminal, and sockets `agent.sock` and
    /// `qmp.sock` in the current directory.
    pub fn proof(&self) -> String {
        let listen = |name: &str| End::Listen(PathBuf::from(name));
        let ends = Ends { console: End::Stdio, agent: listen("agent.sock"), qmp: listen("qmp.sock") };
        shell_line(&self.program, &self.layout.args(&ends))
    }

    /// How QEMU ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        self.hub.look(|state| state.exit.clone())
    }

    /// Waits for QEMU's end: the guest powers off, or resets.
    pub fn wait_exit(&self, deadline: Deadline) -> Option<Exit> {
        self.process.wait(deadline)
    }

    /// Waits for an event, position `from` or later, that `find` finds. The guest's console does not end this wait.
    ///
    /// # Errors
    /// [`WaitError::Timeout`] and [`WaitError::Gone`].
    pub fn wait_event<T>(
        &self,
        what: &str,
        from: u64,
        deadline: Deadline,
        mut find: impl FnMut(&Stamped) -> Option<T>,
    ) -> Result<T, WaitError> {
        let found = self.hub.wait(deadline, |state| {
            let found = state.qmp.events_from(from).find_map(&mut find).map(Some);
            found.or_else(|| state.qmp.is_closed().then_some(None))
        });
        let what = what.to_string();
        match found {
            Some(Some(found)) => Ok(found),
            Some(None) => Err(WaitError::Gone { what, gone: self.hub.gone() }),
            None => Err(WaitError::Timeout { what, deadline }),
        }
    }

    /// Lets the processors run.
    ///
    /// # Errors
    /// See [`QmpError`].
    pub fn cont(&self, deadline: Deadline) -> Result<(), QmpError> {
        self.qmp.execute("cont", Value::Null, deadline).map(drop)
    }

    /// Asks QEMU to end, and kills it if it does not until the deadline. `None`: not even then (a host in trouble).
    pub fn quit(&self, deadline: Deadline) -> Option<Exit> {
        // Whatever the answer is, the end of the process is what counts.
        let _ = self.qmp.execute("quit", Value::Null, deadline);
        self.process.wait(deadline).or_else(|| self.kill())
    }

    /// Kills QEMU and waits for its end.
    pub fn kill(&self) -> Option<Exit> {
        self.process.kill();
        self.process.wait(Deadline::within(GREETING))
    }
}

#[cfg(test)]
#[path = "start_tests.rs"]
pub(super) mod tests;
