//! Each invariant, broken alone in a real guest, gives exactly its own finding.

use super::testing::{Guest, KERNELS, guest};
use wire::Value;

pub(super) const MEMORY: &str = "/sys/devices/system/memory";
pub(super) const NODE0: &str = "/sys/devices/system/node/node0";
const BLOCKS: &str = "32-39=offline 33=Movable 35=Movable 38=Movable";

/// One DIMM of 8 blocks, three of them online in Movable.
pub(super) fn mixed(kernel: &str) -> Guest {
    guest(kernel, "one", 2, BLOCKS)
}

/// The only finding, as `fact subject: expected / seen`.
pub(super) fn only(guest: &Guest) -> String {
    let found = guest.found();
    assert_eq!(found.len(), 1, "{found:#?}");
    let (fact, subject, expected, seen) = &found[0];
    format!("{fact} {subject}: {expected} / {seen}")
}

pub(super) fn facts(guest: &Guest) -> Vec<String> {
    guest.found().into_iter().map(|f| f.0).collect()
}

#[test]
fn a_block_that_vanished_is_one_finding() {
    for kernel in KERNELS {
        let mut guest = mixed(kernel);
        let dir = format!("{MEMORY}/memory39");
        guest.raw.apply(&wire::Snapshot {
            changed: Default::default(),
            gone: vec![dir],
            threads: guest.raw.threads().to_vec(),
        });
        let found = guest.found();
        assert_eq!(found[0].0, "block.missing");
        // links to it are left over, and its memory map is still counted
        let rest: Vec<&str> = found[1..].iter().map(|f| f.0.as_str()).collect();
        let counted = guest.now().vm("nr_memmap_pages").is_some();
        let expected: &[&str] = if counted {
            &["node.links", "vmstat.nr_memmap_pages", "acpi.physical_node"]
        } else {
            &["node.links", "acpi.physical_node"]
        };
        assert_eq!(rest, expected, "{kernel}");
    }
}

#[test]
fn blocks_that_should_be_gone() {
    let mut guest = mixed("6.12");
    guest.layout.dimms.clear();
    guest.layout.blocks.retain(|_, b| b.dimm.is_none());
    let facts = facts(&guest);
    assert_eq!(facts.iter().filter(|f| *f == "block.extra").count(), 8);
    assert!(facts.iter().any(|f| f == "iomem.extra") && facts.iter().any(|f| f == "memmap.extra"));
}

#[test]
fn state_zone_and_valid_zones() {
    for kernel in KERNELS {
        let mut guest = mixed(kernel);
        guest.layout.blocks.get_mut(&32).unwrap().state = crate::policy::BlockState::Online;
        assert_eq!(only(&guest), "block.state memory32: online / offline");
        let mut guest = mixed(kernel);
        guest.layout.blocks.get_mut(&33).unwrap().zone = Some(crate::policy::Zone::Normal);
        assert_eq!(only(&guest), "block.zone memory33: Normal / Movable");
        let mut guest = mixed(kernel);
        guest.valid_zones.insert(34, "Normal Movable".into());
        assert_eq!(only(&guest), "block.valid_zones memory34: Normal Movable / Movable Normal");
        guest.valid_zones.insert(34, "Movable Normal".into());
        assert!(guest.found().is_empty());
    }
}

#[test]
fn sizes_of_zones() {
    for kernel in KERNELS {
        let movable = "Node 0, zone  Movable";
        let zone = |field: &str, to: &str| mixed(kernel).zone(movable, field, to);
        assert_eq!(only(&zone("present  ", "98303")), "zone.present node 0 Movable: 98304 / 98303");
        assert_eq!(only(&zone("spanned  ", "196607")), "zone.spanned node 0 Movable: 196608 / 196607");
        let start = zone("start_pfn:           ", "1081343").zone(movable, "spanned  ", "196609");
        assert_eq!(only(&start), "zone.start_pfn node 0 Movable: 1081344 / 1081343");
        let dma = |field: &str, to: &str| mixed(kernel).zone("Node 0, zone      DMA\n", field, to);
        assert_eq!(only(&dma("spanned  ", "4096")), "zone.spanned node 0 DMA: 4095 / 4096");
        let free = dma("pages free     ", "4100");
        assert!(only(&free).starts_with("zone.free node 0 DMA: at most 3"));
    }
}

#[test]
fn managed_pages_are_the_sum_of_all_that_is_computed_from_them() {
    // the kernel's own numbers follow from the managed pages, so that a wrong one shows where it was not expected
    for kernel in KERNELS {
        let guest = mixed(kernel).zone("Node 0, zone  Movable", "managed  ", "98303");
        let facts = facts(&guest);
        for fact in ["zone.managed", "node.MemTotal", "meminfo.MemTotal"] {
            assert!(facts.iter().any(|f| f == fact), "{kernel} {fact}: {facts:?}");
        }
    }
}

