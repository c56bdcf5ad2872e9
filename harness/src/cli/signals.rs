//! SIGINT and SIGTERM end the run: guests are killed, what was judged stays recorded. A second one ends memhp at once.

use super::failure::Failure;
use crate::run::host::Host;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

/// Runs `work` with signals ending the run of `host`.
pub fn with_signals<T>(host: &Host, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Failure::host)?;
    let handle = signals.handle();
    std::thread::scope(|scope| {
        let _end = Close(handle);
        scope.spawn(move || {
            for (count, signal) in signals.forever().enumerate() {
                if count > 0 {
                    std::process::exit(128 + signal);
                }
                eprintln!("memhp: ending the run (again: at once)");
                host.end_by(signal);
            }
        });
        work()
    })
}

/// Ends the signal thread, also when the work panics.
struct Close(Handle);

impl Drop for Close {
    fn drop(&mut self) {
        self.0.close();
    }
}
