//! Every fixture of `fixtures/console` gives exactly the complaints that its head names.

use super::*;
use std::fs;
use std::path::{Path, PathBuf};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/console");

/// `# title:`, `# class:` and `# provokes:` lines of a fixture, and what follows them.
struct Fixture {
    expected: Vec<String>,
    provokes: Provokes,
    console: String,
}

fn provoking(patterns: &[&str]) -> Provokes {
    let provoked = |p: &&str| Provoked { message: p.to_string(), reason: "the test wants it".into() };
    Provokes::new(&patterns.iter().map(provoked).collect::<Vec<_>>()).unwrap()
}

fn read(path: &Path) -> Fixture {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let is_head = |l: &&str| l.starts_with("# ");
    let values = |key: &str| -> Vec<String> {
        let lines = text.lines().take_while(is_head);
        lines.filter_map(|l| l.strip_prefix(key)).map(|v| v.trim().to_string()).collect()
    };
    let (titles, classes) = (values("# title:"), values("# class:"));
    assert_eq!(titles.len(), classes.len(), "{}: a class for each title", path.display());
    assert!(!values("# source:").is_empty(), "{}: says where it comes from", path.display());
    assert!(text.starts_with("# title:") || text.starts_with("# no title"), "{}", path.display());
    let expected = classes.iter().zip(&titles).map(|(class, title)| format!("{class}: {title}")).collect();
    let patterns = values("# provokes:");
    let provokes = provoking(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
    let console = text.lines().skip_while(is_head).map(|l| format!("{l}\n")).collect();
    Fixture { expected, provokes, console }
}

fn fixtures() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(FIXTURES).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

fn said(complaints: &[Complaint]) -> Vec<String> {
    let say = |c: &Complaint| format!("{:?}{}: {}", c.class, if c.fatal { " fatal" } else { "" }, c.title);
    complaints.iter().map(say).collect()
}

#[test]
fn every_fixture_gives_its_titles() {
    let wrong: Vec<String> = fixtures()
        .iter()
        .filter_map(|path| {
            let Fixture { expected, provokes, console } = read(path);
            let seen = said(&triage(console.as_bytes(), &provokes));
            let name = path.file_name().unwrap().display();
            (seen != expected).then(|| format!("{name}:\n  expected {expected:#?}\n  seen {seen:#?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(fixtures().len() > 40, "the fixtures are there");
}

/// The live alarm and the judgement of the whole log agree on what ends a scenario.
#[test]
fn alarm_agrees_with_triage() {
    for path in fixtures() {
        let Fixture { provokes, console, .. } = read(&path);
        let fatal = triage(console.as_bytes(), &provokes).iter().any(|c| c.fatal);
        let alarm = Alarm::new(provokes);
        assert_eq!(console.lines().any(|l| alarm.is_fatal(l)), fatal, "{}", path.display());
    }
}

#[test]
fn excerpts_are_short_and_leave_registers_out() {
    for path in fixtures() {
        for complaint in triage(read(&path).console.as_bytes(), &Provokes::default()) {
            assert!((1..=24).contains(&complaint.excerpt.len()), "{}: {complaint:#?}", path.display());
            assert!(
                !complaint.excerpt.iter().any(|l| l.contains("Code: ") || l.contains("RAX: ")),
                "{complaint:#?}"
            );
        }
    }
}

#[test]
fn provoked_by_its_head_but_not_by_its_stack() {
    let console = "WARNING: CPU: 0 PID: 7 at arch/x86/mm/init_64.c:854 add_pages+0x60/0x70\n\
                   Call Trace:\n add_memory_resource+0x103/0x2f0\n---[ end trace 0 ]---\n";
    let titles = |pattern: &str| said(&triage(console.as_bytes(), &provoking(&[pattern])));
    assert_eq!(titles("add_memory_resource"), ["Warning: WARNING in add_pages"]);
    assert_eq!(titles(r"WARNING: .*\badd_pages\b"), [""; 0]);
}

#[test]
fn a_provoked_line_is_no_alarm() {
    let line = "[    9.100000] Kernel panic - not syncing: sysrq triggered crash";
    assert!(Alarm::default().is_fatal(line));
    assert!(!Alarm::new(provoking(&["sysrq triggered"])).is_fatal(line));
    assert_eq!(Alarm::default().class("[    9.100000] x invoked oom-killer: gfp"), Some(Class::Oom));
    assert_eq!(Alarm::default().class("[    9.100000] Freeing unused kernel image"), None);
}

#[test]
fn bad_pattern_is_named() {
    let bad = [Provoked { message: "a(".into(), reason: "r".into() }];
    assert!(
        Provokes::new(&bad)
            .unwrap_err()
            .to_string()
            .starts_with(r#"provokes: "a(" is no regular expression"#)
    );
}

#[test]
fn a_flood_is_one_complaint() {
    let line = "[   11.644862] WARNING: CPU: 0 PID: 7 at mm/x.c:854 add_pages+0x60/0x70\n";
    assert_eq!(
        said(&triage(line.repeat(3_000).as_bytes(), &Provokes::default())),
        ["Warning: WARNING in add_pages"]
    );
}

proptest::proptest! {
    #[test]
    fn no_console_is_an_error(console in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..4000)) {
        triage(&console, &Provokes::default());
    }

    /// Pieces of real messages in any order.
    #[test]
    fn no_order_is_an_error(pieces in proptest::collection::vec(0..PIECES.len(), 0..60)) {
        let console: String = pieces.iter().map(|i| PIECES[*i]).collect();
        for complaint in triage(console.as_bytes(), &Provokes::default()) {
            proptest::prop_assert!(!complaint.title.is_empty() && complaint.line >= 1);
        }
    }
}

const PIECES: [&str; 14] = [
    "\n",
    "[    1.000000] ",
    "------------[ cut here ]------------",
    "WARNING: CPU: 0 PID: 7 at mm/x.c:1 f+0x0/0x1",
    "Call Trace:",
    " f+0x1/0x2",
    "RIP: 0010:g+0x0/0x1",
    "BUG: ",
    "BUG: kernel NULL pointer dereference, address: 0",
    "Oops: 0000 [#1] SMP",
    "Kernel panic - not syncing: Fatal exception",
    "---[ end trace 0 ]---",
    "INFO: task a:1 blocked for more than 5 seconds.",
    "CPU: 0 PID: 7 Comm: x",
];
