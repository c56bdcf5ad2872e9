//! Pages that two processes share until one of them writes (copy on write after fork).

use super::Held;
use super::pages::{Pages, word};
use crate::outbox::{failed, refused};
use crate::sys;
use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use wire::Failure;

/// The pages, and the other process.
pub(crate) struct Forked {
    pages: Pages,
    /// `None` when it was told to end
    ask: Option<OwnedFd>,
    answer: OwnedFd,
    child: Pid,
}

impl Forked {
    /// Forks, with these pages.
    pub(crate) fn take(mut pages: Pages) -> Result<Self, Failure> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(failed("pipe"));
        let ((asked, ask), (answer, answers)) = (pipe()?, pipe()?);
        // The child must not keep its own pipe open.
        let mut ask = Some(ask);
        let child = sys::fork(|| {
            ask = None;
            i32::from(serve(&mut pages, &asked, &answers).is_err())
        });
        let child = child.map_err(failed("fork"))?;
        Ok(Self { pages, ask, answer, child })
    }

    /// Pages that are not in the child what they were when it was forked.
    fn wrong_in_child(&self) -> Result<u64, Failure> {
        let ask = self.ask.as_ref().ok_or_else(|| refused("the child was told to end"))?;
        rustix::io::write(ask, &[1]).map_err(failed("ask the child"))?;
        let mut count = [0u8; 8];
        match rustix::io::read(&self.answer, &mut count).map_err(failed("read the child's answer"))? {
            8 => word(&count).ok_or_else(|| refused("an answer of eight bytes is a number")),
            _ => Err(refused("the child is gone")),
        }
    }
}

/// The child: as often as it is asked, it looks at its pages.
fn serve(pages: &mut Pages, asked: &OwnedFd, answers: &OwnedFd) -> Result<(), Failure> {
    while rustix::io::read(asked, &mut [0u8; 1]).map_err(failed("read"))? == 1 {
        let (_, wrong) = pages.verify()?;
        rustix::io::write(answers, &wrong.to_ne_bytes()).map_err(failed("write"))?;
    }
    Ok(())
}

impl Held for Forked {
    fn bytes(&self) -> u64 {
        self.pages.bytes()
    }

    fn objects(&self) -> u64 {
        self.pages.objects()
    }

    /// What one process writes, the other must not see.
    fn verify(&mut self) -> Result<(u64, u64), Failure> {
        let (pages, before) = self.pages.verify()?;
        self.pages.rewrite();
        let (_, after) = self.pages.verify()?;
        Ok((pages, before.max(after).max(self.wrong_in_child()?)))
    }

    fn frames(&mut self) -> Result<Vec<(u64, u64)>, Failure> {
        self.pages.frames()
    }

    fn rewrite_some(&mut self) -> Result<(), Failure> {
        Err(refused("pages that others refer to are not rewritten"))
    }
}

impl Drop for Forked {
    /// The child sees the end of its pipe and ends.
    fn drop(&mut self) {
        self.ask = None;
        let _ = waitpid(Some(self.child), WaitOptions::empty());
    }
}
