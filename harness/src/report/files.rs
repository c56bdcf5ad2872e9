//! Where reports go: the files of an output directory, and standard output.

use super::fold::Run;
use super::{ReportError, Reporter, Reporters, human, jsonl, junit, kcidb, ktap};
use crate::event::Event;
use crate::verdict::Known;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::NamedTempFile;

/// Name of the event log in an output directory.
pub const EVENTS: &str = "events.jsonl";

/// `--format`: what goes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// for people
    #[default]
    Human,
    /// KTAP version 1
    Ktap,
    /// the event log
    Jsonl,
}

/// The files of an output directory: all are opened now, so that a directory that cannot be written is known before
/// the run. events.jsonl and results.ktap grow with the run; junit.xml and kcidb.json appear whole at its end.
///
/// A directory that holds an event log already is refused.
pub fn files(dir: &Path, known: &Arc<Known>) -> Result<Reporters, ReportError> {
    named(dir, fs::create_dir_all(dir))?;
    let path = dir.join(EVENTS);
    let log = named(&path, OpenOptions::new().append(true).create_new(true).open(&path))?;
    let mut all = Reporters::default();
    all.add(path.display().to_string(), jsonl::Writer::new(log));
    all.append(regenerated(dir, known)?);
    Ok(all)
}

/// The same without the event log: for a log that is read back.
pub fn regenerated(dir: &Path, known: &Arc<Known>) -> Result<Reporters, ReportError> {
    let mut all = Reporters::default();
    let path = dir.join("results.ktap");
    let ktap = named(&path, File::create(&path))?;
    all.add(path.display().to_string(), ktap::Writer::new(ktap, Arc::clone(known)));
    let documents: [(&str, Render); 2] = [("junit.xml", junit::render), ("kcidb.json", kcidb::render)];
    for (name, render) in documents {
        let path = dir.join(name);
        let file = named(&path, AtomicFile::create(&path))?;
        all.add(
            path.display().to_string(),
            AtEnd { run: Run::default(), known: Arc::clone(known), file, render },
        );
    }
    Ok(all)
}

/// The report on standard output.
pub fn standard_output(
    format: Format,
    out: impl Write + 'static,
    look: human::Look,
    known: &Arc<Known>,
) -> Reporters {
    let (mut all, out, name) = (Reporters::default(), Pipe::new(out), "standard output");
    match format {
        Format::Human => all.add(name, human::Human::new(out, look, Arc::clone(known))),
        Format::Ktap => all.add(name, ktap::Writer::new(out, Arc::clone(known))),
        Format::Jsonl => all.add(name, jsonl::Writer::new(out)),
    }
    all
}

fn named<T>(path: &Path, result: io::Result<T>) -> Result<T, ReportError> {
    result.map_err(|source| ReportError { name: path.display().to_string(), source })
}

type Render = fn(&Run, &Known) -> io::Result<Vec<u8>>;

/// A report that is written when the run is over.
struct AtEnd {
    run: Run,
    known: Arc<Known>,
    file: AtomicFile,
    render: Render,
}

impl Reporter for AtEnd {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.run.event(event)?;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.replace(&(self.render)(&self.run, &self.known)?)
    }
}

/// A file that appears whole or not at all.
#[derive(Debug)]
pub struct AtomicFile {
    temporary: Option<NamedTempFile>,
    target: PathBuf,
}

impl AtomicFile {
    /// Creates a temporary file beside `target`; it is gone if nothing comes of it.
    pub fn create(target: &Path) -> io::Result<Self> {
        let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if target.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
        }
        let temporary = tempfile::Builder::new()
            .prefix(".memhp-")
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(dir)?;
        Ok(Self { temporary: Some(temporary), target: target.to_path_buf() })
    }

    /// Writes `bytes` and gives the file its name, replacing what had it. Once only.
    pub fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let again = || io::Error::other("the report was finished before");
        let mut file = self.temporary.take().ok_or_else(again)?;
        file.write_all(bytes)?;
        file.flush()?;
        file.persist(&self.target).map(|_| ()).map_err(|e| e.error)
    }
}

/// Output that somebody may stop reading: from then on it goes nowhere, and that is success.
#[derive(Debug)]
pub struct Pipe<W> {
    out: Option<W>,
}

impl<W: Write> Pipe<W> {
    /// Around `out`.
    pub fn new(out: W) -> Self {
        Self { out: Some(out) }
    }

    fn unless_closed<T>(&mut self, closed: T, what: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        let Some(out) = self.out.as_mut() else { return Ok(closed) };
        match what(out) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.out = None;
                Ok(closed)
            }
            other => other,
        }
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_closed(bytes.len(), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_closed((), Write::flush)
    }
}
