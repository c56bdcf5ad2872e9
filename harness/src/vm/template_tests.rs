use super::*;
use crate::vm::arch::Arch;
use crate::vm::start::tests::machine;
use crate::vm::{Accel, Machine, Qemu};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(60))
}

fn spec(machine: Machine) -> Spec {
    let qemu = Qemu::find(None, Arch::X86_64).unwrap();
    Spec { paused: true, ..Spec::new(qemu, Accel::Tcg, machine, None) }
}

/// The first word of memory at 1 MiB, as the guest would read it.
fn word(vm: &Vm) -> String {
    let line = json!({ "command-line": "xp /1wx 0x100000" });
    let answer = vm.qmp().execute("human-monitor-command", line, soon()).unwrap();
    answer.as_str().unwrap().trim().to_string()
}

#[test]
fn saved_opened_and_forked() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Spec { ram: Ram::Shared(dir.path().to_path_buf()), ..spec(machine()) };
    let saved = Vm::start(shared).unwrap().save(dir.path(), json!({"from": "test"}), soon()).unwrap();
    assert!(saved.state_size() > 10_000 && saved.state_size() < 4 << 20, "{}", saved.state_size());
    let template = Template::open(dir.path()).unwrap();
    assert_eq!(template, saved);
    assert_eq!(template.note(), &json!({"from": "test"}));
    let about = dir.path().join(ABOUT);
    let whole = std::fs::read_to_string(&about).unwrap();
    std::fs::write(&about, whole.replace("\"test\"", "\"tests\"")).unwrap();
    assert!(matches!(Template::open(dir.path()), Err(TemplateError::Damaged { .. })));
    std::fs::write(&about, whole).unwrap();
    let ram = File::options().write(true).open(dir.path().join("ram0.ram")).unwrap();
    assert_eq!(ram.metadata().unwrap().len(), 64 << 20);
    // Written zeroes are as good as holes; another word is damage.
    ram.write_all_at(&[0; 4096], 2 << 20).unwrap();
    assert_eq!(Template::open(dir.path()).unwrap(), saved);
    ram.write_all_at(&0x1234_5678u32.to_le_bytes(), 1 << 20).unwrap();
    assert!(matches!(Template::open(dir.path()), Err(TemplateError::Damaged { .. })));
    let fork = template.fork(spec(machine()), soon()).unwrap();
    assert_eq!(word(&fork), "0000000000100000: 0x12345678");
    let status = fork.qmp().execute("query-status", Value::Null, soon()).unwrap();
    assert_eq!(status["running"], false);
    fork.cont(soon()).unwrap();
    fork.quit(soon());
}

#[test]
fn another_guest_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Spec { ram: Ram::Shared(dir.path().to_path_buf()), ..spec(machine()) };
    let template = Vm::start(shared).unwrap().save(dir.path(), json!({"from": "test"}), soon()).unwrap();
    let other = Machine { smp: 2, ..machine() };
    let error = template.fork(spec(other), soon()).unwrap_err();
    assert!(
        matches!(&error, TemplateError::Differs { differs, .. } if differs == "it has 1, wanted is 2"),
        "{error}"
    );
    let old = Spec { qemu: Qemu { ignore_shared: false, ..spec(machine()).qemu }, ..spec(machine()) };
    assert!(matches!(template.fork(old, soon()), Err(TemplateError::Unsupported)));
}

#[test]
fn a_damaged_state_is_an_error_and_not_a_guest() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Spec { ram: Ram::Shared(dir.path().to_path_buf()), ..spec(machine()) };
    let template = Vm::start(shared).unwrap().save(dir.path(), json!({"from": "test"}), soon()).unwrap();
    let state = template.state[..template.state.len() / 2].to_vec();
    let error = Template { state, ..template }.fork(spec(machine()), soon()).unwrap_err();
    // QEMU says so in an event, and may end before anybody can ask why.
    let failed = matches!(&error, TemplateError::Migration { status, .. } if status == "failed");
    assert!(failed || error.to_string().contains("QEMU ended with status 1"), "{error}");
}

#[test]
fn private_memory_is_no_template() {
    let dir = tempfile::tempdir().unwrap();
    let error =
        Vm::start(spec(machine())).unwrap().save(dir.path(), json!({"from": "test"}), soon()).unwrap_err();
    assert!(matches!(error, TemplateError::NotShared { .. }));
    assert!(matches!(Template::open(dir.path()), Err(TemplateError::File { .. })));
}
