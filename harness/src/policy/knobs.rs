//! The settings that decide what becomes of memory: from the command line, and as user space changes them.

use super::cmdline::{Word, words};
use super::number::{c_string, size, switch, unsigned};
use super::{Errno, OnlineType, Ruling, Subject, Unknown};
use serde::{Deserialize, Serialize};

/// `memory_hotplug.online_policy`: what plain `online` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnlinePolicy {
    /// the zone that spans the block, else a kernel zone
    ContigZones,
    /// Movable as long as a ratio to the memory of boot allows it
    AutoMovable,
}

impl OnlinePolicy {
    /// The word of the parameter.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ContigZones => "contig-zones",
            Self::AutoMovable => "auto-movable",
        }
    }
}

/// `memory_hotplug.memmap_on_memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemmapMode {
    /// memmap from the memory there was
    Off,
    /// memmap at the beginning of each hot-plugged block, where it fits
    On,
    /// the same, rounded up to pageblocks (since 6.6)
    Force,
}

/// Settings at one moment. Parameters that the kernel does not have keep the value that it behaves as if it
/// had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knobs {
    /// `auto_online_blocks`
    pub auto_online: OnlineType,
    /// `memory_hotplug.online_policy`; contig-zones where there is none
    pub online_policy: OnlinePolicy,
    /// `memory_hotplug.auto_movable_ratio`, percent
    pub auto_movable_ratio: u32,
    /// `memory_hotplug.auto_movable_numa_aware`; false where there is none
    pub auto_movable_numa_aware: bool,
    /// `memory_hotplug.memmap_on_memory`
    pub memmap_on_memory: MemmapMode,
    /// `movable_node` was given (and the kernel knows it)
    pub movable_node: bool,
    /// `acpi_no_memhotplug` was given: DIMMs are not added
    pub acpi_no_memhotplug: bool,
    /// `/sys/firmware/acpi/hotplug/memory/enabled`: 0 forbids ejection, not insertion
    pub acpi_eject_enabled: bool,
    /// `mem=`: DIMMs that are there at boot are not added where they end above it, bytes
    pub boot_memory_limit: Option<u64>,
    /// `numa=off`: all memory is on node 0
    pub numa_off: bool,
    /// the kernel has `online_policy` and `auto_movable_ratio` (since 5.15)
    pub has_online_policy: bool,
    /// the kernel has `auto_movable_numa_aware` (since 5.15, CONFIG_NUMA)
    pub has_numa_aware: bool,
    /// the kernel has `memmap_on_memory` (since 5.14, CONFIG_MHP_MEMMAP_ON_MEMORY)
    pub has_memmap_on_memory: bool,
}

const SETUP: &str = "mm/memory_hotplug.c:setup_memhp_default_state (5.10 to 7.3)";
const PARAMS: &str = "kernel/params.c:parse_one (5.10 to 7.3)";
const DEFAULT: &str = "mm/memory_hotplug.c:mhp_default_online_type (5.10 to 7.3)";

impl Knobs {
    /// Settings of a kernel that was given nothing.
    pub fn defaults(subject: &Subject) -> Self {
        let groups = subject.version.at_least(5, 15);
        Self {
            auto_online: subject.default_online,
            online_policy: OnlinePolicy::ContigZones,
            auto_movable_ratio: 301,
            auto_movable_numa_aware: groups && subject.numa,
            memmap_on_memory: MemmapMode::Off,
            movable_node: false,
            acpi_no_memhotplug: false,
            acpi_eject_enabled: true,
            boot_memory_limit: None,
            numa_off: false,
            has_online_policy: groups,
            has_numa_aware: groups && subject.numa,
            has_memmap_on_memory: subject.version.at_least(5, 14) && subject.memmap_on_memory_built,
        }
    }

