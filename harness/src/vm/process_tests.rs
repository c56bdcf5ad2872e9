use super::*;
use crate::vm::hub;
use std::os::fd::AsFd;
use std::time::Duration;

fn start(script: &str, dir: &Path) -> (Process, Arc<Hub>) {
    let hub = hub::silent(None);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    let process = Process::start(Arc::clone(&hub), command, Vec::new(), dir.join("stderr")).unwrap();
    (process, hub)
}

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(20))
}

#[test]
fn status_and_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let (process, _hub) = start("echo oh no >&2; exit 3", dir.path());
    let exit = process.wait(soon()).unwrap();
    assert_eq!(exit, Exit { code: Some(3), signal: None, stderr: "oh no".into() });
    assert_eq!(exit.to_string(), "QEMU ended with status 3: oh no");
    assert_eq!(process.pid(), None);
}

#[test]
fn a_signal_is_told_from_a_status() {
    let dir = tempfile::tempdir().unwrap();
    let (process, _hub) = start("exec sleep 1000", dir.path());
    process.kill();
    assert_eq!(process.wait(soon()).unwrap(), Exit { code: None, signal: Some(9), stderr: String::new() });
}

#[test]
fn dropping_kills_the_whole_group_and_waits() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", told.display());
    let (process, hub) = start(&script, dir.path());
    let child = read_pid(&told);
    let watched = rustix::process::pidfd_open(child, rustix::process::PidfdFlags::empty()).unwrap();
    drop(process);
    hub.look(|state| assert_eq!(state.exit.as_ref().unwrap().signal, Some(9)));
    assert!(gone(watched.as_fd(), 20));
}

#[test]
fn a_program_that_is_missing_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let command = Command::new(dir.path().join("none"));
    let error =
        Process::start(hub::silent(None), command, Vec::new(), dir.path().join("stderr")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

/// The pid in a file, once it is there.
fn read_pid(path: &Path) -> Pid {
    let until = soon();
    loop {
        if let Ok(text) = std::fs::read_to_string(path) {
            return Pid::from_raw(text.trim().parse().unwrap()).unwrap();
        }
        assert!(!until.left().is_zero(), "no {}", path.display());
        std::thread::yield_now();
    }
}

/// The process of a pidfd ends within some seconds.
fn gone(pidfd: std::os::fd::BorrowedFd<'_>, seconds: i64) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap() == 1
}
