//! What a block's directory holds beside its state: the attributes' names and constant values.

use super::modes::check_modes;
use super::{Scene, expect_eq, join};
use crate::finding::Finding;
use std::collections::BTreeSet;

const NAMES: &str = "drivers/base/memory.c:memory_memblk_attrs: every block has the same attributes";

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    check_root(scene, findings);
    let boot = scene.base.snapshot.blocks.values().next();
    for (number, facts) in &scene.now.blocks {
        let subject = format!("memory{number}");
        let missing = |text: &Option<String>| text.clone().unwrap_or_else(|| "not there".into());
        let rule = "drivers/base/memory.c:phys_index_show: %08lx of the block's number";
        expect_eq(
            findings,
            "block.phys_index",
            &subject,
            format!("{number:08x}"),
            missing(&facts.phys_index),
            rule,
        );
        let device = boot.and_then(|b| b.phys_device.clone());
        let rule = "drivers/base/memory.c:phys_device_show: 0 but on s390";
        expect_eq(
            findings,
            "block.phys_device",
            &subject,
            missing(&device),
            missing(&facts.phys_device),
            rule,
        );
        let removable = removable(scene).or_else(|| boot.and_then(|b| b.removable.clone()));
        let rule = "drivers/base/memory.c:removable_show: CONFIG_MEMORY_HOTREMOVE (5.6 and later)";
        expect_eq(
            findings,
            "block.removable",
            &subject,
            missing(&removable),
            missing(&facts.removable),
            rule,
        );
        if let Some(online) = facts.online {
            let expected = u64::from(facts.state == crate::policy::BlockState::Online);
            let rule = "drivers/base/core.c:online_show: the device's offline flag follows the state";
            expect_eq(findings, "block.online", &subject, expected, online, rule);
        }
        let names = expected_names(scene, *number);
        expect_eq(findings, "block.names", &subject, join(names), join(&facts.names), NAMES);
        check_modes(&subject, boot.map(|b| &b.modes), &facts.modes, findings);
    }
}

fn removable(scene: &Scene<'_>) -> Option<String> {
    scene.context.hotremove.map(|yes| u8::from(yes).to_string())
}

/// A boot block keeps its names; any other has those of boot blocks, with its own links.
fn expected_names(scene: &Scene<'_>, number: u32) -> BTreeSet<String> {
    let base = scene.base.snapshot;
    let hot = scene.layout.blocks.get(&number).is_none_or(|b| b.dimm.is_some());
    if let Some(boot) = base.blocks.get(&number).filter(|_| !hot) {
        return boot.names.clone();
    }
    let early = |n: &u32| scene.base.layout.blocks.get(n).is_some_and(|b| b.dimm.is_none());
    let boot = base.blocks.iter().find(|(n, _)| early(n)).map(|(_, b)| b);
    let mut names: BTreeSet<String> = boot.map(|b| b.names.clone()).unwrap_or_default();
    names.retain(|n| !n.starts_with("node"));
    if !base.nodes.is_empty() {
        // which node it must be is judged with the links
        let seen = scene.now.blocks.get(&number);
        names.extend(seen.into_iter().flat_map(|b| b.nodes.iter().map(|n| format!("node{n}"))));
    }
    if !base.acpi.is_empty() {
        names.insert("firmware_node".into());
    }
    names
}

/// The root directory holds the blocks that were read, and what it held at boot.
fn check_root(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let is_block = |name: &&String| {
        name.strip_prefix("memory").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let rest = |s: &super::Snapshot| join(s.root_names.iter().filter(|n| !is_block(n)));
    let rule = "drivers/base/memory.c:memory_root_attrs";
    expect_eq(findings, "root.names", "", rest(scene.base.snapshot), rest(scene.now), rule);
    check_modes("", Some(&scene.base.snapshot.root_modes), &scene.now.root_modes, findings);
    check_modes(
        "parameter",
        Some(&scene.base.snapshot.parameter_modes),
        &scene.now.parameter_modes,
        findings,
    );
}
