//! Processes, as /proc tells of them.

use crate::files::{Reader, names, open_dir};
use crate::outbox::failed;
use rustix::fs::CWD;
use wire::{Failure, Process};

/// `PF_KTHREAD` of include/linux/sched.h, in the flags of /proc/PID/stat.
const PF_KTHREAD: u64 = 0x0020_0000;

/// All that are no kernel threads, by number.
pub(crate) fn all(reader: &mut Reader) -> Result<Vec<Process>, Failure> {
    let proc = open_dir(CWD, "/proc").map_err(failed("open /proc"))?;
    let names = names(&proc).map_err(failed("list /proc"))?;
    let mut found = Vec::new();
    for pid in names.iter().filter_map(|name| name.parse::<i32>().ok()) {
        // One that has ended in between is none.
        let Ok(stat) = reader.text(&proc, &format!("{pid}/stat")) else { continue };
        found.extend(parse(pid, &stat));
    }
    found.sort_by_key(|p| p.pid);
    Ok(found)
}

/// `None` for a kernel thread.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
    let fields: Vec<&str> = stat.get(end + 1..)?.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
    if number(6)? & PF_KTHREAD != 0 {
        return None;
    }
    Some(Process {
        pid,
        name: stat.get(begin + 1..end)?.to_owned(),
        state: fields.first()?.chars().next()?,
        group: fields.get(2)?.parse().ok()?,
        // utime, stime, cutime, cstime
        ticks: (11..=14).map(number).sum::<Option<u64>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat() {
        let line = "99 (a) b) R 1 98 99 0 -1 4194560 0 0 0 0 5 6 700 8000 20 0 1 0 45 0 0";
        let want = Process { pid: 99, name: "a) b".into(), state: 'R', group: 98, ticks: 8711 };
        assert_eq!(parse(99, line), Some(want));
        let kswapd = "31 (kswapd0) S 2 0 0 0 -1 10758208 0 0 0 0 0 0 0 0 20 0 1 0 45 0 0";
        assert_eq!(parse(31, kswapd), None);
        assert_eq!(parse(99, "99 (a) R 1 98"), None);
    }
}
