//! The cases that come with memhp: all load, ids are unique, and what is asked of the whole of them holds.

use super::load;
use super::schema::{Case, Expect, Step};
use std::collections::BTreeSet;
use std::path::Path;

fn expectations<'a>(steps: &'a [Step], all: &mut Vec<&'a Expect>) {
    for step in steps {
        match step {
            Step::Expect(e) => all.push(e),
            Step::Repeat(r) => expectations(&r.steps, all),
            Step::Each(e) => expectations(&e.steps, all),
            _ => {}
        }
    }
}

fn has_exec(case: &Case) -> bool {
    case.steps.iter().any(|s| matches!(s, Step::Exec(_)))
}

#[test]
fn the_corpus_loads_and_expands() {
    let cases = load::embedded().unwrap_or_else(|e| panic!("{e}"));
    let scenarios: Vec<String> = cases.iter().flat_map(|c| &c.scenarios).map(|s| s.id()).collect();
    let unique: BTreeSet<&String> = scenarios.iter().collect();
    assert_eq!(unique.len(), scenarios.len());
    let folders: BTreeSet<&str> = cases.iter().map(|c| c.folder.as_str()).collect();
    for folder in ["inject", "numa", "policy", "race", "repeat", "sysfs", "unplug", "zone"] {
        assert!(folders.contains(folder), "no case in {folder}");
    }
    println!("{} cases, {} scenarios on each kernel that all apply to", cases.len(), scenarios.len());
    assert!(
        cases.iter().all(|c| !has_exec(&c.case)),
        "an embedded case has no directory to take programs from"
    );
}

/// Cases and oracle written by one hand err together, so a third must not ask the oracle.
#[test]
fn a_third_of_the_expectations_is_spelled_out() {
    let cases = load::embedded().unwrap_or_else(|e| panic!("{e}"));
    let mut all = Vec::new();
    cases.iter().for_each(|c| expectations(&c.case.steps, &mut all));
    let asked = all.iter().filter(|e| e.as_.is_some()).count();
    println!("{} expectations, {asked} of them of the oracle", all.len());
    assert!((all.len() - asked) * 3 >= all.len());
}

#[test]
fn the_binary_holds_the_files() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases");
    let ids = |cases: Vec<load::Loaded>| -> Vec<String> {
        cases.iter().flat_map(|c| &c.scenarios).map(|s| s.id()).collect()
    };
    assert_eq!(ids(load::from_dir(&dir).expect("the cases load")), ids(load::embedded().expect("they load")));
}

/// `cargo test -p memhp --lib schema_is_fresh` says how to write it anew.
#[test]
fn schema_is_fresh() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases/case.schema.json");
    let fresh = super::schema_json();
    if std::env::var_os("MEMHP_WRITE_SCHEMA").is_some() {
        std::fs::write(&file, &fresh).expect("the schema can be written");
    }
    let seen = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(seen == fresh, "{} is stale: run the test with MEMHP_WRITE_SCHEMA=1", file.display());
}
