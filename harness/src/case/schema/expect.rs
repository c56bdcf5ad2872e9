//! What a case may expect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An expectation. Exactly one of `blocks`, `unplug`, `file`, `console`, `pinned` says about what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// blocks, selected as in `set`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<String>,
    /// the outcome of a DIMM's unplug
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unplug: Option<String>,
    /// a file's content
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// a regular expression that one console line since the last such step, or since boot, must match
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// unmovable pages (slab, page tables, …) are in the selected blocks: proved by /proc/kpageflags, else ERROR
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// `policy`: what the oracle says
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub as_: Option<AsPolicy>,
    /// state of each selected block: one word for all, or one per block with blanks (`online offline online`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// zone of each selected block (`Normal`, `Movable`; `-` for none), as with `state`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// the text of valid_zones of every selected block
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_zones: Option<String>,
    /// all selected blocks have the same state and zone (the model takes over which): for races with the knob
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub uniform: bool,
    /// with `unplug`: outcomes that are right: `done`, `refused`, `disabled`; several with commas
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// with `file`: the text, one trailing newline aside
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// with `file`: a regular expression that one of its lines must match
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// with `file`: reading must fail so
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// how long to wait for it (`5s`); default 30s
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

/// The one word after `as:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AsPolicy {
    /// the oracle says
    Policy,
}
