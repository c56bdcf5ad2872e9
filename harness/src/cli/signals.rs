//! SIGINT and SIGTERM end the run or the build: guests and compilers are ended, what was judged stays recorded. A second one
//! ends memhp at once.

use super::failure::Failure;
use crate::kernel::build::Stop;
use crate::run::host::Host;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Once};

/// Runs `work` with signals ending the run of `host`.
pub fn with_signals<T>(host: &Host, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    caught("run", |signal| host.end_by(signal), work)
}

/// Runs `work`, which boots guests of `host` before anything is recorded: nothing is left to do after a signal.
pub fn before_a_run<T>(host: &Host, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let done = with_signals(host, work);
    host.signal().map_or(done, |signal| Err(Failure::ended(signal)))
}

/// Runs `work` with signals ending what it fetches and builds. What was ended by one has failed, even if all was there.
pub fn with_stop<T>(stop: &Stop, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let done = caught("fetch or build", |signal| stop.request(signal), work)?;
    match stop.signal() {
        Some(signal) => Err(Failure::ended(signal)),
        None => Ok(done),
    }
}

/// While nobody catches them, signals end memhp as they do any program.
static IDLE: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| Arc::new(AtomicBool::new(true)));
static DEFAULTS: Once = Once::new();

fn caught<T>(
    what: &str,
    end: impl Fn(i32) + Send,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    DEFAULTS.call_once(|| {
        for signal in [SIGINT, SIGTERM] {
            // Fails only for signals that cannot be caught.
            let _ = signal_hook::flag::register_conditional_default(signal, Arc::clone(&IDLE));
        }
    });
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Failure::host)?;
    let handle = signals.handle();
    IDLE.store(false, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let _end = Close(handle);
        scope.spawn(move || {
            for (count, signal) in signals.forever().enumerate() {
                if count > 0 {
                    std::process::exit(128 + signal);
                }
                end(signal);
                say!("memhp: ending the {what} (again: at once)");
            }
        });
        work()
    })
}

/// Ends the signal thread, also when the work panics.
struct Close(Handle);

impl Drop for Close {
    fn drop(&mut self) {
        IDLE.store(true, Ordering::SeqCst);
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_signal_ended_has_failed() {
        let stop = Stop::default();
        assert_eq!(with_stop(&stop, || Ok(1)), Ok(1));
        let late = || {
            stop.request(15);
            Ok(1)
        };
        assert_eq!(with_stop(&stop, late), Err(Failure::ended(15)));
        assert_eq!(Failure::ended(15).status, 143);
    }
}
