//! Trials by instructions: the guest's clock counts what its only processor executed (-icount), so that the host's noise
//! is not in the figures.
//!
//! What couples a guest to the host is cut: what the agent does until the result stands in the initramfs, so that no byte
//! has to arrive at any time; the guest stops itself for the plug; random numbers come from a seed (QEMU's -seed feeds
//! RDRAND and the seed that the kernel is booted with); the real-time clock is the guest's own; there is no template.

use super::cell::Cell;
use super::guest::{self, Fault, Guests};
use super::sample::{Outcome, Seen};
use super::steps::{self, Readings};
use crate::image::Initramfs;
use crate::vm::panic_port::{self, Signal};
use crate::vm::{Deadline, Vm};
use std::path::PathBuf;
use std::time::Duration;
use wire::{Ask, Job, SCRIPT_ID, SCRIPT_PATH, Script, ScriptStep};

/// One instruction is one nanosecond (2^0); idle time is skipped.
const ICOUNT: &str = "shift=0,sleep=off";
/// The guest stops for the plug at the next multiple of this, of its time.
const ALIGN: Duration = Duration::from_millis(500);
/// A guest takes no longer from its start to its result, before scaling.
const WHOLE: Duration = Duration::from_secs(900);

/// Further arguments of QEMU.
pub fn args(seed: u64) -> Vec<String> {
    let seed = (seed % (1 << 32)).to_string();
    let words = ["-icount", ICOUNT, "-rtc", "base=2026-01-01T00:00:00,clock=vm", "-seed", &seed];
    words.map(str::to_string).to_vec()
}

/// Further kernel parameters: what is random at boot comes from the seed alone.
pub const APPEND: &str = "nokaslr";

/// What is known of the guests of a kernel before any trial: of the idle guest right before a plug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// MemFree, bytes
    pub free: u64,
    /// number of the last uevent
    pub seqnum: u64,
    /// bytes of a block
    pub block: u64,
}

/// Finds [`Idle`] by a trial of a small DIMM.
///
/// # Errors
/// See [`Fault`].
pub fn idle(guests: &Guests<'_>, user_space: &[u8], seed: u64) -> Result<Idle, Fault> {
    let policy = super::Policy::Udev;
    let mut script = steps::set_up(policy, super::Load::Idle, 0, guests.processors, seed);
    script.push(steps::trial(policy, 0, ALIGN, Duration::ZERO));
    let vm = start(guests, user_space, script, |vm| guests.plug(vm, 128 << 20).map(drop))?;
    let _guard = guests.host.watch_over(&vm.0);
    let before = Readings::of(&vm.1.before).map_err(Fault::NotMeasured)?;
    let block = guest::block_bytes(&vm.0, guests.within(WHOLE))?;
    Ok(Idle { free: before.free, seqnum: before.seqnum, block })
}

/// One trial.
///
/// # Errors
/// See [`Fault`].
pub fn trial(
    guests: &Guests<'_>,
    user_space: &[u8],
    idle: Idle,
    cell: &Cell,
    limit: Duration,
    seed: u64,
) -> Result<(Outcome, Seen), Fault> {
    let blocks = u32::try_from(cell.size / idle.block).unwrap_or(u32::MAX);
    let held = idle.free / 100 * u64::from(cell.load.held());
    let mut script = steps::set_up(cell.policy, cell.load, held, guests.processors, seed);
    script.push(steps::trial(cell.policy, blocks, ALIGN, limit));
    let (mut addr, mut said) = (0, 0);
    let (vm, seen) = start(guests, user_space, script, |vm| {
        said = vm.console().text().len();
        addr = guests.plug(vm, cell.size)?;
        Ok(())
    })?;
    let _guard = guests.host.watch_over(&vm);
    let before = Readings::of(&seen.before).map_err(Fault::NotMeasured)?;
    steps::in_force(cell.load, guests.processors, idle.free, idle.seqnum, &before)
        .map_err(Fault::NotMeasured)?;
    guests.result(&vm, &seen, &before, (addr / idle.block, blocks), (held, said))
}

