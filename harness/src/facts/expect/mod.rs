//! Every deviation of a quiet guest from what it must be.
//!
//! Two levels. [`check_blocks`] compares the blocks with the model: which exist, in which state, in which zone.
//! [`check_consistency`] compares everything else with the model *as overlaid by the blocks that were seen*, so that
//! one block in a wrong zone is one finding and not thirty. Both want a quiet guest: no plug, unplug, online or
//! offline under way.
//!
//! Facts are named `block.*`, `zone.*`, `zoneinfo.*`, `node.*`, `meminfo.*`, `vmstat.*`, `iomem.*`, `kcore.*`, `memmap.*`,
//! `acpi.*`, `pagetypes.*`, `pages.*`, `threads`, `threads.*`, `knob`, `tainted`, `file.missing`.

mod attributes;
mod blocks;
mod counters;
mod dirty;
mod iomem;
mod kcore;
mod knobs;
mod lists;
mod meminfo;
mod modes;
mod node_files;
mod nodes;
mod overlay;
mod pages;
mod pagetypes;
mod reserves;
mod sums;
mod watermarks;
mod zones;

pub use overlay::overlay;
pub use pages::{check_fresh, check_pages};

use super::snapshot::Snapshot;
use crate::finding::Finding;
use crate::policy::{Dimm, Layout};
use crate::version::Version;
use std::collections::{BTreeMap, BTreeSet};

/// What else must be known about the guest.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// kernel version
    pub version: Version,
    /// CONFIG_MEMORY_HOTREMOVE, `None` where the configuration is not known
    pub hotremove: Option<bool>,
    /// settings written since the baseline: path to the text that must be read now, blanks collapsed
    pub written: &'a BTreeMap<String, String>,
    /// text that `valid_zones` must have, by block; a block without an entry is not judged
    pub valid_zones: &'a BTreeMap<u32, String>,
    /// min_free_kbytes was written, and no memory came or went since
    pub min_free_written: bool,
    /// page frames that were poisoned on purpose, in memory that is there
    pub poisoned: &'a BTreeSet<u64>,
}

/// The state at boot: what was seen, and the layout that [`Layout::from_boot`] made of it.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// what was seen
    pub snapshot: &'a Snapshot,
    /// what it means
    pub layout: &'a Layout,
}

/// Everything: both levels. `layout` is what the model says must be now.
pub fn check(layout: &Layout, base: Base<'_>, now: &Snapshot, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = check_blocks(layout, base, now, context);
    findings.extend(check_consistency(layout, base, now, context));
    findings
}

/// Level 1: `block.missing`, `block.extra`, `block.state`, `block.zone`, `block.valid_zones`.
pub fn check_blocks(layout: &Layout, base: Base<'_>, now: &Snapshot, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    blocks::check(layout, base, now, context, &mut findings);
    findings
}

/// Level 2: everything else, given the blocks as they were seen.
pub fn check_consistency(
    layout: &Layout,
    base: Base<'_>,
    now: &Snapshot,
    context: &Context<'_>,
) -> Vec<Finding> {
    let seen = overlay(layout, now);
    let scene = Scene { layout: &seen, base, now, context };
    let mut findings = Vec::new();
    knobs::check(&scene, &mut findings);
    attributes::check(&scene, &mut findings);
    modes::check(&scene, &mut findings);
    zones::check(&scene, &mut findings);
    watermarks::check(&scene, &mut findings);
    reserves::check(&scene, &mut findings);
    dirty::check(&scene, &mut findings);
    lists::check(&scene, &mut findings);
    counters::check(&scene, &mut findings);
    nodes::check(&scene, &mut findings);
    node_files::check(&scene, &mut findings);
    meminfo::check(&scene, &mut findings);
    iomem::check(&scene, &mut findings);
    kcore::check(&scene, &mut findings);
    pagetypes::check(&scene, &mut findings);
    findings
}

/// What every check of level 2 looks at.
struct Scene<'a> {
    /// the model, overlaid by the blocks that were seen
    layout: &'a Layout,
    base: Base<'a>,
    now: &'a Snapshot,
    context: &'a Context<'a>,
}

impl Scene<'_> {
    /// Nothing that changes with online memory differs from the baseline: numbers that the kernel computed at boot
    /// and then left alone while it went on freeing boot memory may still stand.
    fn managed_as_at_boot(&self) -> bool {
        let managed = |s: &Snapshot| -> Vec<(u32, String, u64)> {
            let zones = s.zoneinfo.zones.iter().filter(|(_, z)| z.managed > 0);
            zones.map(|((n, z), f)| (*n, z.clone(), f.managed)).collect()
        };
        managed(self.now) == managed(self.base.snapshot)
    }
}

/// DIMMs that the kernel has added: those with blocks. A DIMM that it refused leaves no trace.
fn added(layout: &Layout) -> impl Iterator<Item = (&String, &Dimm)> {
    layout.dimms.iter().filter(|(name, _)| layout.blocks_of(name).next().is_some())
}

/// `node 0 Movable`.
fn zone_subject(node: u32, zone: &str) -> String {
    format!("node {node} {zone}")
}

/// Adds a finding if `expected` and `seen` differ.
fn expect_eq<T: PartialEq + std::fmt::Display>(
    findings: &mut Vec<Finding>,
    fact: &str,
    subject: &str,
    expected: T,
    seen: T,
    rule: &str,
) {
    if expected != seen {
        findings.push(Finding::new(fact, subject, expected, seen, rule));
    }
}

/// A finding if `seen` is more than `slack` away from `expected`; it says to which side.
fn off(fact: &str, subject: String, expected: u64, seen: u64, slack: u64, rule: &str) -> Option<Finding> {
    let side = if seen < expected { "too few" } else { "too many" };
    let text = || (format!("{expected} within {slack}"), format!("{seen}, {side}"));
    let (expected, seen) = (seen.abs_diff(expected) > slack).then(text)?;
    Some(Finding::new(fact, subject, expected, seen, rule))
}

/// Numbers joined by blanks.
fn join<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(" ")
}
