//! Several runs made one: the events of the parts of a run, numbered anew. Pure; the reports follow from them.

use crate::event::{self, Event, Kind, RunStart, ScenarioEnd};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Why runs cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// nothing is known of a run
    #[error("{0}: the log does not begin with run-start")]
    NoStart(String),
    /// other random choices
    #[error("{runs} have the seeds {}: parts of one run have one seed", .seeds.join(", "))]
    Seeds {
        /// names of the runs
        runs: String,
        /// their seeds
        seeds: Vec<String>,
    },
    /// one name, several kernels
    #[error("{name} is one kernel in {first} and another in {second} (sha256)")]
    Kernels {
        /// the kernel's name
        name: String,
        /// a run
        first: String,
        /// another run
        second: String,
    },
    /// one part was cut into more or fewer than another
    #[error("{first} is part {shard} and {second} is part {other}: not of one run")]
    NotOneRun {
        /// a run
        first: String,
        /// its part
        shard: String,
        /// another run
        second: String,
        /// its part
        other: String,
    },
    /// a part is not there
    #[error("parts of the run of {kernels} are missing: {missing}")]
    Missing {
        /// kernels of these parts
        kernels: String,
        /// `2/3, 3/3`
        missing: String,
    },
    /// `--shard` that is none
    #[error("{0}: shard {1:?} is not I/N")]
    BadShard(String, String),
    /// one scenario, several judgements
    #[error("{scenario} is {one} in {first} and {other} in {second}: which is right?")]
    Contradiction {
        /// id
        scenario: String,
        /// a run
        first: String,
        /// its judgement
        one: String,
        /// another run
        second: String,
        /// its judgement
        other: String,
    },
}

/// A run to be merged: its name for messages, and its events.
pub type Part = (String, Vec<Event>);

/// The merged events, without the last one: the exit status follows from the rest. `argv` is the command that merges.
///
/// A judgement that several parts have alike (the same scenario, the same round) is taken once.
///
/// # Errors
/// See [`MergeError`].
pub fn merge(parts: &[Part], argv: Vec<String>) -> Result<Vec<Event>, MergeError> {
    let starts = starts(parts)?;
    check_shards(&starts)?;
    let owners = owners(parts)?;
    let mut merged = vec![(0, None, 0, Kind::RunStart(one_start(&starts, argv)?))];
    merged.push((0, None, 0, Kind::Plan { scenarios: plan(parts, &owners) }));
    for (index, (_, events)) in parts.iter().enumerate() {
        let is_mine = |e: &&Event| match &e.scenario {
            Some(id) => owners.get(&(id, e.round)) == Some(&index),
            None => !matches!(e.kind, Kind::RunStart(_) | Kind::RunEnd { .. } | Kind::Plan { .. }),
        };
        let mine = events.iter().filter(is_mine);
        merged.extend(mine.map(|e| (e.t_ns, e.scenario.clone(), e.round, e.kind.clone())));
    }
    let number =
        |(seq, (t_ns, scenario, round, kind))| Event { v: event::VERSION, seq, t_ns, scenario, round, kind };
    Ok((1..).zip(merged).map(number).collect())
}

type Starts<'a> = Vec<(&'a str, &'a RunStart)>;

fn starts(parts: &[Part]) -> Result<Starts<'_>, MergeError> {
    parts.iter().map(start).collect()
}

fn start((name, events): &Part) -> Result<(&str, &RunStart), MergeError> {
    match events.first().map(|e| &e.kind) {
        Some(Kind::RunStart(start)) => Ok((name.as_str(), start)),
        _ => Err(MergeError::NoStart(name.clone())),
    }
}

