//! Whether the configuration is what was wanted, and if not, why: Kconfig drops silently what it does not allow.

use super::kconfig::{Kconfig, Tristate};
use crate::kernel::Config;
use crate::version::Version;
use std::collections::BTreeMap;
use std::fmt;

/// An option that is not as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Without `CONFIG_`.
    pub option: String,
    /// As wanted: `y`, `m`, `n`, a number or a quoted string.
    pub wanted: String,
    /// As it is; `n` for what is not set.
    pub is: String,
    /// By the Kconfig files.
    pub why: Why,
}

/// Why an option is not as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// No Kconfig file of this version defines it.
    Unknown {
        /// the source's version
        version: Version,
    },
    /// Conditions that do not hold, with the values of the options in them.
    Depends {
        /// Kconfig file
        file: String,
        /// `MEMORY_HOTREMOVE (is n)`
        unmet: Vec<String>,
    },
    /// Its choice has only one, which is another.
    Choice {
        /// the one that is set
        chosen: String,
    },
    /// It has no prompt: only other options set it.
    NoPrompt {
        /// Kconfig file
        file: String,
    },
    /// Its conditions hold: something else sets it (`select`), or it is not in the range that Kconfig allows.
    Forced {
        /// Kconfig file
        file: String,
    },
}

/// Everything that is wanted and not so.
pub(super) fn check(
    wanted: &BTreeMap<String, String>,
    config: &Config,
    kconfig: &Kconfig,
    version: Version,
) -> Vec<NotTaken> {
    let not_so = wanted.iter().filter(|(name, value)| unquoted(value) != config.get(name).unwrap_or("n"));
    let explain = |(name, value): (&String, &String)| NotTaken {
        option: name.clone(),
        wanted: value.clone(),
        is: config.get(name).unwrap_or("n").to_string(),
        why: why(name, value, config, kconfig, version),
    };
    not_so.map(explain).collect()
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}

fn why(name: &str, wanted: &str, config: &Config, kconfig: &Kconfig, version: Version) -> Why {
    let definitions = kconfig.definitions(name);
    let Some(first) = definitions.first() else { return Why::Unknown { version } };
    let file = || first.file.clone();
    if wanted == "n" {
        return Why::Forced { file: file() };
    }
    let lookup = |option: &str| config.get(option).map(str::to_string);
    let need = if wanted == "m" { Tristate::M } else { Tristate::Y };
    let with_prompt: Vec<_> = definitions.iter().filter(|d| d.prompt).collect();
    if with_prompt.is_empty() {
        return Why::NoPrompt { file: file() };
    }
    let mut best: Option<(String, Vec<String>)> = None;
    for definition in with_prompt {
        let fails = |e: &&super::kconfig::Expr| e.value(&lookup).is_none_or(|v| v < need);
        let mut unmet: Vec<String> =
            definition.depends.iter().filter(fails).map(|e| describe(e, config, kconfig)).collect();
        unmet.dedup();
        if best.as_ref().is_none_or(|(_, b)| unmet.len() < b.len()) {
            best = Some((definition.file.clone(), unmet));
        }
    }
    let (file, unmet) = best.unwrap_or_default();
    if !unmet.is_empty() {
        return Why::Depends { file, unmet };
    }
    match kconfig.rivals(name).into_iter().find(|rival| config.is_y(rival)) {
        Some(chosen) => Why::Choice { chosen: chosen.to_string() },
        None => Why::Forced { file },
    }
}

/// A condition with the values of its options; for one alone, what it itself depends on is one question further.
fn describe(condition: &super::kconfig::Expr, config: &Config, kconfig: &Kconfig) -> String {
    let value = |name: &&str| match config.get(name) {
        Some(value) => format!("{name} is {value}"),
        None if kconfig.defines(name) => format!("{name} is not set"),
        None => format!("{name} does not exist here"),
    };
    let mut names = condition.names();
    names.dedup();
    match names.iter().map(value).collect::<Vec<_>>() {
        values if values.is_empty() => format!("{condition} (for Kconfig to find out)"),
        values => format!("{condition} ({})", values.join(", ")),
    }
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, wanted, is, .. } = self;
        write!(f, "CONFIG_{option}={wanted} did not take (it is {is}): ")?;
        match &self.why {
            Why::Unknown { version } => write!(f, "there is no such option in {version}"),
            Why::Depends { file, unmet } => write!(f, "{file}: it depends on {}", unmet.join(" and ")),
            Why::Choice { chosen } => write!(f, "CONFIG_{chosen} of the same choice is set"),
            Why::NoPrompt { file } => write!(f, "{file}: it cannot be set by hand, other options set it"),
            Why::Forced { file } => {
                write!(
                    f,
                    "{file}: its dependencies are met: another option selects it, or its value is not allowed"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kconfig::tests::tree;
    use super::*;

    const FILE: &str = "config HOT\n\tbool \"h\"\n\tdepends on SPARSE && (X86 || ARM)\nconfig SPARSE\n\tbool \"s\"\n\
        config X86\n\tbool\nchoice\nconfig A\n\tbool \"a\"\nconfig B\n\tbool \"b\"\nendchoice\nconfig FREE\n\tbool \"f\"\n\
        config GONE\n\tbool \"g\"\n\tdepends on NOWHERE\nconfig MACRO\n\tbool \"m\"\n\tdepends on $(cc-option,-fx)\n";

    fn not_taken(wanted: &[(&str, &str)], config: &str) -> Vec<String> {
        let dir = tree(&[("Kconfig", FILE)]);
        let kconfig = Kconfig::load(dir.path()).unwrap();
        let wanted = wanted.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let config = Config::parse(config).unwrap();
        check(&wanted, &config, &kconfig, "6.12".parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_took_says_nothing() {
        let wanted = [("A", "y"), ("NR", "8"), ("TEXT", "\"x\""), ("OFF", "n"), ("NEVER", "n")];
        let config = "CONFIG_A=y\nCONFIG_NR=8\nCONFIG_TEXT=\"x\"\n# CONFIG_OFF is not set\n";
        assert!(not_taken(&wanted, config).is_empty());
    }

    #[test]
    fn why_an_option_did_not_take() {
        let config = "CONFIG_X86=y\nCONFIG_B=y\n# CONFIG_SPARSE is not set\nCONFIG_FREE=y\n";
        let wanted = [
            ("HOT", "y"),
            ("A", "y"),
            ("NEW", "y"),
            ("X86", "m"),
            ("FREE", "n"),
            ("GONE", "y"),
            ("MACRO", "y"),
        ];
        assert_eq!(
            not_taken(&wanted, config),
            [
                "CONFIG_A=y did not take (it is n): CONFIG_B of the same choice is set",
                "CONFIG_FREE=n did not take (it is y): Kconfig: its dependencies are met: another option selects it, or its value is not allowed",
                "CONFIG_GONE=y did not take (it is n): Kconfig: it depends on NOWHERE (NOWHERE does not exist here)",
                "CONFIG_HOT=y did not take (it is n): Kconfig: it depends on SPARSE (SPARSE is n)",
                "CONFIG_MACRO=y did not take (it is n): Kconfig: it depends on $(cc-option,-fx) (for Kconfig to find out)",
                "CONFIG_NEW=y did not take (it is n): there is no such option in 6.12",
                "CONFIG_X86=m did not take (it is y): Kconfig: it cannot be set by hand, other options set it",
            ]
        );
    }
}
