//! How a build comes along: a line that changes on a terminal, one line for what takes long in a pipe. On stderr.

use crate::kernel::build::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Tells people.
pub struct Told {
    bar: Mutex<Option<ProgressBar>>,
}

impl Told {
    /// Nothing is shown before something begins.
    pub fn new() -> Self {
        Self { bar: Mutex::new(None) }
    }

    fn with(&self, work: impl FnOnce(&mut Option<ProgressBar>)) {
        work(&mut self.bar.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Progress for Told {
    fn begin(&self, what: &str) {
        if !std::io::stderr().is_terminal() {
            // What takes seconds is no news for a log.
            if !what.ends_with("config") {
                say!("memhp: {what}");
            }
            return;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
        let style = ProgressStyle::with_template("{spinner} {elapsed} {prefix} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(what.to_string());
        bar.enable_steady_tick(Duration::from_millis(250));
        self.with(|slot| *slot = Some(bar));
    }

    fn made(&self, count: usize, newest: &str) {
        self.with(|bar| {
            if let Some(bar) = bar {
                bar.set_message(format!("{count} made: {newest}"));
            }
        });
    }

    fn end(&self) {
        self.with(|slot| {
            if let Some(bar) = slot.take() {
                bar.finish_and_clear();
            }
        });
    }
}