#[test]
fn a_pageblock_that_was_never_freed() {
    for kernel in KERNELS {
        let guest = mixed(kernel);
        let movable = guest.now().zoneinfo.zones[&(0, "Movable".to_string())].clone();
        let free = movable.counters["free"] - 512;
        let guest = guest.zone("Node 0, zone  Movable", "pages free     ", &free.to_string());
        assert!(only(&guest).starts_with("zone.lost node 0 Movable: 98304 within "), "{kernel}");
    }
}

#[test]
fn other_zones_never_change() {
    let device = "Node 0, zone   Device";
    assert_eq!(
        only(&mixed("7.3").zone(device, "spanned  ", "32768")),
        "zone.other node 0 Device: 0 0 0 / 32768 0 0"
    );
    let cma = mixed("7.3").zone("Node 0, zone    DMA32", "cma      ", "16");
    assert_eq!(only(&cma), "zone.cma node 0 DMA32: 0 / 16");
}

/// Adds 1 to a value of a zone.
fn one_more(guest: Guest, head: &str, zone: &str, field: &str) -> Guest {
    let seen = guest.now().zoneinfo.zones[&(0, zone.to_string())].watermarks[field.trim()];
    guest.zone(head, field, &(seen + 1).to_string())
}

#[test]
fn watermarks_follow_from_managed_pages() {
    for kernel in KERNELS {
        for (head, zone) in [("Node 0, zone    DMA32", "DMA32"), ("Node 0, zone  Movable", "Movable")] {
            for field in ["min      ", "low      ", "high     "] {
                let found = facts(&one_more(mixed(kernel), head, zone, field));
                // per-CPU lists have the low watermark as their measure
                assert_eq!(found[0], format!("zone.{}", field.trim()), "{kernel} {zone}");
                assert!(found[1..].iter().all(|f| f.starts_with("zone.pageset")), "{kernel} {found:?}");
            }
        }
    }
    let promo = one_more(mixed("7.3"), "Node 0, zone    DMA32", "DMA32", "promo    ");
    assert!(only(&promo).starts_with("zone.promo node 0 DMA32: "));
}

#[test]
fn watermarks_and_reserves_of_another_time_are_stale() {
    for kernel in KERNELS {
        // as if online_pages() had not recomputed anything: numbers of the boot, managed pages of now
        let mut guest = mixed(kernel);
        let boot = guest.base.clone();
        let min_free = &boot.knobs["/proc/sys/vm/min_free_kbytes"];
        guest.put("/proc/sys/vm/min_free_kbytes", Some(&format!("{min_free}\n")));
        let text = guest.text("/proc/zoneinfo");
        let mut stale = String::new();
        let mut zone = String::new();
        for line in text.lines() {
            if let Some((_, name)) = line.split_once(", zone ") {
                zone = name.trim().to_string();
            }
            let was = &boot.zoneinfo.zones[&(0, zone.clone())];
            let mark = line.trim().split_once(' ').and_then(|(n, _)| Some((n, was.watermarks.get(n)?)));
            match mark {
                Some((name, value)) if line.starts_with("        ") => {
                    stale += &format!("        {name:<8} {value}\n")
                }
                _ if line.trim().starts_with("protection:") => {
                    let values: Vec<String> = was.protection.iter().map(u64::to_string).collect();
                    stale += &format!("        protection: ({})\n", values.join(", "));
                }
                _ => stale += &format!("{line}\n"),
            }
        }
        guest.put("/proc/zoneinfo", Some(&stale));
        let found = facts(&guest);
        for fact in ["zone.min", "zone.low", "zone.high", "zone.protection"] {
            assert!(found.iter().any(|f| f == fact), "{kernel} {fact}: {found:?}");
        }
    }
}

#[test]
fn min_free_kbytes_grows_with_memory() {
    // kernel memory of 1 GiB more than at boot: the value of the boot is far off
    for kernel in KERNELS {
        let mut guest = guest(kernel, "normal", 1, "32-39=Normal");
        guest.put("/proc/sys/vm/min_free_kbytes", Some("2500\n"));
        assert!(facts(&guest).iter().any(|f| f == "vm.min_free_kbytes"), "{kernel}");
        guest.written.insert("/proc/sys/vm/min_free_kbytes".into(), "2500".into());
        assert!(!facts(&guest).iter().any(|f| f == "vm.min_free_kbytes"), "{kernel}");
    }
}

