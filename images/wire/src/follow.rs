//! Both ends of what is sent again and again: the sender remembers what it sent, the receiver what it got.

use crate::edit::{Edit, apply, edits};
use crate::message::{Snapshot, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Directory -> entry -> value.
pub type State = BTreeMap<String, BTreeMap<String, Value>>;

/// A [`Value`] on the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sent {
    /// text, whole
    Text(String),
    /// errno of open or read
    Errno(i32),
    /// what makes it of the text that was sent last under this name
    Edits(Vec<Edit>),
}

/// A [`Snapshot`] on the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// as [`Snapshot::changed`]
    pub changed: BTreeMap<String, BTreeMap<String, Sent>>,
    /// as [`Snapshot::gone`]
    pub gone: Vec<String>,
    /// as [`Snapshot::threads`]
    pub threads: Vec<String>,
}

impl Sent {
    /// How to send `new` to one who has `old`.
    pub fn new(old: Option<&Value>, new: &Value) -> Self {
        match (old, new) {
            (Some(Value::Text(old)), Value::Text(new)) => Self::Edits(edits(old, new)),
            (_, Value::Text(new)) => Self::Text(new.clone()),
            (_, Value::Errno(errno)) => Self::Errno(*errno),
        }
    }

    /// The value, for one who has `old`; `None`: the other side takes us for somebody who has something else.
    pub fn value(self, old: Option<&Value>) -> Option<Value> {
        match (self, old) {
            (Self::Text(text), _) => Some(Value::Text(text)),
            (Self::Errno(errno), _) => Some(Value::Errno(errno)),
            (Self::Edits(edits), Some(Value::Text(old))) => apply(old, &edits).map(Value::Text),
            (Self::Edits(_), _) => None,
        }
    }
}

impl Delta {
    /// What differs: new and changed directories, each with all its entries, and those that are gone.
    pub fn new(old: &State, new: &State, threads: Vec<String>) -> Self {
        let dir = |(path, entries): (&String, &BTreeMap<String, Value>)| {
            let before = old.get(path);
            let one = |(name, value): (&String, &Value)| {
                (name.clone(), Sent::new(before.and_then(|b| b.get(name)), value))
            };
            (before != Some(entries)).then(|| (path.clone(), entries.iter().map(one).collect()))
        };
        let gone = old.keys().filter(|dir| !new.contains_key(*dir)).cloned();
        Self { changed: new.iter().filter_map(dir).collect(), gone: gone.collect(), threads }
    }

    /// The snapshot, for one who has `state`, which is brought up to date. `None`: it does not fit what there is.
    pub fn snapshot(self, state: &mut State) -> Option<Snapshot> {
        let mut changed = State::new();
        for (path, entries) in self.changed {
            let before = state.get(&path);
            let mut now = BTreeMap::new();
            for (name, sent) in entries {
                let value = sent.value(before.and_then(|b| b.get(&name)))?;
                now.insert(name, value);
            }
            changed.insert(path, now);
        }
        for dir in &self.gone {
            state.remove(dir)?;
        }
        state.extend(changed.clone());
        Some(Snapshot { changed, gone: self.gone, threads: self.threads })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(dirs: &[(&str, &[(&str, Value)])]) -> State {
        let entries = |e: &[(&str, Value)]| e.iter().map(|(n, v)| ((*n).to_string(), v.clone())).collect();
        dirs.iter().map(|(d, e)| ((*d).to_string(), entries(e))).collect()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_string())
    }

    #[test]
    fn the_receiver_follows() {
        let steps = [
            state(&[
                ("/proc", &[("a", text("1\n2\n3\n")), ("b", text("x\n"))]),
                ("/sys", &[("c", text("y"))]),
            ]),
            state(&[
                ("/proc", &[("a", text("1\n0\n3\n")), ("b", text("x\n"))]),
                ("/sys", &[("c", text("y"))]),
            ]),
            state(&[("/proc", &[("a", Value::Errno(2)), ("b", text("x\n"))])]),
            state(&[("/proc", &[("a", text("1\n")), ("b", text("x\n"))]), ("/new", &[])]),
        ];
        let (mut theirs, mut ours) = (State::new(), State::new());
        for now in steps {
            let delta = Delta::new(&theirs, &now, vec!["t".to_string()]);
            theirs.clone_from(&now);
            let snapshot = delta.snapshot(&mut ours).unwrap();
            assert_eq!(ours, now);
            assert!(snapshot.changed.iter().all(|(dir, entries)| now[dir] == *entries));
        }
    }

    #[test]
    fn what_did_not_change_is_not_sent() {
        let old =
            state(&[("/proc", &[("a", text("1\n2\n")), ("b", text("x\n"))]), ("/sys", &[("c", text("y"))])]);
        let mut new = old.clone();
        new.insert("/proc".into(), [("a".into(), text("1\n3\n")), ("b".into(), text("x\n"))].into());
        let delta = Delta::new(&old, &new, Vec::new());
        let a = Sent::Edits(vec![Edit(1, 1, "3\n".into())]);
        let expected = [("a".to_string(), a), ("b".to_string(), Sent::Edits(Vec::new()))];
        assert_eq!(delta.changed, BTreeMap::from([("/proc".to_string(), BTreeMap::from(expected))]));
    }

    #[test]
    fn a_delta_for_somebody_else_is_refused() {
        let new = state(&[("/proc", &[("a", text("1\n2\n"))])]);
        let old = state(&[("/proc", &[("a", text("1\n1\n"))])]);
        assert_eq!(Delta::new(&old, &new, Vec::new()).snapshot(&mut State::new()), None);
        let gone = Delta { changed: BTreeMap::new(), gone: vec!["/x".into()], threads: Vec::new() };
        assert_eq!(gone.snapshot(&mut State::new()), None);
    }
}
