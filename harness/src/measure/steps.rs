//! What a guest is asked for a trial, in both modes, and what its answers must show for the trial to count.

use super::cell::{Load, Policy};
use crate::vm::panic_port;
use std::time::Duration;
use wire::{Ask, Hold, HoldKind, Job, Manner, ScriptStep, Trial, Value};

/// Files that are read right before the plug and at the end.
pub const READ: [&str; 4] = ["/proc/meminfo", "/proc/vmstat", "/proc/loadavg", "/sys/kernel/uevent_seqnum"];
/// Whose uevents a storm consists of.
const STORM: [&str; 4] = ["null", "zero", "full", "random"];
/// Events of a storm that have come when the DIMM is plugged, at least.
pub const STORM_BEGUN: u64 = 50;
/// Longest time for a program of the set-up.
const PROGRAM_MS: u64 = 120_000;
const UDEVADM: &str = "/usr/bin/udevadm";

/// Requests up to the plug.
pub fn set_up(policy: Policy, load: Load, held: u64, processors: u32, seed: u64) -> Vec<ScriptStep> {
    let mut steps = vec![
        now(write("/proc/sys/kernel/printk", "8 4 1 7")),
        now(write("/sys/devices/system/memory/auto_online_blocks", policy.knob())),
    ];
    if let Some(rules) = policy.rules().and_then(crate::image::rules) {
        steps.extend(udevd(&rules));
    }
    if held > 0 {
        steps.push(to_end(hold(held, false, seed)));
    }
    let spinner = |n| to_end(hold(4096, true, seed.wrapping_add(u64::from(n))));
    steps.extend((1..=load.spinners() * processors).map(spinner));
    if load.storm() {
        let paths = STORM.map(|name| format!("/sys/devices/virtual/mem/{name}/uevent")).to_vec();
        steps.push(now(Ask::Job(Job::Storm { paths, per_second: 1000 })));
    }
    steps
}

fn udevd(rules: &crate::image::Rules) -> Vec<ScriptStep> {
    let tmpfs = || "tmpfs".to_string();
    let mount = Ask::Mount { source: tmpfs(), target: "/run".into(), fstype: tmpfs(), data: String::new() };
    let mut steps = vec![now(mount)];
    let mut files = rules.files(crate::image::Machine::Virtual).to_vec();
    // Its directory is there before udevd is, so that it can be watched.
    files.push(("/run/udev/.memhp", String::new()));
    for (path, text) in files {
        steps.extend(crate::run::put::parts(path, 0o644, text.as_bytes()).into_iter().map(now));
    }
    // As its unit file has it: never killed, but for the workers, which udevd makes killable itself.
    let manner = Manner { oom_score_adj: Some(-1000), ..Manner::default() };
    steps.push(now(exec(&["/usr/bin/systemd-udevd"], manner, u64::MAX / 2_000_000)));
    let socket = Job::AwaitFile { path: "/run/udev/control".into(), timeout_ms: PROGRAM_MS };
    steps.push(to_end(Ask::Job(socket)));
    let manner = Manner { oom_score_adj: Some(0), ..Manner::default() };
    steps.push(to_end(exec(&[UDEVADM, "control", "--ping"], manner, PROGRAM_MS)));
    steps
}

/// The plug itself.
pub fn trial(policy: Policy, blocks: u32, align: Duration, limit: Duration) -> ScriptStep {
    to_end(Ask::Job(Job::Trial(Trial {
        align_ns: u64::try_from(align.as_nanos()).unwrap_or(u64::MAX),
        port: panic_port::PORT,
        blocks,
        online: policy.agent_writes().map(str::to_string),
        limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        read: READ.map(str::to_string).to_vec(),
    })))
}

fn now(ask: Ask) -> ScriptStep {
    ScriptStep { ask, to_end: false }
}

fn to_end(ask: Ask) -> ScriptStep {
    ScriptStep { ask, to_end: true }
}

fn write(path: &str, text: &str) -> Ask {
    Ask::Write { path: path.into(), text: text.into() }
}

fn hold(bytes: u64, busy: bool, seed: u64) -> Ask {
    Ask::Job(Job::Hold(Hold {
        kind: HoldKind::Anonymous,
        bytes,
        seed,
        oom_score_adj: 0,
        busy,
        cgroup: None,
        pace: None,
    }))
}

fn exec(argv: &[&str], manner: Manner, timeout_ms: u64) -> Ask {
    let env = [("PATH", "/usr/bin"), ("SYSTEMD_LOG_TARGET", "console"), ("SYSTEMD_LOG_LEVEL", "info")];
    Ask::Job(Job::Exec {
        argv: argv.iter().map(|a| (*a).to_string()).collect(),
        env: env.map(|(k, v)| (k.to_string(), v.to_string())).into(),
        timeout_ms,
        manner,
    })
}

/// [`READ`], taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readings {
    /// MemFree, bytes
    pub free: u64,
    /// processes killed for memory since boot
    pub oom_kills: u64,
    /// tasks that run or want to
    pub running: u32,
    /// number of the last uevent
    pub seqnum: u64,
}

