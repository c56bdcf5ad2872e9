//! What all guests of a run share: QEMU, accelerator, deadlines' scale, initramfs files, the interrupt flag.

use super::plan::Planned;
use super::trouble::Trouble;
use crate::image::{Initramfs, Part};
use crate::kernel::build::Stop;
use crate::verdict::Known;
use crate::vm::{Accel, Qemu, RunDir, RunDirError, Vm};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How guests come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootMode {
    /// from a template where the case allows it
    Auto,
    /// the same; a guest that cannot be restored is not booted instead
    Fork,
    /// every guest boots
    Cold,
}

/// See the module.
pub struct Host {
    /// QEMU
    pub qemu: Qemu,
    /// proven accelerator
    pub accel: Accel,
    /// factor on every deadline
    pub scale: f64,
    /// further QEMU arguments
    pub qemu_args: Vec<String>,
    /// boot memory instead of the usual 512M
    pub memory: Option<String>,
    /// processors instead of the usual 2
    pub smp: Option<u32>,
    /// how guests come up
    pub boot: BootMode,
    /// how long scenarios took when they last ran, by id without the kernel
    pub durations: BTreeMap<String, u64>,
    /// start with what took least: whoever wants only the first failure gets it soon
    pub short_first: bool,
    /// bytes that all guests may take together; a guest that needs more runs alone
    pub room: u64,
    /// seed of all random choices
    pub seed: u64,
    /// templates that each group of like scenarios is drawn over
    pub templates: u32,
    /// make every template before any is used twice, so that runs are spread over them in the order of the plan; all
    /// scenarios of a round start from one
    pub spread: bool,
    /// known issues that count as known; `None`: none does
    pub known: Option<Known>,
    /// further words of the lines that repeat a scenario: ` -k ./bzImage`
    pub repeat_options: String,
    /// ends what is fetched when the run is interrupted
    pub fetches: Stop,
    interrupted: AtomicI32,
    no_more: AtomicBool,
    guests: Mutex<BTreeMap<u64, u32>>,
    next_guest: Mutex<u64>,
    used: Mutex<BTreeSet<PathBuf>>,
    files: RunDir,
    images: Mutex<BTreeMap<Vec<String>, InitramfsFile>>,
    parts: Mutex<BTreeMap<Part, Made>>,
}

/// A part of user space, or why there is none.
type Made = Result<Arc<Vec<u8>>, String>;

/// An initramfs on disk.
#[derive(Debug, Clone)]
pub struct InitramfsFile {
    /// where
    pub path: PathBuf,
    /// of its content, hexadecimal
    pub sha256: String,
}

impl Host {
    /// A host with no wishes.
    ///
    /// # Errors
    /// No temporary directory can be made.
    pub fn new(qemu: Qemu, accel: Accel, scale: f64) -> Result<Self, RunDirError> {
        // Swept by a later memhp if this one is killed.
        let files = RunDir::create(&crate::vm::run_base())?;
        Ok(Self {
            qemu,
            accel,
            scale,
            qemu_args: Vec::new(),
            memory: None,
            smp: None,
            boot: BootMode::Cold,
            durations: BTreeMap::new(),
            short_first: false,
            room: u64::MAX,
            seed: 1,
            templates: 1,
            spread: false,
            known: None,
            repeat_options: String::new(),
            interrupted: AtomicI32::new(0),
            fetches: Stop::default(),
            no_more: AtomicBool::new(false),
            guests: Mutex::default(),
            next_guest: Mutex::default(),
            used: Mutex::default(),
            files,
            images: Mutex::default(),
            parts: Mutex::default(),
        })
    }

    /// A host that starts no guest.
    #[cfg(test)]
    pub(super) fn bare() -> Self {
        let version = crate::vm::QemuVersion { major: 7, minor: 2, micro: 0 };
        let (package, no) = (String::new(), false);
        let qemu = Qemu { path: "qemu".into(), version, package, sandbox: no, kvm: no, ignore_shared: no };
        Self::new(qemu, Accel::Tcg, 1.0).unwrap()
    }

    /// How long a scenario took when it last ran, in ns; one that never ran counts as long.
    pub fn took(&self, id: &str) -> u64 {
        self.durations.get(super::durations::name(id)).copied().unwrap_or(u64::MAX)
    }

