//! `/init burn KIND COUNT`: a child of the agent that keeps the guest busy until it and its group are killed.
//!
//! The one that is started waits for its workers, which do the work. It is stopped, continued and killed as a group.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Runs until killed; the exit status where that was not to be.
pub(crate) fn run(kind: &str, count: &str) -> i32 {
    match (kind, count.parse()) {
        ("cpu", Ok(count)) => workers("spin", count),
        ("forks", Ok(count)) => workers("fork", count),
        ("spin", _) => spin(),
        ("fork", _) => fork(),
        ("nothing", _) => 0,
        _ => complain(&format!("no load {kind} {count}")),
    }
}

/// As many workers as asked for. None of them ends by itself, so waiting for the first is waiting for ever; whoever asked
/// for them counts them.
fn workers(work: &str, count: u32) -> i32 {
    let all: Result<Vec<Child>, _> = (0..count).map(|_| child(work)).collect();
    match all.map(|all| all.into_iter().next()) {
        Ok(Some(mut first)) => {
            let ended = first.wait();
            complain(&format!("a worker ended: {ended:?}"))
        }
        Ok(None) => complain("no worker"),
        Err(e) => complain(&format!("start a worker: {e}")),
    }
}

/// Computes, and asks nothing of the kernel.
fn spin() -> i32 {
    loop {
        std::hint::spin_loop();
    }
}

/// Starts programs that end at once, one after the other.
fn fork() -> i32 {
    loop {
        // Without memory there is no child for a while: that is what the load is for.
        if let Ok(mut one) = child("nothing") {
            let _ = one.wait();
        }
    }
}

/// By fork(2), which setting the user makes the library choose: whoever calls vfork(2) cannot be stopped as long as the
/// child is, if that was stopped before it became the program.
fn child(work: &str) -> std::io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.uid(0).args(["burn", work, "1"]).env_clear().stdin(Stdio::null()).spawn()
}

fn complain(why: &str) -> i32 {
    eprintln!("memhp-agent: burn: {why}");
    1
}
