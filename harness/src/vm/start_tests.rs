use super::*;
use crate::vm::arch::Arch;
use crate::vm::{WaitError, sweep};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

pub(crate) fn machine() -> Machine {
    Machine {
        arch: Arch::X86_64,
        memory: 64 << 20,
        slots: 4,
        max_memory: 8 << 30,
        smp: 1,
        nodes: Vec::new(),
        cold_dimms: Vec::new(),
        cpu: None,
        extra: Vec::new(),
    }
}

/// A machine whose processors never run.
pub(crate) fn paused(machine: Machine) -> Result<Vm, StartError> {
    let qemu = Qemu::find(None, Arch::X86_64).unwrap();
    Vm::start(Spec { paused: true, ..Spec::new(qemu, Accel::Tcg, machine, None) })
}

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(60))
}

#[test]
fn started_asked_and_ended() {
    let vm = paused(machine()).unwrap();
    assert!(vm.starved().is_some_and(|part| (0.0..=1.0).contains(&part)), "{:?}", vm.starved());
    let status = vm.qmp().execute("query-status", Value::Null, soon()).unwrap();
    assert_eq!(status["running"], false);
    assert!(vm.pid().is_some() && vm.run_dir().join("stderr").exists());
    assert!(!vm.proof().contains("fd=") && vm.proof().contains("path=qmp.sock,server=on,wait=off"));
    let run = vm.run_dir().to_path_buf();
    assert_eq!(vm.quit(soon()).unwrap(), Exit { code: Some(0), signal: None, stderr: String::new() });
    assert_eq!(vm.pid(), None);
    let gone = vm.qmp().execute("query-status", Value::Null, soon()).unwrap_err();
    assert_eq!(gone.to_string(), "query-status: QEMU ended with status 0");
    drop(vm);
    assert!(!run.exists());
}

#[test]
fn a_wait_for_the_agent_ends_when_qemu_dies() {
    let vm = paused(machine()).unwrap();
    let pid = Pid::from_raw(vm.pid().unwrap().try_into().unwrap()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| vm.channel().hello(Deadline::within(Duration::from_secs(600))));
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        let error = waiting.join().unwrap().unwrap_err();
        let crate::vm::ChannelError::Wait(WaitError::Gone { gone, .. }) = error else { panic!("{error}") };
        assert_eq!(gone.exit.unwrap().signal, Some(9));
    });
}

#[test]
fn qemus_own_words_come_with_a_failed_start() {
    let error =
        paused(Machine { extra: vec!["-device".into(), "no-such-device".into()], ..machine() }).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("QEMU did not come up: ") && text.contains("QEMU ended with status 1: "),
        "{text}"
    );
    assert!(text.contains("'no-such-device' is not a valid device model name"), "{text}");
}

#[test]
fn nodes_and_cold_dimms_are_taken() {
    use crate::vm::{ColdDimm, NodeSpec};
    let node = |cpus: &[u32]| NodeSpec { memory: 32 << 20, cpus: cpus.to_vec() };
    let dimm = ColdDimm { name: "d0".into(), size: 1 << 30, node: Some(1), slot: Some(2), addr: None };
    let vm =
        paused(Machine { nodes: vec![node(&[0]), node(&[])], cold_dimms: vec![dimm], ..machine() }).unwrap();
    let devices = vm.memory_devices().unwrap();
    assert_eq!(devices.len(), 1);
    assert_eq!((devices[0].id.as_deref(), devices[0].node, devices[0].slot), (Some("d0"), Some(1), Some(2)));
}

/// Names the environment variable that makes this test the parent that is to be killed.
const PARENT: &str = "MEMHP_TEST_PARENT_OF_QEMU";

#[test]
fn qemu_dies_with_a_parent_that_is_killed() {
    if std::env::var_os(PARENT).is_some() {
        let vm = paused(machine()).unwrap();
        println!("\nqemu {} {}", vm.pid().unwrap(), vm.run_dir().display());
        vm.wait_exit(Deadline::within(Duration::from_secs(600)));
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let this = "vm::start::tests::qemu_dies_with_a_parent_that_is_killed";
    let mut parent = Command::new(std::env::current_exe().unwrap());
    parent.args(["--exact", this, "--nocapture"]).env(PARENT, "1").env("XDG_RUNTIME_DIR", base.path());
    let mut parent = parent.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told = lines.find(|line| line.starts_with("qemu ")).expect("the parent starts QEMU");
    let mut words = told.split(' ').skip(1);
    let qemu = Pid::from_raw(words.next().unwrap().parse().unwrap()).unwrap();
    let run = PathBuf::from(words.next().unwrap());
    let watched = pidfd_open(qemu, PidfdFlags::empty()).unwrap();
    assert_eq!(sweep(base.path()).unwrap(), Vec::<PathBuf>::new());
    parent.kill().unwrap();
    parent.wait().unwrap();
    let mut fds = [rustix::event::PollFd::new(&watched, rustix::event::PollFlags::IN)];
    let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&second)), Ok(1), "QEMU {qemu:?} outlived its parent");
    assert_eq!(sweep(base.path()).unwrap(), [run]);
}
