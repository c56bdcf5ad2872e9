//! Programs that run to their end, or to the end of their time.

use crate::children::{Kid, Killer};
use crate::job::Means;
use crate::outbox::{failed, io_failed, now_ns, refused};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use wire::{Failure, JobOutcome, Manner};

/// What is kept of each output.
const KEPT: usize = 64 << 10;

/// How long a killed program may take to end before that is reported.
const LAST_WORDS_NS: u64 = 10_000_000_000;

/// A program, as [`crate::job::Jobs`] sees it.
#[derive(Default)]
pub(crate) struct Running {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    interrupted: bool,
    killer: Option<Killer>,
    pid: Option<i32>,
    ended: bool,
}

impl Running {
    /// Kills it, with all of its group.
    pub(crate) fn interrupt(&self) -> Result<(), Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return Err(refused("the program has ended"));
        }
        state.interrupted = true;
        match state.pid {
            Some(pid) => signal_group(pid, Signal::KILL),
            None => Ok(()),
        }
    }

    /// Sends a signal to it, or to all of its group.
    pub(crate) fn signal(&self, signal: i32, group: bool) -> Result<(), Failure> {
        let named = Signal::from_named_raw(signal).ok_or_else(|| refused(format!("no signal {signal}")))?;
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&state.killer, state.pid) {
            // It is not waited for before the killer is taken away, so that the number is still its own.
            (Some(_), Some(pid)) if group => signal_group(pid, named),
            (Some(killer), _) => killer.send(named).map_err(failed("pidfd_send_signal")),
            (None, _) => Err(refused("the program does not run")),
        }
    }

    /// Number of its process.
    pub(crate) fn pid(&self) -> Result<i32, Failure> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pid.filter(|_| !state.ended).ok_or_else(|| refused("the program does not run"))
    }

    fn begin(&self, killer: Killer, pid: i32) -> Result<(), Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.interrupted {
            killer.kill().map_err(failed("pidfd_send_signal"))?;
        }
        state.killer = Some(killer);
        state.pid = Some(pid);
        Ok(())
    }

    fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ended = true;
        state.killer = None;
    }
}

/// A program leads a group of its own number ([`start`]).
fn signal_group(pid: i32, signal: Signal) -> Result<(), Failure> {
    let group = Pid::from_raw(pid).ok_or_else(|| refused("no number of a process"))?;
    kill_process_group(group, signal).map_err(failed("kill the process group"))
}

/// Runs the program, and reports its end.
pub(crate) fn run(
    id: u64,
    argv: &[String],
    env: &BTreeMap<String, String>,
    timeout_ms: u64,
    manner: &Manner,
    running: &Running,
    means: &Means,
) {
    let begun_ns = now_ns();
    let deadline = begun_ns.saturating_add(timeout_ms.saturating_mul(1_000_000));
    let started = start(argv, env, manner, means);
    let mut program = match started {
        Ok(program) => program,
        Err(failure) => {
            running.end();
            return means.outbox.job_done(id, begun_ns, Err(failure));
        }
    };
    let watched = program.kid.killer().and_then(|killer| running.begin(killer, program.kid.pid()));
    let ended = watched.and_then(|()| program.watch(deadline));
    let ended = match ended {
        Ok(true) => Ok(false),
        Ok(false) => program.kill().map(|()| true),
        Err(failure) => program.kill().and(Err(failure)),
    };
    running.end();
    match ended {
        Ok(timed_out) => {
            let Program { kid, stdout, stderr } = program;
            let result = kid.wait().map_err(io_failed("wait")).map(|status| JobOutcome::Exited {
                status: code(status),
                timed_out,
                stdout: stdout.text(),
                stderr: stderr.text(),
            });
            means.outbox.job_done(id, begun_ns, result);
        }
        Err(failure) => {
            means.outbox.job_done(id, begun_ns, Err(failure));
            let _ = program.kid.wait(); // reported already; this only keeps its zombie from staying
        }
    }
}

/// A running program and what it has said.
struct Program {
    kid: Kid,
    stdout: Output,
    stderr: Output,
}

fn start(
    argv: &[String],
    env: &BTreeMap<String, String>,
    manner: &Manner,
    means: &Means,
) -> Result<Program, Failure> {
    let manner = serde_json::to_string(manner).map_err(|e| refused(e.to_string()))?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["run", &manner]).args(argv).env_clear().envs(env).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut kid = means.children.spawn(&mut command)?;
    let stdout = kid.child().stdout.take().map(OwnedFd::from);
    let stderr = kid.child().stderr.take().map(OwnedFd::from);
    Ok(Program { kid, stdout: Output::new(stdout), stderr: Output::new(stderr) })
}

impl Program {
    /// Collects output until the program has ended (true) or the time is up (false).
    fn watch(&mut self, deadline: u64) -> Result<bool, Failure> {
        loop {
            let now = now_ns();
            if now >= deadline {
                return Ok(false);
            }
            let left = deadline - now;
            let timeout = Timespec {
                tv_sec: i64::try_from(left / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: (left % 1_000_000_000) as i64,
            };
            let ended = {
                let pidfd = self.kid.ended();
                let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
                let pipes = [&self.stdout, &self.stderr];
                let pipes = pipes.iter().filter_map(|o| o.pipe.as_ref());
                fds.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
                match poll(&mut fds, Some(&timeout)) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(e) => return Err(failed("poll")(e)),
                }
                !fds[0].revents().is_empty()
            };
            // What it wrote before it ended is in the pipes by now.
            self.stdout.drain()?;
            self.stderr.drain()?;
            if ended {
                return Ok(true);
            }
        }
    }

    /// Kills it with all its offspring, and waits until it is dead.
    fn kill(&mut self) -> Result<(), Failure> {
        self.kid.kill_group().map_err(failed("kill the process group"))?;
        match self.watch(now_ns() + LAST_WORDS_NS)? {
            true => Ok(()),
            false => Err(refused("the program was killed and does not end")),
        }
    }
}

/// One output of a program.
struct Output {
    pipe: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Output {
    fn new(pipe: Option<OwnedFd>) -> Self {
        Self { pipe, bytes: Vec::new() }
    }

    /// Takes in what is there, without waiting, and throws away what is too much.
    fn drain(&mut self) -> Result<(), Failure> {
        let mut chunk = [0u8; 4096];
        while let Some(pipe) = &self.pipe {
            if !readable(pipe)? {
                break;
            }
            match rustix::io::read(pipe, &mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(n) => {
                    let room = KEPT - self.bytes.len();
                    self.bytes.extend_from_slice(&chunk[..n.min(room)]);
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(failed("read a program's output")(e)),
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

fn readable(fd: impl AsFd) -> Result<bool, Failure> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(n) => Ok(n > 0),
        Err(Errno::INTR) => Ok(false),
        Err(e) => Err(failed("poll")(e)),
    }
}

/// Exit code, or 128 + signal.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
