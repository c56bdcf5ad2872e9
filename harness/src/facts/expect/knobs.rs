//! Settings that nobody wrote are as they were, and every file that was there at boot is still there.

use super::super::watch::{ADMIN_RESERVE, MEMORY, USER_RESERVE};
use super::{Scene, expect_eq};
use crate::finding::Finding;

/// Computed by the kernel with onlining and offlining; judged elsewhere.
const COMPUTED: [&str; 3] = ["/proc/sys/vm/min_free_kbytes", USER_RESERVE, ADMIN_RESERVE];

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let (base, now) = (scene.base.snapshot, scene.now);
    for (path, before) in base.knobs.iter().filter(|(path, _)| !COMPUTED.contains(&path.as_str())) {
        let Some(seen) = now.knobs.get(path) else { continue }; // file.missing says it
        let fact = if path.ends_with("/tainted") { "tainted" } else { "knob" };
        let subject = if fact == "tainted" { "" } else { path };
        let expected = scene.context.written.get(path).unwrap_or(before);
        expect_eq(findings, fact, subject, expected, seen, "as at boot, or as it was written");
    }
    let crash_hotplug = format!("{MEMORY}/crash_hotplug");
    if let Some(seen) = now.knobs.get(&crash_hotplug) {
        let rule = "kernel/crash_core.c:crash_check_hotplug_support: 0 while no crash kernel is loaded";
        expect_eq(findings, "root.crash_hotplug", &crash_hotplug, "0", seen, rule);
    }
    // what belongs to a block or a node goes and comes with it
    let fixed = |path: &&String| !path.starts_with(MEMORY) && !path.starts_with(super::super::watch::NODE);
    let root = |path: &&String| path.rsplit_once('/').is_some_and(|(dir, _)| dir == MEMORY);
    for path in now.absent.difference(&base.absent).filter(|p| fixed(p) || root(p)) {
        findings.push(Finding::new("file.missing", path, "there, as at boot", "not there", ""));
    }
}
