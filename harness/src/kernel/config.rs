//! A kernel's configuration, as `.config`, `/boot/config-*` and /proc/config.gz spell it. Pure.

use crate::policy::OnlineType;
use crate::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Options that change what hotplug does or what the kernel can tell about it; they go into the results.
pub const OPTIONS_THAT_MATTER: &[&str] = &[
    "ACPI_HOTPLUG_MEMORY",
    "ARCH_MEMORY_PROBE",
    "CMA",
    "CRASH_HOTPLUG",
    "DEBUG_PAGEALLOC",
    "DEBUG_VM",
    "DETECT_HUNG_TASK",
    "DEV_DAX_KMEM",
    "DYNAMIC_DEBUG",
    "HUGETLBFS",
    "HUGETLB_PAGE_OPTIMIZE_VMEMMAP",
    "IKCONFIG",
    "KASAN",
    "LOCKDEP",
    "MEMCG",
    "MEMORY_FAILURE",
    "MEMORY_HOTPLUG",
    "MEMORY_HOTPLUG_DEFAULT_ONLINE",
    "MEMORY_HOTREMOVE",
    "MEMORY_NOTIFIER_ERROR_INJECT",
    "MHP_DEFAULT_ONLINE_TYPE_OFFLINE",
    "MHP_DEFAULT_ONLINE_TYPE_ONLINE_AUTO",
    "MHP_DEFAULT_ONLINE_TYPE_ONLINE_KERNEL",
    "MHP_DEFAULT_ONLINE_TYPE_ONLINE_MOVABLE",
    "MHP_MEMMAP_ON_MEMORY",
    "NUMA",
    "PAGE_OWNER",
    "PROC_PAGE_MONITOR",
    "PROVE_LOCKING",
    "PVH",
    "SPARSEMEM_VMEMMAP",
    "TRANSPARENT_HUGEPAGE",
    "VIRTIO_MEM",
];

/// A parsed configuration. Option names are given without `CONFIG_`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    arch: Option<String>,
    version: Option<Version>,
    options: BTreeMap<String, String>,
    /// only what was seen in a guest
    partial: bool,
}

/// The text holds no option at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a kernel configuration: no line begins with CONFIG_")]
pub struct NotAConfig;

impl Config {
    /// Reads the text of a configuration. Lines that are neither an option nor `# CONFIG_X is not set` are comments.
    pub fn parse(text: &str) -> Result<Self, NotAConfig> {
        let mut config = Self::default();
        for line in text.lines() {
            if let Some((name, value)) = option(line) {
                config.options.insert(name.to_string(), value.to_string());
            } else if let Some((arch, version)) = heading(line)
                && config.version.is_none()
            {
                config.arch = Some(arch.to_string());
                config.version = Some(version);
            }
        }
        if config.options.is_empty() { Err(NotAConfig) } else { Ok(config) }
    }

