//! A difference between what had to be and what was seen.

use serde::{Deserialize, Serialize};

/// One fact that is not as it must be. Known issues are recognised by the set of (`fact`, `expected`, `seen`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// which fact, stable and without numbers of this guest: `block.zone`, `zone.present`, `meminfo.MemTotal`, `uevents`
    pub fact: String,
    /// of what: `memory33`, `node 0 Movable`, a path; empty where the fact says it all
    pub subject: String,
    /// what had to be
    pub expected: String,
    /// what was seen
    pub seen: String,
    /// the rule and where it comes from: `mm/memory_hotplug.c:default_zone_for_pfn: …`
    pub rule: String,
}

impl Finding {
    /// A finding from anything that prints.
    pub fn new(
        fact: impl Into<String>,
        subject: impl Into<String>,
        expected: impl ToString,
        seen: impl ToString,
        rule: impl Into<String>,
    ) -> Self {
        Self {
            fact: fact.into(),
            subject: subject.into(),
            expected: expected.to_string(),
            seen: seen.to_string(),
            rule: rule.into(),
        }
    }
}
