use super::*;
use crate::vm::hub;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixStream;
use wire::Uevent;

/// The agent's side.
struct Agent {
    stream: UnixStream,
    frames: FrameReader,
    writer: FrameWriter,
}

impl Agent {
    fn take(&mut self) -> Request {
        let mut bytes = [0u8; 4096];
        loop {
            match self.frames.take::<Request>() {
                Some(Ok(request)) => return request,
                Some(Err(e)) => panic!("{e}"),
                None => {
                    let n = self.stream.read(&mut bytes).unwrap();
                    assert!(n > 0, "the harness closed the line");
                    self.frames.push(&bytes[..n]);
                }
            }
        }
    }

    fn say(&mut self, message: &Message) {
        self.stream.write_all(&self.writer.encode(message)).unwrap();
    }

    fn answer(&mut self, id: u64, result: Result<Answer, Failure>) {
        self.say(&Message::Answer { id, t_ns: 1000 + id, result });
    }
}

fn channel(counters: Counters) -> (Channel, Agent) {
    let (ours, theirs) = Line::of_test();
    let frames = FrameReader::after(counters.sent, counters.said.clone());
    let writer = FrameWriter::after(counters.received, counters.heard.clone());
    let channel = Channel::start(hub::silent(None), ours, counters).unwrap();
    (channel, Agent { stream: theirs, frames, writer })
}

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(20))
}

fn uevent(seqnum: u64) -> Uevent {
    let devpath = "/devices/system/memory/memory32".to_string();
    Uevent { t_ns: 1, seqnum, action: "add".into(), devpath, env: BTreeMap::new(), skipped: 0 }
}

fn read_state() -> Ask {
    Ask::Read { path: "/state".into() }
}

#[test]
fn answers_find_their_questions_in_any_order() {
    let (channel, mut agent) = channel(Counters::default());
    let serve = std::thread::spawn(move || {
        let (first, second) = (agent.take(), agent.take());
        for request in [second, first] {
            let Ask::Read { path } = request.ask else { panic!() };
            agent.answer(request.id, Ok(Answer::Text(path)));
        }
        agent
    });
    std::thread::scope(|scope| {
        for path in ["/a", "/b"] {
            let channel = &channel;
            scope.spawn(move || {
                let answer = channel.call(Ask::Read { path: path.into() }, soon());
                assert_eq!(answer, Ok(Answer::Text(path.into())));
            });
        }
    });
    serve.join().unwrap();
    assert_eq!(channel.counters(), Counters { sent: 2, received: 2, last_id: 2, ..Counters::default() });
}

#[test]
fn what_comes_unasked_keeps_its_order() {
    let (channel, mut agent) = channel(Counters::default());
    let job = Job::Write { path: "/state".into(), text: "offline".into() };
    let serve = std::thread::spawn(move || {
        let id = agent.take().id;
        agent.answer(id, Ok(Answer::Done));
        agent.say(&Message::Uevent(uevent(7)));
        agent.say(&Message::UeventsLost { t_ns: 5 });
        let result = Err(Failure { errno: 16, why: "write".into() });
        agent.say(&Message::JobDone { id, begun_ns: 2, t_ns: 3, result });
        agent.say(&Message::Log { t_ns: 0, text: "hello".into() });
        agent.say(&Message::Uevent(uevent(8)));
        agent
    });
    let id = channel.start_job(job, soon()).unwrap();
    let end = channel.wait_job(id, soon()).unwrap();
    assert_eq!((end.begun_ns, end.t_ns), (2, 3));
    assert_eq!(end.result.clone().unwrap_err().errno, 16);
    assert_eq!(channel.next_push(soon()), Ok(Push::Uevent(uevent(7))));
    assert_eq!(channel.next_push(soon()), Ok(Push::UeventsLost { t_ns: 5 }));
    assert_eq!(channel.next_push(soon()), Ok(Push::JobDone(end)));
    assert_eq!(channel.next_push(soon()), Ok(Push::Uevent(uevent(8))));
    assert_eq!(channel.pushes(), []);
    assert!(channel.log().contains("- 0 hello"));
    serve.join().unwrap();
}

#[test]
fn an_errno_is_the_kernels_answer() {
    let (channel, mut agent) = channel(Counters::default());
    let failure = Failure { errno: 2, why: "open /state".into() };
    let said = failure.clone();
    std::thread::spawn(move || {
        let id = agent.take().id;
        agent.answer(id, Err(said));
        agent.take();
    });
    let what = "read /state".to_string();
    assert_eq!(channel.call(read_state(), soon()), Err(ChannelError::Refused { what, failure }));
}

#[test]
fn a_missing_message_damages_the_line_for_good() {
    let (channel, mut agent) = channel(Counters::default());
    std::thread::spawn(move || {
        let id = agent.take().id;
        agent.writer.encode(&"lost");
        agent.answer(id, Ok(Answer::Done));
        agent.writer = FrameWriter::after(agent.writer.sent() - 2, String::new());
        let id = agent.take().id;
        agent.answer(id, Ok(Answer::Done));
        agent.take();
    });
    let lost = ChannelError::Damaged(FrameError::Number { expected: 1, got: 2 });
    assert_eq!(channel.call(read_state(), soon()), Err(lost.clone()));
    assert_eq!(channel.call(read_state(), soon()), Err(lost));
}

