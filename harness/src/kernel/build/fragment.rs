//! Config fragments: options that a kernel shall have, some of them only where the source knows them. Pure but for
//! reading files.
//!
//! A fragment is lines of a .config. `# memhp: if CONDITION...` begins lines that count only when every condition holds,
//! `# memhp: end` ends them. A condition is a comparison of versions (`>=6.6`), the name of an option that the source's
//! Kconfig files must define, or `!NAME` for one that they must not.

use super::error::BuildError;
use crate::kernel::embedded::FRAGMENTS;
use crate::kernel::error::at;
use crate::version::{Version, VersionRange};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const DIRECTIVE: &str = "# memhp:";

/// A fragment as it was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fragment {
    /// Its name, or the path it was read from.
    pub name: String,
    /// Its lines.
    pub text: String,
}

/// What conditions ask about.
pub(super) struct Asked<'a> {
    pub(super) version: Version,
    /// Whether the source's Kconfig files define an option.
    pub(super) defines: &'a dyn Fn(&str) -> bool,
}

impl Fragment {
    /// A shipped fragment's name (`debug`), else a file, relative to `dir` where one is given.
    pub fn load(name: &str, dir: Option<&Path>) -> Result<Self, BuildError> {
        if let Some((_, text)) = FRAGMENTS.iter().find(|(file, _)| stem(file) == name) {
            return Ok(Self { name: name.into(), text: (*text).into() });
        }
        let path = dir.map_or_else(|| PathBuf::from(name), |dir| dir.join(name));
        if !path.is_file() {
            let names: Vec<&str> = FRAGMENTS.iter().map(|(file, _)| stem(file)).collect();
            return Err(BuildError::NoFragment { name: name.into(), names: names.join(", ") });
        }
        let text = fs::read_to_string(&path).map_err(at("reading", &path))?;
        Ok(Self { name: name.into(), text })
    }

    /// The options that count for this source, later lines over earlier ones: `CONFIG_` names and values, `n` for what
    /// shall not be set.
    pub(super) fn wanted(&self, asked: &Asked<'_>) -> Result<BTreeMap<String, String>, BuildError> {
        let bad = |line: usize, why: String| BuildError::BadFragment {
            name: self.name.clone(),
            line: line + 1,
            why,
        };
        let mut wanted = BTreeMap::new();
        let mut block: Option<(usize, bool)> = None;
        for (at, line) in self.text.lines().enumerate() {
            let line = line.trim_end();
            if let Some(directive) = line.strip_prefix(DIRECTIVE) {
                let words: Vec<&str> = directive.split_whitespace().collect();
                block = match (words.as_slice(), block) {
                    (["end"], Some(_)) => None,
                    (["end"], None) => return Err(bad(at, "end without an if".into())),
                    (["if", conditions @ ..], None) if !conditions.is_empty() => {
                        Some((at, holds(conditions, asked).map_err(|why| bad(at, why))?))
                    }
                    (["if", ..], Some(_)) => return Err(bad(at, "an if inside an if".into())),
                    _ => {
                        return Err(bad(at, format!("{directive:?} is neither `if CONDITION...` nor `end`")));
                    }
                };
            } else if let Some((name, value)) = assignment(line).map_err(|why| bad(at, why))?
                && block.is_none_or(|(_, counts)| counts)
            {
                wanted.insert(name.to_string(), value.to_string());
            }
        }
        match block {
            Some((at, _)) => Err(bad(at, "an if without an end".into())),
            None => Ok(wanted),
        }
    }
}

fn stem(file: &str) -> &str {
    file.trim_start_matches("fragments/").trim_end_matches(".config")
}

