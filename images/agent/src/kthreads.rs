//! Kernel threads by name.

use crate::files::{Reader, names as dir_names, open_dir};
use rustix::fs::CWD;
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
    /// by process identifier; the name of those that are looked for
    known: BTreeMap<String, Option<String>>,
    /// forks since the boot, when `known` began
    since: u64,
}

impl KernelThreads {
    /// Those whose names begin with one of the prefixes.
    pub(crate) fn new(prefixes: Vec<String>) -> Self {
        Self { prefixes, ..Self::default() }
    }

    /// Their names, sorted. Of a process that was there before nothing is read again.
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
            let (name, keep) = match self.known.remove(&pid) {
                Some(name) => (name, true),
                None => {
                    let Ok(stat) = reader.text(&proc, &format!("{pid}/stat")) else { continue };
                    let Some((name, is_thread)) = parse(&stat) else { continue };
                    let wanted = is_thread && self.prefixes.iter().any(|p| name.starts_with(p.as_str()));
                    (wanted.then(|| name.to_owned()), !is_thread || name != NAMELESS)
                }
            };
            found.extend(name.clone());
            if keep {
                now.insert(pid, name);
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

/// Name, and whether it is a kernel thread.
fn parse(stat: &str) -> Option<(&str, bool)> {
    let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
    let flags: u64 = stat.get(end + 1..)?.split_ascii_whitespace().nth(6)?.parse().ok()?;
    Some((stat.get(begin + 1..end)?, flags & PF_KTHREAD != 0))
}

#[cfg(test)]
mod tests {
    use super::{forks, parse};

    #[test]
    fn the_flag_tells_a_kernel_thread_from_a_process_of_its_name() {
        let kswapd = "31 (kswapd0) S 2 0 0 0 -1 10758208 0 0 0 0 0 0 0 0 20 0 1 0 45 0 0";
        assert_eq!(parse(kswapd), Some(("kswapd0", true))); // 10758208 = 0xa42840
        let process = "99 (a) b) S 1 99 99 0 -1 4194560 0 0 0 0 0";
        assert_eq!(parse(process), Some(("a) b", false)));
        assert_eq!(parse("31 (kswapd0) S 2"), None);
    }

    #[test]
    fn forks_are_counted_by_the_kernel() {
        let stat = "cpu  1 2 3\nctxt 115315\nbtime 1764233013\nprocesses 1288\nprocs_running 1\n";
        assert_eq!(forks(stat), Some(1288));
        assert_eq!(forks("cpu  1 2 3\n"), None);
    }
}
