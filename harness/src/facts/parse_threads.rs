//! Kernel threads as the agent tells them: `kswapd0@0-1`, `kswapd1=D@1`.

use super::error::{FactError, Line};
use super::source::number_list;
use std::collections::{BTreeMap, BTreeSet};

/// What the agent puts after the name of a thread that sleeps and cannot be interrupted.
const BLOCKED: &str = "=D";

/// The threads.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Threads {
    /// names
    pub names: BTreeSet<String>,
    /// of those that sleep and cannot be interrupted
    pub blocked: BTreeSet<String>,
    /// processors that they may run on, by name; old logs do not tell
    pub affinity: BTreeMap<String, BTreeSet<u32>>,
}

/// Takes the agent's words apart.
pub(super) fn parse(told: &[String]) -> Result<Threads, FactError> {
    let mut threads = Threads::default();
    for word in told {
        let (name, cpus) = word.split_once('@').map_or((word.as_str(), None), |(n, c)| (n, Some(c)));
        let name = match name.strip_suffix(BLOCKED) {
            Some(name) => {
                threads.blocked.insert(name.to_string());
                name
            }
            None => name,
        };
        threads.names.insert(name.to_string());
        for line in cpus.iter().flat_map(|cpus| Line::all(name, cpus)) {
            threads.affinity.insert(name.to_string(), number_list(&line)?);
        }
    }
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_threads() {
        let words = ["kcompactd0", "kswapd0@0-1", "kswapd1=D@1", "khugepaged=D"].map(String::from);
        let set = |all: &[&str]| all.iter().map(|s| (*s).to_string()).collect::<BTreeSet<_>>();
        let wanted = Threads {
            names: set(&["kcompactd0", "khugepaged", "kswapd0", "kswapd1"]),
            blocked: set(&["khugepaged", "kswapd1"]),
            affinity: [("kswapd0", vec![0, 1]), ("kswapd1", vec![1])]
                .map(|(name, cpus)| (name.to_string(), cpus.into_iter().collect()))
                .into(),
        };
        assert_eq!(parse(&words).unwrap(), wanted);
        assert!(parse(&["kswapd0@x".to_string()]).is_err());
    }
}
