//! Whether a case applies to a kernel: decided from version and configuration, before anything is booted.

use super::schema::Case;
use crate::version::{Version, VersionRange};
use std::fmt;

/// Looks up a configuration option by its name without `CONFIG_`: `y`, `m`, another value, `n` when not set; `None` when
/// nobody can say.
pub type ConfigLookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a case does not apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// the kernel's version is not in the case's range
    #[error("needs a kernel {wanted}, this is {version}")]
    Version {
        /// the case's range
        wanted: String,
        /// the kernel's version
        version: Version,
    },
    /// an option is not as the case needs it
    #[error("needs CONFIG_{wanted}, the kernel has {has}")]
    Config {
        /// the need
        wanted: Need,
        /// value of the option, `n` where it is not set
        has: String,
    },
    /// the configuration is not at hand, and a probe boot, if there was one, did not show it
    #[error("needs CONFIG_{0}, and the kernel's configuration is not known")]
    ConfigUnknown(Need),
    /// the requirement itself cannot be read; loading refuses such cases
    #[error("{0}")]
    Unreadable(String),
}

/// One entry of `config:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    option: String,
    want: Want,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Set,
    Unset,
    BuiltIn,
    Module,
}

impl Need {
    /// Reads `NAME=y`, `NAME=m`, `NAME` (y or m) or `!NAME`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (option, want) = if let Some(option) = text.strip_prefix('!') {
            (option, Want::Unset)
        } else if let Some(option) = text.strip_suffix("=y") {
            (option, Want::BuiltIn)
        } else if let Some(option) = text.strip_suffix("=m") {
            (option, Want::Module)
        } else {
            (text, Want::Set)
        };
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if option.is_empty() || !option.chars().all(plain) || option.starts_with("CONFIG_") {
            return Err(format!(
                "not a configuration need: {text:?} (want NAME, NAME=y, NAME=m or !NAME, no CONFIG_)"
            ));
        }
        Ok(Self { option: option.to_string(), want })
    }

    fn met_by(&self, value: &str) -> bool {
        match self.want {
            Want::Set => value == "y" || value == "m",
            Want::Unset => value == "n",
            Want::BuiltIn => value == "y",
            Want::Module => value == "m",
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.want {
            Want::Set => write!(f, "{}=y or m", self.option),
            Want::Unset => write!(f, "{}=n", self.option),
            Want::BuiltIn => write!(f, "{}=y", self.option),
            Want::Module => write!(f, "{}=m", self.option),
        }
    }
}

/// Whether `case` applies to a kernel of this version and configuration.
///
/// A case that needs an option of which nobody can say gives [`SkipReason::ConfigUnknown`].
pub fn applies(case: &Case, version: Version, config: ConfigLookup<'_>) -> Result<(), SkipReason> {
    if let Some(range) = &case.kernel {
        let wanted: VersionRange = range.parse().map_err(|e| SkipReason::Unreadable(format!("{e}")))?;
        if !wanted.contains(version) {
            return Err(SkipReason::Version { wanted: wanted.to_string(), version });
        }
    }
    for need in &case.config {
        let need = Need::parse(need).map_err(SkipReason::Unreadable)?;
        let Some(has) = config(&need.option) else { return Err(SkipReason::ConfigUnknown(need)) };
        if !need.met_by(&has) {
            return Err(SkipReason::Config { wanted: need, has });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(head: &str, version: &str, config: &[(&str, &str)]) -> Option<String> {
        let text = format!("summary: s\norigin: o\n{head}\nsteps: []\n");
        let case: Case = crate::case::yaml::from_str(std::path::Path::new("x.yaml"), &text).unwrap();
        let lookup = |name: &str| config.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_string());
        applies(&case, version.parse().unwrap(), &lookup).err().map(|e| e.to_string())
    }

    #[test]
    fn versions() {
        assert_eq!(why("", "5.10.223", &[]), None);
        assert_eq!(why("kernel: \">=5.15, <6.18\"", "6.12.95+deb13", &[]), None);
        assert_eq!(
            why("kernel: \">=5.15, <6.18\"", "5.10.223", &[]).unwrap(),
            "needs a kernel >=5.15, <6.18, this is 5.10.223"
        );
    }

    #[test]
    fn configuration() {
        let config = [("A", "y"), ("B", "m"), ("C", "n")];
        let reason = |need: &str| why(&format!("config: [\"{need}\"]"), "6.12", &config);
        for met in ["A", "B", "A=y", "B=m", "!C"] {
            assert_eq!(reason(met), None, "{met}");
        }
        for (unmet, message) in [
            ("C", "needs CONFIG_C=y or m, the kernel has n"),
            ("D", "needs CONFIG_D=y or m, and the kernel's configuration is not known"),
            ("!D", "needs CONFIG_D=n, and the kernel's configuration is not known"),
            ("A=m", "needs CONFIG_A=m, the kernel has y"),
            ("B=y", "needs CONFIG_B=y, the kernel has m"),
            ("!A", "needs CONFIG_A=n, the kernel has y"),
            ("!B", "needs CONFIG_B=n, the kernel has m"),
        ] {
            assert_eq!(reason(unmet).unwrap(), message);
        }
        assert!(Need::parse("CONFIG_A").is_err() && Need::parse("").is_err() && Need::parse("A=x").is_err());
    }
}