impl Readings {
    /// From the files' content, in their order.
    ///
    /// # Errors
    /// A file could not be read, or is not as it should be.
    pub fn of(values: &[Value]) -> Result<Self, String> {
        let text = |at: usize| match values.get(at) {
            Some(Value::Text(text)) => Ok(text.as_str()),
            Some(Value::Errno(errno)) => Err(format!("{}: errno {errno}", READ[at])),
            None => Err(format!("{} was not read", READ[at])),
        };
        let odd = |at: usize| move || format!("{}: not understood", READ[at]);
        let running = text(2)?.split_whitespace().nth(3).and_then(|w| w.split('/').next()?.parse().ok());
        Ok(Self {
            free: mem_free(text(0)?).ok_or_else(odd(0))?,
            oom_kills: line(text(1)?, "oom_kill ").ok_or_else(odd(1))?,
            running: running.ok_or_else(odd(2))?,
            seqnum: text(3)?.trim().parse().ok().ok_or_else(odd(3))?,
        })
    }
}

/// MemFree of /proc/meminfo, in bytes.
pub fn mem_free(meminfo: &str) -> Option<u64> {
    let kib =
        meminfo.lines().find_map(|l| l.strip_prefix("MemFree:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map(|kib: u64| kib * 1024)
}

fn line(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok())
}

/// Is the load in force right before the plug? `free` and `seqnum`: before it began.
///
/// # Errors
/// What is not as it must be: nothing is measured then.
pub fn in_force(
    load: Load,
    processors: u32,
    free: u64,
    seqnum: u64,
    before: &Readings,
) -> Result<(), String> {
    let spinners = load.spinners() * processors;
    if before.running < spinners {
        return Err(format!("{load} is not in force: {} tasks want to run, not {spinners}", before.running));
    }
    // Five percent for what the kernel frees and takes meanwhile.
    let most = free / 100 * u64::from(105 - load.held().min(100));
    if load.held() > 0 && before.free > most {
        return Err(format!(
            "{load} is not in force: {} bytes are free, {most} at most should be",
            before.free
        ));
    }
    if load.storm() && before.seqnum < seqnum + STORM_BEGUN {
        return Err(format!("{load} is not in force: {} uevents came", before.seqnum.saturating_sub(seqnum)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(free: u64, running: u32, seqnum: u64) -> Readings {
        Readings { free, oom_kills: 0, running, seqnum }
    }

    #[test]
    fn readings_are_strict() {
        let text = |t: &str| Value::Text(t.into());
        let good = [
            text("MemTotal: 9 kB\nMemFree:         3 kB\n"),
            text("nr_x 1\noom_kill 2\n"),
            text("0.1 0.2 0.3 5/77 99\n"),
            text("1234\n"),
        ];
        let expected = Readings { free: 3072, oom_kills: 2, running: 5, seqnum: 1234 };
        assert_eq!(Readings::of(&good), Ok(expected));
        for at in 0..4 {
            for bad in [Value::Errno(2), text("?")] {
                let mut values = good.to_vec();
                values[at] = bad;
                assert!(Readings::of(&values).is_err_and(|e| e.contains(READ[at])), "{at}");
            }
        }
        assert!(Readings::of(&good[..3]).is_err());
    }

    #[test]
    fn a_load_that_is_not_there_is_noticed() {
        let free = 100 << 20;
        let check = |load, before: &Readings| in_force(load, 2, free, 1000, before);
        assert_eq!(check(Load::Idle, &readings(free, 1, 1000)), Ok(()));
        assert_eq!(check(Load::Cpu(4), &readings(free, 8, 1000)), Ok(()));
        assert!(check(Load::Cpu(4), &readings(free, 7, 1000)).is_err_and(|e| e.contains("not 8")));
        assert_eq!(check(Load::Memory(80), &readings(20 << 20, 1, 1000)), Ok(()));
        assert!(check(Load::Memory(80), &readings(30 << 20, 1, 1000)).is_err());
        assert_eq!(check(Load::Uevents, &readings(free, 1, 1050)), Ok(()));
        assert!(check(Load::Uevents, &readings(free, 1, 1049)).is_err());
        assert!(check(Load::All, &readings(free, 8, 1050)).is_err_and(|e| e.contains("free")));
    }

    #[test]
    fn the_set_up_is_what_policy_and_load_say() {
        let count = |policy, load| set_up(policy, load, 0, 2, 1).len();
        assert_eq!(count(Policy::Online, Load::Idle), 2);
        assert_eq!(count(Policy::Online, Load::Cpu(4)), 10);
        assert_eq!(count(Policy::Agent, Load::Uevents), 3);
        assert_eq!(count(Policy::Udev, Load::Idle), count(Policy::UdevMovable, Load::Idle));
        assert_eq!(set_up(Policy::Online, Load::Memory(80), 4096, 2, 1).len(), 3);
        let text = format!("{:?}", set_up(Policy::UdevMovable, Load::Idle, 0, 2, 1));
        assert!(text.contains("systemd-udevd") && text.contains("text: \"offline\""), "{text}");
    }
}
