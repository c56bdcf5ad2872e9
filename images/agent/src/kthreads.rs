//! Kernel threads by name.

use crate::files::{Reader, names as dir_names, open_dir};
use rustix::fs::CWD;
use rustix::process::Pid;
use rustix::thread::CpuSet;
use std::collections::BTreeMap;

/// `PF_KTHREAD` of include/linux/sched.h, in field 9 of /proc/PID/stat.
const PF_KTHREAD: u64 = 0x0020_0000;

/// After fewer forks than this no process identifier is given a second time: they are given in turn, and there are 32768 at
/// least where nobody asks for fewer (kernel/pid.c:alloc_pid, idr_alloc_cyclic; include/linux/threads.h, PID_MAX_DEFAULT).
const NO_PID_AGAIN: u64 = 16 << 10;

/// The name of a thread that was not given its own yet (kernel/kthread.c:__kthread_create_on_node).
const NAMELESS: &str = "kthreadd";

/// Kernel threads that are looked for, and what is known of processes that were seen.
#[derive(Default)]
pub(crate) struct KernelThreads {
    prefixes: Vec<String>,
    /// by process identifier: is it one that is looked for?
    known: BTreeMap<String, bool>,
    /// forks since the boot, when `known` began
    since: u64,
}

impl KernelThreads {
    /// Those whose names begin with one of the prefixes.
    pub(crate) fn new(prefixes: Vec<String>) -> Self {
        Self { prefixes, ..Self::default() }
    }

    /// Them, sorted, with the processors that they may run on: `kswapd0@0-1`; one that cannot be interrupted in its sleep
    /// (state D) is told as `kswapd0=D@0-1`. Of a process that was there before, and is none of them, nothing is read again.
    pub(crate) fn names(&mut self, reader: &mut Reader) -> Vec<String> {
        if self.prefixes.is_empty() {
            return Vec::new();
        }
        let Ok(proc) = open_dir(CWD, "/proc") else { return Vec::new() };
        let forks = reader.text(&proc, "stat").ok().and_then(|stat| forks(&stat));
        if forks.is_none_or(|forks| forks.saturating_sub(self.since) > NO_PID_AGAIN) {
            self.known.clear();
            self.since = forks.unwrap_or(0);
        }
        let mut found = Vec::new();
        let mut now = BTreeMap::new();
        for pid in dir_names(&proc).unwrap_or_default() {
            if !pid.as_bytes().first().is_some_and(u8::is_ascii_digit) {
                continue;
            }
            if self.known.get(&pid) == Some(&false) {
                now.insert(pid, false);
                continue;
            }
            let Ok(stat) = reader.text(&proc, &format!("{pid}/stat")) else { continue };
            let Some(Stat { name, state, is_thread }) = parse(&stat) else { continue };
            let wanted = is_thread && self.prefixes.iter().any(|p| name.starts_with(p.as_str()));
            if wanted {
                let state = if state == "D" { "=D" } else { "" };
                let cpus = processors(&pid).map_or_else(String::new, |cpus| format!("@{}", list(&cpus)));
                found.push(format!("{name}{state}{cpus}"));
            }
            if !is_thread || name != NAMELESS {
                now.insert(pid, wanted);
            }
        }
        self.known = now;
        found.sort_unstable();
        found
    }
}

/// Forks since the boot (fs/proc/stat.c: `processes`).
fn forks(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("processes "))?.trim().parse().ok()
}

/// Where a thread may run.
fn processors(pid: &str) -> Option<Vec<usize>> {
    let allowed = rustix::thread::sched_getaffinity(Pid::from_raw(pid.parse().ok()?)).ok()?;
    Some((0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect())
}

/// Numbers in order as the kernel lists them: `0-2,4`.
fn list(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [only] => only.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(",")
}

/// What /proc/PID/stat says of a process (fs/proc/array.c:do_task_stat).
#[derive(Debug, PartialEq, Eq)]
struct Stat<'a> {
    name: &'a str,
    /// a letter
    state: &'a str,
    is_thread: bool,
}

fn parse(stat: &str) -> Option<Stat<'_>> {
    let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
    let mut words = stat.get(end + 1..)?.split_ascii_whitespace();
    let state = words.next()?;
    let flags: u64 = words.nth(5)?.parse().ok()?;
    Some(Stat { name: stat.get(begin + 1..end)?, state, is_thread: flags & PF_KTHREAD != 0 })
}

#[cfg(test)]
mod tests {
    use super::{Stat, forks, list, parse, processors};

    #[test]
    fn the_flag_tells_a_kernel_thread_from_a_process_of_its_name() {
        let kswapd = "31 (kswapd0) S 2 0 0 0 -1 10758208 0 0 0 0 0 0 0 0 20 0 1 0 45 0 0";
        // 10758208 = 0xa42840
        assert_eq!(parse(kswapd), Some(Stat { name: "kswapd0", state: "S", is_thread: true }));
        let process = "99 (a) b) D 1 99 99 0 -1 4194560 0 0 0 0 0";
        assert_eq!(parse(process), Some(Stat { name: "a) b", state: "D", is_thread: false }));
        assert_eq!(parse("31 (kswapd0) S 2"), None);
    }

    #[test]
    fn processors_are_listed_as_the_kernel_does() {
        assert_eq!(["", "0", "0-2,4", "1,3-4"], [&[][..], &[0], &[0, 1, 2, 4], &[1, 3, 4]].map(list));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        let pid = std::process::id().to_string();
        assert_eq!(list(&processors(&pid).unwrap()), allowed.trim());
    }

    #[test]
    fn forks_are_counted_by_the_kernel() {
        let stat = "cpu  1 2 3\nctxt 115315\nbtime 1764233013\nprocesses 1288\nprocs_running 1\n";
        assert_eq!(forks(stat), Some(1288));
        assert_eq!(forks("cpu  1 2 3\n"), None);
    }
}
