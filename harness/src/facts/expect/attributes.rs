//! What a block's directory holds beside its state: the attributes' names and constant values.

use super::{Scene, expect_eq, join};
use crate::finding::Finding;
use std::collections::{BTreeMap, BTreeSet};

const NAMES: &str = "drivers/base/memory.c:memory_memblk_attrs: every block has the same attributes";

const MODES: &str = "drivers/base/memory.c: DEVICE_ATTR_RW 0644, DEVICE_ATTR_RO 0444, DEVICE_ATTR_WO 0200";

/// Permissions of the files of a block, and of the directory of all blocks. Of others, what there was at boot counts.
const FILE_MODES: [(&str, &str); 16] = [
    // mm/memory_hotplug.c: module_param_cb, module_param
    ("auto_movable_numa_aware", "644"),
    ("auto_movable_ratio", "644"),
    ("memmap_on_memory", "444"),
    ("online_policy", "644"),
    ("auto_online_blocks", "644"),
    ("block_size_bytes", "444"),
    ("hard_offline_page", "200"),
    ("online", "644"),
    ("phys_device", "444"),
    ("phys_index", "444"),
    ("probe", "200"),
    ("removable", "444"),
    ("soft_offline_page", "200"),
    ("state", "644"),
    ("uevent", "644"),
    ("valid_zones", "444"),
];

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

fn check_modes(
    subject: &str,
    at_boot: Option<&BTreeMap<String, String>>,
    seen: &BTreeMap<String, String>,
    findings: &mut Vec<Finding>,
) {
    for (name, seen) in seen {
        let fixed = FILE_MODES.iter().find(|(file, _)| file == name).map(|(_, mode)| *mode);
        let as_at_boot = at_boot.and_then(|modes| modes.get(name)).map(String::as_str);
        let expected = fixed.or(as_at_boot).map_or_else(|| "as at boot: no such file".into(), letters);
        let subject = format!("{subject} {name}");
        expect_eq(findings, "file.mode", subject.trim_start(), expected, letters(seen), MODES);
    }
}

/// `644` as `rw-r--r--`; as it is where it is more than permissions.
fn letters(mode: &str) -> String {
    let who =
        |digit: u32| ["---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx"].get(digit as usize).copied();
    let digits = mode.chars().map(|c| who(c.to_digit(8)?));
    digits.collect::<Option<String>>().filter(|text| text.len() == 9).unwrap_or_else(|| mode.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{KERNELS, guest};
    use super::super::super::watch::MEMORY;

    const BLOCKS: &str = "32-39=offline 33=Movable 38=Movable 40-47=Movable";

    #[test]
    fn permissions_of_files() {
        for kernel in KERNELS {
            let found = |dir: &str, name: &str, mode: &str| {
                let listing = format!("{MEMORY}{dir}/.");
                let mut guest = guest(kernel, "one", 4, BLOCKS);
                let names = guest.text(&listing);
                let with_mode = |n: &str| if n == name { format!("{n}={mode}") } else { n.to_string() };
                let names: Vec<String> = names.split(' ').map(with_mode).collect();
                guest.put(&listing, Some(&names.join(" ")));
                guest.found()
            };
            assert_eq!(found("/memory33", "state", "644"), [], "{kernel}");
            let wrong = |dir, name, mode| {
                let found = found(dir, name, mode);
                assert_eq!(found.len(), 1, "{kernel} {found:?}");
                let (fact, subject, expected, seen) = &found[0];
                format!("{fact} {subject}: {expected} / {seen}")
            };
            assert_eq!(wrong("/memory33", "state", "666"), "file.mode memory33 state: rw-r--r-- / rw-rw-rw-");
            assert_eq!(
                wrong("/memory33", "uevent", "600"),
                "file.mode memory33 uevent: rw-r--r-- / rw-------"
            );
            assert_eq!(
                wrong("", "auto_online_blocks", "600"),
                "file.mode auto_online_blocks: rw-r--r-- / rw-------"
            );
            assert_eq!(wrong("", "power", "755"), "file.mode power: as at boot: no such file / rwxr-xr-x");
        }
    }
}