    /// Settings after boot with this command line, and what each word of it that concerns memory did.
    ///
    /// A command line that the kernel has built in (CONFIG_CMDLINE) or gets from a boot configuration must be
    /// in `cmdline` too.
    ///
    /// # Errors
    /// [`Unknown`] for kernels below 5.10, `numa=fake=…`, and switches whose meaning for this version was not
    /// read.
    pub fn boot(subject: &Subject, cmdline: &str) -> Result<(Self, Vec<Ruling>), Unknown> {
        subject.known()?;
        let mut knobs = Self::defaults(subject);
        let compiled = format!("the kernel was built to do `{}` with new blocks", subject.default_online);
        let mut rulings = vec![Ruling::new("default.compiled", DEFAULT, compiled)];
        for word in words(cmdline) {
            rulings.extend(knobs.take_setup_word(&word));
            rulings.extend(knobs.take_early_word(subject, &word)?);
            rulings.extend(knobs.take_parameter(subject, &word)?);
        }
        Ok((knobs, rulings))
    }

    /// `__setup` handlers: each occurrence is handled, in order (init/main.c:obsolete_checksetup).
    fn take_setup_word(&mut self, word: &Word) -> Option<Ruling> {
        if word.begins("acpi_no_memhotplug") {
            self.acpi_no_memhotplug = true;
            let source = "drivers/acpi/acpi_memhotplug.c:disable_acpi_memory_hotplug (5.10 to 7.3)";
            let text = "any word that begins with acpi_no_memhotplug stops ACPI from adding memory";
            return Some(Ruling::new("cmdline.acpi-no-memhotplug", source, text));
        }
        let value = word.value.as_deref().filter(|_| word.is("memhp_default_state"))?;
        Some(match OnlineType::parse(c_string(value)) {
            Some(online) => {
                self.auto_online = online;
                let text = format!("memhp_default_state={online} sets auto_online_blocks");
                Ruling::new("default.cmdline", SETUP, text)
            }
            None => {
                let text = format!("memhp_default_state={value:?} is no online type and changes nothing");
                Ruling::new("default.cmdline-bad", SETUP, text)
            }
        })
    }

    /// `early_param` handlers.
    fn take_early_word(&mut self, subject: &Subject, word: &Word) -> Result<Option<Ruling>, Unknown> {
        let value = word.value.as_deref().map(c_string);
        if word.is("movable_node") {
            self.movable_node |= subject.hotremove;
            let source =
                "mm/memory_hotplug.c:cmdline_parse_movable_node (5.10 to 7.3, CONFIG_MEMORY_HOTREMOVE)";
            let text = "movable_node, with or without a value, makes undecided blocks Movable";
            return Ok(Some(Ruling::new("cmdline.movable-node", source, text)));
        }
        if word.is("mem") {
            let limit = value.map_or(0, size);
            self.boot_memory_limit = if limit == 0 { self.boot_memory_limit } else { Some(limit) };
            let source = "arch/x86/kernel/e820.c:parse_memopt (5.10 to 7.3)";
            let text = "mem= keeps DIMMs that are there at boot from being added above it";
            return Ok(Some(Ruling::new("cmdline.mem", source, text)));
        }
        let Some(value) = value.filter(|_| word.is("numa")) else { return Ok(None) };
        if value.starts_with("fake=") || value.starts_with("noacpi") {
            return Err(Unknown::because(format!("numa={value} changes which node a DIMM belongs to")));
        }
        self.numa_off |= value.starts_with("off");
        let source = "arch/x86/mm/numa.c:numa_setup (5.10 to 7.3)";
        Ok(Some(Ruling::new("cmdline.numa", source, format!("numa={value}"))))
    }

    /// Parameters of mm/memory_hotplug.c; the last good value wins, a bad one is logged and ignored.
    fn take_parameter(&mut self, subject: &Subject, word: &Word) -> Result<Option<Ruling>, Unknown> {
        let name = word.name.replace('-', "_");
        let Some(name) = name.strip_prefix("memory_hotplug.") else { return Ok(None) };
        if !self.has(name) {
            let text = format!("this kernel has no parameter memory_hotplug.{name}: ignored");
            return Ok(Some(Ruling::new("param.absent", PARAMS, text)));
        }
        let text = format!("memory_hotplug.{name}={}", word.value.as_deref().unwrap_or("(no value)"));
        Ok(Some(match self.set(subject, name, word.value.as_deref())? {
            Ok(()) => Ruling::new("param.set", PARAMS, text),
            Err(errno) => Ruling::new("param.bad", PARAMS, format!("{text} is {errno} and changes nothing")),
        }))
    }

