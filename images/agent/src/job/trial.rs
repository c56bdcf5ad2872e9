//! A plug that is timed in the guest: the machine is stopped by the guest itself, so that the plug comes at a time the
//! guest knows, and nothing goes over the serial port until the end.
//!
//! The main thread leaves uevents in its socket meanwhile: taking them out and telling them would cost the processor
//! that whoever brings blocks online needs.

use super::await_file::span;
use crate::files::{self, Reader};
use crate::outbox::{Outbox, failed, now_ns};
use crate::uevent::Uevents;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::sync::atomic::{AtomicBool, Ordering};
use wire::{Failure, JobOutcome, Message, Trial, TrialSeen, Value};

static UNDER_WAY: AtomicBool = AtomicBool::new(false);

/// Is one under way? Then uevents are to stay where they are.
pub(crate) fn under_way() -> bool {
    UNDER_WAY.load(Ordering::SeqCst)
}

/// Does it, and reports the end.
pub(crate) fn run(id: u64, trial: &Trial, outbox: &Outbox) {
    let begun_ns = now_ns();
    UNDER_WAY.store(true, Ordering::SeqCst);
    let result = watch(trial);
    UNDER_WAY.store(false, Ordering::SeqCst);
    outbox.job_done(id, begun_ns, result.map(JobOutcome::Tried));
}

fn watch(trial: &Trial) -> Result<TrialSeen, Failure> {
    let mut uevents = Uevents::open().map_err(failed("open the uevent socket"))?;
    let mut reader = Reader::new();
    let mut read = || trial.read.iter().map(|path| reader.value(CWD, path)).collect::<Vec<Value>>();
    let before = read();
    uevents.drain(drop);
    let begun_ns = stop(trial)?;
    let mut seen = TrialSeen {
        begun_ns,
        added: Vec::with_capacity(trial.blocks as usize),
        onlined: Vec::with_capacity(trial.blocks as usize),
        refused: Vec::new(),
        lost: false,
        before,
        after: Vec::new(),
    };
    let deadline_ns = begun_ns.saturating_add(trial.limit_ms.saturating_mul(1_000_000));
    while seen.onlined.len() < trial.blocks as usize {
        let left = deadline_ns.saturating_sub(now_ns());
        if left == 0 {
            break;
        }
        let fd = uevents.fd();
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&span(left))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(failed("poll")(e)),
        }
        let mut announced = Vec::new();
        uevents.drain(|message| take(&message, &mut seen, &mut announced));
        for block in announced {
            online(trial, block, &mut seen);
        }
    }
    seen.after = read();
    Ok(seen)
}

/// Notes a uevent; blocks that it announces are to be brought online.
fn take(message: &Message, seen: &mut TrialSeen, announced: &mut Vec<u32>) {
    let uevent = match message {
        Message::Uevent(uevent) => uevent,
        Message::UeventsLost { .. } => {
            seen.lost = true;
            return;
        }
        _ => return,
    };
    let block = uevent.devpath.strip_prefix("/devices/system/memory/memory").and_then(|n| n.parse().ok());
    let Some(block) = block else { return };
    let list = match uevent.action.as_str() {
        "add" => {
            announced.push(block);
            &mut seen.added
        }
        "online" => &mut seen.onlined,
        _ => return,
    };
    if list.iter().all(|(known, _)| *known != block) {
        list.push((block, uevent.t_ns));
    }
}

fn online(trial: &Trial, block: u32, seen: &mut TrialSeen) {
    let Some(word) = &trial.online else { return };
    let path = format!("/sys/devices/system/memory/memory{block}/state");
    if let Err(failure) = files::write(&path, word) {
        seen.refused.push((block, failure.errno));
    }
}

