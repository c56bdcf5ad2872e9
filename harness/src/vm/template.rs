//! Boot once, fork many: a guest is saved when it has come up, and started from there as often as wanted.
//!
//! The template's memory is a shared file in its directory; its devices' state is a migration stream that leaves
//! shared memory out (capability `x-ignore-shared`). A fork maps the same file copy on write and takes in the stream.
//! The stream goes over a socket whose end is handed to QEMU: no process is started, so the sandbox stays shut, and
//! every version of QEMU can do it.
//!
//! The directory is the caller's, private (0700: guest memory is in it), and stays unchanged while forks run.
//!
//! Nothing here decides whether a fork is as good as a boot: forks share the state of the random generator (see
//! [`wire::Ask::Reseed`]), the boot time, and the kernel's random placement.

use super::args::{Boot, End, Ends, Layout, Ram};
use super::channel::ChannelError;
use super::event::Event;
use super::hub::{Deadline, WaitError};
use super::inbox::Counters;
use super::qmp::QmpError;
use super::sparse;
use super::start::{Spec, StartError, Vm};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use wire::Ask;

/// Why a guest was not saved, or not started from a template. The host's or QEMU's fault, never the guest kernel's.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// this QEMU cannot leave shared memory out of a migration
    #[error("this QEMU has no migration capability x-ignore-shared: guests cannot be forked")]
    Unsupported,
    /// the guest's memory is not in the template's directory
    #[error("the memory of this guest is not shared in {}", dir.display())]
    NotShared {
        /// the directory
        dir: PathBuf,
    },
    /// the machine, the kernel or the command line is not the template's
    #[error("the template in {} is of another guest: {differs}", dir.display())]
    Differs {
        /// the directory
        dir: PathBuf,
        /// first argument that differs
        differs: String,
    },
    /// a file of the template
    #[error("{}: {source}", path.display())]
    File {
        /// which
        path: PathBuf,
        /// why
        source: io::Error,
    },
    /// what was saved is not what is there
    #[error("the template in {} is damaged: its checksum differs", dir.display())]
    Damaged {
        /// the directory
        dir: PathBuf,
    },
    /// the description of the template cannot be read
    #[error("{}: {source}", path.display())]
    Description {
        /// which
        path: PathBuf,
        /// why
        source: serde_json::Error,
    },
    /// the stream's socket
    #[error("the stream of a migration: {0}")]
    Stream(io::Error),
    /// migration failed
    #[error("migration ended as {status}{detail}")]
    Migration {
        /// QEMU's word
        status: String,
        /// QEMU's reason, if it gave one
        detail: String,
    },
    /// QEMU did not start
    #[error(transparent)]
    Start(#[from] StartError),
    /// the monitor
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// the agent does not answer, so there is nothing to save
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// a wait
    #[error(transparent)]
    Wait(#[from] WaitError),
}

/// A saved guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    dir: PathBuf,
    state: Vec<u8>,
    about: About,
}

/// What is needed to go on, besides memory and devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    counters: Counters,
    /// the command line, without what a fork has otherwise
    guest: Vec<String>,
    /// all that the guest said on its console until it was saved
    console: String,
    /// what the caller wants to know of the guest
    note: Value,
    /// of all that is above, the state and every memory file
    sha256: String,
}

const STATE: &str = "state";
const ABOUT: &str = "template.json";
/// Name under which QEMU keeps the descriptor of the stream.
const FDNAME: &str = "memhp-state";

