//! What files of the guest say about how busy it is. Pure; a text of another shape is an error, never a zero.

/// Free memory (/proc/meminfo), in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// MemFree
    pub free: u64,
    /// MemAvailable
    pub available: u64,
}

impl Free {
    /// Of /proc/meminfo.
    ///
    /// # Errors
    /// The line that is missing.
    pub fn parse(meminfo: &str) -> Result<Self, String> {
        let row = |name: &str| {
            let line = meminfo.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
            let kib: Option<u64> = line.and_then(|l| l.trim().strip_suffix(" kB")?.parse().ok());
            kib.map(|kib| kib * 1024).ok_or_else(|| format!("no {name} in /proc/meminfo"))
        };
        Ok(Self { free: row("MemFree")?, available: row("MemAvailable")? })
    }
}

/// Tasks that run or wait for a processor (/proc/loadavg, fs/proc/loadavg.c).
///
/// # Errors
/// The text has another shape.
pub fn running(loadavg: &str) -> Result<u64, String> {
    let fourth = loadavg.split_whitespace().nth(3).and_then(|w| w.split_once('/'));
    fourth.and_then(|(n, _)| n.parse().ok()).ok_or_else(|| format!("/proc/loadavg reads {loadavg:?}"))
}

/// Microseconds for which some task was held up (Documentation/accounting/psi.rst).
///
/// # Errors
/// The text has another shape.
pub fn stalled(pressure: &str) -> Result<u64, String> {
    let some = pressure.lines().find_map(|l| l.strip_prefix("some "));
    let total = some.and_then(|l| l.split_whitespace().find_map(|w| w.strip_prefix("total=")));
    total.and_then(|n| n.parse().ok()).ok_or_else(|| format!("/proc/pressure reads {pressure:?}"))
}

/// Processes and threads that were ever made (`processes` of /proc/stat).
///
/// # Errors
/// There is no such line.
pub fn forks(stat: &str) -> Result<u64, String> {
    let line = stat.lines().find_map(|l| l.strip_prefix("processes "));
    line.and_then(|n| n.trim().parse().ok()).ok_or_else(|| "no processes in /proc/stat".into())
}

/// Operations that each stressor of stress-ng has done, of its `--metrics-brief`; empty where it told none.
pub fn operations(output: &str) -> Vec<(String, u64)> {
    let rows = output.lines().filter_map(|line| {
        // stress-ng: info:  [123] vm   4711   10.02 ...  (newer ones say `metrc:`)
        let words: Vec<&str> = line.split_once(']')?.1.split_whitespace().collect();
        let metrics = line.contains("metrc:") || line.contains("info:");
        let [name, operations, rest @ ..] = words.as_slice() else { return None };
        let numbers = rest.len() >= 5 && rest.iter().all(|w| w.parse::<f64>().is_ok());
        (metrics && numbers).then_some(((*name).to_string(), operations.parse().ok()?))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let meminfo = "MemTotal: 9 kB\nMemFree:          12 kB\nMemAvailable:     10 kB\n";
        assert_eq!(Free::parse(meminfo), Ok(Free { free: 12288, available: 10240 }));
        assert_eq!(Free::parse("MemFree: 12 kB\n"), Err("no MemAvailable in /proc/meminfo".into()));
        assert_eq!(running("0.20 0.18 0.12 17/80 11206\n"), Ok(17));
        assert!(running("0.20 0.18").is_err());
        let pressure = "some avg10=0.00 avg60=0.00 avg300=0.00 total=4711\nfull avg10=0.00 total=3\n";
        assert_eq!(stalled(pressure), Ok(4711));
        assert!(stalled("").is_err());
        assert_eq!(forks("cpu 1 2\nprocesses 815\nprocs_running 2\n"), Ok(815));
        assert!(forks("procs_running 2\n").is_err());
    }

    #[test]
    fn stressors_and_their_operations() {
        let text = "stress-ng: info:  [60] setting to a 24 hour run per stressor\n\
                    stress-ng: info:  [60] stressor       bogo ops real time  usr time  sys time   bogo ops/s\n\
                    stress-ng: info:  [60]                           (secs)    (secs)    (secs)   (real time)\n\
                    stress-ng: info:  [60] vm                 4712      1.50      1.00      0.10      3141.00        4283.64\n";
        assert_eq!(operations(text), [("vm".to_string(), 4712)]);
        assert_eq!(operations("stress-ng: info:  [60] successful run completed in 1.50s\n"), []);
    }
}
