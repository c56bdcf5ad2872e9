//! The process that holds memory: `/init hold JSON`, a child of the agent.
//!
//! It takes the memory, says how much that was, and then does as it is told on its standard input. It is the one to
//! be killed when memory runs out; nothing it holds outlives it.

mod forked;
mod limited;
mod merged;
mod pages;
mod pattern;
mod pipes;
mod referred;
mod reserved;
mod slab;
mod tables;
mod zeros;

pub(crate) use pages::frames;

use crate::job::{Command, HoldReply, Outcome, Request};
use crate::outbox::{failed, io_failed, refused};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::Write;
use wire::{Answer, Failure, Hold, HoldKind, Manner};

/// Memory of some kind.
trait Held {
    /// How much, in bytes.
    fn bytes(&self) -> u64;
    /// Pages or objects that make it up.
    fn objects(&self) -> u64;
    /// Pages or objects looked at, and those that are not as they were written.
    fn verify(&mut self) -> Result<(u64, u64), Failure>;
    /// Page frames, as ascending inclusive ranges.
    fn frames(&mut self) -> Result<Vec<(u64, u64)>, Failure>;
    /// Writes to a small part of it, going round.
    fn rewrite_some(&mut self) -> Result<(), Failure>;
}

/// Takes the memory and serves until released; the exit status.
pub(crate) fn run(what: &str) -> i32 {
    let what: Hold = match serde_json::from_str(what) {
        Ok(what) => what,
        Err(e) => {
            eprintln!("memhp-agent: hold: {e}");
            return 2;
        }
    };
    let held = take(&what);
    let outcome: Outcome = match &held {
        Ok(held) => Ok((held.bytes(), held.objects())),
        Err(failure) => Err(failure.clone()),
    };
    let served = say(&outcome).and_then(|()| serve(held?, what.busy));
    i32::from(served.is_err())
}

fn take(what: &Hold) -> Result<Box<dyn Held>, Failure> {
    let manner = Manner { nice: 0, oom_score_adj: Some(what.oom_score_adj), cgroup: what.cgroup.clone() };
    crate::manner::take(&manner).map_err(refused)?;
    if what.busy && !may_be_busy(what.kind) {
        return Err(failed("memory of this kind cannot be kept busy")(Errno::INVAL));
    }
    Ok(match what.kind {
        HoldKind::Anonymous => Box::new(pages::Pages::anonymous(what, false)?),
        HoldKind::Mlocked => Box::new(pages::Pages::anonymous(what, true)?),
        HoldKind::Spliced => Box::new(referred::Referred::by_pipes(what)?),
        HoldKind::Registered => Box::new(referred::by_ring(pages::Pages::anonymous(what, false)?)?),
        HoldKind::RegisteredTmpfs => Box::new(referred::by_ring(pages::Pages::tmpfs(what)?)?),
        HoldKind::RegisteredHugetlb => Box::new(referred::by_ring(pages::Pages::hugetlb(what)?)?),
        HoldKind::Forked => Box::new(forked::Forked::take(pages::Pages::anonymous(what, false)?)?),
        HoldKind::ForkedThp => Box::new(forked::Forked::take(pages::Pages::thp(what)?)?),
        HoldKind::Accounted => Box::new(pages::Pages::accounted(what)?),
        HoldKind::Placed => Box::new(pages::Pages::placed(what)?),
        HoldKind::Reserved => Box::new(reserved::Reserved::take(what)?),
        HoldKind::Mergeable => Box::new(merged::take(what)?),
        HoldKind::Tmpfs => Box::new(pages::Pages::tmpfs(what)?),
        HoldKind::Slab => Box::new(slab::Slab::take(what)?),
        HoldKind::PageTables => Box::new(tables::Tables::take(what)?),
        HoldKind::Pipe => Box::new(pipes::Pipes::take(what)?),
        HoldKind::Large => Box::new(pages::Pages::large(what)?),
        HoldKind::Thp => Box::new(pages::Pages::thp(what)?),
        HoldKind::Hugetlb => Box::new(pages::Pages::hugetlb(what)?),
        HoldKind::HugetlbShared => Box::new(pages::Pages::hugetlb_shared(what)?),
        HoldKind::HugetlbLimited => Box::new(limited::Limited::take(what)?),
        HoldKind::HugeZero => Box::new(zeros::Zeros::take(what)?),
    })
}

/// Can parts of it be written again and again?
fn may_be_busy(kind: HoldKind) -> bool {
    matches!(
        kind,
        HoldKind::Anonymous
            | HoldKind::Mlocked
            | HoldKind::Tmpfs
            | HoldKind::Pipe
            | HoldKind::Thp
            | HoldKind::Large
            | HoldKind::Hugetlb
            | HoldKind::HugetlbShared
    )
}

/// Does as told until the release; `busy` rewrites in between.
fn serve(mut held: Box<dyn Held>, busy: bool) -> Result<(), Failure> {
    let mut input = Input::default();
    loop {
        while let Some(request) = input.next()? {
            let result = match request.command {
                Command::Verify => held.verify().map(|(pages, wrong)| Answer::Verified { pages, wrong }),
                Command::Frames => held.frames().map(Answer::Frames),
                Command::Release => return Ok(()),
            };
            say(&HoldReply { id: request.id, result })?;
        }
        if busy {
            held.rewrite_some()?;
        }
        if !input.fill(!busy)? {
            return Err(refused("the agent is gone"));
        }
    }
}

/// Lines on standard input.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
}

impl Input {
    /// Reads what is there; waits for it where `wait` is set. False at the end of the input.
    fn fill(&mut self, wait: bool) -> Result<bool, Failure> {
        let stdin = rustix::stdio::stdin();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut fds, (!wait).then_some(&now)) {
            Ok(0) | Err(Errno::INTR) => return Ok(true),
            Ok(_) => {}
            Err(e) => return Err(failed("poll standard input")(e)),
        }
        let mut chunk = [0u8; 512];
        let n = rustix::io::read(stdin, &mut chunk).map_err(failed("read standard input"))?;
        self.bytes.extend_from_slice(&chunk[..n]);
        Ok(n > 0)
    }

    fn next(&mut self) -> Result<Option<Request>, Failure> {
        let Some(end) = self.bytes.iter().position(|&b| b == b'\n') else { return Ok(None) };
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        serde_json::from_slice(&line).map(Some).map_err(|e| refused(format!("request: {e}")))
    }
}

fn say<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(value).map_err(|e| refused(e.to_string()))?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).map_err(io_failed("write standard output"))
}

/// The page size as a usize.
fn page_size() -> usize {
    rustix::param::page_size()
}

/// `bytes`, rounded up to whole pages, in pages.
fn whole_pages(bytes: u64) -> Result<usize, Failure> {
    let page = page_size() as u64;
    match usize::try_from(bytes.div_ceil(page)) {
        Ok(0) => Err(failed("no memory to hold")(Errno::INVAL)),
        Ok(pages) if pages.checked_mul(page_size()).is_some() => Ok(pages),
        _ => Err(failed("more memory than there are addresses")(Errno::INVAL)),
    }
}
