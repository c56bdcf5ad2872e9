//! The main thread: it waits for the port, the uevents and the workers, and never blocks anywhere else.
//!
//! Order is a promise: uevents that were in the socket when an answer or the end of a job was made go before it. So,
//! once an answer is there, every event of what happened before it has been seen.

use crate::files::{self, Reader};
use crate::fresh;
use crate::job::{Command, Jobs, Means, trial_under_way};
use crate::outbox::{Outbox, failed, io_failed, now_ns, refused};
use crate::pageflags;
use crate::port::Port;
use crate::processes;
use crate::script::Script;
use crate::sys;
use crate::uevent::Uevents;
use crate::watch::Watcher;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::CWD;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use wire::{Answer, Ask, Failure, Hello, Message, Request, Sent, Value};

/// All that the main thread has.
pub(crate) struct Agent {
    port: Port,
    uevents: Option<Uevents>,
    outbox: Arc<Outbox>,
    means: Means,
    jobs: Jobs,
    watcher: Watcher,
    reader: Reader,
    /// what the last [`Ask::ReadMany`] of each file found
    texts: BTreeMap<String, Value>,
    script: Option<Script>,
}

/// What came of a request: an answer now, or later through the outbox.
enum Reply {
    Now(Answer),
    Later,
}

impl Agent {
    /// Ready to serve; `uevents` is `None` on a kernel without networking.
    pub(crate) fn new(port: Port, uevents: Option<Uevents>, means: Means) -> Self {
        Self {
            port,
            uevents,
            outbox: Arc::clone(&means.outbox),
            jobs: Jobs::new(means.clone()),
            means,
            watcher: Watcher::new(),
            reader: Reader::new(),
            texts: BTreeMap::new(),
            script: None,
        }
    }

    /// With something to do before anybody asks.
    pub(crate) fn with_script(self, script: Option<Script>) -> Self {
        Self { script, ..self }
    }