#[test]
fn reserves_of_lower_zones() {
    for kernel in KERNELS {
        let guest = mixed(kernel);
        let seen = guest.now().zoneinfo.zones[&(0, "DMA".to_string())].protection.clone();
        let last = seen.last().unwrap();
        let guest = guest.zone("Node 0, zone      DMA\n", "protection: (", "0, 0, 0, 0, 0)");
        let found = only(&guest);
        assert!(
            found.starts_with("zone.protection node 0 DMA: 0 ") && found.contains(&last.to_string()),
            "{found}"
        );
    }
}

#[test]
fn per_cpu_lists_are_enabled_again_after_offlining() {
    for kernel in KERNELS {
        let guest = mixed(kernel);
        let text = guest.text("/proc/zoneinfo");
        let movable = text.find("zone  Movable").unwrap();
        let (before, after) = text.split_at(movable);
        let after = after.replacen("batch:    15", "batch:    1", 1).replacen("batch: 15", "batch: 1", 1);
        let after = after.replacen("batch:    31", "batch:    1", 1).replacen("batch: 31", "batch: 1", 1);
        let mut guest = guest;
        guest.put("/proc/zoneinfo", Some(&format!("{before}{after}")));
        let found = only(&guest);
        assert!(
            found.starts_with("zone.pageset.batch node 0 Movable cpu 0: ") && found.ends_with("/ 1"),
            "{found}"
        );
    }
}

#[test]
fn totals() {
    for kernel in KERNELS {
        let total = mixed(kernel).now().meminfo["MemTotal"];
        let guest = mixed(kernel).edit(
            "/proc/meminfo",
            &format!("{total} kB\nMemFree"),
            &format!("{} kB\nMemFree", total + 4),
        );
        // CommitLimit is half of the total, so that 4 kB more are lost in rounding or not
        assert_eq!(facts(&guest)[0], "meminfo.MemTotal", "{kernel}");
        let limit = mixed(kernel).now().meminfo["CommitLimit"];
        let guest =
            mixed(kernel).edit("/proc/meminfo", &format!(" {limit} kB\n"), &format!(" {} kB\n", limit + 4));
        assert_eq!(only(&guest), format!("meminfo.CommitLimit : {limit} / {}", limit + 4));
        if !["5.10", "6.1"].contains(&kernel) {
            // Debian's cloud kernels have CONFIG_MEMORY_FAILURE since 6.12
            let guest =
                mixed(kernel).edit("/proc/meminfo", "HardwareCorrupted:     0", "HardwareCorrupted:     4");
            assert_eq!(only(&guest), "meminfo.HardwareCorrupted : 0 / 4");
        }
        let map = mixed(kernel).edit("/proc/meminfo", "DirectMap1G:     1048576", "DirectMap1G:           0");
        assert_eq!(facts(&map), ["meminfo.DirectMap", "meminfo.DirectMap1G"], "{kernel}");
        let map = mixed(kernel).edit("/proc/meminfo", "DirectMap1G:     1048576", "DirectMap1G:           0");
        let small = map.now().meminfo["DirectMap2M"];
        let row = |kb: u64| format!("DirectMap2M:{kb:>12} kB");
        let map = map.edit("/proc/meminfo", &row(small), &row(small + (1 << 20)));
        assert_eq!(only(&map), "meminfo.DirectMap1G : 1048576 / 0", "{kernel}");
        let node = mixed(kernel).edit(
            &format!("{NODE0}/meminfo"),
            &format!("MemTotal:         {total}"),
            "MemTotal:         4",
        );
        assert_eq!(only(&node), format!("node.MemTotal node 0: {total} / 4"));
    }
}

#[test]
fn counters_of_memory_maps() {
    for kernel in ["6.12", "6.18", "7.3"] {
        let guest = mixed(kernel).edit("/proc/vmstat", "nr_memmap_pages 4096", "nr_memmap_pages 4095");
        assert_eq!(only(&guest), "vmstat.nr_memmap_pages : 4096 / 4095");
        let guest =
            mixed(kernel).edit("/proc/vmstat", "nr_memmap_boot_pages 2048", "nr_memmap_boot_pages 2047");
        assert_eq!(only(&guest), "vmstat.nr_memmap_boot_pages : 2048 / 2047");
    }
}

