//! The udev rules that guests can have (images/udev/rules), and what some of them ask the machine.

use super::initramfs::{ImageError, Initramfs};

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
    /// Puts them into an initramfs, with the answers of the machine.
    ///
    /// # Errors
    /// As [`ImageError`] says.
    pub fn put(&self, machine: Machine, image: &mut Initramfs) -> Result<(), ImageError> {
        let (arch, virt) = match machine {
            Machine::Virtual => ("x86_64", "kvm"),
            Machine::BareMetal => ("x86_64", "none"),
            Machine::S390 => ("s390x", "kvm"),
        };
        let answers = format!("MEMHP_ARCH={arch}\nMEMHP_VIRT={virt}\n");
        image.file("/etc/memhp/machine", 0o644, answers.into_bytes())?;
        image.file("/etc/udev/rules.d/50-memory.rules", 0o644, self.text.as_bytes().to_vec())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_that_cases_name() {
        let names: Vec<&str> = all().map(|r| r.name).collect();
        let expected =
            ["change", "classic", "enterprise", "kernel-zone", "movable", "none", "unguarded-movable"];
        assert_eq!(names, expected);
        assert!(rules("classic").is_some_and(|r| r.text.contains("ATTR{state}=\"online\"")));
        assert_eq!(rules("clasic"), None);
    }
}