impl Vm {
    /// Saves this guest, which was started with [`Ram::Shared`] of `dir`, and ends it. The agent must have answered
    /// nothing but whole requests; what it said unasked and nobody took is lost. `note` is kept with the template.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn save_template(
        self,
        dir: &Path,
        note: Value,
        deadline: Deadline,
    ) -> Result<Template, TemplateError> {
        // An answer proves that all that was sent before it has arrived in the guest.
        self.channel().call(Ask::Read { path: "/proc/uptime".to_string() }, deadline)?;
        self.save(dir, note, deadline)
    }

    fn save(self, dir: &Path, note: Value, deadline: Deadline) -> Result<Template, TemplateError> {
        let layout = self.layout();
        if layout.ram != Ram::Shared(dir.to_path_buf()) {
            return Err(TemplateError::NotShared { dir: dir.to_path_buf() });
        }
        let guest = guest_of(layout);
        self.qmp().execute("stop", Value::Null, deadline)?;
        self.set_capabilities(deadline)?;
        let (ours, theirs) = UnixStream::pair().map_err(TemplateError::Stream)?;
        self.give(theirs, deadline)?;
        let stream = std::thread::spawn(move || collect(ours));
        self.migrate("migrate", deadline)?;
        self.quit(deadline);
        let state = stream.join().unwrap_or_else(|_| Err(io::Error::other("the reader panicked")));
        let state = state.map_err(TemplateError::Stream)?;
        self.hub.wait(deadline, |s| s.all_closed().then_some(()));
        let mut about = About {
            counters: self.channel().counters(),
            guest,
            console: self.console().text(),
            note,
            sha256: String::new(),
        };
        for path in memory_files(dir)? {
            let punched = File::options().read(true).write(true).open(&path).and_then(|f| sparse::punch(&f));
            punched.map_err(|source| TemplateError::File { path, source })?;
        }
        about.sha256 = checksum(dir, &state, &about)?;
        let template = Template { dir: dir.to_path_buf(), state, about };
        template.write()?;
        Ok(template)
    }

    fn set_capabilities(&self, deadline: Deadline) -> Result<(), TemplateError> {
        let on = |name: &str| json!({ "capability": name, "state": true });
        let arguments = json!({ "capabilities": [on("x-ignore-shared"), on("events")] });
        self.qmp().execute("migrate-set-capabilities", arguments, deadline)?;
        Ok(())
    }

    /// Hands QEMU its end of the stream; ours sees the end of it when QEMU closes its copy.
    fn give(&self, end: UnixStream, deadline: Deadline) -> Result<(), TemplateError> {
        self.qmp().execute_with("getfd", json!({ "fdname": FDNAME }), Some(end.as_fd()), deadline)?;
        Ok(())
    }

    /// `migrate` or `migrate-incoming`, to its end.
    fn migrate(&self, command: &str, deadline: Deadline) -> Result<(), TemplateError> {
        let from = self.qmp().events_end();
        self.qmp().execute(command, json!({ "uri": format!("fd:{FDNAME}") }), deadline)?;
        let ended = |event: &Event| match event {
            Event::Migration { status } if ["completed", "failed", "cancelled"].contains(&&**status) => {
                Some(status.clone())
            }
            _ => None,
        };
        let what = format!("the end of {command}");
        let status = self.wait_event(&what, from, deadline, |stamped| ended(&stamped.event))?;
        if status == "completed" {
            return Ok(());
        }
        let answer = self.qmp().execute("query-migrate", Value::Null, deadline)?;
        let detail = answer["error-desc"].as_str().map(|desc| format!(": {desc}")).unwrap_or_default();
        Err(TemplateError::Migration { status, detail })
    }
}

impl Template {
    /// The template that was saved in `dir`, every byte of it checked.
    ///
    /// # Errors
    /// Its files cannot be read, or are not as they were saved.
    pub fn open(dir: &Path) -> Result<Self, TemplateError> {
        let (state, path) = (dir.join(STATE), dir.join(ABOUT));
        let text =
            std::fs::read(&path).map_err(|source| TemplateError::File { path: path.clone(), source })?;
        let about: About = serde_json::from_slice(&text)
            .map_err(|source| TemplateError::Description { path: path.clone(), source })?;
        let state =
            std::fs::read(&state).map_err(|source| TemplateError::File { path: state.clone(), source })?;
        if checksum(dir, &state, &about)? != about.sha256 {
            return Err(TemplateError::Damaged { dir: dir.to_path_buf() });
        }
        Ok(Self { dir: dir.to_path_buf(), state, about })
    }

    /// All that the guest said on its console until it was saved.
    pub fn console(&self) -> &str {
        &self.about.console
    }

