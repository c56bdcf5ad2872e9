//! The udev rules that guests can have (images/udev/rules), and what some of them ask the machine.

/// Rules by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// file name without its ending
    pub name: &'static str,
    /// content
    pub text: &'static str,
}

/// What a machine is, as the rules of `enterprise` ask.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// a virtual machine
    #[default]
    Virtual,
    /// bare metal
    BareMetal,
    /// a mainframe
    S390,
}

impl Machine {
    /// By its word.
    ///
    /// # Errors
    /// There is no such word.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "virtual" => Ok(Self::Virtual),
            "bare-metal" => Ok(Self::BareMetal),
            "s390" => Ok(Self::S390),
            other => Err(format!("no machine {other:?} (want virtual, bare-metal or s390)")),
        }
    }
}

/// The rules of that name; `None` where there are none.
pub fn rules(name: &str) -> Option<Rules> {
    all().find(|r| r.name == name)
}

/// All rules.
pub fn all() -> impl Iterator<Item = Rules> {
    crate::case::embedded::RULES
        .iter()
        .map(|(file, text)| Rules { name: file.strip_suffix(".rules").unwrap_or(file), text })
}

impl Rules {
    /// The word that they write to `state` of a block that was announced; `None`: none. Said here and not read from the
    /// rules, so that rules that do something else are noticed.
    pub fn word(&self, machine: Machine) -> Option<&'static str> {
        match (self.name, machine) {
            ("classic" | "change" | "misspelt", _) | ("enterprise", Machine::Virtual) => Some("online"),
            ("movable" | "unguarded-movable", _) | ("enterprise", Machine::BareMetal) => {
                Some("online_movable")
            }
            ("kernel-zone", _) => Some("online_kernel"),
            _ => None,
        }
    }

    /// The files that they are in the guest, with the answers of the machine: path and content. They are put there before
    /// udevd starts, so that guests with different rules share a template.
    pub fn files(&self, machine: Machine) -> [(&'static str, String); 2] {
        let (arch, virt) = match machine {
            Machine::Virtual => ("x86_64", "kvm"),
            Machine::BareMetal => ("x86_64", "none"),
            Machine::S390 => ("s390x", "kvm"),
        };
        let answers = format!("MEMHP_ARCH={arch}\nMEMHP_VIRT={virt}\n");
        [("/etc/memhp/machine", answers), ("/etc/udev/rules.d/50-memory.rules", self.text.to_string())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_that_cases_name() {
        let names: Vec<&str> = all().map(|r| r.name).collect();
        let expected = [
            "change",
            "classic",
            "enterprise",
            "kernel-zone",
            "misspelt",
            "movable",
            "none",
            "unguarded-movable",
        ];
        assert_eq!(names, expected);
        assert!(rules("classic").is_some_and(|r| r.text.contains("ATTR{state}=\"online\"")));
        assert_eq!(rules("clasic"), None);
    }
}
