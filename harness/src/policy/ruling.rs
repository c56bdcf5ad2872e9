//! Why the oracle says what it says, and what it says when it cannot know.

use serde::Serialize;
use std::fmt;

/// A rule that was applied, with the place in the kernel it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ruling {
    /// stable id of the rule: `zone.contig.tie`
    pub rule: &'static str,
    /// what the rule says here, with the figures of this case
    pub text: String,
    /// file and function, and the versions it holds for: `mm/memory_hotplug.c:default_zone_for_pfn (5.10 to
    /// 7.3)`
    pub source: &'static str,
}

impl Ruling {
    /// A ruling; `text` is the explanation for this case.
    pub fn new(rule: &'static str, source: &'static str, text: impl Into<String>) -> Self {
        Self { rule, text: text.into(), source }
    }
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.rule, self.text, self.source)
    }
}

/// The outcome cannot be decided from outside, for this reason; the case must spell its expectation out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("not decidable: {0}")]
pub struct Unknown(pub String);

impl Unknown {
    /// With its reason.
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}