    /// Serves for ever; returns only why that is not possible.
    pub(crate) fn run(mut self) -> String {
        loop {
            if let Err(why) = self.follow_script() {
                return why;
            }
            if let Err(e) = self.wait() {
                return format!("poll: {e}");
            }
            self.drain_uevents();
            for message in self.outbox.take() {
                self.drain_uevents();
                self.say(message);
            }
            if let Err(e) = self.port.fill() {
                return format!("read {}: {e}", crate::port::DEVICE);
            }
            while let Some(request) = self.port.next() {
                match request {
                    Ok(request) => self.handle(request),
                    Err(error) => {
                        self.port.send(Message::Log { t_ns: now_ns(), text: format!("request: {error}") });
                    }
                }
            }
            if let Err(e) = self.port.flush() {
                return format!("write {}: {e}", crate::port::DEVICE);
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Result<(), Errno> {
        let port = self.port.fd();
        let wake = self.outbox.wake();
        let uevents = self.uevents.as_ref().filter(|_| !trial_under_way()).map(Uevents::fd);
        let mut interest = PollFlags::IN;
        if self.port.pending() {
            interest |= PollFlags::OUT;
        }
        let mut fds = Vec::with_capacity(3);
        fds.push(PollFd::new(&port, interest));
        fds.push(PollFd::new(&wake, PollFlags::IN));
        if let Some(uevents) = &uevents {
            fds.push(PollFd::new(uevents, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Does what the script says until it has to wait; tells its end.
    fn follow_script(&mut self) -> Result<(), String> {
        while let Some(request) = self.script.as_mut().and_then(Script::next) {
            self.handle(request);
        }
        if let Some(port) = self.script.as_ref().and_then(Script::done) {
            self.script = None;
            crate::job::signal(port, crate::job::END)
                .map_err(|f| format!("tell the end of the script: {}", f.why))?;
        }
        Ok(())
    }

    fn say(&mut self, message: Message) {
        if let Some(script) = &mut self.script {
            script.heed(&message);
        }
        self.port.send(message);
    }

    /// While a plug is timed, uevents stay in the socket.
    fn drain_uevents(&mut self) {
        if trial_under_way() {
            return;
        }
        if let Some(uevents) = &mut self.uevents {
            uevents.drain(|message| self.port.send(message));
        }
    }

    fn handle(&mut self, Request { id, ask }: Request) {
        let hello = matches!(ask, Ask::Hello);
        let result = match self.answer(id, ask) {
            Ok(Reply::Later) => return,
            Ok(Reply::Now(answer)) => Ok(answer),
            Err(failure) => Err(failure),
        };
        let message = Message::Answer { id, t_ns: now_ns(), result };
        self.drain_uevents();
        if hello { self.port.open_up(message) } else { self.say(message) }
    }

    fn answer(&mut self, id: u64, ask: Ask) -> Result<Reply, Failure> {
        let done = |()| Reply::Now(Answer::Done);
        match ask {
            Ask::Hello => self.hello().map(|hello| Reply::Now(Answer::Hello(hello))),
            Ask::Read { path } => {
                let text = self.reader.text(CWD, &path).map_err(failed(format_args!("read {path}")))?;
                Ok(Reply::Now(Answer::Text(text)))
            }
            Ask::ReadMany { paths } => Ok(Reply::Now(Answer::Texts(self.read_many(paths)))),
            Ask::ReadBytes { path } => {
                let bytes = std::fs::read(&path).map_err(io_failed(format_args!("read {path}")))?;
                Ok(Reply::Now(Answer::Bytes(wire::base64::encode(&bytes))))
            }
            Ask::List { path } => {
                let names = files::open_dir(CWD, &path).and_then(files::names);
                Ok(Reply::Now(Answer::Names(names.map_err(failed(format_args!("list {path}")))?)))
            }
            Ask::Write { path, text } => {
                self.watcher.written(&path);
                files::write(&path, &text).map(done)
            }
            Ask::WriteMany { writes } => {
                writes.iter().for_each(|(path, _)| self.watcher.written(path));
                write_many(&writes)
            }
            Ask::Put { path, mode, offset, base64 } => {
                files::put(&path, mode, offset, &decode(&base64)?).map(done)
            }
            Ask::Reseed { base64 } => reseed(&decode(&base64)?).map(done),
            Ask::Watch { sets, threads } => {
                self.watcher.watch(sets, threads);
                Ok(done(()))
            }
            Ask::Snapshot => Ok(Reply::Now(Answer::Snapshot(self.snapshot()))),
            Ask::Job(job) => self.jobs.start(id, job).map(done),
            Ask::Interrupt { job } => self.jobs.interrupt(job).map(done),
            Ask::Release { job } => self.jobs.command(job, id, Command::Release).map(|()| Reply::Later),
            Ask::Verify { job } => self.jobs.command(job, id, Command::Verify).map(|()| Reply::Later),
            Ask::Frames { job } => self.jobs.command(job, id, Command::Frames).map(|()| Reply::Later),
            Ask::Signal { job, signal, group } => self.jobs.program(job)?.signal(signal, group).map(done),
            Ask::Processes => Ok(Reply::Now(Answer::Processes(processes::all(&mut self.reader)?))),
            Ask::Process { job } => self.jobs.program(job)?.pid().map(|pid| Reply::Now(Answer::Process(pid))),
            Ask::Cgroup { name, limits } => files::cgroup(&name, &limits).map(done),
            Ask::CountFlags { ranges, fresh } => {
                self.later(id, move || count_flags(&ranges, fresh).map(Answer::Flags))
            }
            Ask::Module { path, params } => {
                self.later(id, move || files::load_module(&path, &params).map(|()| Answer::Done))
            }
            Ask::Mount { source, target, fstype, data } => {
                self.later(id, move || files::mount(&source, &target, &fstype, &data).map(|()| Answer::Done))
            }
        }
    }

    /// Has a worker find the answer.
    fn later(
        &self,
        id: u64,
        work: impl FnOnce() -> Result<Answer, Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
        let outbox = Arc::clone(&self.outbox);
        let submitted = self.means.workers.submit(move || outbox.answer(id, work()));
        submitted.map(|()| Reply::Later).map_err(io_failed("start a thread"))
    }

    fn read_many(&mut self, paths: Vec<String>) -> Vec<Sent> {
        let one = |path: String| {
            let value = self.reader.value(CWD, &path);
            let sent = Sent::new(self.texts.get(&path), &value);
            self.texts.insert(path, value);
            sent
        };
        paths.into_iter().map(one).collect()
    }

    fn snapshot(&mut self) -> wire::Delta {
        let (port, uevents) = (&mut self.port, &mut self.uevents);
        // Events get their time when they are taken out of the socket, and a snapshot is long.
        self.watcher.snapshot(&mut || {
            if let Some(uevents) = uevents {
                uevents.drain(|message| port.send(message));
            }
        })
    }

    fn hello(&mut self) -> Result<Hello, Failure> {
        let uname = rustix::system::uname();
        let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
        let cmdline = self.reader.text(CWD, "/proc/cmdline").map_err(failed("read /proc/cmdline"))?;
        let mut flags = [0u8; 8];
        let page_flags = File::open(pageflags::PATH)
            .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut flags))
            .is_ok();
        Ok(Hello {
            protocol: wire::PROTOCOL,
            release: text(uname.release()),
            version: text(uname.version()),
            machine: text(uname.machine()),
            cmdline,
            uevents: self.uevents.is_some(),
            page_flags,
            page_size: rustix::param::page_size() as u64,
        })
    }
}

fn decode(base64: &str) -> Result<Vec<u8>, Failure> {
    wire::base64::decode(base64).ok_or_else(|| refused("not base64"))
}

fn count_flags(ranges: &[(u64, u64)], fresh: bool) -> Result<Vec<BTreeMap<u8, u64>>, Failure> {
    let mut all: Vec<_> =
        ranges.iter().map(|&(pfn, count)| pageflags::count(pfn, count)).collect::<Result<_, _>>()?;
    if fresh {
        all.push(fresh::flags()?);
    }
    Ok(all)
}

/// An errno is an answer; a write that was cut short is not, and fails the whole request.
fn write_many(writes: &[(String, String)]) -> Result<Reply, Failure> {
    let one = |(path, text): &(String, String)| match files::write(path, text) {
        Ok(()) => Ok(0),
        Err(failure) if failure.errno != 0 => Ok(failure.errno),
        Err(failure) => Err(failure),
    };
    Ok(Reply::Now(Answer::Errnos(writes.iter().map(one).collect::<Result<_, _>>()?)))
}

fn reseed(bytes: &[u8]) -> Result<(), Failure> {
    let path = "/dev/urandom";
    let random = File::options().write(true).open(path).map_err(io_failed(format_args!("open {path}")))?;
    sys::reseed(&random, bytes).map_err(failed("reseed the random generator"))
}
