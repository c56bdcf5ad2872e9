//! `/init run MANNER PROGRAM…`: a child of the agent becomes the program, after it has taken on its manner.
//!
//! The agent itself is never killed and never waits; what it starts is to be as any other process.

use std::os::unix::process::CommandExt;
use std::process::Command;
use wire::Manner;

/// Where cgroups are.
pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";

/// Becomes the program; returns only why that is not possible.
pub(crate) fn run(manner: &str, program: &[String]) -> String {
    let [name, args @ ..] = program else { return "no program named".into() };
    let taken = serde_json::from_str(manner).map_err(|e| e.to_string()).and_then(|m| take(&m));
    match taken {
        Ok(()) => format!("exec {name}: {}", Command::new(name).args(args).exec()),
        Err(why) => why,
    }
}

/// Makes the calling process one of this manner.
pub(crate) fn take(manner: &Manner) -> Result<(), String> {
    let write = |path: &str, text: &str| std::fs::write(path, text).map_err(|e| format!("write {path}: {e}"));
    if let Some(cgroup) = &manner.cgroup {
        write(&format!("{CGROUPS}/{cgroup}/cgroup.procs"), "0")?;
    }
    if let Some(adj) = manner.oom_score_adj {
        write("/proc/self/oom_score_adj", &adj.to_string())?;
    }
    nice(manner.nice)
}

/// Sets the nice value of the calling thread: to Linux, threads have one each.
pub(crate) fn nice(value: i32) -> Result<(), String> {
    rustix::process::setpriority_process(None, value).map_err(|e| format!("setpriority: {e}"))
}
