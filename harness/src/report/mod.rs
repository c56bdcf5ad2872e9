//! Reports: one file a format, each a pure fold over events. Reporters know events and the list of known issues only.
//!
//! [`Reporters`] feeds all of them: one that fails (a full disk, say) is named and stops, the others go on, so that
//! what was judged is not lost with it. A reader who closes the pipe has had enough: that is no error ([`Pipe`]).

mod files;
pub mod fold;
pub mod human;
pub mod jsonl;
pub mod junit;
pub mod kcidb;
pub mod ktap;
pub mod parse;
mod time;

pub use files::{AtomicFile, EVENTS, Format, Pipe, files, regenerated, standard_output};
pub use parse::{Parsed, parse_dir, replay};

use crate::event::Event;
use std::io;

/// A report that grows with the run.
pub trait Reporter {
    /// Takes the next event.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Ends the report: called once, also after a run that was cut short.
    fn finish(&mut self) -> io::Result<()>;
}

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write {name}: {source}")]
pub struct ReportError {
    /// path, or `standard output`
    pub name: String,
    /// why
    pub source: io::Error,
}

/// Several reports, fed with the same events.
#[derive(Default)]
pub struct Reporters(Vec<Named>);

struct Named {
    name: String,
    reporter: Box<dyn Reporter>,
    failed: bool,
}

impl Reporters {
    /// Adds one; `name` is for error messages.
    pub fn add(&mut self, name: impl Into<String>, reporter: impl Reporter + 'static) {
        self.0.push(Named { name: name.into(), reporter: Box::new(reporter), failed: false });
    }

    /// All of `other`, behind those that are there.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Gives the event to every report that has not failed yet. Returns those that fail now, each once.
    pub fn event(&mut self, event: &Event) -> Vec<ReportError> {
        self.each(|reporter| reporter.event(event))
    }

    /// Ends every report that has not failed.
    pub fn finish(&mut self) -> Vec<ReportError> {
        self.each(|reporter| reporter.finish())
    }

    fn each(&mut self, mut what: impl FnMut(&mut dyn Reporter) -> io::Result<()>) -> Vec<ReportError> {
        let mut errors = Vec::new();
        for named in self.0.iter_mut().filter(|n| !n.failed) {
            if let Err(source) = what(named.reporter.as_mut()) {
                named.failed = true;
                errors.push(ReportError { name: named.name.clone(), source });
            }
        }
        errors
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