/// Boots a guest with a script that ends with a trial; `plug` is called while the machine stands.
fn start(
    guests: &Guests<'_>,
    user_space: &[u8],
    script: Vec<ScriptStep>,
    plug: impl FnOnce(&Vm) -> Result<(), Fault>,
) -> Result<(Vm, wire::TrialSeen), Fault> {
    if guests.host.interrupted() {
        return Err(Fault::Interrupted);
    }
    let deadline = guests.within(WHOLE);
    let ends = ends(&script);
    let initrd = initramfs(guests, user_space, script).map_err(Fault::NotMeasured)?;
    let vm = Vm::start(guests.spec(initrd)).map_err(|e| Fault::NotMeasured(e.to_string()))?;
    let guard = guests.host.watch_over(&vm);
    let taken = follow(&vm, &ends, plug, deadline);
    drop(guard);
    match taken {
        _ if guests.host.interrupted() => Err(Fault::Interrupted),
        Ok(seen) => Ok((vm, seen)),
        Err(fault) => Err(fault),
    }
}

/// Jobs of the script whose ends the next step waits for: id and what they are.
fn ends(script: &[ScriptStep]) -> Vec<(u64, String)> {
    let jobs = (SCRIPT_ID..).zip(script).filter(|(_, step)| step.to_end);
    jobs.map(|(id, step)| (id, describe(&step.ask))).collect()
}

fn describe(ask: &Ask) -> String {
    match ask {
        Ask::Job(Job::Exec { argv, .. }) => argv.join(" "),
        Ask::Job(Job::Hold(hold)) => format!("holding {} bytes", hold.bytes),
        _ => "a step of the script".into(),
    }
}

fn follow(
    vm: &Vm,
    ends: &[(u64, String)],
    plug: impl FnOnce(&Vm) -> Result<(), Fault>,
    deadline: Deadline,
) -> Result<wire::TrialSeen, Fault> {
    let stopped = vm.wait_signal(0, None, deadline).map_err(guest::wait_fault)? == Signal::Stopped;
    if stopped {
        plug(vm)?;
        let from = vm.qmp().events_end();
        vm.cont(deadline).map_err(|e| Fault::NotMeasured(e.to_string()))?;
        match vm.wait_signal(from, None, deadline) {
            Ok(Signal::End) => {}
            Ok(Signal::Stopped | Signal::Never) => {
                return Err(Fault::NotMeasured("the guest stopped twice".into()));
            }
            Err(error) => return Err(guest::late(error.into())),
        }
    }
    // Only now does the harness speak.
    vm.channel().hello(deadline).map_err(guest::channel_fault)?;
    let (trial, before) = ends.split_last().ok_or_else(|| Fault::NotMeasured("an empty script".into()))?;
    for (id, what) in before {
        let end = vm.channel().wait_job(*id, deadline.at_most(TOLD)).map_err(guest::channel_fault)?;
        guest::ended_well(what, end.result)?;
    }
    let end = vm.channel().wait_job(trial.0, deadline.at_most(TOLD)).map_err(guest::channel_fault)?;
    guest::tried(end.result.map_err(|failure| Fault::NotMeasured(failure.why))?)
}

/// What the agent has kept for the harness comes right behind its first message; what has not come by then never began.
const TOLD: Duration = Duration::from_secs(60);

fn initramfs(guests: &Guests<'_>, user_space: &[u8], steps: Vec<ScriptStep>) -> Result<PathBuf, String> {
    let script = serde_json::to_vec(&Script { steps, port: panic_port::PORT }).map_err(|e| e.to_string())?;
    let mut image = Initramfs::with_agent();
    image.file(SCRIPT_PATH, 0o644, script).map_err(|e| e.to_string())?;
    let mut bytes = image.build();
    bytes.extend_from_slice(user_space);
    let path = guests.host.files().join("initramfs-script");
    std::fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Load, Policy};

    #[test]
    fn the_seed_fits_qemu() {
        assert_eq!(args(u64::MAX).last().map(String::as_str), Some("4294967295"));
        assert!(args(7).join(" ").starts_with("-icount shift=0,sleep=off -rtc base="));
    }

    #[test]
    fn jobs_that_are_waited_for_have_the_ids_of_their_steps() {
        let mut script = steps::set_up(Policy::Online, Load::Cpu(1), 0, 1, 1);
        script.push(steps::trial(Policy::Online, 8, ALIGN, WHOLE));
        let ids: Vec<u64> = ends(&script).into_iter().map(|(id, _)| id - SCRIPT_ID).collect();
        assert_eq!(ids, [2, 3]);
    }
}