#[test]
fn silence_is_a_timeout_with_the_question_in_it() {
    let (channel, _agent) = channel(Counters::default());
    let now = Deadline::within(Duration::ZERO);
    assert_eq!(
        channel.call(read_state(), now),
        Err(WaitError::Timeout { what: "read /state".into(), deadline: now }.into())
    );
}

#[test]
fn a_guest_that_does_not_read_does_not_block_the_asker() {
    let (channel, _agent) = channel(Counters::default());
    let base64 = "A".repeat(4 << 20); // more than a socket takes
    let put = Ask::Put { path: "/x".into(), mode: 0o755, offset: 0, base64 };
    let now = Deadline::within(Duration::ZERO);
    assert!(matches!(channel.call(put, now), Err(ChannelError::Wait(WaitError::Timeout { .. }))));
}

#[test]
fn qemu_gone_and_alarm_end_a_wait() {
    let (ours, _theirs) = Line::of_test();
    let hub = hub::silent(None);
    let channel = Channel::start(Arc::clone(&hub), ours, Counters::default()).unwrap();
    let (monitor, qemu) = UnixStream::pair().unwrap();
    let _qmp = crate::vm::Qmp::start(Arc::clone(&hub), monitor).unwrap();
    let (serial, mut guest) = Line::of_test();
    let console = crate::vm::Console::start(Arc::clone(&hub), serial).unwrap();
    console.watch(Some(Box::new(|line| line.starts_with("Kernel panic"))));
    guest.write_all(b"Kernel panic - not syncing\n").unwrap();
    let what = "read /state".to_string();
    let line = "Kernel panic - not syncing".to_string();
    assert_eq!(channel.call(read_state(), soon()), Err(WaitError::Alarm { what, line }.into()));
    console.watch(None);
    let exit = crate::vm::Exit { code: Some(0), signal: None, stderr: String::new() };
    hub.post(|state| state.exit = Some(exit.clone()));
    drop((guest, qemu, _theirs));
    let gone = crate::vm::Gone { exit: Some(exit) };
    let what = "read /state".to_string();
    assert_eq!(channel.call(read_state(), soon()), Err(WaitError::Gone { what, gone }.into()));
}

#[test]
fn hello_is_repeated_until_it_is_heard() {
    let (channel, mut agent) = channel(Counters::default());
    let hello = Hello {
        protocol: wire::PROTOCOL,
        release: "6.12".into(),
        version: "#1".into(),
        machine: "x86_64".into(),
        cmdline: String::new(),
        uevents: true,
        page_flags: false,
        page_size: 4096,
    };
    let said = hello.clone();
    let serve = std::thread::spawn(move || {
        let mut heard = Vec::new();
        let mut bytes = [0u8; 4096];
        let line = FrameWriter::new().encode(&Request { id: 1, ask: Ask::Hello });
        let again = [b"\n", line.as_slice()].concat();
        let expected = [line, again.repeat(HELLO_AT_ONCE)].concat(); // one more than at once
        while heard.len() < expected.len() {
            let n = agent.stream.read(&mut bytes).unwrap(); // not open yet: all of this is lost
            heard.extend_from_slice(&bytes[..n]);
        }
        assert_eq!(heard, expected);
        agent.stream.write_all(b"echo of a part\r\nand of ano").unwrap();
        agent.answer(1, Ok(Answer::Hello(said)));
        agent.answer(1, Ok(Answer::Done)); // to the repetition
        agent
    });
    assert_eq!(channel.hello(soon()), Ok(hello));
    serve.join().unwrap();
}

#[test]
fn another_protocol_is_refused() {
    let (channel, mut agent) = channel(Counters::default());
    std::thread::spawn(move || {
        let id = agent.take().id;
        agent.answer(id, Ok(Answer::Done));
        while agent.stream.read(&mut [0u8; 64]).is_ok_and(|n| n > 0) {}
    });
    assert!(matches!(channel.hello(soon()), Err(ChannelError::Unexpected { .. })));
}

#[test]
fn a_fork_goes_on_counting() {
    let (said, heard) = ("asked ".repeat(99), "answered ".repeat(99));
    let (path, cut) = (said.clone(), Message::Log { t_ns: 0, text: heard.clone() });
    let partial = FrameWriter::after(9, heard.clone()).encode(&cut);
    let (partial, rest) = partial.split_at(7);
    let counters = Counters { sent: 5, received: 9, last_id: 5, partial: partial.to_vec(), said, heard };
    let (channel, mut agent) = channel(counters);
    agent.stream.write_all(rest).unwrap();
    agent.writer.encode(&cut);
    let serve = std::thread::spawn(move || {
        let request = agent.take();
        agent.answer(request.id, Ok(Answer::Done));
        (request, agent)
    });
    assert_eq!(channel.call(Ask::Read { path: path.clone() }, soon()), Ok(Answer::Done));
    let (request, agent) = serve.join().unwrap();
    assert_eq!(request, Request { id: 6, ask: Ask::Read { path } });
    let (said, heard) = (agent.frames.past().to_string(), agent.writer.past().to_string());
    drop(agent);
    channel.hub.wait(soon(), |state| state.agent.is_closed().then_some(()));
    let end = Counters { sent: 6, received: 11, last_id: 6, partial: Vec::new(), said, heard };
    assert_eq!(channel.counters(), end);
}
