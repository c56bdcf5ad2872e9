//! Judgements that need no model: what a case says itself.

use super::errno;
use super::observation::*;
use super::scan;
use crate::case::schema::Dies;
use crate::facts::{BlockFacts, Snapshot};
use crate::finding::Finding;
use crate::policy::{BlockState, Zone};
use regex::Regex;
use wire::Value;

const CASE: &str = "the case says so";

/// In what the agent tells of a process that died so.
const SIGBUS: &str = "(SIGBUS)";

/// Observations that stand for themselves.
pub fn judge(observation: &Observation) -> Vec<Finding> {
    let finding = match observation {
        Observation::Verified { name, pages, wrong, dies: Some(Dies::SigBus) } => {
            let rule = "mm/rmap.c:try_to_unmap_one: a hwpoison entry stands where the broken page was mapped";
            let seen = format!("alive, {wrong} of {pages} pages with other content");
            Some(Finding::new("hold.alive", name, "killed by SIGBUS", seen, rule))
        }
        Observation::Verified { name, pages, wrong: 1.., dies: None } => {
            let rule = "mm/migrate.c: migration keeps the content of pages";
            let seen = format!("pages with other content among {pages}");
            Some(Finding::new("hold.content", name, "every page as it was written", seen, rule))
        }
        Observation::HolderDied { why, dies: Some(Dies::SigBus), .. } if why.contains(SIGBUS) => None,
        Observation::HolderDied { name, why, .. } => {
            let rule = "nothing may kill the process that holds memory while there is room";
            Some(Finding::new("hold.alive", name, "alive", why, rule))
        }
        Observation::HoldRefused { name, why } => {
            let rule = "mm/util.c:__vm_enough_memory, mm/migrate.c:do_pages_move: memory that is there is given, on each node that has it";
            Some(Finding::new("hold.refused", name, "held", why, rule))
        }
        Observation::File(file) => self::file(file),
        Observation::Console { pattern, line: None } => {
            Some(Finding::new("console.line", pattern, "a line that matches", "none", CASE))
        }
        Observation::Exec(exec) => self::exec(exec),
        Observation::NotWithin { waited_for, seconds, stuck } => {
            let rule = "the guest still answers, but the fact did not come";
            let seen = match stuck.pages {
                0 => "not within".to_string(),
                _ => format!("not within; {}", scan::in_the_way(stuck)),
            };
            Some(Finding::new("within", waited_for, format!("within {seconds} s"), seen, rule))
        }
        _ => None,
    };
    finding.into_iter().collect()
}

/// Zone of a block as it was seen; `None` while it is not online, or spans several.
pub fn zone(block: &BlockFacts) -> Option<Zone> {
    let word = block.valid_zones.as_deref().filter(|_| block.state == BlockState::Online)?;
    Zone::parse(word)
}

/// A refusal by QEMU that was, or was not, wanted.
pub fn refusal(what: &str, dimm: &str, want: Option<&str>, error: Option<&str>) -> Option<Finding> {
    let fact = format!("{what}.refused");
    match (want, error) {
        (None, None) => None,
        (Some(want), Some(error)) if error.contains(want) => None,
        (None, Some(error)) => Some(Finding::new(fact, dimm, "taken by QEMU", error, CASE)),
        (Some(want), error) => Some(Finding::new(fact, dimm, want, error.unwrap_or("taken by QEMU"), CASE)),
    }
}

fn file(file: &File) -> Option<Finding> {
    let show = |value: &Value| match value {
        Value::Text(text) => format!("{:?}", text.strip_suffix('\n').unwrap_or(text)),
        Value::Errno(errno) => errno::name(*errno),
    };
    if file.fits() {
        return None;
    }
    let want = match (&file.want, &file.want_line, file.want_errno) {
        (_, _, Some(errno)) => errno::name(errno),
        (Some(text), _, None) => show(&Value::Text(text.clone())),
        (None, Some(line), None) => format!("a line that matches {line:?}"),
        (None, None, None) => "text".into(),
    };
    Some(Finding::new("file", &*file.path, want, show(&file.value), CASE))
}

fn exec(exec: &Exec) -> Option<Finding> {
    let name = &*exec.program;
    if exec.timed_out {
        return Some(Finding::new("exec.ended", name, "ended in time", "killed at its time limit", CASE));
    }
    if exec.status != exec.want_status {
        let seen = format!("{} ({})", exec.status, exec.stderr.trim_end());
        return Some(Finding::new("exec.status", name, exec.want_status, seen, CASE));
    }
    let pattern = exec.want_stdout.as_ref()?;
    let matches = Regex::new(pattern).is_ok_and(|r| r.is_match(&exec.stdout));
    (!matches)
        .then(|| Finding::new("exec.stdout", name, format!("/{pattern}/"), exec.stdout.trim_end(), CASE))
}

/// A case's own expectations of blocks.
pub fn blocks(want: &Blocks, now: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut kinds: Vec<String> = Vec::new();
    for (index, number) in want.blocks.iter().enumerate() {
        let name = format!("memory{number}");
        let Some(block) = now.blocks.get(number) else {
            findings.push(Finding::new("block.missing", name, "present", "absent", CASE));
            continue;
        };
        let zone_word = zone(block).map_or("-", |z| z.name());
        let facts = [
            ("block.state", want.states.get(index).map(String::as_str), block.state.word()),
            ("block.zone", want.zones.get(index).map(String::as_str), zone_word),
            (
                "block.valid_zones",
                want.valid_zones.as_deref(),
                block.valid_zones.as_deref().unwrap_or("(no file)"),
            ),
        ];
        for (fact, expected, seen) in facts {
            if let Some(expected) = expected.filter(|e| *e != seen) {
                findings.push(Finding::new(fact, &*name, expected, seen, CASE));
            }
        }
        kinds.push(format!("{} {zone_word}", block.state));
    }
    if want.uniform && kinds.windows(2).any(|pair| pair[0] != pair[1]) {
        let rule = "one policy is in force for one add: all its blocks are in one state and zone";
        findings.push(Finding::new(
            "blocks.uniform",
            "",
            "all the same",
            "mixed",
            format!("{rule} (seen: {})", kinds.join(", ")),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_of_broken_memory_dies_by_it_and_of_nothing_else() {
        let told =
            |observation| judge(&observation).into_iter().map(|f| format!("{} {}", f.expected, f.seen));
        let name = || "data".to_string();
        let verified = |wrong, dies| told(Observation::Verified { name: name(), pages: 9, wrong, dies });
        let died = |why: &str, dies| told(Observation::HolderDied { name: name(), why: why.into(), dies });
        let sigbus = "the holding process was killed by signal 7 (SIGBUS)";
        assert_eq!(died(sigbus, Some(Dies::SigBus)).next(), None);
        assert_eq!(died(sigbus, None).next(), Some(format!("alive {sigbus}")));
        assert_eq!(died("exit status 1", Some(Dies::SigBus)).next(), Some("alive exit status 1".into()));
        let alive = "killed by SIGBUS alive, 1 of 9 pages with other content";
        assert_eq!(verified(1, Some(Dies::SigBus)).next(), Some(alive.into()));
        assert_eq!(verified(0, None).next(), None);
        assert_eq!(verified(1, None).count(), 1);
        let why = "mmap of accounted memory: ENOMEM".to_string();
        let refused = told(Observation::HoldRefused { name: name(), why }).next();
        assert_eq!(refused.as_deref(), Some("held mmap of accounted memory: ENOMEM"));
    }
}
