//! How much memory of the host guests may take together.

use super::failure::Failure;
use std::path::{Path, PathBuf};

/// Bytes that can be had: MemAvailable, or less where this process is in a control group with a limit; a tenth is left
/// to others.
pub fn budget() -> Result<u64, Failure> {
    let unknown = |why: String| Failure::host(format!("cannot tell how much memory is free: {why}"));
    let read = |path: &str| std::fs::read_to_string(path).map_err(|e| unknown(format!("{path}: {e}")));
    let available = available(&read("/proc/meminfo")?)
        .ok_or_else(|| unknown("/proc/meminfo has no MemAvailable".into()))?;
    let groups = read("/proc/self/cgroup")?;
    let limits = groups.lines().find_map(|line| line.strip_prefix("0::")).map(limits).unwrap_or_default();
    Ok(limits.into_iter().fold(available, u64::min) / 10 * 9)
}

fn available(meminfo: &str) -> Option<u64> {
    let row =
        |line: &str| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok();
    Some(meminfo.lines().find_map(row)? * 1024)
}

/// What is left under the limit of each control group from this one up (version 2); a group without a limit, or whose
/// files this host does not show, has none.
fn limits(group: &str) -> Vec<u64> {
    let dir = PathBuf::from(format!("/sys/fs/cgroup{group}"));
    let number =
        |dir: &Path, name: &str| std::fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    let left = |dir: &Path| Some(number(dir, "memory.max")?.saturating_sub(number(dir, "memory.current")?));
    dir.ancestors().take_while(|d| d.starts_with("/sys/fs/cgroup")).filter_map(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_meminfo() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn this_host_tells() {
        assert!(budget().unwrap() > 0);
    }
}
