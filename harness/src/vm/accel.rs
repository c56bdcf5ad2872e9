//! Which accelerator: KVM is proven by running a guest, never by opening /dev/kvm.
//!
//! There are hosts where /dev/kvm opens, KVM_CREATE_VM succeeds, and a guest hangs for ever. So the first `auto` on a
//! host boots the kernel that is to be tested until the agent says hello; the answer is kept for this boot of the
//! host, this QEMU and these permissions of /dev/kvm. That it works holds for every kernel; that it does not may be the
//! fault of this kernel or of these arguments to QEMU, and holds for them alone.

use super::args::{Accel, Boot, Machine};
use super::hub::Deadline;
use super::qemu::Qemu;
use super::start::{Spec, Vm};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was asked for (`--accel`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    /// KVM where it is proven to work
    #[default]
    Auto,
    /// KVM or nothing
    Kvm,
    /// emulation
    Tcg,
}

/// What it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// the accelerator
    pub accel: Accel,
    /// why it is not KVM, to be said once in a run; `None` where there is nothing to say
    pub why: Option<String>,
}

/// KVM was demanded and does not work.
#[derive(Debug, thiserror::Error)]
#[error("KVM does not work here: {why} (leave out --accel kvm to emulate)")]
pub struct NoKvm {
    why: String,
}

/// What is booted for the proof, and who watches it.
pub struct Trial<'a, G> {
    /// the machine
    pub machine: &'a Machine,
    /// the kernel
    pub boot: &'a Boot,
    /// its checksum
    pub sha256: &'a str,
    /// called when the guest runs; what it gives is kept as long
    pub watch: &'a dyn Fn(&Vm) -> G,
    /// the proof was ended from outside: it says nothing
    pub ended: &'a dyn Fn() -> bool,
}

/// A guest with KVM says hello long before this.
const PROOF: Duration = Duration::from_secs(10);
const DEVICE: &str = "/dev/kvm";
const FILE: &str = "accel.json";

/// Decides; `cache` is a directory for the answer.
///
/// # Errors
/// Only for [`Wish::Kvm`]. A demanded KVM is tried again even if it is known to have failed.
pub fn choose<G>(wish: Wish, qemu: &Qemu, trial: &Trial<'_, G>, cache: &Path) -> Result<Choice, NoKvm> {
    let subject = format!("{} {} {:?}", trial.sha256, trial.boot.cmdline, trial.machine);
    decide(wish, &identity(qemu), &subject, cache, trial.ended, || prove(qemu, trial))
}

fn decide(
    wish: Wish,
    identity: &Result<String, String>,
    subject: &str,
    cache: &Path,
    ended: &dyn Fn() -> bool,
    prove: impl FnOnce() -> Result<(), String>,
) -> Result<Choice, NoKvm> {
    if wish == Wish::Tcg {
        return Ok(Choice { accel: Accel::Tcg, why: None });
    }
    let works = match (identity, identity.as_ref().ok().and_then(|key| recall(cache, key, subject))) {
        (Err(why), _) => Err(why.clone()),
        (Ok(_), Some(known)) if known.is_ok() || wish == Wish::Auto => known,
        (Ok(key), _) => {
            let works = prove();
            if !ended()
                && let Err(e) = remember(cache, key, subject, &works)
            {
                tracing::warn!("cannot keep the answer about KVM in {}: {e}", cache.display());
            }
            works
        }
    };
    match (works, wish) {
        (Ok(()), _) => Ok(Choice { accel: Accel::Kvm, why: None }),
        (Err(why), Wish::Kvm) => Err(NoKvm { why }),
        (Err(why), _) => Ok(Choice { accel: Accel::Tcg, why: Some(format!("no KVM: {why}")) }),
    }
}

/// What the answer depends on; or why there can be no KVM.
fn identity(qemu: &Qemu) -> Result<String, String> {
    if !qemu.kvm {
        return Err(format!("{} was built without it", qemu.path.display()));
    }
    let device = fs::metadata(DEVICE).map_err(|e| format!("{DEVICE}: {e}"))?;
    let program = fs::metadata(&qemu.path).map_err(|e| format!("{}: {e}", qemu.path.display()))?;
    let boot = "/proc/sys/kernel/random/boot_id";
    let boot = fs::read_to_string(boot).map_err(|e| format!("{boot}: {e}"))?;
    Ok(format!(
        "boot {} qemu {} {} {} {}.{} kvm {}:{}:{:o} user {}:{}",
        boot.trim(),
        qemu.path.display(),
        qemu.version,
        program.size(),
        program.mtime(),
        program.mtime_nsec(),
        device.uid(),
        device.gid(),
        device.mode(),
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    ))
}

/// Boots a guest under KVM and waits for the agent's hello.
fn prove<G>(qemu: &Qemu, trial: &Trial<'_, G>) -> Result<(), String> {
    fs::File::options().read(true).write(true).open(DEVICE).map_err(|e| format!("{DEVICE}: {e}"))?;
    let spec = Spec::new(qemu.clone(), Accel::Kvm, trial.machine.clone(), Some(trial.boot.clone()));
    let vm = Vm::start(spec).map_err(|e| one_line(&e.to_string()))?;
    let _watch = (trial.watch)(&vm);
    match vm.channel().hello(Deadline::within(PROOF)) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("{DEVICE} opens, but a guest does not come up: {}", one_line(&e.to_string()))),
    }
}

/// QEMU's last words may be several lines.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// The answer, kept with what it depends on.
#[derive(Serialize, Deserialize)]
struct Known {
    identity: String,
    /// a guest ran
    works: bool,
    /// what failed, and why
    fails: BTreeMap<String, String>,
}