/// One description of several: what they have in common, or all of what they have.
fn one_start(starts: &Starts<'_>, argv: Vec<String>) -> Result<RunStart, MergeError> {
    let mut kernels: BTreeMap<String, Value> = BTreeMap::new();
    let mut subjects: BTreeMap<String, Value> = BTreeMap::new();
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    for (run, start) in starts {
        for (name, identity) in &start.kernels {
            let first = from.entry(name).or_insert(run);
            let kept = kernels.entry(name.clone()).or_insert_with(|| identity.clone());
            if kept.get("sha256") != identity.get("sha256") {
                let (name, first, second) = (name.clone(), first.to_string(), (*run).to_string());
                return Err(MergeError::Kernels { name, first, second });
            }
        }
        subjects.extend(start.subjects.clone());
    }
    let all = |of: &dyn Fn(&RunStart) -> String| -> Vec<String> {
        let words: BTreeSet<String> = starts.iter().map(|(_, start)| of(start)).collect();
        words.into_iter().collect()
    };
    let seeds = all(&|s| s.seed.to_string());
    if seeds.len() > 1 {
        let names: Vec<&str> = starts.iter().map(|(name, _)| *name).collect();
        return Err(MergeError::Seeds { runs: names.join(", "), seeds });
    }
    Ok(RunStart {
        memhp: all(&|s| s.memhp.clone()).join(", "),
        argv,
        unix_time: starts.iter().map(|(_, s)| s.unix_time).min().unwrap_or(0),
        qemu: all(&|s| s.qemu.clone()).join(", "),
        accel: all(&|s| s.accel.clone()).join(", "),
        seed: starts.first().map_or(0, |(_, s)| s.seed),
        shard: None,
        kernels,
        subjects,
    })
}

/// Name of the run, `I/N`, and both numbers.
type Shard<'a> = (&'a str, &'a String, (u32, u32));

/// Parts that tell which they are must be all there: for each set of kernels, every one of as many as they say.
fn check_shards(starts: &Starts<'_>) -> Result<(), MergeError> {
    let mut groups: BTreeMap<Vec<&String>, Vec<Shard<'_>>> = BTreeMap::new();
    for (name, start) in starts {
        let Some(text) = &start.shard else { continue };
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let numbers: (u32, u32) = numbers
            .filter(|(i, n)| (1..=*n).contains(i))
            .ok_or_else(|| MergeError::BadShard((*name).into(), text.clone()))?;
        groups.entry(start.kernels.keys().collect()).or_default().push((name, text, numbers));
    }
    for (kernels, shards) in groups {
        let Some((first, shard, (_, of))) = shards.first() else { continue };
        if let Some((second, other, _)) = shards.iter().find(|(_, _, (_, n))| n != of) {
            return Err(MergeError::NotOneRun {
                first: (*first).into(),
                shard: (*shard).clone(),
                second: (*second).into(),
                other: (*other).clone(),
            });
        }
        let there: BTreeSet<u32> = shards.iter().map(|(_, _, (i, _))| *i).collect();
        let missing: Vec<String> =
            (1..=*of).filter(|i| !there.contains(i)).map(|i| format!("{i}/{of}")).collect();
        if !missing.is_empty() {
            let kernels = kernels.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(", ");
            return Err(MergeError::Missing { kernels, missing: missing.join(", ") });
        }
    }
    Ok(())
}

/// Which part tells of a scenario's round: the first that judged it, else the first that began it.
type Owners<'a> = BTreeMap<(&'a String, u32), usize>;

fn owners(parts: &[Part]) -> Result<Owners<'_>, MergeError> {
    let mut judged: BTreeMap<(&String, u32), (usize, &ScenarioEnd)> = BTreeMap::new();
    let mut begun = Owners::new();
    for (index, (name, events)) in parts.iter().enumerate() {
        for event in events {
            let Some(id) = &event.scenario else { continue };
            begun.entry((id, event.round)).or_insert(index);
            let Kind::ScenarioEnd(end) = &event.kind else { continue };
            let (first, one) = *judged.entry((id, event.round)).or_insert((index, end));
            if !alike(one, end) {
                return Err(MergeError::Contradiction {
                    scenario: id.clone(),
                    first: parts[first].0.clone(),
                    one: words(one),
                    second: name.clone(),
                    other: words(end),
                });
            }
        }
    }
    begun.extend(judged.into_iter().map(|(key, (index, _))| (key, index)));
    Ok(begun)
}