    /// The caller's note.
    pub fn note(&self) -> &Value {
        &self.about.note
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes of the devices' state.
    pub fn state_size(&self) -> usize {
        self.state.len()
    }

    /// Starts a guest from here; `spec` is that of the template's guest, what it says of memory and counters is not
    /// used. The guest runs when this returns (unless `spec` says paused), and the agent goes on where it was.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn fork(&self, mut spec: Spec, deadline: Deadline) -> Result<Vm, TemplateError> {
        if !spec.qemu.ignore_shared {
            return Err(TemplateError::Unsupported);
        }
        let guest = guest_of(&spec.layout());
        if let Some(differs) = first_difference(&self.about.guest, &guest) {
            return Err(TemplateError::Differs { dir: self.dir.clone(), differs });
        }
        let paused = std::mem::replace(&mut spec.paused, true);
        spec.ram = Ram::CopyOf(self.dir.clone());
        spec.incoming = Some("defer".to_string());
        spec.counters = self.about.counters.clone();
        let vm = Vm::start(spec)?;
        vm.set_capabilities(deadline)?;
        let (mut ours, theirs) = UnixStream::pair().map_err(TemplateError::Stream)?;
        vm.give(theirs, deadline)?;
        let state = self.state.clone();
        // Ends with QEMU's end of the stream; an error to write shows as a migration that failed.
        std::thread::spawn(move || ours.write_all(&state));
        vm.migrate("migrate-incoming", deadline)?;
        if !paused {
            vm.cont(deadline)?;
        }
        Ok(vm)
    }

    /// The description is written last: a directory without it is no template.
    fn write(&self) -> Result<(), TemplateError> {
        let (state, about) = (self.dir.join(STATE), self.dir.join(ABOUT));
        std::fs::write(&state, &self.state).map_err(|source| TemplateError::File { path: state, source })?;
        let new = self.dir.join("template.json.new");
        let text = serde_json::to_vec(&self.about)
            .map_err(|source| TemplateError::Description { path: about.clone(), source })?;
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &about))
            .map_err(|source| TemplateError::File { path: about, source })
    }
}

/// The command line without what a fork has otherwise: what must be the same. Where kernel and initramfs lie says
/// nothing of what they are: that the files are the same is the caller's to know.
pub fn guest_of(layout: &Layout) -> Vec<String> {
    let ends = Ends { console: End::Stdio, agent: End::Stdio, qmp: End::Stdio };
    let boot = layout.boot.clone().map(|boot| Boot {
        kernel: PathBuf::from("kernel"),
        initrd: boot.initrd.map(|_| PathBuf::from("initrd")),
        cmdline: boot.cmdline,
    });
    let layout = Layout { ram: Ram::Private, incoming: None, paused: false, boot, ..layout.clone() };
    layout.args(&ends)
}

/// The first argument of `theirs` that is not the same in `ours`.
fn first_difference(ours: &[String], theirs: &[String]) -> Option<String> {
    let none = String::from("(nothing)");
    (0..ours.len().max(theirs.len())).find_map(|at| {
        let (ours, theirs) = (ours.get(at).unwrap_or(&none), theirs.get(at).unwrap_or(&none));
        (ours != theirs).then(|| format!("it has {ours}, wanted is {theirs}"))
    })
}

/// Sha256 of the description but for itself, of the state, and of the memory files in `dir`: their names, sizes, and every chunk that is not zero with its
/// place, so that holes and written zeroes are the same.
fn checksum(dir: &Path, state: &[u8], about: &About) -> Result<String, TemplateError> {
    let wrong = |path: &Path| {
        let path = path.to_path_buf();
        move |source| TemplateError::File { path, source }
    };
    let mut hasher = Sha256::new();
    let about = serde_json::to_vec(&About { sha256: String::new(), ..about.clone() })
        .map_err(|source| TemplateError::Description { path: dir.join(ABOUT), source })?;
    hasher.update((about.len() as u64).to_le_bytes());
    hasher.update(about);
    hasher.update((state.len() as u64).to_le_bytes());
    hasher.update(state);
    for path in memory_files(dir)? {
        hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hash_memory(&path, &mut hasher).map_err(wrong(&path))?;
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The guest's memory.
fn memory_files(dir: &Path) -> Result<Vec<PathBuf>, TemplateError> {
    let wrong = |source| TemplateError::File { path: dir.to_path_buf(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        files.extend(path.extension().is_some_and(|e| e == "ram").then_some(path));
    }
    files.sort();
    Ok(files)
}

fn hash_memory(path: &Path, hasher: &mut Sha256) -> io::Result<()> {
    let file = File::open(path)?;
    hasher.update(file.metadata()?.len().to_le_bytes());
    sparse::data(&file, 64 << 10, |at, chunk| {
        if !sparse::is_zero(chunk) {
            hasher.update(at.to_le_bytes());
            hasher.update(chunk);
        }
        Ok(())
    })
}

fn collect(mut stream: UnixStream) -> io::Result<Vec<u8>> {
    let mut state = Vec::new();
    stream.read_to_end(&mut state)?;
    Ok(state)
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
