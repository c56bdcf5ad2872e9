//! Data pages of pipes.

use super::pages::word;
use super::pattern::{Pattern, Rounds};
use super::{Held, page_size, whole_pages};
use crate::outbox::{failed, refused};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, tee};
use rustix::process::{Resource, Rlimit, setrlimit};
use wire::{Failure, Hold};

/// Pages in each pipe: the most that an unprivileged one may have by default (fs.pipe-max-size, 1 MiB).
pub(super) const PER_PIPE: usize = 256;

/// Full pipes.
pub(crate) struct Pipes {
    pipes: Vec<Pipe>,
    pages: u64,
    pattern: Pattern,
    rounds: Rounds,
    page: Vec<u8>,
    /// pages found wrong when their turn to be rewritten came
    spoiled: u64,
}

/// One pipe.
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipes {
    /// Fills as many pipes as it takes.
    pub(crate) fn take(what: &Hold) -> Result<Self, Failure> {
        let pages = whole_pages(what.bytes)?;
        allow(pages)?;
        let mut held = Self {
            pipes: Vec::new(),
            pages: 0,
            pattern: Pattern::new(what.seed),
            rounds: Rounds::default(),
            page: vec![0; page_size()],
            spoiled: 0,
        };
        while held.pages < pages as u64 {
            if held.pages as usize % PER_PIPE == 0 {
                held.pipes.push(Pipe::new()?);
            }
            held.put(held.pages, 0)?;
            held.pages += 1;
        }
        Ok(held)
    }

    /// Writes page `number` into its pipe.
    fn put(&mut self, number: u64, round: u64) -> Result<(), Failure> {
        let mut words = vec![0u64; page_size() / 8];
        self.pattern.fill(&mut words, number, round);
        for (to, word) in self.page.chunks_exact_mut(8).zip(&words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        let pipe = &self.pipes[number as usize / PER_PIPE];
        match rustix::io::write(&pipe.write, &self.page) {
            Ok(n) if n == page_size() => Ok(()),
            Ok(n) => Err(refused(format!("page {number}: the pipe took {n} bytes of it"))),
            Err(e) => Err(failed(format_args!("write page {number} to its pipe"))(e)),
        }
    }

    /// Is what was read page `number`?
    fn intact(&self, number: u64) -> bool {
        let words: Vec<u64> = self.page.chunks_exact(8).filter_map(word).collect();
        self.pattern.holds(&words, number, self.rounds.of(number))
    }
}

/// Allows this process the descriptors of pipes for so many pages.
pub(super) fn allow(pages: usize) -> Result<(), Failure> {
    let fds = 16 + 2 * (pages.div_ceil(PER_PIPE) as u64 + 1);
    setrlimit(Resource::Nofile, Rlimit { current: Some(fds), maximum: Some(fds) })
        .map_err(failed(format_args!("setrlimit NOFILE {fds}")))
}

impl Pipe {
    /// Where pages go in.
    pub(super) fn end(&self) -> &OwnedFd {
        &self.write
    }

    /// An empty pipe for [`PER_PIPE`] pages.
    pub(super) fn new() -> Result<Self, Failure> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(failed("pipe"))?;
        let bytes = PER_PIPE * page_size();
        fcntl_setpipe_size(&write, bytes).map_err(failed(format_args!("F_SETPIPE_SZ {bytes}")))?;
        Ok(Self { read, write })
    }

    /// Has `mirror` refer to what this one holds, which stays.
    pub(super) fn show(&self, mirror: &Self, bytes: usize) -> Result<(), Failure> {
        match tee(&self.read, &mirror.write, bytes, SpliceFlags::NONBLOCK) {
            Ok(n) if n == bytes => Ok(()),
            Ok(n) => Err(refused(format!("a pipe holds {n} bytes of {bytes}"))),
            Err(Errno::AGAIN) => Err(refused("a pipe is empty")),
            Err(e) => Err(failed("tee")(e)),
        }
    }

    /// Takes a page out.
    pub(super) fn get(&self, page: &mut [u8]) -> Result<(), Failure> {
        match rustix::io::read(&self.read, &mut *page) {
            Ok(n) if n == page.len() => Ok(()),
            Ok(n) => Err(refused(format!("a pipe gave {n} bytes of a page"))),
            Err(e) => Err(failed("read from a pipe")(e)),
        }
    }
}

impl Held for Pipes {
    fn bytes(&self) -> u64 {
        self.pages * page_size() as u64
    }

    fn objects(&self) -> u64 {
        self.pages
    }

    /// Looks at the pages through a second pipe (`tee`), so that they stay where they are.
    fn verify(&mut self) -> Result<(u64, u64), Failure> {
        let mirror = Pipe::new()?;
        let mut wrong = 0;
        for at in 0..self.pipes.len() {
            let first = (at * PER_PIPE) as u64;
            let count = (self.pages - first).min(PER_PIPE as u64);
            // The oldest page comes first; a rewriter in the middle of this pipe has moved the order round.
            let (cursor, _) = self.rounds.next();
            let turned = if (first..first + count).contains(&cursor) { cursor - first } else { 0 };
            self.pipes[at].show(&mirror, count as usize * page_size())?;
            for n in 0..count {
                mirror.get(&mut self.page)?;
                wrong += u64::from(!self.intact(first + (turned + n) % count));
            }
        }
        Ok((self.pages, wrong + self.spoiled))
    }

    fn frames(&mut self) -> Result<Vec<(u64, u64)>, Failure> {
        Err(refused("the frames of pipe pages cannot be seen from user space"))
    }

    /// Takes a page out and puts it back in, in another frame.
    fn rewrite_some(&mut self) -> Result<(), Failure> {
        for _ in 0..PER_PIPE {
            let (number, round) = self.rounds.next();
            self.pipes[number as usize / PER_PIPE].get(&mut self.page)?;
            self.spoiled += u64::from(!self.intact(number));
            self.put(number, round)?;
            self.rounds.step(self.pages);
        }
        Ok(())
    }
}
