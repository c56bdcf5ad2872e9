//! Between which neighbours of a row of kernels what is observed changes. Pure.
//!
//! Both ends are observed, then the middle between any two that differ, until they are neighbours; only scenarios that
//! differ are run again. A change that is taken back between two observed kernels that agree is not seen. Neighbours that
//! differ are observed once more: what differs there within one kernel varies by itself and is no change.

use super::search::Stop;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen of a scenario on a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// facts, by what they are of: `memory32` -> `online Movable`
    Facts(BTreeMap<String, String>),
    /// it does not apply
    Skipped(String),
    /// nothing is known
    Unknown(String),
}

/// Runs scenarios on the kernel with this number in the row.
pub trait Observe {
    /// What is seen of each of `scenarios` (all there are without any); again, without what was seen before.
    ///
    /// # Errors
    /// The search ends.
    fn observe(
        &mut self,
        kernel: usize,
        scenarios: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Seen>, Stop>;
}

/// Two neighbours that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// number of the last kernel that has the old facts; the next one has the new ones
    pub after: usize,
    /// scenarios and what changes in them: what, before, after
    pub changes: BTreeMap<String, Vec<(String, String, String)>>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// in the order of the row
    pub intervals: Vec<Interval>,
    /// scenarios of which nothing can be said, and why
    pub unknown: BTreeMap<String, String>,
    /// scenarios that do not apply to both ends
    pub skipped: BTreeSet<String>,
    /// scenarios that vary by themselves
    pub varying: BTreeSet<String>,
    /// kernels that were observed
    pub observed: BTreeSet<usize>,
}

/// Searches a row of `kernels`.
///
/// # Errors
/// See [`Stop`].
pub fn intervals(kernels: usize, observe: &mut dyn Observe) -> Result<Found, Stop> {
    let mut search = Search { observe, found: Found::default() };
    let Some(last) = kernels.checked_sub(1) else { return Ok(search.found) };
    let everything = BTreeSet::new();
    let low = search.look(0, &everything)?;
    let high = search.look(last, &everything)?;
    let names: BTreeSet<&String> = low.keys().chain(high.keys()).collect();
    for name in names {
        match (low.get(name), high.get(name)) {
            (Some(Seen::Facts(_)), Some(Seen::Facts(_))) => {}
            (Some(Seen::Unknown(why)), _) | (_, Some(Seen::Unknown(why))) => {
                search.found.unknown.insert(name.clone(), why.clone());
            }
            _ => {
                search.found.skipped.insert(name.clone());
            }
        }
    }
    search.between((0, low), (last, high))?;
    search.found.intervals.sort_by_key(|i| i.after);
    Ok(search.found)
}

struct Search<'a> {
    observe: &'a mut dyn Observe,
    found: Found,
}

type At = (usize, BTreeMap<String, Seen>);

impl Search<'_> {
    fn look(&mut self, kernel: usize, scenarios: &BTreeSet<String>) -> Result<BTreeMap<String, Seen>, Stop> {
        self.found.observed.insert(kernel);
        self.observe.observe(kernel, scenarios)
    }

    fn between(&mut self, low: At, high: At) -> Result<(), Stop> {
        let differ = differing(&low.1, &high.1);
        if differ.is_empty() {
            return Ok(());
        }
        if high.0 - low.0 == 1 {
            return self.confirm(low, high, &differ);
        }
        let middle = usize::midpoint(low.0, high.0);
        let seen = self.look(middle, &differ)?;
        for (name, one) in &seen {
            if let Seen::Unknown(why) | Seen::Skipped(why) = one {
                self.found.unknown.insert(name.clone(), why.clone());
            }
        }
        self.between(low, (middle, seen.clone()))?;
        self.between((middle, seen), high)
    }

    fn confirm(&mut self, low: At, high: At, differ: &BTreeSet<String>) -> Result<(), Stop> {
        let again = (self.look(low.0, differ)?, self.look(high.0, differ)?);
        let mut changes = BTreeMap::new();
        for name in differ {
            if again.0.get(name) != low.1.get(name) || again.1.get(name) != high.1.get(name) {
                self.found.varying.insert(name.clone());
            } else if let (Some(Seen::Facts(before)), Some(Seen::Facts(after))) =
                (low.1.get(name), high.1.get(name))
            {
                changes.insert(name.clone(), difference(before, after));
            }
        }
        if !changes.is_empty() {
            self.found.intervals.push(Interval { after: low.0, changes });
        }
        Ok(())
    }
}

