use super::*;
use crate::vm::hub;
use std::os::unix::net::UnixStream;

fn console(watch: Option<Predicate>) -> (Console, UnixStream) {
    let (ours, theirs) = Port::of_test();
    (Console::start(hub::silent(watch), ours).unwrap(), theirs)
}

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(20))
}

#[test]
fn a_line_is_found_from_a_position_on() {
    let (console, mut guest) = console(None);
    guest.write_all(b"one\r\ntwo\r\none\r\n").unwrap();
    let is_one = |line: &str| line == "one";
    assert_eq!(console.wait_line("one", 0, soon(), is_one).unwrap().number, 0);
    assert_eq!(console.wait_line("one", 1, soon(), is_one).unwrap().number, 2);
    assert_eq!(console.end(), 3);
    let now = Deadline::within(Duration::ZERO);
    let error = console.wait_line("a third one", 3, now, is_one).unwrap_err();
    assert_eq!(error, WaitError::Timeout { what: "a third one".into(), deadline: now });
}

#[test]
fn the_first_alarming_line_ends_a_wait() {
    let (console, mut guest) = console(Some(Box::new(|line| line.contains("BUG:"))));
    guest.write_all(b"fine\nBUG: one\nBUG: two\n").unwrap();
    let error = console.wait_line("the prompt", 0, soon(), |line| line == "prompt").unwrap_err();
    assert_eq!(error, WaitError::Alarm { what: "the prompt".into(), line: "BUG: one".into() });
    assert_eq!(console.alarm().unwrap().number, 1);
    console.watch(None);
    guest.write_all(b"BUG: three\nprompt\n").unwrap();
    assert_eq!(console.wait_line("the prompt", 0, soon(), |line| line == "prompt").unwrap().number, 4);
    assert_eq!(console.alarm(), None);
}

#[test]
fn a_mark_is_waited_for_and_not_kept() {
    let (console, mut guest) = console(None);
    guest.write_all(format!("{MARK}\r\n").as_bytes()).unwrap();
    console.wait_mark(0, soon()).unwrap();
    assert_eq!(console.marks(), 1);
    let writer = std::thread::spawn(move || {
        guest.write_all(format!("last\r\n{MARK}\r\n").as_bytes()).unwrap();
        guest
    });
    console.wait_mark(1, soon()).unwrap();
    assert_eq!((console.text().as_str(), console.end()), ("last\n", 1));
    writer.join().unwrap();
}

#[test]
fn a_muted_alarm_is_kept_and_ends_no_wait() {
    let (console, mut guest) = console(Some(Box::new(|line| line.contains("BUG:"))));
    guest.write_all(b"BUG: one\nBacktrace\n").unwrap();
    console.mute();
    assert_eq!(console.wait_line("the trace", 0, soon(), |line| line == "Backtrace").unwrap().number, 1);
    let now = Deadline::within(Duration::ZERO);
    assert!(matches!(console.wait_line("more", 2, now, |_| true), Err(WaitError::Timeout { .. })));
    assert_eq!(console.alarm().unwrap().text, "BUG: one");
}

#[test]
fn a_panic_that_ends_qemu_is_an_alarm_although_the_monitor_closes_first() {
    let hub = hub::silent(Some(Box::new(|line| line.starts_with("Kernel panic"))));
    let (monitor, qemu) = UnixStream::pair().unwrap();
    let (serial, mut guest) = Port::of_test();
    let (line, agent) = Port::of_test();
    let _qmp = crate::vm::Qmp::start(Arc::clone(&hub), monitor).unwrap();
    let console = Console::start(Arc::clone(&hub), serial).unwrap();
    let _channel = crate::vm::Channel::start(Arc::clone(&hub), line, Default::default()).unwrap();
    drop(qemu);
    hub.wait(soon(), |state| state.qmp.is_closed().then_some(())).unwrap();
    let died = std::thread::spawn(move || {
        guest.write_all(b"Kernel panic - not syncing\n").unwrap();
        drop((guest, agent));
    });
    let error = console.wait_line("the prompt", 0, soon(), |line| line == "prompt").unwrap_err();
    assert_eq!(
        error,
        WaitError::Alarm { what: "the prompt".into(), line: "Kernel panic - not syncing".into() }
    );
    died.join().unwrap();
}

#[test]
fn a_flood_is_bounded_and_its_ends_are_kept() {
    let (console, mut guest) = console(None);
    let flood = "x".repeat(1023) + "\n";
    guest.write_all(b"first\n").unwrap();
    for _ in 0..(3 * RECORD / 1024) {
        guest.write_all(flood.as_bytes()).unwrap();
    }
    guest.write_all(b"last").unwrap();
    drop(guest);
    assert!(console.wait_quiet(Duration::from_secs(20), soon()));
    let text = console.text();
    assert!(text.len() < RECORD + 1024, "{}", text.len());
    assert!(
        text.starts_with("first\n") && text.ends_with("\nlast\n") && text.contains(" bytes dropped ...]")
    );
}

#[test]
fn quiet_is_told_from_time_up() {
    let (console, guest) = console(None);
    assert!(console.wait_quiet(Duration::from_millis(1), soon()));
    assert!(!console.wait_quiet(Duration::from_secs(20), Deadline::within(Duration::from_millis(1))));
    drop(guest);
}
