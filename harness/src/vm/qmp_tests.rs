use super::*;
use crate::vm::hub;
use std::thread::JoinHandle;

const GREETING: &str =
    r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}}"#;

/// A server that says `first`, then answers each command by what `answer` makes of it, until `answer` says `None`.
fn server(first: &str, answer: fn(&Value) -> Option<String>) -> (Qmp, JoinHandle<Vec<String>>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let qmp = Qmp::start(hub::silent(None), ours).unwrap();
    let mut out = theirs.try_clone().unwrap();
    out.write_all(first.as_bytes()).unwrap();
    let serve = move || {
        let mut asked = Vec::new();
        let commands = serde_json::Deserializer::from_reader(theirs).into_iter::<Value>();
        for command in commands.map_while(Result::ok) {
            asked.push(command["execute"].as_str().unwrap().to_string());
            match answer(&command) {
                Some(text) => out.write_all(text.as_bytes()).unwrap(),
                None => break,
            }
        }
        asked
    };
    (qmp, std::thread::spawn(serve))
}

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(20))
}

fn done(command: &Value) -> String {
    format!("{}\n", json!({ "return": {}, "id": command["id"] }))
}

#[test]
fn unknown_events_pass_through_while_a_command_is_under_way() {
    let (qmp, server) = server(&format!("{GREETING}\r\n"), |command| {
        let event = r#"{"timestamp": {"seconds": 3, "microseconds": 5}, "event": "FROM_THE_FUTURE", "data": {"x": [1]}}"#;
        Some(format!("{event}\n{}", done(command)))
    });
    qmp.negotiate(soon()).unwrap();
    assert_eq!(qmp.execute("stop", Value::Null, soon()), Ok(json!({})));
    let events = qmp.events_from(1);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].number, 1);
    assert_eq!(events[0].qemu, Duration::new(3, 5000));
    assert_eq!(events[0].event, Event::Other { name: "FROM_THE_FUTURE".into(), data: json!({"x": [1]}) });
    assert_eq!(qmp.events_end(), 2);
    let log = qmp.log();
    assert!(
        log.contains("> {\"execute\":\"stop\",\"id\":2}") && log.contains("< {\"id\":2,\"return\":{}}"),
        "{log}"
    );
    drop(qmp);
    drop(server);
}

#[test]
fn death_before_the_greeting_is_an_answer() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let hub = hub::silent(None);
    hub.post(|state| {
        state.exit = Some(crate::vm::Exit { code: Some(1), signal: None, stderr: "no such machine".into() });
    });
    let qmp = Qmp::start(hub, ours).unwrap();
    drop(theirs);
    let error = qmp.negotiate(soon()).unwrap_err();
    assert_eq!(error.to_string(), "greeting: QEMU ended with status 1: no such machine");
}

#[test]
fn death_during_a_command_is_an_answer() {
    let (qmp, server) = server(&format!("{GREETING}\n"), |command| {
        (command["execute"] != "query-status").then(|| done(command))
    });
    qmp.hub.post(|state| {
        state.exit = Some(crate::vm::Exit { code: None, signal: Some(9), stderr: String::new() });
    });
    qmp.negotiate(soon()).unwrap();
    let error = qmp.execute("query-status", Value::Null, soon()).unwrap_err();
    assert_eq!(error.to_string(), "query-status: QEMU was ended by signal 9");
    assert_eq!(server.join().unwrap(), ["qmp_capabilities", "query-status"]);
}

#[test]
fn garbage_is_an_answer_and_stays_one() {
    let (qmp, _server) = server(&format!("{GREETING}\nSegmentation fault\n"), |command| Some(done(command)));
    let first = qmp.negotiate(soon());
    let line = "Segmentation fault".to_string();
    // The greeting itself may be found before the garbage is read; the next command is not.
    let error = first.and_then(|()| qmp.execute("stop", Value::Null, soon()).map(drop)).unwrap_err();
    assert_eq!(error, QmpError::Garbage { line });
}

#[test]
fn a_refusal_carries_the_words() {
    let (qmp, _server) = server(&format!("{GREETING}\n"), |command| {
        if command["execute"] == "qmp_capabilities" {
            return Some(done(command));
        }
        let error = json!({ "class": "DeviceNotFound", "desc": "Device 'x' not found" });
        Some(format!("{}\n", json!({ "error": error, "id": command["id"] })))
    });
    qmp.negotiate(soon()).unwrap();
    assert_eq!(
        qmp.execute("device_del", json!({"id": "x"}), soon()),
        Err(QmpError::Refused {
            command: "device_del".into(),
            class: "DeviceNotFound".into(),
            desc: "Device 'x' not found".into()
        })
    );
}

#[test]
fn an_answer_that_comes_too_late_is_not_taken_for_another_one() {
    let (qmp, server) =
        server(&format!("{GREETING}\n"), |command| match command["execute"].as_str().unwrap() {
            "slow" => Some(String::new()),
            "next" => Some(format!(
                "{}\n{}\n",
                json!({"return": "late", "id": 2}),
                json!({"return": "right", "id": command["id"]})
            )),
            _ => Some(done(command)),
        });
    qmp.negotiate(soon()).unwrap();
    let now = Deadline::within(Duration::ZERO);
    assert_eq!(
        qmp.execute("slow", Value::Null, now).unwrap_err(),
        QmpError::Timeout { command: "slow".into(), deadline: now }
    );
    assert_eq!(qmp.execute("next", Value::Null, soon()), Ok(json!("right")));
    qmp.hub.look(|state| assert!(state.qmp.answers.is_empty() && state.qmp.awaited.is_empty()));
    drop(qmp);
    drop(server);
}
