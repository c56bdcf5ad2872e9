//! Templates of a run: which scenarios share one, where they are kept, and that none is used that is not whole.
//!
//! A template is a guest that has booted, loaded its modules and answered; nothing was plugged yet. Scenarios whose
//! guests are the same in everything that shapes a boot (kernel, command line, machine, initramfs, what the agent was
//! asked, QEMU, accelerator, and with KVM the host's processor) share one. Templates are kept in the cache, under a
//! checksum of all of this; but a case about boot policy is never judged from a template of an earlier run
//! (`about_boot_policy`): these are made anew, or the guest boots.
//!
//! What forks of one template share though boots would not: the kernel's random placement (KASLR), the order of free
//! pages and slab objects, the boot time. The random generator is reseeded in every fork. `--templates N` draws like
//! scenarios over N templates where that matters.

use super::attempt;
use super::host::{BootMode, Host};
use super::plan::{self, Planned};
use super::spec;
use crate::case::schema;
use crate::verdict::{Provokes, triage};
use crate::vm::Accel;
use crate::vm::template::{Template, guest_of};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use wire::Hello;

mod keep;

use keep::How;

/// Changes when what is saved, or how, changes.
const FORMAT: &str = "memhp template 3";

/// Which template a scenario starts from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// of everything that shapes the guest, hexadecimal
    sha256: String,
    /// made in this run and thrown away with it
    of_this_run: bool,
}

/// The template's key; `None`: the scenario boots a guest of its own.
pub fn key(host: &Host, planned: &Planned) -> Option<Key> {
    // A DIMM that is there at boot is part of what the boot is judged for.
    let boots = host.boot == BootMode::Cold
        || planned.cold
        || planned.scenario.case.boot == schema::BootMode::Cold
        || !host.qemu.ignore_shared
        || !host.qemu_args.is_empty()
        || !planned.scenario.case.machine.dimms.is_empty();
    if boots {
        return None;
    }
    // What cannot be made here is told when the scenario is tried.
    let spec = spec::of(host, planned).ok()?;
    let initramfs = host.initramfs(planned).ok()?;
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(FORMAT.as_bytes());
    part(planned.kernel.sha256.as_bytes());
    part(spec.boot.as_ref()?.kernel.as_os_str().as_encoded_bytes());
    part(initramfs.sha256.as_bytes());
    part(&serde_json::to_vec(&attempt::preparation(&planned.modules)).ok()?);
    part(&program(&spec.qemu.path).ok()?);
    part(spec.accel.word().as_bytes());
    if spec.accel == Accel::Kvm {
        part(processor(&fs::read_to_string("/proc/cpuinfo").ok()?).as_bytes());
    }
    guest_of(&spec.layout()).iter().for_each(|arg| part(arg.as_bytes()));
    let drawn = drawn(host, &planned.id, planned.round);
    drawn.iter().for_each(|number| part(&number.to_le_bytes()));
    let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let of_this_run = about_boot_policy(&planned.id, &spec.boot.as_ref()?.cmdline);
    Some(Key { sha256, of_this_run })
}

/// What tells a template from the others that like scenarios are drawn over: its number, and the run's seed, so that
/// another seed draws other templates. The next round starts from the next one. Without several templates nothing does,
/// and runs of all seeds share one.
fn drawn(host: &Host, id: &str, round: u32) -> Vec<u64> {
    if host.templates <= 1 {
        return vec![0];
    }
    let first = if host.spread { 0 } else { plan::hash(id) };
    let number = first.wrapping_add(u64::from(round)) % u64::from(host.templates);
    vec![number, host.seed]
}

/// Is the boot itself what is judged? So for all in `policy/`, and wherever the command line sets what decides the
/// policy at boot. Other parameters (`memory_hotplug.*`, `movable_node`) only choose the rules for what comes later; a
/// case that wants a policy as its starting point writes `auto_online_blocks`.
fn about_boot_policy(id: &str, cmdline: &str) -> bool {
    const DECIDE: [&str; 2] = ["memhp_default_state", "acpi_no_memhotplug"];
    // The kernel takes a dash for an underscore in names (kernel/params.c:dash2underscore).
    let names = cmdline
        .split_whitespace()
        .map(|word| word.trim_start_matches('"').split('=').next().unwrap_or_default().replace('-', "_"));
    id.starts_with("policy/") || names.into_iter().any(|name| DECIDE.contains(&name.as_str()))
}

