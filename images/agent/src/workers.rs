//! Threads for what may block; always a few at rest, because a guest without free memory can make no new ones.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Work to be done.
type Work = Box<dyn FnOnce() + Send>;

/// Threads kept at rest.
const RESERVE: usize = 4;

/// Enough for any job; the memory is the guest's.
pub(crate) const STACK: usize = 128 << 10;

/// The threads.
#[derive(Clone)]
pub(crate) struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work_came: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    at_rest: usize,
}

impl Workers {
    /// Starts the reserve.
    pub(crate) fn new() -> io::Result<Self> {
        let shared = Shared { state: Mutex::default(), work_came: Condvar::new() };
        let workers = Self { shared: Arc::new(shared) };
        workers.refill()?;
        Ok(workers)
    }

    /// Has a thread do this, now: a new one where none is at rest.
    ///
    /// # Errors
    /// Where all are busy and no more can be made; the work is dropped.
    pub(crate) fn submit(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        // A failure to refill is none as long as somebody takes the work.
        let refilled = self.refill();
        let mut state = self.shared.lock();
        if state.at_rest <= state.queue.len() {
            return Err(refilled.err().unwrap_or_else(|| io::Error::other("no thread at rest")));
        }
        state.queue.push_back(Box::new(work));
        drop(state);
        self.shared.work_came.notify_one();
        Ok(())
    }

    /// Starts threads until one more than the reserve is free.
    fn refill(&self) -> io::Result<()> {
        loop {
            let mut state = self.shared.lock();
            if state.at_rest > RESERVE + state.queue.len() {
                return Ok(());
            }
            state.at_rest += 1; // counted before it runs: nobody else starts it twice
            drop(state);
            let shared = Arc::clone(&self.shared);
            let started = std::thread::Builder::new().stack_size(STACK).spawn(move || shared.run());
            if let Err(error) = started {
                self.shared.lock().at_rest -= 1;
                return Err(error);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each thread does: wait for work, do it.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            match state.queue.pop_front() {
                Some(work) => {
                    state.at_rest -= 1;
                    drop(state);
                    work();
                    state = self.lock();
                    state.at_rest += 1;
                }
                None => state = self.work_came.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