#[test]
fn traces_of_dimms() {
    for kernel in KERNELS {
        let dimm = "100000000-13fffffff : System RAM";
        let guest = mixed(kernel).edit("/proc/iomem", dimm, "100000000-13ffffffe : System RAM");
        let [missing, extra] = &guest.found()[..] else { panic!("{:?}", guest.found()) };
        assert_eq!((missing.0.as_str(), missing.2.as_str()), ("iomem.missing", dimm));
        assert_eq!((extra.0.as_str(), extra.3.as_str()), ("iomem.extra", "100000000-13ffffffe : System RAM"));
        let guest = mixed(kernel).edit("/proc/iomem", "IOAPIC 0", "IOAPIC 1");
        assert_eq!(facts(&guest), ["iomem.missing", "iomem.extra"]);
        let guest = mixed(kernel).edit("/sys/firmware/memmap/9/end", "0x13fffffff", "0x13ffffff");
        assert_eq!(facts(&guest), ["memmap.missing", "memmap.extra"]);
        let mut guest = mixed(kernel);
        guest.put("/sys/bus/acpi/devices/PNP0C80:00/->physical_node7", None);
        assert_eq!(only(&guest), "acpi.physical_node d0: 32 33 34 35 36 37 38 39 / 32 33 34 35 36 37 38");
        let mut guest = mixed(kernel);
        guest.put(&format!("{MEMORY}/memory36/->firmware_node"), Some("PNP0C80:01"));
        assert_eq!(only(&guest), "block.firmware_node memory36: PNP0C80:00 / PNP0C80:01");
    }
}

#[test]
fn attributes_of_blocks() {
    for kernel in KERNELS {
        let attribute = |name: &str, from: &str, to: &str| {
            only(&mixed(kernel).edit(&format!("{MEMORY}/memory33/{name}"), from, to))
        };
        assert_eq!(
            attribute("phys_index", "00000021", "00000020"),
            "block.phys_index memory33: 00000021 / 00000020"
        );
        assert_eq!(attribute("phys_device", "0", "1"), "block.phys_device memory33: 0 / 1");
        assert_eq!(attribute("removable", "1", "0"), "block.removable memory33: 1 / 0");
        assert_eq!(attribute("online", "1", "0"), "block.online memory33: 1 / 0");
        assert!(
            attribute(".", " uevent", "").starts_with("block.names memory33: firmware_node node0 online")
        );
    }
}

#[test]
fn pageblocks() {
    for kernel in KERNELS {
        let mixed = || mixed(kernel);
        let row = |guest: &Guest| {
            let text = guest.text("/proc/pagetypeinfo");
            text.lines().rfind(|l| l.starts_with("Node 0, zone  Movable")).unwrap().to_string()
        };
        let old = row(&mixed());
        let types = mixed().now().pagetypes.unwrap().types;
        // Unmovable, Movable, ... and Isolate as the last one; CMA stands before it where the kernel has it
        let with = |unmovable: u64, movable: u64, isolate: u64| {
            let count = |name: &String| match name.as_str() {
                "Unmovable" => unmovable,
                "Movable" => movable,
                "Isolate" => isolate,
                _ => 0,
            };
            let counts: Vec<String> = types.iter().map(|t| format!("{:12} ", count(t))).collect();
            mixed().edit("/proc/pagetypeinfo", &old, &format!("Node 0, zone  Movable {}", counts.concat()))
        };
        assert!(with(0, 192, 0).found().is_empty(), "{kernel}");
        assert_eq!(only(&with(0, 191, 0)), "pagetypes.blocks node 0 Movable: 192 / 191");
        assert_eq!(only(&with(1, 191, 0)), "pagetypes.movable node 0 Movable: 0 0 / 1 0");
        assert_eq!(only(&with(0, 191, 1)), "pagetypes.isolated_blocks node 0 Movable: 0 / 1");
    }
}

#[test]
fn settings_and_files() {
    for kernel in KERNELS {
        let path = format!("{MEMORY}/auto_online_blocks");
        let guest = mixed(kernel).edit(&path, "offline", "online");
        assert_eq!(only(&guest), format!("knob {path}: offline / online"));
        let mut guest = guest;
        guest.written.insert(path, "online".into());
        assert!(guest.found().is_empty());
        let guest = mixed(kernel).edit("/proc/sys/kernel/tainted", "0", "512");
        assert_eq!(only(&guest), "tainted : 0 / 512");
        let mut guest = mixed(kernel);
        guest.put("/sys/firmware/acpi/hotplug/memory/enabled", None);
        assert_eq!(
            only(&guest),
            "file.missing /sys/firmware/acpi/hotplug/memory/enabled: there, as at boot / not there"
        );
        let guest = mixed(kernel).edit(&format!("{MEMORY}/."), " uevent", "");
        assert!(only(&guest).starts_with("root.names : auto_online_blocks block_size_bytes"));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_not_a_finding() {
    let mut raw = mixed("7.3").raw;
    let mut entries = raw.dir("/proc").unwrap().clone();
    entries.insert("iomem".into(), Value::Errno(5));
    let changed = [("/proc".to_string(), entries)].into();
    raw.apply(&wire::Snapshot { changed, gone: vec![], threads: vec![] });
    let error = super::Snapshot::parse(&raw).unwrap_err();
    assert_eq!(error.to_string(), "/proc/iomem: read failed with errno 5");
}
