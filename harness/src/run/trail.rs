//! What was judged in a scenario, in order, and the state at its end: by this two runs of a scenario are compared.
//!
//! Where more than one outcome was right, or steps raced, what follows may differ too: the comparison ends there.

use super::judge::Judge;
use super::observation::Observation;
use crate::facts;
use crate::policy::Event;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    /// outcomes, in order
    lines: Vec<String>,
    /// so many lines came before luck decided
    certain: Option<usize>,
    /// the state at the end; empty: it was never seen
    state: BTreeMap<String, String>,
}

impl Trail {
    /// Takes note of an observation that `judge` has judged just now.
    pub fn note(&mut self, step: &str, observation: &Observation, judge: &Judge) {
        if judge.luck() && self.certain.is_none() {
            self.certain = Some(self.lines.len());
        }
        if let Some(text) = outcome(observation) {
            self.lines.push(format!("step {step}: {text}"));
        }
    }

    /// The scenario has ended in the state that `judge` saw last.
    pub fn end(&mut self, judge: &Judge) {
        self.state = judge.now().map(facts::exact).unwrap_or_default();
    }

    /// The first thing in which two runs differ, without luck.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let certain = [self, other].map(|t| t.certain.unwrap_or(usize::MAX)).into_iter().min()?;
        let none = || String::from("nothing");
        let line = |trail: &Self, at: usize| trail.lines.get(at).cloned().unwrap_or_else(none);
        let last = self.lines.len().max(other.lines.len()).min(certain);
        if let Some(at) = (0..last).find(|at| line(self, *at) != line(other, *at)) {
            return Some(format!("{}; other: {}", line(self, at), line(other, at)));
        }
        if certain != usize::MAX {
            return None;
        }
        let mut names: Vec<&String> = self.state.keys().chain(other.state.keys()).collect();
        names.sort();
        let value = |trail: &Self, name: &String| trail.state.get(name).cloned().unwrap_or_else(none);
        let differs = names.into_iter().find(|name| self.state.get(*name) != other.state.get(*name))?;
        Some(format!("at the end {differs}: {}; other: {}", value(self, differs), value(other, differs)))
    }
}

/// What of an observation must be the same in every run; `None`: nothing but the state, which is compared at the end.
fn outcome(observation: &Observation) -> Option<String> {
    Some(match observation {
        Observation::Boot(_) => return None,
        Observation::Settled(settled) => {
            let events: Vec<String> =
                settled.uevents.iter().filter_map(Event::of).map(|e| format!("{e:?}")).collect();
            format!("uevents {}; DIMMs {:?}", events.join(", "), settled.devices)
        }
        Observation::Plug(p) => format!("plug of {}: {:?}, {:?}, {:?}", p.dimm, p.device, p.error, p.osts),
        Observation::Write(w) => format!("write {:?} to {}: errno {}", w.text, w.path, w.errno),
        Observation::BlockWrite(w) => {
            format!("write {:?} to memory{}/{}: errno {}", w.text, w.block, w.attribute.file(), w.errno)
        }
        Observation::Overlapping { writes } => format!("{} writes at once", writes.len()),
        Observation::Unplug(u) => format!("unplug of {}: {:?}", u.dimm, u.error),
        Observation::UnplugOutcome(u) => {
            format!("end of the unplug of {}: {}, {:?}", u.dimm, u.outcome.word(), u.osts)
        }
        Observation::Raced { dimms, .. } => format!("races of {dimms:?} are over"),
        Observation::Blocks(b) => format!("blocks {:?} looked at", b.blocks),
        Observation::Verified { name, wrong, .. } => format!("{name} checked: {wrong} pages wrong"),
        // How much was free is another number in every run.
        Observation::Held(held) => format!("{} of {} is held", held.size, held.name),
        Observation::Load(load) => format!("load {:?}: {:?}", load.name, load.phase),
        Observation::HolderDied { name, .. } => format!("the holder of {name} died"),
        Observation::HoldRefused { name, .. } => format!("{name} was refused"),
        Observation::File(f) => format!("{}: {:?}", f.path, f.value),
        Observation::Console { pattern, line } => format!("console {pattern:?}: {}", line.is_some()),
        Observation::Exec(e) => format!("{}: status {}, {}", e.program, e.status, e.timed_out),
        Observation::Drift { every, samples } => format!("{} samples, one in {every} rounds", samples.len()),
        Observation::UserSpace(acted) => match (&acted.dimms, &acted.word) {
            (Some(dimms), Some(word)) => {
                format!("udevd writes {word:?} to the blocks of {}", dimms.join(", "))
            }
            (None, Some(word)) => format!("udevd writes {word:?} to every offline block"),
            (_, None) => "udevd leaves the blocks alone".into(),
        },
        Observation::NotWithin { waited_for, .. } => format!("{waited_for} not within"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(lines: &[&str], certain: Option<usize>, state: &[(&str, &str)]) -> Trail {
        let own = |(a, b): &(&str, &str)| ((*a).to_string(), (*b).to_string());
        Trail {
            lines: lines.iter().map(|l| (*l).to_string()).collect(),
            certain,
            state: state.iter().map(own).collect(),
        }
    }

    #[test]
    fn outcomes_and_the_last_state_are_compared() {
        let one = trail(&["a", "b"], None, &[("x", "1")]);
        assert_eq!(one.difference(&one), None);
        let differs = |other: &Trail| (one.difference(other), other.difference(&one));
        let (a, b) = differs(&trail(&["a", "c"], None, &[("x", "1")]));
        assert_eq!((a.as_deref(), b.as_deref()), (Some("b; other: c"), Some("c; other: b")));
        let (a, b) = differs(&trail(&["a"], None, &[("x", "1")]));
        assert_eq!((a.as_deref(), b.as_deref()), (Some("b; other: nothing"), Some("nothing; other: b")));
        let (a, b) = differs(&trail(&["a", "b"], None, &[("x", "2")]));
        assert_eq!(a.as_deref(), Some("at the end x: 1; other: 2"));
        assert_eq!(b.as_deref(), Some("at the end x: 2; other: 1"));
        assert!(differs(&trail(&["a", "b"], None, &[])).0.is_some());
    }

    #[test]
    fn after_luck_nothing_is_compared_and_before_it_everything() {
        let one = trail(&["a", "b", "c"], Some(1), &[("x", "1")]);
        let other = trail(&["a", "d"], Some(1), &[("x", "2")]);
        assert_eq!(one.difference(&other), None);
        let early = trail(&["z", "d"], Some(1), &[]);
        assert_eq!(one.difference(&early).as_deref(), Some("a; other: z"));
    }
}
