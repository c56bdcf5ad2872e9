//! Permissions of files: who may read what the kernel tells, and that root alone may write.

use super::{Scene, expect_eq};
use crate::finding::Finding;
use std::collections::BTreeMap;

const MODES: &str = "drivers/base/memory.c: DEVICE_ATTR_RW 0644, DEVICE_ATTR_RO 0444, DEVICE_ATTR_WO 0200; of parameters mm/memory_hotplug.c: module_param_cb";

/// Permissions of the files of a block, of the directory of all blocks, and of a module's parameters. Of others, what there was at boot counts.
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

/// Permissions of the files of nodes, ACPI slots and the firmware's memory map: by what makes them, 5.10 to 7.3. A file
/// of another name is not judged.
const BESIDE_BLOCKS: [(&str, &str, &[&str]); 9] = [
    (
        "drivers/base/node.c:_NODE_ATTR",
        "444",
        &["has_cpu", "has_generic_initiator", "has_memory", "has_normal_memory", "online", "possible"],
    ),
    (
        "drivers/base/node.c:node_dev_attrs, node_dev_bin_attrs",
        "444",
        &["cpulist", "cpumap", "distance", "meminfo", "numastat", "vmstat"],
    ),
    ("mm/compaction.c:compaction_register_node", "200", &["compact"]),
    ("mm/vmscan.c:reclaim_register_node", "200", &["reclaim"]),
    ("drivers/base/core.c:dev_attr_uevent", "644", &["uevent"]),
    (
        "drivers/acpi/device_sysfs.c:acpi_device_setup_files",
        "444",
        &["description", "hid", "hrv", "modalias", "path", "status", "sun", "uid"],
    ),
    ("drivers/acpi/device_sysfs.c:acpi_device_setup_files", "200", &["eject"]),
    ("drivers/acpi/sysfs.c:hotplug_enabled_attr", "644", &["enabled"]),
    ("drivers/firmware/memmap.c:def_attrs", "444", &["end", "start", "type"]),
];

/// Files of nodes, ACPI slots and the firmware's memory map, of those that came with a DIMM too.
pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for (dir, modes) in &scene.now.modes {
        for (name, seen) in modes {
            let made = BESIDE_BLOCKS.iter().find(|(_, _, names)| names.contains(&name.as_str()));
            let Some((rule, expected, _)) = made else { continue };
            let subject = format!("{dir} {name}");
            expect_eq(findings, "file.mode", &subject, letters(expected), letters(seen), rule);
        }
    }
}

/// Files of blocks, of their root directory and of a module's parameters.
pub(super) fn check_modes(
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

    #[test]
    fn permissions_of_files_of_nodes_slots_and_the_memory_map() {
        for kernel in KERNELS {
            let found = |listing: &str, words: &str| -> Vec<String> {
                let mut guest = guest(kernel, "one", 4, BLOCKS);
                let names = guest.now().nodes[&0].names.iter().cloned().collect::<Vec<_>>().join(" ");
                // a node's names are judged too, and the links among them as well
                let rest = if listing.contains("/node0/") { names } else { String::new() };
                let name = |word: &str| word.split('=').next().unwrap_or_default().to_string();
                let mut all: Vec<String> = rest.split(' ').map(String::from).collect();
                all.retain(|known| !words.split(' ').any(|word| name(word) == *known));
                guest.put(listing, Some(&format!("{words} {}", all.join(" "))));
                let found = guest.found().into_iter();
                found.map(|(fact, subject, old, new)| format!("{fact} {subject}: {old} / {new}")).collect()
            };
            let node = "/sys/devices/system/node";
            let right: [(String, &str); 5] = [
                (format!("{node}/."), "has_cpu=444 online=444 possible=444 power uevent=644 later=600"),
                (format!("{node}/node0/."), "compact=200 meminfo=444 uevent=644 vmstat=444"),
                ("/sys/bus/acpi/devices/PNP0C80:00/.".into(), "eject=200 status=444 path=444"),
                ("/sys/firmware/acpi/hotplug/memory/.".into(), "enabled=644"),
                ("/sys/firmware/memmap/9/.".into(), "end=444 start=444 type=444"),
            ];
            for (listing, words) in &right {
                assert_eq!(found(listing, words), Vec::<String>::new(), "{kernel} {listing}");
            }
            for (listing, word, finding) in [
                (0, "online=644", "file.mode node online: r--r--r-- / rw-r--r--"),
                (1, "meminfo=400", "file.mode node0 meminfo: r--r--r-- / r--------"),
                (1, "compact=644", "file.mode node0 compact: -w------- / rw-r--r--"),
                (2, "eject=222", "file.mode PNP0C80:00 eject: -w------- / -w--w--w-"),
                (3, "enabled=666", "file.mode hotplug/memory enabled: rw-r--r-- / rw-rw-rw-"),
                (4, "end=400", "file.mode memmap/9 end: r--r--r-- / r--------"),
            ] {
                let found = found(&right[listing].0, word);
                assert_eq!(found, [finding], "{kernel}");
            }
        }
    }
}