fn known(cache: &Path, identity: &str) -> Option<Known> {
    let text = fs::read_to_string(cache.join(FILE)).ok()?;
    serde_json::from_str(&text).ok().filter(|known: &Known| known.identity == identity)
}

fn recall(cache: &Path, identity: &str, subject: &str) -> Option<Result<(), String>> {
    let known = known(cache, identity)?;
    if known.works { Some(Ok(())) } else { known.fails.get(subject).cloned().map(Err) }
}

fn remember(cache: &Path, identity: &str, subject: &str, works: &Result<(), String>) -> io::Result<()> {
    fs::create_dir_all(cache)?;
    let none = || Known { identity: identity.to_string(), works: false, fails: BTreeMap::new() };
    let mut known = known(cache, identity).unwrap_or_else(none);
    known.works = works.is_ok();
    if let Err(why) = works {
        known.fails.insert(subject.to_string(), why.clone());
    }
    let file: PathBuf = cache.join(FILE);
    let new = tempfile::NamedTempFile::new_in(cache)?;
    serde_json::to_writer(&new, &known)?;
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<String, String> {
        Ok(text.to_string())
    }

    fn goes_on() -> bool {
        false
    }

    fn tcg(why: &str) -> Choice {
        Choice { accel: Accel::Tcg, why: Some(format!("no KVM: {why}")) }
    }

    #[test]
    fn the_proof_is_made_once_for_each_host_and_qemu() {
        let cache = tempfile::tempdir().unwrap();
        let cache = &cache.path().join("new");
        let hangs = || Err("hangs".to_string());
        let never = || panic!("known already");
        assert_eq!(decide(Wish::Auto, &key("a"), "k", cache, &goes_on, hangs).unwrap(), tcg("hangs"));
        assert_eq!(decide(Wish::Auto, &key("a"), "k", cache, &goes_on, never).unwrap(), tcg("hangs"));
        let kvm = Choice { accel: Accel::Kvm, why: None };
        assert_eq!(decide(Wish::Auto, &key("b"), "k", cache, &goes_on, || Ok(())).unwrap(), kvm);
        assert_eq!(decide(Wish::Kvm, &key("b"), "k", cache, &goes_on, never).unwrap(), kvm);
        assert_eq!(
            decide(Wish::Tcg, &key("c"), "k", cache, &goes_on, never).unwrap(),
            Choice { accel: Accel::Tcg, why: None }
        );
    }

    #[test]
    fn a_failure_holds_for_its_kernel_alone_and_a_success_for_all() {
        let cache = tempfile::tempdir().unwrap();
        let cache = cache.path();
        let auto = |subject: &str, proof: &dyn Fn() -> Result<(), String>| {
            decide(Wish::Auto, &key("a"), subject, cache, &goes_on, proof).unwrap()
        };
        let never = || panic!("known already");
        let fails = |why: &'static str| move || Err(why.to_string());
        assert_eq!(auto("one", &fails("panics")), tcg("panics"));
        assert_eq!(auto("two", &fails("hangs")), tcg("hangs"));
        assert_eq!((auto("one", &never), auto("two", &never)), (tcg("panics"), tcg("hangs")));
        assert_eq!(auto("three", &|| Ok(())).accel, Accel::Kvm);
        assert_eq!(auto("one", &never).accel, Accel::Kvm);
    }

    #[test]
    fn a_proof_that_was_ended_is_no_answer() {
        let cache = tempfile::tempdir().unwrap();
        let cache = cache.path();
        let killed = || Err("killed".to_string());
        assert_eq!(decide(Wish::Auto, &key("a"), "k", cache, &|| true, killed).unwrap(), tcg("killed"));
        assert_eq!(decide(Wish::Auto, &key("a"), "k", cache, &goes_on, || Ok(())).unwrap().accel, Accel::Kvm);
    }

    #[test]
    fn a_demand_tries_again_and_fails_clearly() {
        let cache = tempfile::tempdir().unwrap();
        decide(Wish::Auto, &key("a"), "k", cache.path(), &goes_on, || Err("hangs".to_string())).unwrap();
        let error =
            decide(Wish::Kvm, &key("a"), "k", cache.path(), &goes_on, || Err("hangs again".to_string()))
                .unwrap_err();
        let text = "KVM does not work here: hangs again (leave out --accel kvm to emulate)";
        assert_eq!(error.to_string(), text);
        assert_eq!(
            decide(Wish::Kvm, &key("a"), "k", cache.path(), &goes_on, || Ok(())).unwrap().accel,
            Accel::Kvm
        );
    }

    #[test]
    fn without_a_device_nothing_is_tried() {
        let cache = tempfile::tempdir().unwrap();
        let none = Err("/dev/kvm: gone".to_string());
        let never = || panic!("nothing to try");
        assert_eq!(
            decide(Wish::Auto, &none, "k", cache.path(), &goes_on, never).unwrap(),
            tcg("/dev/kvm: gone")
        );
        assert!(decide(Wish::Kvm, &none, "k", cache.path(), &goes_on, never).is_err());
    }

    #[test]
    fn a_damaged_cache_is_no_answer() {
        let cache = tempfile::tempdir().unwrap();
        fs::write(cache.path().join(FILE), "{").unwrap();
        assert_eq!(
            decide(Wish::Auto, &key("a"), "k", cache.path(), &goes_on, || Ok(())).unwrap().accel,
            Accel::Kvm
        );
    }
}