/// Every scenario as often as the part that has most of it planned it, or as often as it ran.
fn plan(parts: &[Part], owners: &Owners<'_>) -> Vec<String> {
    let mut times: BTreeMap<&String, usize> = BTreeMap::new();
    for (id, _) in owners.keys() {
        *times.entry(id).or_default() += 1;
    }
    for (_, events) in parts {
        let mut planned: BTreeMap<&String, usize> = BTreeMap::new();
        for event in events {
            let Kind::Plan { scenarios } = &event.kind else { continue };
            scenarios.iter().for_each(|id| *planned.entry(id).or_default() += 1);
        }
        for (id, n) in planned {
            let most = times.entry(id).or_default();
            *most = n.max(*most);
        }
    }
    times.into_iter().flat_map(|(id, n)| std::iter::repeat_n(id.clone(), n)).collect()
}

/// Whether they say the same of the kernel: all but times, and how the guest came up.
fn alike(a: &ScenarioEnd, b: &ScenarioEnd) -> bool {
    (a.verdict, &a.title, &a.known, &a.facts) == (b.verdict, &b.title, &b.known, &b.facts)
}

fn words(end: &ScenarioEnd) -> String {
    format!("{} {}", end.verdict, end.title).trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::events;
    use crate::verdict::Verdict;

    /// The test's run, as a part of one, with those of its scenarios that `keep` names.
    fn part(name: &str, shard: Option<&str>, keep: &[&str]) -> Part {
        let is_kept = |id: &String| keep.iter().any(|k| id.starts_with(k));
        let mut kept = Vec::new();
        for mut event in events() {
            match &mut event.kind {
                Kind::RunStart(start) => start.shard = shard.map(str::to_string),
                Kind::Plan { scenarios } => scenarios.retain(is_kept),
                _ if !event.scenario.as_ref().is_none_or(is_kept) => continue,
                _ => {}
            }
            kept.push(event);
        }
        (name.into(), kept)
    }

    fn halves() -> [Part; 2] {
        [part("x", Some("1/2"), &["policy", "zone"]), part("y", Some("2/2"), &["sysfs", "unplug"])]
    }

    fn change(part: &mut Part, of: &str, f: impl Fn(&mut ScenarioEnd)) {
        for event in part.1.iter_mut().filter(|e| e.scenario.as_ref().is_some_and(|s| s.starts_with(of))) {
            if let Kind::ScenarioEnd(end) = &mut event.kind {
                f(end);
            }
        }
    }

    fn refused(parts: &[Part]) -> String {
        merge(parts, Vec::new()).unwrap_err().to_string()
    }

    #[test]
    fn parts_make_the_whole() {
        let merged = merge(&halves(), vec!["memhp".into(), "merge".into()]).unwrap();
        assert!((1..).zip(&merged).all(|(seq, event)| event.seq == seq));
        let whole = events();
        let plan = |events: &[Event]| match &events[1].kind {
            Kind::Plan { scenarios } => scenarios.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(plan(&merged), plan(&whole));
        let kinds = |events: &[Event], id: &str| -> Vec<Kind> {
            events.iter().filter(|e| e.scenario.as_deref() == Some(id)).map(|e| e.kind.clone()).collect()
        };
        for id in plan(&whole) {
            assert_eq!(kinds(&merged, &id), kinds(&whole, &id), "{id}");
        }
        let Kind::RunStart(start) = &merged[0].kind else { panic!() };
        assert_eq!((start.shard.as_deref(), start.qemu.as_str(), start.argv.len()), (None, "7.2.22", 2));
    }

    #[test]
    fn a_missing_part_is_refused_for_each_set_of_kernels() {
        let [x, y] = halves();
        assert_eq!(refused(std::slice::from_ref(&y)), "parts of the run of k are missing: 1/2");
        let mut other = part("z", Some("1/2"), &[]);
        if let Kind::RunStart(start) = &mut other.1[0].kind {
            start.kernels = BTreeMap::from([("k2".to_string(), Value::Null)]);
        }
        assert_eq!(refused(&[x.clone(), y.clone(), other]), "parts of the run of k2 are missing: 2/2");
        let third = part("z", Some("3/3"), &[]);
        assert_eq!(refused(&[x.clone(), y, third]), "x is part 1/2 and z is part 3/3: not of one run");
        assert_eq!(refused(&[part("z", Some("3/2"), &[])]), "z: shard \"3/2\" is not I/N");
        assert_eq!(refused(&[("empty".into(), Vec::new())]), "empty: the log does not begin with run-start");
        assert!(merge(&[part("all", None, &[""])], Vec::new()).is_ok());
    }

    #[test]
    fn one_scenario_is_judged_once_or_alike_or_in_other_rounds() {
        let mut again = part("again", None, &["policy/good"]);
        let whole = part("whole", None, &[""]);
        let ends =
            |merged: &[Event]| merged.iter().filter(|e| matches!(e.kind, Kind::ScenarioEnd(_))).count();
        change(&mut again, "policy/good", |end| end.duration_ns = 7);
        let merged = merge(&[whole.clone(), again.clone()], Vec::new()).unwrap();
        let Kind::Plan { scenarios } = &merged[1].kind else { panic!() };
        assert_eq!((ends(&merged), scenarios.len()), (5, 5));
        change(&mut again, "policy/good", |end| (end.verdict, end.title) = (Verdict::Fail, "oops".into()));
        let why = "policy/good@k is PASS in whole and FAIL oops in again: which is right?";
        assert_eq!(refused(&[whole.clone(), again.clone()]), why);
        again.1.iter_mut().filter(|e| e.scenario.is_some()).for_each(|e| e.round = 1);
        let merged = merge(&[whole, again], Vec::new()).unwrap();
        let Kind::Plan { scenarios } = &merged[1].kind else { panic!() };
        assert_eq!((ends(&merged), scenarios.len()), (6, 6));
    }

    #[test]
    fn a_part_that_was_cut_short_is_missed_unless_another_has_judged_it() {
        let mut cut = part("cut", None, &["policy/good"]);
        cut.1.retain(|e| !matches!(e.kind, Kind::ScenarioEnd(_) | Kind::RunEnd { .. }));
        let alone = merge(std::slice::from_ref(&cut), Vec::new()).unwrap();
        assert_eq!(super::super::cut_short(&alone).len(), 1);
        let merged = merge(&[cut, part("again", None, &["policy/good"])], Vec::new()).unwrap();
        assert_eq!(super::super::cut_short(&merged).len(), 0);
        let starts = merged.iter().filter(|e| matches!(e.kind, Kind::ScenarioStart { .. })).count();
        assert_eq!(starts, 1, "what was begun in vain is left out");
    }

    #[test]
    fn other_seeds_and_other_kernels_of_one_name_are_refused() {
        let [x, mut y] = halves();
        let Kind::RunStart(start) = &mut y.1[0].kind else { panic!() };
        start.kernels = BTreeMap::from([("k".to_string(), serde_json::json!({ "sha256": "cd" }))]);
        assert_eq!(refused(&[x.clone(), y.clone()]), "k is one kernel in x and another in y (sha256)");
        let Kind::RunStart(start) = &mut y.1[0].kind else { panic!() };
        (start.seed, start.kernels) = (2, BTreeMap::from([("k".to_string(), x_kernel(&x))]));
        assert_eq!(refused(&[x, y]), "x, y have the seeds 1, 2: parts of one run have one seed");
    }

    fn x_kernel(x: &Part) -> Value {
        match &x.1[0].kind {
            Kind::RunStart(start) => start.kernels["k"].clone(),
            other => panic!("{other:?}"),
        }
    }
}
