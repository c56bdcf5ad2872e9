//! From patterns and kernels to the scenarios that are meant.

use super::load::{self, LoadError, Loaded};
use super::matrix::Scenario;
use super::pattern::Pattern;
use std::collections::BTreeMap;
use std::path::Path;

/// A scenario on a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// `FOLDER/CASE[axis=value]@KERNEL`
    pub id: String,
    /// the pattern that chooses it again: its id, or the path of its file
    pub again: String,
    /// index of its kernel in the list that was given
    pub kernel: usize,
    /// the scenario
    pub scenario: Scenario,
}

/// Why nothing can be chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// a pattern that matches nothing is a mistake (exit status 2)
    #[error("no scenario matches {0:?}")]
    NoMatch(String),
    /// a case file that was named cannot be loaded
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Scenarios that any of `patterns` matches on any of `kernels` (all without a pattern), sorted by id, each once.
///
/// A pattern that ends in `.yaml` and names a file is that case, instead of one of the same name in `cases`.
pub fn choose(cases: &[Loaded], patterns: &[Pattern], kernels: &[&str]) -> Result<Vec<Chosen>, ChooseError> {
    let mut chosen = BTreeMap::new();
    let everything = [Pattern::new("*")];
    let patterns = if patterns.is_empty() { &everything } else { patterns };
    let (files, globs): (Vec<&Pattern>, Vec<&Pattern>) = patterns.iter().partition(|p| p.is_case_file());
    for pattern in globs {
        if !add(&mut chosen, cases, kernels, None, |id| pattern.matches(id)) {
            return Err(ChooseError::NoMatch(pattern.text().into()));
        }
    }
    for file in files {
        let case = load::from_file(Path::new(file.text()))?;
        let path = std::path::absolute(&case.file).unwrap_or_else(|_| case.file.clone());
        add(&mut chosen, &[case], kernels, Some(&path), |_| true);
    }
    Ok(chosen.into_values().collect())
}

fn add(
    chosen: &mut BTreeMap<String, Chosen>,
    cases: &[Loaded],
    kernels: &[&str],
    file: Option<&Path>,
    matches: impl Fn(&str) -> bool,
) -> bool {
    let mut any = false;
    for scenario in cases.iter().flat_map(|case| &case.scenarios) {
        for (kernel, name) in kernels.iter().enumerate() {
            let id = scenario.id_on(name);
            if matches(&id) {
                any = true;
                let again = file.map_or_else(|| id.clone(), |file| file.display().to_string());
                chosen.insert(id.clone(), Chosen { id, again, kernel, scenario: scenario.clone() });
            }
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &str = "summary: s\norigin: o\nsteps:\n  - plug: { dimm: a, size: 1G }\n";

    fn cases() -> Vec<Loaded> {
        let axis = format!("{STEPS}matrix: {{ memhp_default_state: [absent, online] }}\n");
        [("policy", "boot", axis.as_str()), ("zone", "span", STEPS)]
            .map(|(folder, name, text)| load::parse(folder, name, Path::new("x.yaml"), text).unwrap())
            .to_vec()
    }

    fn ids(patterns: &[&str]) -> Result<Vec<String>, ChooseError> {
        let patterns: Vec<Pattern> = patterns.iter().map(|p| Pattern::new(*p)).collect();
        Ok(choose(&cases(), &patterns, &["k1", "k2"])?.into_iter().map(|c| c.id).collect())
    }

    #[test]
    fn all_sorted_and_each_once() {
        let all = [
            "policy/boot[memhp_default_state=absent]@k1",
            "policy/boot[memhp_default_state=absent]@k2",
            "policy/boot[memhp_default_state=online]@k1",
            "policy/boot[memhp_default_state=online]@k2",
            "zone/span@k1",
            "zone/span@k2",
        ];
        assert_eq!(ids(&[]).unwrap(), all);
        assert_eq!(ids(&["zone/*", "*"]).unwrap(), all);
        assert_eq!(ids(&["*@k1", "zone/span"]).unwrap(), [all[0], all[2], all[4], all[5]]);
        assert_eq!(ids(&[all[3]]).unwrap(), [all[3]]);
    }

    #[test]
    fn a_pattern_without_match_is_an_error() {
        assert_eq!(
            ids(&["*", "policy/none"]).unwrap_err().to_string(),
            "no scenario matches \"policy/none\""
        );
    }

    #[test]
    fn a_case_file_is_a_case_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("zone");
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("span.yaml");
        std::fs::write(&file, STEPS.replace("1G", "2G")).unwrap();
        let pattern = Pattern::new(file.to_str().unwrap());
        let chosen = choose(&cases(), &[Pattern::new("*"), pattern], &["k1"]).unwrap();
        assert_eq!(chosen.len(), 3);
        let step = serde_json::to_string(&chosen[2].scenario.case.steps[0]).unwrap();
        assert_eq!((chosen[2].id.as_str(), step.contains("2G")), ("zone/span@k1", true));
        let missing = choose(&cases(), &[Pattern::new("./none.yaml")], &["k1"]).unwrap_err().to_string();
        assert!(missing.starts_with("read ./none.yaml: "), "{missing}");
    }
}
