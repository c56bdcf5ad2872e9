//! Which accelerator a run has: proven with its first kernel.

use super::args::{Accel as Arg, RunArgs};
use super::failure::Failure;
use super::signals::before_a_run;
use crate::kernel::{Cache, Kernel};
use crate::run::host::Host;
use crate::run::spec;
use crate::vm::accel::{Trial, Wish, choose};
use crate::vm::{Accel, Boot, Vm};
use std::sync::Arc;

/// Finds the accelerator by running the first kernel as a guest; not where the guest would wait for gdb.
pub fn prove(
    args: &RunArgs,
    host: &mut Host,
    kernels: &[Arc<Kernel>],
    notices: &mut Vec<String>,
) -> Result<(), Failure> {
    let wish = match args.host.accel {
        Arg::Auto => Wish::Auto,
        Arg::Kvm => Wish::Kvm,
        Arg::Tcg => Wish::Tcg,
    };
    let Some(kernel) = kernels.first() else { return Ok(()) };
    if args.host.gdb.is_some() {
        host.accel = if wish == Wish::Kvm { Accel::Kvm } else { Accel::Tcg };
        return Ok(());
    }
    let machine = spec::machine(&crate::case::schema::Machine::default(), host).map_err(Failure::usage)?;
    let boot = Boot {
        kernel: kernel.boot.clone(),
        initrd: Some(host.plain_initramfs().map_err(Failure::host)?.path),
        cmdline: spec::PROBE.to_string(),
    };
    let cache = Cache::of_user().map_err(Failure::kernel)?;
    let shared: &Host = host;
    let trial = Trial {
        machine: &machine,
        boot: &boot,
        sha256: &kernel.sha256,
        watch: &|vm: &Vm| shared.watch_over(vm),
        ended: &|| shared.interrupted(),
    };
    let choice =
        before_a_run(shared, || choose(wish, &shared.qemu, &trial, cache.root()).map_err(Failure::host))?;
    host.accel = choice.accel;
    if let Some(why) = choice.why {
        let notice = format!("emulating (TCG): {why}");
        // QEMU's own last words are in the log; on the terminal what it came to is enough.
        say!("memhp: {}", notice.split(": qemu-system").next().unwrap_or(&notice));
        notices.push(notice);
    }
    Ok(())
}
