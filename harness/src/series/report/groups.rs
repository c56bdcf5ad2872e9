//! Changes that are the same in many scenarios, each once, with the scenarios that have it. Pure.
//!
//! A series that removes a file changes every scenario that looks at it; a reader wants to see that once. Two differences
//! are the same if they read the same but for numbers of blocks and steps.

use crate::compare::{Class, Comparison, Difference, Seen, What};
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A change, and who has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<'a> {
    /// its class
    pub class: Class,
    /// one of the differences, from the first of the scenarios
    pub example: &'a Difference,
    /// ids without `@KERNEL`, sorted
    pub scenarios: Vec<&'a str>,
}

static NUMBERS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("[0-9]+").ok());

/// Groups of unexpected changes, heaviest class first, those with the most scenarios first.
pub fn groups(comparison: &Comparison) -> Vec<Group<'_>> {
    let mut by_key: BTreeMap<(Class, String), Group<'_>> = BTreeMap::new();
    for change in comparison.changes.iter().filter(|c| c.expected.is_none() && c.class != Class::Noise) {
        let real = || change.differences.iter().filter(|d| d.class != Class::Noise);
        // The verdict follows from the others, where there are others.
        let others = real().any(|d| d.what != What::Verdict);
        for d in real().filter(|d| !others || d.what != What::Verdict) {
            let of = |class| Group { class, example: d, scenarios: Vec::new() };
            let group = by_key.entry((d.class, key(d))).or_insert_with(|| of(d.class));
            if group.scenarios.last() != Some(&change.scenario.as_str()) {
                group.scenarios.push(&change.scenario);
            }
        }
    }
    let mut groups: Vec<Group<'_>> = by_key.into_values().collect();
    for group in &mut groups {
        group.scenarios.sort_unstable();
        group.scenarios.dedup();
    }
    let order = |g: &Group<'_>| (std::cmp::Reverse(g.class), std::cmp::Reverse(g.scenarios.len()));
    groups.sort_by_key(order);
    groups
}

fn key(d: &Difference) -> String {
    let values = |seen: &[Seen]| seen.iter().map(|s| s.value.as_str()).collect::<Vec<_>>().join(" | ");
    let text = format!(
        "{:?} {} {} {} {}",
        d.what,
        d.subject,
        d.expected.as_deref().unwrap_or_default(),
        values(&d.a),
        values(&d.b)
    );
    NUMBERS.as_ref().map_or_else(|| text.clone(), |r| r.replace_all(&text, "#").into_owned())
}

/// `policy/boot-param (4)`: cases with the number of their scenarios.
pub fn by_case(scenarios: &[&str]) -> Vec<String> {
    let mut cases: BTreeMap<&str, usize> = BTreeMap::new();
    for id in scenarios {
        *cases.entry(id.split('[').next().unwrap_or(id)).or_default() += 1;
    }
    cases
        .into_iter()
        .map(|(case, n)| if n == 1 { case.to_string() } else { format!("{case} ({n})") })
        .collect()
}