    /// What a running kernel shows of its configuration: options that are built in, and options that are not. Nothing is
    /// known of any other.
    pub fn seen<'a>(options: impl IntoIterator<Item = (&'a str, bool)>) -> Self {
        let value = |on| if on { "y" } else { "n" }.to_string();
        let options = options.into_iter().map(|(name, on)| (name.to_string(), value(on))).collect();
        Self { options, partial: true, ..Self::default() }
    }

    /// A file's, not one of [`Config::seen`].
    pub fn is_whole(&self) -> bool {
        !self.partial
    }

    /// The option's value, `n` where a whole configuration has no word of it; `None`: not known.
    pub fn says(&self, name: &str) -> Option<&str> {
        self.get(name).or((!self.partial).then_some("n"))
    }

    /// `y`, `m`, a number or a string without its quotes; `n` where the file says "is not set"; `None` where the
    /// file does not know the option.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Built in.
    pub fn is_y(&self, name: &str) -> bool {
        self.get(name) == Some("y")
    }

    /// Built as a module.
    pub fn is_m(&self, name: &str) -> bool {
        self.get(name) == Some("m")
    }

    /// Version in the heading (`# Linux/x86 6.12.117 Kernel Configuration`); a distribution's own release name
    /// (6.1.0-56-cloud-amd64) may carry less of it.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Architecture in the heading, in the kernel's word (`x86`, `arm64`).
    pub fn arch(&self) -> Option<&str> {
        self.arch.as_deref()
    }

    /// The options of [`OPTIONS_THAT_MATTER`] that the file knows, with their values.
    pub fn that_matters(&self) -> BTreeMap<String, String> {
        let known = OPTIONS_THAT_MATTER.iter().filter_map(|n| Some((*n, self.get(n)?)));
        known.map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// The online type that the kernel starts with when nothing else is said.
    ///
    /// Up to 6.13 `CONFIG_MEMORY_HOTPLUG_DEFAULT_ONLINE` says online or offline; from 6.14 on (commit 44d46b76c3a4)
    /// the choice `CONFIG_MHP_DEFAULT_ONLINE_TYPE_*` has all four. `None` where the configuration has no memory
    /// hotplug, or is not of this version and so does not say.
    pub fn default_online_type(&self, version: &Version) -> Option<OnlineType> {
        const CHOICE: [(&str, OnlineType); 4] = [
            ("MHP_DEFAULT_ONLINE_TYPE_OFFLINE", OnlineType::Offline),
            ("MHP_DEFAULT_ONLINE_TYPE_ONLINE_AUTO", OnlineType::Online),
            ("MHP_DEFAULT_ONLINE_TYPE_ONLINE_KERNEL", OnlineType::OnlineKernel),
            ("MHP_DEFAULT_ONLINE_TYPE_ONLINE_MOVABLE", OnlineType::OnlineMovable),
        ];
        if !self.is_y("MEMORY_HOTPLUG") {
            return None;
        }
        let chosen: Vec<OnlineType> = CHOICE.iter().filter(|(n, _)| self.is_y(n)).map(|(_, t)| *t).collect();
        match (chosen.as_slice(), self.get("MEMORY_HOTPLUG_DEFAULT_ONLINE")) {
            ([one], None) => Some(*one),
            ([], Some("y")) if !version.at_least(6, 14) => Some(OnlineType::Online),
            ([], _) if !version.at_least(6, 14) => Some(OnlineType::Offline),
            _ => None,
        }
    }

    /// Whether this configuration can be the one of an x86 kernel whose release name and version are these. The heading must be
    /// there: a file that lies next to an image proves nothing by its place.
    pub fn fits(&self, release: &str, version: Version) -> bool {
        let named = release.parse::<Version>().ok();
        let same = |v: Version| v == version || Some(v) == named;
        self.arch.as_deref().is_some_and(|a| a.starts_with("x86")) && self.version.is_some_and(same)
    }
}

fn option(line: &str) -> Option<(&str, &str)> {
    if let Some(name) = line.strip_prefix("# CONFIG_").and_then(|l| l.strip_suffix(" is not set")) {
        return Some((name, "n"));
    }
    let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
    let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    Some((name, bare.unwrap_or(value)))
}