    /// Does the kernel have this parameter of memory_hotplug?
    pub fn has(&self, name: &str) -> bool {
        match name {
            "online_policy" | "auto_movable_ratio" => self.has_online_policy,
            "auto_movable_numa_aware" => self.has_numa_aware,
            "memmap_on_memory" => self.has_memmap_on_memory,
            _ => false,
        }
    }

    /// Gives a parameter to its `set` function; `None` is a parameter without `=` (only switches take that).
    pub(super) fn set(
        &mut self,
        subject: &Subject,
        name: &str,
        value: Option<&str>,
    ) -> Result<Result<(), Errno>, Unknown> {
        let modes = subject.version.at_least(6, 6);
        let takes_none = name == "auto_movable_numa_aware" || (name == "memmap_on_memory" && !modes);
        let Some(value) = value.map(c_string).or(takes_none.then_some("1")) else {
            return Ok(Err(Errno::Einval));
        };
        let word = value.strip_suffix('\n').unwrap_or(value);
        Ok(match name {
            "online_policy" => {
                let all = [OnlinePolicy::ContigZones, OnlinePolicy::AutoMovable];
                let policy = all.into_iter().find(|p| p.word() == word).ok_or(Errno::Einval);
                policy.map(|policy| self.online_policy = policy)
            }
            "auto_movable_ratio" => unsigned(value, 0).map(|ratio| self.auto_movable_ratio = ratio),
            "auto_movable_numa_aware" => {
                switch(value, subject.version)?.map(|aware| self.auto_movable_numa_aware = aware)
            }
            "memmap_on_memory" if modes && matches!(word, "force" | "FORCE") => {
                self.memmap_on_memory = MemmapMode::Force;
                Ok(())
            }
            "memmap_on_memory" => switch(value, subject.version)?
                .map(|on| self.memmap_on_memory = if on { MemmapMode::On } else { MemmapMode::Off }),
            _ => Err(Errno::Enoent),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::subject;

    fn boot(version: &str, cmdline: &str) -> Knobs {
        Knobs::boot(&subject(version), cmdline).unwrap().0
    }

    fn rules(version: &str, cmdline: &str) -> Vec<&'static str> {
        let (_, rulings) = Knobs::boot(&subject(version), cmdline).unwrap();
        rulings.into_iter().skip(1).map(|r| r.rule).collect()
    }

    #[test]
    fn default_state() {
        use OnlineType::{Offline, Online, OnlineKernel, OnlineMovable};
        for (version, cmdline, online) in [
            ("6.1", "", Offline),
            ("6.12", "", Online),
            ("6.1", "memhp_default_state=online", Online),
            ("6.12", "memhp_default_state=offline", Offline),
            ("5.10", "memhp_default_state=online_kernel", OnlineKernel),
            ("6.1", "memhp-default-state=online_movable", OnlineMovable),
            ("6.1", "memhp_default_state=\"online_movable\" quiet", OnlineMovable),
            ("6.1", "\"memhp_default_state=online_movable\"", OnlineMovable),
            ("6.1", "memhp_default_state=bogus", Offline),
            ("6.12", "memhp_default_state=bogus", Online),
            ("6.12", "memhp_default_state=OFFLINE", Online),
            ("6.12", "memhp_default_state=", Online),
            ("6.12", "memhp_default_state", Online),
            ("6.12", "memhp_default_state=\"offline \"", Online),
            ("6.12", "xmemhp_default_state=offline memhp_default_statex=offline", Online),
            ("6.12", "memhp_default_state=offline memhp_default_state=online_kernel", OnlineKernel),
            ("6.12", "memhp_default_state=offline memhp_default_state=bogus", Offline),
            ("6.12", "-- memhp_default_state=offline", Online),
        ] {
            assert_eq!(boot(version, cmdline).auto_online, online, "{version} {cmdline}");
        }
        assert_eq!(rules("6.12", "quiet memhp_default_state=bogus"), ["default.cmdline-bad"]);
    }

    #[test]
    fn parameters() {
        let knobs = boot(
            "6.12",
            "memory_hotplug.online_policy=auto-movable memory-hotplug.auto-movable-ratio=0x64 \
             memory_hotplug.auto_movable_numa_aware=off memory_hotplug.memmap_on_memory=force movable-node",
        );
        assert_eq!(knobs.online_policy, OnlinePolicy::AutoMovable);
        assert_eq!((knobs.auto_movable_ratio, knobs.auto_movable_numa_aware), (100, false));
        assert_eq!((knobs.memmap_on_memory, knobs.movable_node), (MemmapMode::Force, true));
        let names = ["online_policy", "auto_movable_ratio", "auto_movable_numa_aware", "memmap_on_memory"];
        let read = |knobs: &Knobs| names.map(|name| knobs.param(name).unwrap_or("-".into()));
        assert_eq!(read(&knobs), ["auto-movable", "100", "N", "force"]);
        assert_eq!(read(&boot("6.1", "")), ["contig-zones", "301", "Y", "N"]);
        assert_eq!(read(&boot("5.10", "memory_hotplug.online_policy=auto-movable")), ["-"; 4]);
        assert_eq!(rules("5.10", "memory_hotplug.online_policy=auto-movable"), ["param.absent"]);
        assert_eq!(rules("5.10", "acpi_no_memhotplug=0"), ["cmdline.acpi-no-memhotplug"]);
    }

    #[test]
    fn bad_parameters_change_nothing() {
        for bad in [
            "memory_hotplug.online_policy=bogus",
            "memory_hotplug.online_policy=auto_movable",
            "memory_hotplug.online_policy",
            "memory_hotplug.auto_movable_ratio=-1",
            "memory_hotplug.auto_movable_ratio=300%",
            "memory_hotplug.auto_movable_ratio",
            "memory_hotplug.auto_movable_numa_aware=maybe",
            "memory_hotplug.memmap_on_memory=Force",
            "memory_hotplug.memmap_on_memory",
        ] {
            let (knobs, rulings) = Knobs::boot(&subject("6.12"), bad).unwrap();
            // `Force` begins with f: off, as by default
            let taken = bad.ends_with("=Force");
            assert_eq!(rulings[1].rule, if taken { "param.set" } else { "param.bad" }, "{bad}");
            assert_eq!(knobs, Knobs::defaults(&subject("6.12")), "{bad}");
        }
    }

    #[test]
    fn memmap_on_memory_changed_its_kind() {
        let mode = |version, text| boot(version, text).memmap_on_memory;
        assert_eq!(mode("6.1", "memory_hotplug.memmap_on_memory"), MemmapMode::On);
        assert_eq!(mode("6.12", "memory_hotplug.memmap_on_memory"), MemmapMode::Off);
        assert_eq!(mode("6.1", "memory_hotplug.memmap_on_memory=force"), MemmapMode::Off);
        assert_eq!(mode("6.12", "memory_hotplug.memmap_on_memory=FORCE"), MemmapMode::Force);
        assert_eq!(mode("6.12", "memory_hotplug.memmap_on_memory=1"), MemmapMode::On);
        assert_eq!(mode("5.10", "memory_hotplug.memmap_on_memory=1"), MemmapMode::Off);
    }

    #[test]
    fn early_words() {
        assert_eq!(boot("6.12", "mem=4G").boot_memory_limit, Some(4 << 30));
        assert_eq!(boot("6.12", "mem=4G mem=nopentium").boot_memory_limit, Some(4 << 30));
        assert!(boot("6.12", "numa=off").numa_off && !boot("6.12", "numa=nohmat").numa_off);
        assert!(boot("6.12", "movable_node=0").movable_node);
        assert!(Knobs::boot(&subject("6.12"), "numa=fake=4").is_err());
        assert!(Knobs::boot(&subject("4.19"), "").is_err());
    }
}