/// Stops the machine, and tells when the plug begins.
///
/// A machine that counts instructions may have its clock taken to the next timer while it is being stopped (QEMU, accel/tcg/
/// icount-common.c:icount_start_warp_timer: a processor that is about to stop counts as idle; whether it happens depends on
/// which of QEMU's threads is first). So an aligned stop has a timer of its own, which is never farther away than [`NEAR_NS`]:
/// no more than that is skipped. And the kernel does not hear of the plug before [`HEARS_NS`] later, right behind a tick: by
/// then it is the same time, with and without a jump.
fn stop(trial: &Trial) -> Result<u64, Failure> {
    let Some(past) = (now_ns() + SPIN_NS).checked_div(trial.align_ns) else {
        signal(trial.port, STOP)?;
        return Ok(now_ns());
    };
    let aligned_ns = (past + 1).saturating_mul(trial.align_ns);
    files::write(HOTPLUG, "mask\n")?;
    sleep_until(aligned_ns)?;
    await_tick()?;
    let near =
        timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).map_err(failed("make a timer"))?;
    let every = Timespec { tv_sec: 0, tv_nsec: NEAR_NS };
    let times = Itimerspec { it_interval: every, it_value: every };
    timerfd_settime(&near, TimerfdTimerFlags::empty(), &times).map_err(failed("set a timer"))?;
    signal(trial.port, STOP)?;
    drop(near);
    sleep_until(aligned_ns.saturating_add(HEARS_NS))?;
    await_tick()?;
    let begun_ns = now_ns();
    files::write(HOTPLUG, "unmask\n")?;
    Ok(begun_ns)
}

/// Sleeps, and spins at the end: a wake-up is a tick of the kernel's timer early or late, and that is enough to change what
/// comes after.
fn sleep_until(at_ns: u64) -> Result<(), Failure> {
    loop {
        let left = at_ns.saturating_sub(now_ns()).saturating_sub(SPIN_NS);
        if left == 0 {
            break;
        }
        match poll(&mut [], Some(&span(left))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(failed("poll")(e)),
        }
    }
    while now_ns() < at_ns {
        std::hint::spin_loop();
    }
    Ok(())
}

/// Returns right behind a tick of the kernel's timer: the coarse clock stands at the last one (kernel/time/timekeeping.c:
/// ktime_get_coarse_ts64).
fn await_tick() -> Result<(), Failure> {
    let end = now_ns() + AWAIT_NS;
    let (mut last, mut seen) = (clock_gettime(ClockId::MonotonicCoarse), clock_gettime(ClockId::Monotonic));
    while now_ns() < end {
        let (tick, now) = (clock_gettime(ClockId::MonotonicCoarse), clock_gettime(ClockId::Monotonic));
        // Where another program had the processor meanwhile, the next tick is waited for.
        if tick != last && ns(now) - ns(seen) < AWAY_NS {
            return Ok(());
        }
        (last, seen) = (tick, now);
    }
    Err(failed("await a tick of the kernel's timer")(Errno::TIMEDOUT))
}

fn ns(t: Timespec) -> i64 {
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

/// The event by which QEMU tells of memory (hw/acpi/memory_hotplug.c: _E03). What is masked stays pending. Words are written
/// as whole lines (drivers/acpi/sysfs.c:counter_set).
const HOTPLUG: &str = "/sys/firmware/acpi/interrupts/gpe03";
/// Several ticks, with the stop in it.
const HEARS_NS: u64 = 40_000_000;
/// Many times what the interrupt of a timer costs, in the time of a guest that counts instructions, and little beside a tick.
const NEAR_NS: i64 = 50_000;
/// A tick alone takes less, there.
const AWAY_NS: i64 = 100_000;
/// Several ticks.
const SPIN_NS: u64 = 40_000_000;
/// The longest wait for a tick, with other programs on the processor.
const AWAIT_NS: u64 = 10_000_000_000;

/// Tells the machine through its panic port (QEMU, docs/specs/pvpanic): [`STOP`] stops it in the middle of this write, which
/// returns when the machine goes on; [`END`] is only told.
pub(crate) fn signal(port: u16, what: u8) -> Result<(), Failure> {
    crate::sys::write_port(port, what).map_err(failed(format_args!("write to I/O port {port:#x}")))
}

/// "panicked"
pub(crate) const STOP: u8 = 1;
/// "crash loaded"
pub(crate) const END: u8 = 2;
