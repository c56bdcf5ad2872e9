//! From a case to its scenarios: every combination of axis values that is not excluded.

use super::KERNEL_PARAMETERS;
use super::schema::{Axes, Case};
use super::substitute::{Problem, substitute};
use super::yaml::Key;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The value of a kernel parameter's axis that leaves the parameter away.
pub const ABSENT: &str = "absent";

/// A case with one value for each axis: what is run on one kernel and judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// folder of the case
    pub folder: String,
    /// name of the case: its file's, without `.yaml`
    pub name: String,
    /// axes and their values, in the file's order
    pub params: Vec<(String, String)>,
    /// what goes onto the kernel's command line: the case's `append`, then its parameter axes
    pub append: String,
    /// the case with `${axis}` replaced
    pub case: Case,
    /// the case's file; for an embedded case its name below `cases`
    pub file: PathBuf,
}

impl Scenario {
    /// `FOLDER/CASE[axis=value,axis=value]`, without brackets where there are no axes.
    pub fn id(&self) -> String {
        let Self { folder, name, .. } = self;
        if self.params.is_empty() {
            return format!("{folder}/{name}");
        }
        let params: Vec<String> = self.params.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        format!("{folder}/{name}[{}]", params.join(","))
    }

    /// `FOLDER/CASE[axis=value]@KERNEL`: the id by which everybody knows the scenario on a kernel.
    pub fn id_on(&self, kernel: &str) -> String {
        format!("{}@{kernel}", self.id())
    }
}

/// An id taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioId {
    /// folder of the case
    pub folder: String,
    /// name of the case
    pub name: String,
    /// axes and values in order
    pub params: Vec<(String, String)>,
    /// name of the kernel
    pub kernel: String,
}

impl ScenarioId {
    /// Reads `FOLDER/CASE[axis=value,…]@KERNEL`; `None` when it is none.
    pub fn parse(id: &str) -> Option<Self> {
        let (rest, kernel) = id.rsplit_once('@')?;
        let (case, params) = match rest.split_once('[') {
            None => (rest, Vec::new()),
            Some((case, params)) => {
                let pair = |p: &str| p.split_once('=').map(|(a, v)| (a.to_string(), v.to_string()));
                (case, params.strip_suffix(']')?.split(',').map(pair).collect::<Option<_>>()?)
            }
        };
        let (folder, name) = case.rsplit_once('/')?;
        Some(Self { folder: folder.into(), name: name.into(), params, kernel: kernel.into() })
    }
}

/// All scenarios of a case, in the order of its axes' values; the last axis changes fastest.
pub fn expand(folder: &str, name: &str, file: PathBuf, case: &Case) -> Result<Vec<Scenario>, Vec<Problem>> {
    let mut problems = check_axes(case);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut scenarios = Vec::new();
    let mut used = BTreeSet::new();
    for params in combinations(&case.matrix) {
        if case.exclude.iter().any(|out| out.iter().all(|(a, v)| params.contains(&(a.clone(), v.clone())))) {
            continue;
        }
        match substitute(case, &params) {
            Ok((resolved, axes)) => {
                used.extend(axes);
                let append = command_line(&resolved.append, &params);
                let (folder, name, file) = (folder.to_string(), name.to_string(), file.clone());
                scenarios.push(Scenario { folder, name, params, append, case: resolved, file });
            }
            Err(wrong) => {
                problems.extend(wrong.into_iter().filter(|p| !problems.contains(p)).collect::<Vec<_>>())
            }
        }
    }
    if problems.is_empty() {
        problems = without_effect(case, &used, scenarios.is_empty());
    }
    if problems.is_empty() { Ok(scenarios) } else { Err(problems) }
}

fn combinations(axes: &Axes) -> Vec<Vec<(String, String)>> {
    axes.0.iter().fold(vec![Vec::new()], |rows, (axis, values)| {
        let with = |row: &Vec<(String, String)>, value: &String| {
            let mut row = row.clone();
            row.push((axis.clone(), value.clone()));
            row
        };
        rows.iter().flat_map(|row| values.iter().map(move |value| with(row, value))).collect()
    })
}