    /// The run is to end now: a signal came, or a result cannot be written.
    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst) != 0
    }

    /// The signal that ended the run.
    pub fn signal(&self) -> Option<i32> {
        Some(self.interrupted.load(Ordering::SeqCst)).filter(|signal| *signal > 0)
    }

    /// Ends the run because of a signal: the first one is what the exit status tells of.
    pub fn end_by(&self, signal: i32) {
        let _ = self.interrupted.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
        self.fetches.request(signal);
        self.kill_guests();
    }

    /// Ends the run without a signal.
    pub fn stop(&self) {
        self.end_by(-1);
    }

    /// Nothing new is to start; what runs goes on to its end.
    pub fn no_more(&self) {
        self.no_more.store(true, Ordering::SeqCst);
    }

    /// Takes [`Host::no_more`] back.
    pub fn go_on(&self) {
        self.no_more.store(false, Ordering::SeqCst);
    }

    /// See [`Host::no_more`].
    pub fn starts_no_more(&self) -> bool {
        self.no_more.load(Ordering::SeqCst)
    }

    /// Kills this guest's QEMU when the run is interrupted, as long as the guard lives; at once if it is already.
    pub fn watch_over(&self, vm: &Vm) -> Guard<'_> {
        self.watch(vm.pid())
    }

    fn watch(&self, pid: Option<u32>) -> Guard<'_> {
        let mut next = self.next_guest.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        if let Some(pid) = pid {
            self.guests.lock().unwrap_or_else(PoisonError::into_inner).insert(*next, pid);
            // In this order: an interrupt that is not seen here comes later and finds the guest in the list.
            if self.interrupted() {
                kill(pid);
            }
        }
        Guard { host: self, number: *next }
    }

    /// Kills every guest that runs. The threads that wait for them then end by themselves.
    pub fn kill_guests(&self) {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).values().copied().for_each(kill);
    }

    /// Takes note of a template in the cache that this run makes or uses: it is not to make room for others.
    pub(super) fn uses(&self, template: &Path) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(template.to_path_buf());
    }

    /// See [`Host::uses`]. Held while others are evicted: whoever looks for another one meanwhile waits.
    pub(super) fn used(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The initramfs with the modules and the programs of a scenario, made once for a run.
    ///
    /// # Errors
    /// A module cannot be unpacked, or the file cannot be written.
    pub fn initramfs(&self, planned: &Planned) -> Result<InitramfsFile, Trouble> {
        let parts = planned.parts();
        if planned.modules.is_empty() && parts.is_empty() {
            return self.plain_initramfs();
        }
        let mut key: Vec<String> =
            std::iter::once(&planned.kernel.sha256).chain(&planned.modules).cloned().collect();
        key.extend(parts.iter().map(|p| p.name().to_string()));
        let behind = parts.iter().map(|part| self.part(*part)).collect::<Result<Vec<_>, _>>()?;
        self.image(key, &behind, |image| {
            if planned.modules.is_empty() {
                return Ok(());
            }
            let names: Vec<&str> = planned.modules.iter().map(String::as_str).collect();
            for module in planned.kernel.modules.load(&names).map_err(|e| e.to_string())? {
                image.module(&module.name, module.object).map_err(|e| e.to_string())?;
            }
            Ok(())
        })
    }

    /// A part of user space: read, or fetched, once for a run. A failure is remembered too.
    fn part(&self, part: Part) -> Result<Arc<Vec<u8>>, Trouble> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let made = parts.entry(part).or_insert_with(|| {
            let tell = |notice: crate::kernel::Notice| tracing::info!("{notice}");
            let made = crate::kernel::Context::new(&tell).and_then(|mut ctx| {
                ctx.tools.stop = self.fetches.clone();
                crate::image::part(part, &ctx)
            });
            made.map(Arc::new).map_err(|e| format!("cannot get {} for the guest: {e}", part.name()))
        });
        made.clone().map_err(Trouble::Miss)
    }

    fn image(
        &self,
        key: Vec<String>,
        behind: &[Arc<Vec<u8>>],
        fill: impl FnOnce(&mut Initramfs) -> Result<(), String>,
    ) -> Result<InitramfsFile, Trouble> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = images.get(&key) {
            return Ok(file.clone());
        }
        let wrong = |e: String| Trouble::Miss(format!("cannot make the initramfs: {e}"));
        let mut image = Initramfs::with_agent();
        fill(&mut image).map_err(wrong)?;
        let path = self.files.path().join(format!("initramfs-{}", images.len()));
        let mut bytes = image.build();
        behind.iter().for_each(|part| bytes.extend_from_slice(part));
        std::fs::write(&path, &bytes).map_err(|e| wrong(format!("{}: {e}", path.display())))?;
        let file = InitramfsFile { path, sha256: crate::kernel::sha256(&bytes) };
        images.insert(key, file.clone());
        Ok(file)
    }

    /// The initramfs with the agent alone.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn plain_initramfs(&self) -> Result<InitramfsFile, Trouble> {
        self.image(Vec::new(), &[], |_| Ok(()))
    }

    /// A directory for what this run alone needs; it goes with the host.
    pub fn files(&self) -> &Path {
        self.files.path()
    }
}

/// Gone already is as good.
fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
}

/// See [`Host::watch_over`].
pub struct Guard<'a> {
    host: &'a Host,
    number: u64,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.host.guests.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    fn guest() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn an_interrupt_ends_guests_that_start_before_and_after_it() {
        let host = Host::bare();
        let (mut before, mut gone, mut after) = (guest(), guest(), guest());
        drop(host.watch(Some(gone.id())));
        let _before = host.watch(Some(before.id()));
        host.end_by(2);
        assert_eq!(before.wait().unwrap().signal(), Some(9));
        let _after = host.watch(Some(after.id()));
        assert_eq!(after.wait().unwrap().signal(), Some(9));
        assert_eq!(gone.try_wait().unwrap(), None, "nobody watches over it any more");
        gone.kill().unwrap();
        gone.wait().unwrap();
    }
}