fn heading(line: &str) -> Option<(&str, Version)> {
    let words = line.strip_prefix("# Linux/")?.strip_suffix(" Kernel Configuration")?;
    let (arch, version) = words.split_once(' ')?;
    Some((arch, version.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.1.192 Kernel Configuration\n#\n\
        CONFIG_MEMORY_HOTPLUG=y\n# CONFIG_MEMORY_HOTPLUG_DEFAULT_ONLINE is not set\nCONFIG_VIRTIO_MEM=m\n\
        CONFIG_BUILD_SALT=\"6.1.0-56\"\nCONFIG_NODES_SHIFT=10\n";

    fn with(lines: &str) -> Config {
        Config::parse(&format!("CONFIG_MEMORY_HOTPLUG=y\n{lines}")).unwrap()
    }

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn values_as_they_are_spelled() {
        let c = Config::parse(OLD).unwrap();
        assert!(c.is_y("MEMORY_HOTPLUG") && !c.is_m("MEMORY_HOTPLUG"));
        assert!(c.is_m("VIRTIO_MEM") && !c.is_y("VIRTIO_MEM"));
        assert_eq!(c.get("MEMORY_HOTPLUG_DEFAULT_ONLINE"), Some("n"));
        assert_eq!(c.get("BUILD_SALT"), Some("6.1.0-56"));
        assert_eq!(c.get("NODES_SHIFT"), Some("10"));
        assert_eq!(c.get("KASAN"), None);
        let matter: Vec<(String, String)> = c.that_matters().into_iter().collect();
        let want = [("MEMORY_HOTPLUG", "y"), ("MEMORY_HOTPLUG_DEFAULT_ONLINE", "n"), ("VIRTIO_MEM", "m")];
        assert_eq!(matter, want.map(|(n, v)| (n.to_string(), v.to_string())));
        assert_eq!(Config::parse("# nothing\n"), Err(NotAConfig));
    }

    #[test]
    fn default_online_type_by_old_and_new_options() {
        let old = |lines| with(lines).default_online_type(&v("6.12.3"));
        assert_eq!(old("CONFIG_MEMORY_HOTPLUG_DEFAULT_ONLINE=y\n"), Some(OnlineType::Online));
        assert_eq!(old("# CONFIG_MEMORY_HOTPLUG_DEFAULT_ONLINE is not set\n"), Some(OnlineType::Offline));
        let new = |lines| with(lines).default_online_type(&v("6.18.1"));
        assert_eq!(new("CONFIG_MHP_DEFAULT_ONLINE_TYPE_OFFLINE=y\n"), Some(OnlineType::Offline));
        assert_eq!(
            new(
                "# CONFIG_MHP_DEFAULT_ONLINE_TYPE_OFFLINE is not set\nCONFIG_MHP_DEFAULT_ONLINE_TYPE_ONLINE_AUTO=y\n"
            ),
            Some(OnlineType::Online)
        );
        assert_eq!(new("CONFIG_MHP_DEFAULT_ONLINE_TYPE_ONLINE_KERNEL=y\n"), Some(OnlineType::OnlineKernel));
        assert_eq!(new("CONFIG_MHP_DEFAULT_ONLINE_TYPE_ONLINE_MOVABLE=y\n"), Some(OnlineType::OnlineMovable));
    }

    #[test]
    fn a_configuration_of_another_version_does_not_say_the_default() {
        assert_eq!(
            with("CONFIG_MEMORY_HOTPLUG_DEFAULT_ONLINE=y\n").default_online_type(&v("6.14")),
            None,
            "the old option means nothing from 6.14 on"
        );
        let both = "CONFIG_MEMORY_HOTPLUG_DEFAULT_ONLINE=y\nCONFIG_MHP_DEFAULT_ONLINE_TYPE_OFFLINE=y\n";
        assert_eq!(with(both).default_online_type(&v("6.12")), None);
        let none = Config::parse("# CONFIG_MEMORY_HOTPLUG is not set\n").unwrap();
        assert_eq!(none.default_online_type(&v("6.12")), None);
    }

    #[test]
    fn what_was_seen_says_nothing_of_the_rest() {
        let seen = Config::seen([("NUMA", true), ("KSM", false)]);
        assert_eq!((seen.says("NUMA"), seen.says("KSM"), seen.says("PSI")), (Some("y"), Some("n"), None));
        let whole = Config::parse(OLD).unwrap();
        assert_eq!((whole.says("MEMORY_HOTPLUG"), whole.says("PSI")), (Some("y"), Some("n")));
        assert!(whole.is_whole() && !seen.is_whole());
    }

    #[test]
    fn fits_only_its_own_kernel() {
        let c = Config::parse(OLD).unwrap();
        assert!(c.fits("6.1.0-56-cloud-amd64", v("6.1.192")));
        assert!(c.fits("6.1.192-custom", v("6.1.192")));
        assert!(!c.fits("6.1.0-56-cloud-amd64", v("6.1.0")), "the heading says 192, the kernel says 0");
        assert!(!c.fits("6.12.5", v("6.12.5")));
        assert!(!with("").fits("6.1.192", v("6.1.192")), "no heading, no proof");
        let arm = Config::parse(&OLD.replace("Linux/x86", "Linux/arm64")).unwrap();
        assert!(!arm.fits("6.1.192", v("6.1.192")));
    }
}
