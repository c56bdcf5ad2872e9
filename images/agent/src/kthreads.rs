//! Kernel threads by name.

use crate::files::{Reader, names as dir_names, open_dir};
use rustix::fs::CWD;

/// `PF_KTHREAD` of include/linux/sched.h, in field 9 of /proc/PID/stat.
const PF_KTHREAD: u64 = 0x0020_0000;

/// Sorted names of the kernel threads whose names begin with one of the prefixes.
pub(crate) fn names(prefixes: &[String], reader: &mut Reader) -> Vec<String> {
    if prefixes.is_empty() {
        return Vec::new();
    }
    let Ok(proc) = open_dir(CWD, "/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for pid in dir_names(&proc).unwrap_or_default() {
        if !pid.as_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let Ok(stat) = reader.text(&proc, &format!("{pid}/stat")) else { continue };
        if let Some((name, true)) = parse(&stat) {
            if prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) {
                found.push(name.to_owned());
            }
        }
    }
    found.sort_unstable();
    found
}

/// Name, and whether it is a kernel thread.
fn parse(stat: &str) -> Option<(&str, bool)> {
    let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
    let flags: u64 = stat.get(end + 1..)?.split_ascii_whitespace().nth(6)?.parse().ok()?;
    Some((stat.get(begin + 1..end)?, flags & PF_KTHREAD != 0))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_flag_tells_a_kernel_thread_from_a_process_of_its_name() {
        let kswapd = "31 (kswapd0) S 2 0 0 0 -1 10758208 0 0 0 0 0 0 0 0 20 0 1 0 45 0 0";
        assert_eq!(parse(kswapd), Some(("kswapd0", true))); // 10758208 = 0xa42840
        let process = "99 (a) b) S 1 99 99 0 -1 4194560 0 0 0 0 0";
        assert_eq!(parse(process), Some(("a) b", false)));
        assert_eq!(parse("31 (kswapd0) S 2"), None);
    }
}
