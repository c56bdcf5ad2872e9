//! Held memory, as the agent sees it: a child process that takes it ([`crate::hold`]) and is spoken to by pipes.
//!
//! Both directions carry one JSON value a line: [`Request`]s to the child, [`HoldReply`]s from it.

use crate::children::{Kid, Killer};
use crate::job::Means;
use crate::outbox::{Outbox, failed, io_failed, now_ns, refused};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wire::{Answer, Failure, Hold, JobOutcome};

/// What a hold can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    Verify,
    Frames,
    Release,
}

/// A command, and the request it belongs to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) command: Command,
}

/// The first line that the child says.
pub(crate) type Outcome = Result<(u64, u64), Failure>;

/// All further lines: which request, and the answer to it. A release is answered by the end of the process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HoldReply {
    pub(crate) id: u64,
    pub(crate) result: Result<Answer, Failure>,
}

/// A hold, as [`crate::job::Jobs`] sees it.
#[derive(Default)]
pub(crate) struct Holding {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    killer: Option<Killer>,
    stdin: Option<ChildStdin>,
    interrupted: bool,
    /// commands without an answer yet
    open: Vec<Request>,
    /// why there is no process any more
    over: Option<String>,
}

impl Holding {
    /// Kills it.
    pub(crate) fn interrupt(&self) -> Result<(), Failure> {
        let mut state = self.lock();
        if let Some(why) = &state.over {
            return Err(refused(why.clone()));
        }
        state.interrupted = true;
        match &state.killer {
            Some(killer) => killer.kill().map_err(failed("pidfd_send_signal")),
            None => Ok(()),
        }
    }

    /// Passes a command on; before the process runs, it is kept for it.
    pub(crate) fn command(&self, request: Request) -> Result<(), Failure> {
        let mut state = self.lock();
        if let Some(why) = &state.over {
            return Err(refused(why.clone()));
        }
        if let Some(stdin) = &mut state.stdin {
            // Where the process is dead this fails, and its end answers the request.
            let _ = say(stdin, &request);
        }
        state.open.push(request);
        Ok(())
    }

    fn begin(&self, kid: &mut Kid) -> Result<(), Failure> {
        let killer = kid.killer()?;
        let mut stdin = kid.child().stdin.take().ok_or_else(|| refused("no pipe to the holding process"))?;
        let mut state = self.lock();
        if state.interrupted {
            killer.kill().map_err(failed("pidfd_send_signal"))?;
        }
        for request in &state.open {
            let _ = say(&mut stdin, request);
        }
        state.stdin = Some(stdin);
        state.killer = Some(killer);
        Ok(())
    }

    /// Answers what is open, and lets nothing in any more.
    fn end(&self, why: &str, released: bool, outbox: &Outbox) {
        let mut state = self.lock();
        state.over = Some(why.to_owned());
        state.stdin = None;
        state.killer = None;
        for request in std::mem::take(&mut state.open) {
            let done = released && request.command == Command::Release;
            outbox.answer(request.id, if done { Ok(Answer::Done) } else { Err(refused(why)) });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the process until it ends, and reports everything it says.
pub(crate) fn run(id: u64, what: &Hold, holding: &Holding, means: &Means) {
    let begun_ns = now_ns();
    let outbox = &means.outbox;
    let mut kid = match start(what, means) {
        Ok(kid) => kid,
        Err(failure) => {
            holding.end(&failure.why, false, outbox);
            return outbox.job_done(id, begun_ns, Err(failure));
        }
    };
    let stdout = kid.child().stdout.take();
    let mut held = None;
    if let Err(failure) = holding.begin(&mut kid) {
        let _ = kid.kill_group(); // its end is waited for below
        outbox.job_done(id, begun_ns, Err(failure));
        held = Some(false);
    }
    let lines = stdout.into_iter().flat_map(|out| BufReader::new(out).lines());
    for line in lines.map_while(Result::ok) {
        if held.is_none() {
            let outcome = serde_json::from_str::<Outcome>(&line).unwrap_or_else(|e| Err(unclear(&line, &e)));
            held = Some(outcome.is_ok());
            let outcome = outcome.map(|(bytes, objects)| JobOutcome::Held { bytes, objects });
            outbox.job_done(id, begun_ns, outcome);
        } else {
            pass_on(&line, holding, outbox);
        }
    }
    let status = kid.wait();
    let released = matches!(&status, Ok(status) if status.success());
    let why = ending(status, held);
    if held.is_none() {
        outbox.job_done(id, begun_ns, Err(refused(why.clone())));
    } else if held == Some(true) && !released {
        outbox.log(format!("hold {id}: {why}"));
    }
    holding.end(&why, released, outbox);
}

fn start(what: &Hold, means: &Means) -> Result<Kid, Failure> {
    let what = serde_json::to_string(what).map_err(|e| refused(e.to_string()))?;
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg0("hold").args(["hold", &what]).env_clear().process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    means.children.spawn(&mut command)
}

fn pass_on(line: &str, holding: &Holding, outbox: &Outbox) {
    match serde_json::from_str::<HoldReply>(line) {
        Ok(HoldReply { id, result }) => {
            holding.lock().open.retain(|request| request.id != id);
            outbox.answer(id, result);
        }
        Err(e) => outbox.log(unclear(line, &e).why),
    }
}

fn say(stdin: &mut ChildStdin, request: &Request) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(request).map_err(|e| refused(e.to_string()))?;
    line.push(b'\n');
    stdin.write_all(&line).map_err(io_failed("write to the holding process"))
}

/// How it ended, in words.
fn ending(status: std::io::Result<ExitStatus>, held: Option<bool>) -> String {
    let when = if held.is_none() { " before it held all" } else { "" };
    match status {
        Err(e) => format!("the holding process cannot be waited for: {e}"),
        Ok(status) => match (status.signal(), status.code()) {
            (Some(9), _) => format!("the holding process was killed by signal 9 (SIGKILL){when}"),
            (Some(7), _) => format!("the holding process was killed by signal 7 (SIGBUS){when}"),
            (Some(signal), _) => format!("the holding process was killed by signal {signal}{when}"),
            (None, Some(0)) => "the memory was released".to_owned(),
            (None, code) => format!("the holding process ended with status {}{when}", code.unwrap_or(-1)),
        },
    }
}

fn unclear(line: &str, error: &serde_json::Error) -> Failure {
    refused(format!("the holding process said {line:?}: {error}"))
}