fn command_line(append: &str, params: &[(String, String)]) -> String {
    let given = params.iter().filter(|(a, v)| KERNEL_PARAMETERS.contains(&a.as_str()) && v != ABSENT);
    let given = given.map(|(a, v)| if is_flag(a) { a.clone() } else { format!("{a}={v}") });
    append.split_whitespace().map(str::to_string).chain(given).collect::<Vec<_>>().join(" ")
}

/// Parameters that take no value.
fn is_flag(name: &str) -> bool {
    name == "movable_node"
}

/// Axes and excludes by themselves.
fn check_axes(case: &Case) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (axis, values) in &case.matrix.0 {
        let path = vec!["matrix".into(), axis.as_str().into()];
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if axis.is_empty() || !axis.chars().all(plain) {
            let what = format!("bad axis name {axis:?} (want letters, digits, '_', '.' and '-')");
            problems.push(Problem { path: path.clone(), what });
        }
        if values.is_empty() {
            problems.push(Problem { path: path.clone(), what: format!("axis {axis} has no values") });
        }
        for (index, value) in values.iter().enumerate() {
            if let Some(what) = wrong_value(axis, &values[..index], value) {
                let path = path.iter().cloned().chain([Key::Index(index)]).collect();
                problems.push(Problem { path, what });
            }
        }
        let prefix = format!("{axis}=");
        let given = case.append.split_whitespace().any(|word| word == axis || word.starts_with(&prefix));
        if given && KERNEL_PARAMETERS.contains(&axis.as_str()) {
            problems.push(Problem { path: vec!["append".into()], what: format!("{axis} is an axis too") });
        }
    }
    for (index, out) in case.exclude.iter().enumerate() {
        problems.extend(wrong_exclude(case, out).map(|(key, what)| {
            let path = ["exclude".into(), index.into()].into_iter().chain(key.map(Key::Name)).collect();
            Problem { path, what }
        }));
    }
    problems
}

fn wrong_value(axis: &str, before: &[String], value: &str) -> Option<String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "[],@#".contains(c);
    if before.iter().any(|v| v == value) {
        Some(format!("axis {axis} has the value {value:?} twice"))
    } else if value.contains(odd) {
        Some(format!("bad value {value:?} of axis {axis}: blanks and any of []@,# would spoil ids"))
    } else if value == ABSENT && !KERNEL_PARAMETERS.contains(&axis) {
        Some(format!("{axis} is no kernel parameter that memhp knows, so it cannot be absent"))
    } else if is_flag(axis) && value != ABSENT && !value.is_empty() {
        Some(format!("{axis} takes no value: want absent or \"\""))
    } else {
        None
    }
}

fn wrong_exclude(
    case: &Case,
    out: &std::collections::BTreeMap<String, String>,
) -> Option<(Option<String>, String)> {
    if out.is_empty() {
        return Some((None, "an empty exclude leaves nothing over".into()));
    }
    out.iter().find_map(|(axis, value)| {
        let what = match case.matrix.0.iter().find(|(a, _)| a == axis) {
            None => format!("exclude names unknown axis {axis}"),
            Some((_, values)) if !values.contains(value) => {
                format!("exclude names unknown value {value:?} of axis {axis}")
            }
            Some(_) => return None,
        };
        Some((Some(axis.clone()), what))
    })
}