/// Which QEMU: path, size and time of change.
pub(super) fn program(path: &Path) -> io::Result<Vec<u8>> {
    let meta = fs::metadata(path)?;
    let about = format!("{}\0{}\0{}\0{}", path.display(), meta.len(), meta.mtime(), meta.mtime_nsec());
    Ok(about.into_bytes())
}

/// What a guest under KVM sees of the host's processor (`-cpu host`), as /proc/cpuinfo says it of the first one.
fn processor(cpuinfo: &str) -> String {
    const NAMES: [&str; 7] =
        ["vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags"];
    let lines = cpuinfo.lines().take_while(|line| !line.trim().is_empty());
    let fields =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim()));
    let wanted = fields.filter(|(name, _)| NAMES.contains(name));
    wanted.map(|(name, value)| format!("{name}: {value}\n")).collect()
}

impl Key {
    /// Any key will do.
    #[cfg(test)]
    pub(super) fn of_name(name: &str) -> Self {
        Self { sha256: name.into(), of_this_run: false }
    }

    /// Worth making a template for `n` scenarios?
    pub fn pays_for(&self, n: usize) -> bool {
        !self.of_this_run || n > 1
    }
}

/// A template that scenarios of this run start from.
#[derive(Debug)]
pub struct Saved {
    /// the guest
    pub template: Template,
    /// what its agent said first
    pub hello: Hello,
    /// Held as long as the template is used, so that nobody builds it anew or evicts it. `None`: this run's own.
    lock: Option<File>,
}

impl Drop for Saved {
    fn drop(&mut self) {
        if self.lock.is_none() {
            remove(self.template.dir());
        }
    }
}

/// What is kept beside a template.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note {
    /// what the agent said first
    pub hello: Hello,
}

/// Where a template is to be: a directory that is empty and ours.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    lock: Option<File>,
}

/// What is found at a place.
#[derive(Debug)]
pub enum Found {
    /// a whole template
    Whole(Box<Saved>),
    /// nothing of use: to be built here
    Nothing(Place),
    /// another process builds it, or removes it: not to be waited for
    Busy,
}

/// Looks for a template. What is half-written, damaged or of another form is removed.
///
/// # Errors
/// The cache cannot be read or written.
pub fn find(host: &Host, cache: &Path, key: &Key) -> io::Result<Found> {
    if key.of_this_run {
        let dir = host.files().join(format!("template-{}", key.sha256));
        make_empty(&dir)?;
        return Ok(Found::Nothing(Place { dir, lock: None }));
    }
    let base = cache.join("templates");
    fs::create_dir_all(&base)?;
    let dir = base.join(&key.sha256);
    host.uses(&dir);
    let Some(lock) = keep::lock(&dir, How::Shared)? else { return Ok(Found::Busy) };
    if let Some((template, hello)) = open(&dir) {
        keep::used_now(&lock)?;
        return Ok(Found::Whole(Box::new(Saved { template, hello, lock: Some(lock) })));
    }
    let Some(lock) = keep::exclusive(lock, &dir)? else { return Ok(Found::Busy) };
    make_empty(&dir)?;
    Ok(Found::Nothing(Place { dir, lock: Some(lock) }))
}

impl Place {
    /// The directory for the guest's memory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was saved here is now whole. Others may use it too; the least recently used ones go where all take too much,
    /// but for those of this run.
    ///
    /// # Errors
    /// The lock or the cache.
    pub fn built(self, host: &Host, template: Template, hello: Hello) -> io::Result<Saved> {
        if let Some(lock) = &self.lock {
            keep::share(lock, &self.dir)?;
            let evicted = self.dir.parent().map_or(Ok(()), |base| keep::evict(base, &host.used()));
            if let Err(e) = evicted {
                tracing::warn!("templates in the cache stay though they are too many: {e}");
            }
        }
        Ok(Saved { template, hello, lock: self.lock })
    }

    /// Nothing came of it.
    pub fn failed(self) {
        remove(&self.dir);
    }
}

fn remove(dir: &Path) {
    if let Err(e) = fs::remove_dir_all(dir) {
        tracing::warn!("cannot remove {}: {e}", dir.display());
    }
}

