//! What the agent does before it listens to the harness: requests from a file, so that nothing of what happens depends
//! on when a byte arrives.

use rustix::io::Errno;
use std::collections::VecDeque;
use wire::{Ask, Failure, Message, Request, SCRIPT_ID, SCRIPT_PATH, Script as File, ScriptStep};

/// A script under way.
pub(crate) struct Script {
    steps: VecDeque<(u64, ScriptStep)>,
    port: u16,
    waits: Option<Waits>,
}

/// What the next step waits for.
enum Waits {
    Answer(u64),
    Job(u64),
}

impl Script {
    /// The one in the initramfs, if there is one.
    pub(crate) fn open() -> Result<Option<Self>, String> {
        let text = match std::fs::read(SCRIPT_PATH) {
            Ok(text) => text,
            Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => return Ok(None),
            Err(e) => return Err(format!("read {SCRIPT_PATH}: {e}")),
        };
        let file: File = serde_json::from_slice(&text).map_err(|e| format!("{SCRIPT_PATH}: {e}"))?;
        Ok(Some(Self { steps: (SCRIPT_ID..).zip(file.steps).collect(), port: file.port, waits: None }))
    }

    /// The next request, if its time has come.
    pub(crate) fn next(&mut self) -> Option<Request> {
        if self.waits.is_some() {
            return None;
        }
        let (id, step) = self.steps.pop_front()?;
        let job = step.to_end && matches!(step.ask, Ask::Job(_));
        self.waits = Some(if job { Waits::Job(id) } else { Waits::Answer(id) });
        Some(Request { id, ask: step.ask })
    }

    /// A message was made: it may be what the next step waits for. A failure ends the script.
    pub(crate) fn heed(&mut self, message: &Message) {
        let failed = |result: &Result<_, Failure>| result.is_err();
        match (&self.waits, message) {
            (Some(Waits::Answer(of)), Message::Answer { id, result, .. }) if of == id => {
                self.over(failed(result));
            }
            (Some(Waits::Job(of)), Message::Answer { id, result, .. }) if of == id && result.is_err() => {
                self.over(true);
            }
            (Some(Waits::Job(of)), Message::JobDone { id, result, .. }) if of == id => {
                self.over(result.is_err());
            }
            _ => {}
        }
    }

    fn over(&mut self, failed: bool) {
        self.waits = None;
        if failed {
            self.steps.clear();
        }
    }

    /// The port to tell it at, once nothing is left to do.
    pub(crate) fn done(&self) -> Option<u16> {
        (self.waits.is_none() && self.steps.is_empty()).then_some(self.port)
    }
}