/// Scenarios of which both have facts, and other ones.
fn differing(low: &BTreeMap<String, Seen>, high: &BTreeMap<String, Seen>) -> BTreeSet<String> {
    let differs = |(name, one): (&String, &Seen)| match (one, high.get(name)) {
        (Seen::Facts(a), Some(Seen::Facts(b))) if a != b => Some(name.clone()),
        _ => None,
    };
    low.iter().filter_map(differs).collect()
}

fn difference(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<(String, String, String)> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |facts: &BTreeMap<String, String>, key: &String| {
        facts.get(key).cloned().unwrap_or_else(|| "none".into())
    };
    let changed = keys.into_iter().filter(|k| before.get(*k) != after.get(*k));
    changed.map(|k| (k.clone(), of(before, k), of(after, k))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario -> the word it shows on each kernel; `?` changes every time, `!` is unknown, `-` is skipped.
    struct Row(BTreeMap<&'static str, &'static str>, u32);

    impl Observe for Row {
        fn observe(
            &mut self,
            kernel: usize,
            scenarios: &BTreeSet<String>,
        ) -> Result<BTreeMap<String, Seen>, Stop> {
            self.1 += 1;
            let time = self.1;
            let one = |(name, row): (&&str, &&str)| {
                let seen = match row.as_bytes()[kernel] {
                    b'!' => Seen::Unknown("lost".into()),
                    b'-' => Seen::Skipped("too old".into()),
                    b'?' => Seen::Facts(BTreeMap::from([("m".into(), format!("x{time}"))])),
                    c => Seen::Facts(BTreeMap::from([("m".into(), char::from(c).to_string())])),
                };
                (name.to_string(), seen)
            };
            let wanted = |(name, _): &(&&str, &&str)| scenarios.is_empty() || scenarios.contains(**name);
            Ok(self.0.iter().filter(wanted).map(one).collect())
        }
    }

    fn found(rows: &[(&'static str, &'static str)]) -> (Found, u32) {
        let mut row = Row(rows.iter().copied().collect(), 0);
        let found = intervals(rows[0].1.len(), &mut row).unwrap();
        (found, row.1)
    }

    fn after(found: &Found) -> Vec<(usize, Vec<&str>)> {
        found.intervals.iter().map(|i| (i.after, i.changes.keys().map(String::as_str).collect())).collect()
    }

    #[test]
    fn every_place_is_found_with_few_observations() {
        for at in 0..15 {
            let row: &'static str = Box::leak(("a".repeat(at + 1) + &"b".repeat(15 - at)).into_boxed_str());
            let (found, observations) = found(&[("x", row), ("y", "cccccccccccccccc")]);
            assert_eq!(after(&found), [(at, vec!["x"])]);
            // Both ends, four halvings, and the neighbours again.
            assert!(observations <= 2 + 4 + 2, "{observations}");
            let change = ("m".to_string(), "a".to_string(), "b".to_string());
            assert_eq!(found.intervals[0].changes["x"], [change]);
        }
    }

    #[test]
    fn several_changes_are_told_apart() {
        let (found, _) = found(&[("x", "aabbbbbb"), ("y", "ccccccdd"), ("z", "aaeeeeff")]);
        assert_eq!(after(&found), [(1, vec!["x", "z"]), (5, vec!["y", "z"])]);
    }

    #[test]
    fn what_varies_by_itself_or_is_not_known_is_no_change() {
        let (found, _) = found(&[("v", "a??b"), ("s", "-aab"), ("u", "aaa!"), ("same", "aaaa")]);
        assert_eq!(after(&found), []);
        assert_eq!(found.varying.iter().collect::<Vec<_>>(), ["v"]);
        assert_eq!(found.skipped.iter().collect::<Vec<_>>(), ["s"]);
        assert_eq!(found.unknown.keys().collect::<Vec<_>>(), ["u"]);
        let (found, _) = self::found(&[("u", "a!bb")]);
        assert_eq!(after(&found), []);
        assert_eq!(found.unknown.keys().collect::<Vec<_>>(), ["u"]);
        let (one, _) = self::found(&[("x", "a")]);
        assert_eq!(after(&one), []);
    }
}
