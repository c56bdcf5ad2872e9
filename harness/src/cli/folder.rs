//! The folder of a scenario that did not pass: what a reader needs to see why, and to see it again.

use super::failure::Failure;
use crate::event::ScenarioEnd;
use crate::run::boot::Remains;
use crate::run::host::Host;
use crate::run::plan::Planned;
use crate::verdict::Verdict;
use std::path::{Path, PathBuf};

/// Writes it, unless the scenario passed or was skipped.
pub fn write(
    out: &Path,
    planned: &Planned,
    host: &Host,
    end: &ScenarioEnd,
    remains: &Remains,
) -> Result<(), Failure> {
    if matches!(end.verdict, Verdict::Pass | Verdict::Skip | Verdict::Done) {
        return Ok(());
    }
    timeline(out, planned, remains)?;
    let dir = of(out, planned);
    let repro = format!(
        "#!/bin/sh\n# {}: {}\n# kernel {} sha256 {}, seed {}\nexec {}\n",
        end.verdict,
        end.title.replace('\n', " "),
        planned.kernel.release,
        planned.kernel.sha256,
        planned.seed,
        planned.repeat_line(host),
    );
    let files = [
        ("console.log", &remains.console),
        ("qmp.log", &remains.qmp),
        ("agent.log", &remains.agent),
        ("qemu.args", &remains.qemu),
        ("repro.sh", &repro),
    ];
    std::fs::create_dir_all(&dir).map_err(|e| wrong(&dir, e))?;
    for (file, text) in files {
        let path = dir.join(file);
        std::fs::write(&path, text).map_err(|e| wrong(&path, e))?;
    }
    let path = dir.join("repro.sh");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).map_err(|e| wrong(&path, e))
}

/// Draws what happened when, where anything was plugged.
pub fn timeline(out: &Path, planned: &Planned, remains: &Remains) -> Result<(), Failure> {
    let Some(timeline) = &remains.timeline else { return Ok(()) };
    let dir = of(out, planned);
    std::fs::create_dir_all(&dir).map_err(|e| wrong(&dir, e))?;
    let path = dir.join("timeline.svg");
    std::fs::write(&path, crate::timeline::svg(timeline, &planned.id)).map_err(|e| wrong(&path, e))
}

fn of(out: &Path, planned: &Planned) -> PathBuf {
    let round = if planned.round == 0 { String::new() } else { format!("~{}", planned.round) };
    out.join("scenarios").join(name(&planned.id) + &round)
}

fn wrong(path: &Path, e: std::io::Error) -> Failure {
    Failure::host(format!("write {}: {e}", path.display()))
}

/// An id as a name of one directory: every character that is awkward there becomes `_`.
pub fn name(id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.=,@+".contains(c);
    id.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}