fn holds(conditions: &[&str], asked: &Asked<'_>) -> Result<bool, String> {
    let mut all = true;
    for condition in conditions {
        all &= match condition.strip_prefix('!') {
            Some(name) if is_name(name) => !(asked.defines)(name),
            None if is_name(condition) => (asked.defines)(condition),
            _ => {
                let range: VersionRange = condition.parse().map_err(|e| format!("{condition:?}: {e}"))?;
                range.contains(asked.version)
            }
        };
    }
    Ok(all)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `CONFIG_X=v` or `# CONFIG_X is not set`; nothing for empty lines and comments.
fn assignment(line: &str) -> Result<Option<(&str, &str)>, String> {
    if let Some(name) = line.strip_prefix("# CONFIG_").and_then(|l| l.strip_suffix(" is not set")) {
        return Ok(Some((name, "n")));
    }
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let assigned = line.strip_prefix("CONFIG_").and_then(|l| l.split_once('='));
    match assigned {
        Some((name, value)) if !value.is_empty() => Ok(Some((name, value))),
        _ => {
            Err(format!("{line:?} is neither CONFIG_NAME=VALUE nor `# CONFIG_NAME is not set` nor a comment"))
        }
    }
}

/// Lines of a .config.
pub(super) fn render(wanted: &BTreeMap<String, String>) -> String {
    let line = |(name, value): (&String, &String)| match value.as_str() {
        "n" => format!("# CONFIG_{name} is not set\n"),
        value => format!("CONFIG_{name}={value}\n"),
    };
    wanted.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str, version: &str, defines: &[&str]) -> Result<String, String> {
        let defines = |name: &str| defines.contains(&name);
        let asked = Asked { version: version.parse().unwrap(), defines: &defines };
        let fragment = Fragment { name: "f".into(), text: text.into() };
        fragment.wanted(&asked).map(|w| render(&w)).map_err(|e| e.to_string())
    }

    #[test]
    fn old_and_new_options_by_what_the_source_defines() {
        let text = "# on\n# memhp: if OLD\nCONFIG_OLD=y\n# memhp: end\n# memhp: if NEW >=6.10\nCONFIG_NEW=y\n# memhp: end\nCONFIG_A=3\n";
        assert_eq!(wanted(text, "6.1.2", &["OLD"]).unwrap(), "CONFIG_A=3\nCONFIG_OLD=y\n");
        assert_eq!(wanted(text, "6.12.117", &["NEW"]).unwrap(), "CONFIG_A=3\nCONFIG_NEW=y\n");
        assert_eq!(wanted(text, "6.9", &["NEW"]).unwrap(), "CONFIG_A=3\n");
        let not = "# memhp: if !OLD\n# CONFIG_X is not set\n# memhp: end\n";
        assert_eq!(wanted(not, "6.9", &[]).unwrap(), "# CONFIG_X is not set\n");
        assert_eq!(wanted(not, "6.9", &["OLD"]).unwrap(), "");
    }

    #[test]
    fn the_last_line_counts() {
        assert_eq!(
            wanted("CONFIG_A=y\n# CONFIG_A is not set\n", "6.1", &[]).unwrap(),
            "# CONFIG_A is not set\n"
        );
    }

    #[test]
    fn mistakes_name_their_line() {
        let error = |text| wanted(text, "6.1", &[]).unwrap_err();
        assert!(error("\nA=y\n").starts_with("fragment f, line 2: \"A=y\" is neither"));
        assert!(error("CONFIG_A=\n").starts_with("fragment f, line 1: "));
        assert_eq!(error("# memhp: end\n"), "fragment f, line 1: end without an if");
        assert_eq!(error("# memhp: if >=6.6\nCONFIG_A=y\n"), "fragment f, line 1: an if without an end");
        assert_eq!(error("# memhp: if A\n# memhp: if B\n"), "fragment f, line 2: an if inside an if");
        assert!(error("# memhp: iff A\n").contains("is neither `if CONDITION...` nor `end`"));
        assert!(error("# memhp: if six\n# memhp: end\n").starts_with("fragment f, line 1: \"six\": "));
    }

    #[test]
    fn every_shipped_fragment_reads_for_every_version() {
        assert!(FRAGMENTS.iter().any(|(file, _)| stem(file) == "hotplug-x86_64"));
        for (file, _) in FRAGMENTS {
            let fragment = Fragment::load(stem(file), None).unwrap();
            for version in ["5.10.1", "6.1.1", "6.12.1", "7.3"] {
                for defined in [true, false] {
                    let asked = Asked { version: version.parse().unwrap(), defines: &|_| defined };
                    fragment.wanted(&asked).unwrap();
                }
            }
        }
        let unknown = Fragment::load("hotplug", None).unwrap_err().to_string();
        assert!(unknown.contains("debug") && unknown.ends_with("nor a file"), "{unknown}");
    }
}
