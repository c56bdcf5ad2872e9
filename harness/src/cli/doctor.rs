//! `memhp doctor`: what this host can do, what is missing, how to get it.

use super::args::{DoctorArgs, TextOrJson};
use super::failure::Failure;
use super::setup::on_path;
use crate::kernel::Cache;
use crate::vm::Qemu;
use crate::vm::arch::Arch;
use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Line {
    what: &'static str,
    ok: bool,
    /// a run cannot do without it
    needed: bool,
    found: String,
    /// how to get it
    advice: Option<&'static str>,
}

/// Looks, prints, and says by the exit status (0 or 3) whether a run can work.
pub fn doctor(args: &DoctorArgs) -> Result<i32, Failure> {
    let lines = [qemu(args), accelerator(), apt(), bwrap(), cache(), memory(), cores()];
    let text = match args.format {
        TextOrJson::Json => serde_json::to_string_pretty(&lines).map_err(Failure::host)? + "\n",
        TextOrJson::Text => lines.iter().map(show).collect(),
    };
    super::print(&text);
    Ok(if lines.iter().any(|l| l.needed && !l.ok) { 3 } else { 0 })
}

fn show(line: &Line) -> String {
    let mark = match (line.ok, line.needed) {
        (true, _) => "ok     ",
        (false, true) => "MISSING",
        (false, false) => "without",
    };
    let advice = line.advice.filter(|_| !line.ok).map(|a| format!(" ({a})")).unwrap_or_default();
    format!("{mark} {}: {}{advice}\n", line.what, line.found)
}

fn qemu(args: &DoctorArgs) -> Line {
    let found = Qemu::find(args.qemu.as_deref(), Arch::X86_64);
    let ok = found.is_ok();
    let found = found.map_or_else(
        |e| e.to_string(),
        |q| {
            let sandbox = if q.sandbox { "with sandbox" } else { "without sandbox" };
            format!("{} at {}, {sandbox}", q.version, q.path.display())
        },
    );
    Line { what: "QEMU", ok, needed: true, found, advice: Some("memhp run --setup installs it") }
}

fn accelerator() -> Line {
    let ok = std::fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
    let found = if ok { "/dev/kvm opens; a run proves it with a guest" } else { "/dev/kvm cannot be opened" };
    Line {
        what: "KVM",
        ok,
        needed: false,
        found: found.into(),
        advice: Some("TCG works everywhere, only slower"),
    }
}

fn apt() -> Line {
    let ok = on_path("apt-get");
    let found = if ok { "apt-get is here" } else { "no apt-get: the packaged kernels cannot be fetched" };
    Line { what: "apt", ok, needed: false, found: found.into(), advice: Some("give kernels with -k PATH") }
}

fn bwrap() -> Line {
    let ok = on_path("bwrap");
    let found = if ok { "bwrap is here" } else { "no bwrap: `memhp series` builds no patches without it" };
    Line { what: "bubblewrap", ok, needed: false, found: found.into(), advice: Some("package bubblewrap") }
}

fn cache() -> Line {
    let found = Cache::of_user();
    let ok = found.is_ok();
    let found = found.map_or_else(|e| e.to_string(), |c| c.root().display().to_string());
    Line { what: "cache", ok, needed: true, found, advice: Some("set XDG_CACHE_HOME or HOME") }
}

fn memory() -> Line {
    let info = rustix::system::sysinfo();
    let mib = (info.freeram * u64::from(info.mem_unit)) >> 20;
    Line {
        what: "memory",
        ok: mib > 1024,
        needed: false,
        found: format!("{mib} MiB free"),
        advice: Some("a guest takes up to 600 MiB and the DIMMs it touches; use -j 1"),
    }
}

fn cores() -> Line {
    let n = std::thread::available_parallelism().map_or(1, usize::from);
    Line {
        what: "processors",
        ok: true,
        needed: false,
        found: format!("{n}: as many guests at once"),
        advice: None,
    }
}