fn open(dir: &Path) -> Option<(Template, Hello)> {
    let template = Template::open(dir).map_err(|e| tracing::info!("no template: {e}")).ok()?;
    if let Some(complaint) = complaint(template.console()) {
        tracing::info!("no template: {complaint}");
        return None;
    }
    let note: Note = serde_json::from_value(template.note().clone()).ok()?;
    Some((template, note.hello))
}

/// What a template's guest complained about until it was saved. It would be every fork's: a boot on a host out of breath
/// may have said so (a stall). Of a kernel that always complains each scenario boots, and is judged by its own console.
pub(super) fn complaint(console: &str) -> Option<String> {
    let first = triage(console.as_bytes(), &Provokes::default()).into_iter().next()?;
    Some(format!("the guest complained while it booted: {}", first.title))
}

/// Guest memory is nobody else's business: 0700.
pub(crate) fn make_empty(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => fs::DirBuilder::new().mode(0o700).create(dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_complained_is_no_template() {
        let warning = "[    1.234567] WARNING: CPU: 0 PID: 1 at mm/x.c:5 add+0x1/0x2\n\
                       [    1.234570] RIP: 0010:add+0x1/0x2\n\
                       [    1.234580] ---[ end trace 0000000000000000 ]---\n";
        let wanted = "the guest complained while it booted: WARNING in add";
        assert_eq!(complaint(warning).as_deref(), Some(wanted));
        let quiet = "[    0.100000] Linux version 6.1.0\n[    1.000000] random: crng init done\n";
        assert_eq!(complaint(quiet), None);
    }

    #[test]
    fn scenarios_and_rounds_are_drawn_over_the_templates() {
        let mut host = Host::bare();
        assert_eq!((drawn(&host, "a@k", 0), drawn(&host, "b@l", 7)), (vec![0], vec![0]));
        (host.templates, host.seed) = (3, 9);
        let numbers = |host: &Host, id: &str| -> Vec<u64> {
            let all = (0..6).map(|round| drawn(host, id, round));
            all.map(|d| {
                assert_eq!(d[1..], [host.seed]);
                d[0]
            })
            .collect()
        };
        let first = plan::hash("a@k") % 3;
        let wanted: Vec<u64> = (0..6).map(|round| (first + round) % 3).collect();
        assert_eq!(numbers(&host, "a@k"), wanted);
        let firsts: std::collections::BTreeSet<u64> =
            ('a'..='z').map(|c| numbers(&host, &format!("{c}@k"))[0]).collect();
        assert_eq!(firsts.len(), 3, "scenarios of one round are spread too");
        host.spread = true;
        assert_eq!(numbers(&host, "a@k"), [0, 1, 2, 0, 1, 2]);
        assert_eq!(numbers(&host, "b@k"), [0, 1, 2, 0, 1, 2], "one run, one template");
    }

    #[test]
    fn a_processor_is_its_model_its_microcode_and_its_flags() {
        let one = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 85\nmodel name\t: Xeon: 2\nmicrocode\t: 0x1\n\
                   cpu MHz\t\t: 2100.0\nflags\t\t: fpu vme\n\n";
        let other = one.replace("fpu vme", "fpu").replace(": 0\n", ": 1\n");
        let wanted =
            "vendor_id: GenuineIntel\nmodel: 85\nmodel name: Xeon: 2\nmicrocode: 0x1\nflags: fpu vme\n";
        assert_eq!(processor(&(one.to_string() + &other)), wanted);
        assert_eq!(processor(&other), wanted.replace(" vme", ""));
    }

    #[test]
    fn boot_policy_is_known_by_folder_and_parameter() {
        let about = |id, append: &str| about_boot_policy(id, &format!("quiet {append}"));
        assert!(about("policy/x@k", ""));
        assert!(!about("zone/policy/x@k", "movable_node memory_hotplug.online_policy=auto-movable"));
        for word in [
            "memhp_default_state=online",
            "memhp-default-state=",
            "\"memhp_default_state=a\"",
            "acpi_no_memhotplug",
        ] {
            assert!(about("zone/x@k", word), "{word}");
        }
        assert!(!about("zone/x@k", "x.memhp_default_state=online"));
    }

    #[test]
    fn a_directory_is_emptied_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("a");
        make_empty(&dir).unwrap();
        fs::write(dir.join("ram0.ram"), "x").unwrap();
        make_empty(&dir).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