fn without_effect(case: &Case, used: &BTreeSet<String>, nothing: bool) -> Vec<Problem> {
    if nothing {
        return vec![Problem {
            path: vec!["exclude".into()],
            what: "exclude leaves no scenario over".into(),
        }];
    }
    let idle = |axis: &str| !used.contains(axis) && !KERNEL_PARAMETERS.contains(&axis);
    let axes = case.matrix.0.iter().map(|(axis, _)| axis).filter(|axis| idle(axis));
    axes.map(|axis| Problem {
        path: vec!["matrix".into(), axis.as_str().into()],
        what: format!("axis {axis} has no effect: it is no kernel parameter and ${{{axis}}} is used nowhere"),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::pattern::Pattern;
    use proptest::prelude::*;

    fn case(yaml: &str) -> Case {
        let text = format!("summary: s\norigin: o\n{yaml}");
        crate::case::yaml::from_str(std::path::Path::new("x.yaml"), &text).unwrap()
    }

    fn scenarios(yaml: &str) -> Vec<Scenario> {
        expand("policy", "x", "x.yaml".into(), &case(yaml)).unwrap()
    }

    #[test]
    fn ids_command_lines_and_texts() {
        let all = scenarios(
            "append: quiet\nmatrix:\n  movable_node: [absent, \"\"]\n  memhp_default_state: [absent, \"\", online]\n  \
             size: [1G]\nsteps:\n  - plug: { dimm: a, size: \"${size}\" }\n  \
             - write: { path: \"${BLOCK:a[0]}/state\", text: x }\n",
        );
        let ids: Vec<String> = all.iter().map(Scenario::id).collect();
        assert_eq!(ids.len(), 6);
        assert_eq!(ids[0], "policy/x[movable_node=absent,memhp_default_state=absent,size=1G]");
        assert_eq!(ids[5], "policy/x[movable_node=,memhp_default_state=online,size=1G]");
        let append: Vec<&str> = all.iter().map(|s| s.append.as_str()).collect();
        assert_eq!(
            append,
            [
                "quiet",
                "quiet memhp_default_state=",
                "quiet memhp_default_state=online",
                "quiet movable_node",
                "quiet movable_node memhp_default_state=",
                "quiet movable_node memhp_default_state=online",
            ]
        );
        let text = serde_json::to_string(&all[0].case.steps).unwrap();
        assert_eq!(
            text,
            r#"[{"plug":{"dimm":"a","size":"1G"}},{"write":{"path":"${BLOCK:a[0]}/state","text":"x"}}]"#
        );
    }

    #[test]
    fn no_axes_no_brackets() {
        let all = scenarios("steps: []");
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].id_on("debian-6.12"), "policy/x@debian-6.12");
    }

    #[test]
    fn exclude_takes_combinations_away() {
        let all = scenarios(
            "matrix: { a: [\"1\", \"2\"], b: [\"1\", \"2\"] }\nexclude:\n  - { a: \"1\", b: \"2\" }\n\
             append: \"${a} ${b}\"\nsteps: []",
        );
        assert_eq!(all.iter().map(|s| s.append.as_str()).collect::<Vec<_>>(), ["1 1", "2 1", "2 2"]);
    }

    #[test]
    fn ids_of_another_form_are_refused() {
        for bad in ["policy/x", "x@k", "policy/x[a=1@k", "policy/x[a]@k"] {
            assert_eq!(ScenarioId::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        /// Every id is read back as it was made, and matches itself as a pattern.
        #[test]
        fn ids_parse_back_and_match_themselves(
            values in prop::collection::btree_map("[a-z_.]{1,12}", "[a-zA-Z0-9_.=*?!-]{0,8}", 0..4),
            kernel in "[a-z][a-z0-9.-]{0,12}",
        ) {
            let params: Vec<(String, String)> = values.into_iter().collect();
            let made = Scenario {
                folder: "zone".into(), name: "span-rule".into(), params: params.clone(), append: String::new(),
                case: case("steps: []"), file: "x.yaml".into(),
            };
            let id = made.id_on(&kernel);
            let read = ScenarioId::parse(&id).unwrap();
            prop_assert_eq!((read.folder.as_str(), read.name.as_str()), ("zone", "span-rule"));
            prop_assert_eq!((&read.params, &read.kernel), (&params, &kernel));
            prop_assert!(Pattern::new(&*id).matches(&id));
            prop_assert!(Pattern::new(made.id()).matches(&id));
        }
    }
}
