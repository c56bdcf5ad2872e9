//! How long a guest waited for a processor of the host: time that is not its own.

use std::collections::BTreeMap;
use std::time::Duration;

/// What each thread of a process has waited on a run queue so far, by thread id (/proc/PID/task/TID/schedstat, second field:
/// kernel/sched/stats.h, CONFIG_SCHED_INFO). Empty where the kernel does not tell, and where the process is gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Waited(BTreeMap<String, Duration>);

impl Waited {
    /// Of this process.
    pub(super) fn of(pid: u32) -> Self {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Self::default() };
        let waited = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let waited = text.split_whitespace().nth(1)?.parse().ok()?;
            Some((task.file_name().to_string_lossy().into_owned(), Duration::from_nanos(waited)))
        };
        Self(tasks.flatten().filter_map(waited).collect())
    }

    /// Of the thread that waited most; `None` where nothing is told.
    pub(super) fn most(&self) -> Option<Duration> {
        self.0.values().max().copied()
    }

    /// Of the thread that waited most since `before`. A thread that is new since does not count.
    pub(super) fn since(&self, before: &Self) -> Duration {
        let more = self.0.iter().filter_map(|(tid, now)| Some(now.saturating_sub(*before.0.get(tid)?)));
        more.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(threads: &[(&str, u64)]) -> Waited {
        Waited(threads.iter().map(|(tid, ms)| ((*tid).to_string(), Duration::from_millis(*ms))).collect())
    }

    #[test]
    fn the_thread_that_waited_most_counts() {
        let before = waited(&[("7", 100), ("8", 9000), ("9", 50)]);
        let now = waited(&[("7", 1500), ("8", 9100), ("10", 8000)]);
        assert_eq!(now.since(&before), Duration::from_millis(1400));
        assert_eq!(now.most(), Some(Duration::from_millis(9100)));
        assert_eq!(waited(&[]).since(&before), Duration::ZERO);
        assert_eq!(waited(&[]).most(), None);
    }

    #[test]
    fn this_process_tells_and_one_that_is_not_there_does_not() {
        assert!(Waited::of(std::process::id()).most().is_some());
        assert_eq!(Waited::of(u32::MAX), Waited::default());
    }
}
