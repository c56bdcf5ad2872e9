//! PID 1 of memhp's guests: it reads and writes files, holds memory, runs programs and listens to uevents, as the
//! harness asks on the second serial port. It reports what it sees and judges nothing.
//!
//! It must not end, or the kernel panics and gets the blame: what goes wrong is said on the console, and the guest is
//! switched off.

mod burn;
mod children;
mod files;
mod fresh;
mod glob;
mod hold;
mod job;
mod kcore;
mod kthreads;
mod manner;
mod outbox;
mod pageflags;
mod port;
mod processes;
mod script;
mod serve;
mod setup;
#[allow(unsafe_code)]
mod sys;
mod uevent;
mod watch;
mod workers;

use rustix::io::Errno;
use rustix::system::{RebootCommand, reboot};
use std::fs::File;
use std::sync::Arc;

fn main() {
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if let [_, mode, what] = args.as_slice() {
        if mode == "hold" && setup::marked() == Ok(true) {
            std::process::exit(hold::run(what));
        }
    }
    if let [_, mode, kind, count] = args.as_slice() {
        if mode == "burn" && setup::marked() == Ok(true) {
            std::process::exit(burn::run(kind, count));
        }
    }
    if let [_, mode, manner, program @ ..] = args.as_slice() {
        if mode == "run" && setup::marked() == Ok(true) {
            eprintln!("memhp-agent: {}", manner::run(manner, program));
            std::process::exit(127);
        }
    }
    if std::process::id() != 1 {
        eprintln!("memhp-agent: runs as PID 1 of a guest of memhp, and nowhere else");
        std::process::exit(1);
    }
    std::panic::set_hook(Box::new(|info| give_up(&info.to_string())));
    give_up(&match start() {
        Ok(agent) => agent.run(),
        Err(why) => why,
    })
}

/// Everything up to the first request.
fn start() -> Result<serve::Agent, String> {
    setup::mount_proc()?;
    if !setup::marked()? {
        return Err(format!("{} is not on the kernel's command line", wire::MARKER));
    }
    setup::mount_rest()?;
    let uevents = match uevent::Uevents::open() {
        Ok(uevents) => Some(uevents),
        Err(Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::NOSYS) => None,
        Err(e) => return Err(format!("open the uevent socket: {e}")),
    };
    let port = port::Port::open(port::DEVICE).map_err(|e| format!("open {}: {e}", port::DEVICE))?;
    let dead_end = File::open("/dev/null").map_err(|e| format!("open /dev/null: {e}"))?;
    sys::install_interrupt(&dead_end).map_err(|e| format!("sigaction: {e}"))?;
    std::mem::forget(dead_end); // the handler needs it as long as the agent runs
    setup::protect()?;
    let children = Arc::new(children::Children::default());
    let reaper = Arc::clone(&children);
    std::thread::Builder::new()
        .stack_size(workers::STACK)
        .spawn(move || reaper.reap_orphans())
        .map_err(|e| format!("start a thread: {e}"))?;
    let workers = workers::Workers::new().map_err(|e| format!("start a thread: {e}"))?;
    let outbox = Arc::new(outbox::Outbox::new().map_err(|e| format!("pipe: {e}"))?);
    let script = script::Script::open()?;
    Ok(serve::Agent::new(port, uevents, job::Means { outbox, workers, children }).with_script(script))
}

/// Says why on the console and switches the guest off.
fn give_up(why: &str) -> ! {
    eprintln!("memhp-agent: fatal: {why}");
    let _ = reboot(RebootCommand::PowerOff);
    loop {
        std::thread::park(); // a machine that cannot be switched off
    }
}
