//! Figures that two files tell, pools that add up, and permissions of parameters.

use super::testing::{Guest, KERNELS, guest};
use super::tests_findings::{NODE0, facts, mixed, only};

#[test]
fn parts_of_sums_that_two_files_tell() {
    for kernel in KERNELS {
        let now = mixed(kernel).now();
        let free = now.nodes[&0].meminfo["MemFree"];
        let path = format!("{NODE0}/meminfo");
        let edit = |name: &str, from: u64, to: u64| {
            let guest = mixed(kernel);
            let text = guest.text(&path);
            let line = text.lines().find(|l| l.contains(&format!(" {name}:"))).unwrap().to_string();
            guest.edit(&path, &line, &line.replace(&from.to_string(), &to.to_string()))
        };
        let found = facts(&edit("MemFree", free, free - (128 << 10)));
        assert!(found.contains(&"node.MemFree".into()), "{kernel} {found:?}");
        let slab = now.nodes[&0].meminfo["SUnreclaim"];
        assert_eq!(facts(&edit("SUnreclaim", slab, 2 * slab)), ["node.sum"], "{kernel}");
    }
}

/// A row of node 0 tells so many kB more; `None` where this kernel has no such row.
fn with_more(guest: Guest, row: &str, kb: u64) -> Option<Guest> {
    let path = format!("{NODE0}/meminfo");
    let seen = *guest.now().nodes[&0].meminfo.get(row)?;
    let text = guest.text(&path);
    let line = text.lines().find(|l| l.contains(&format!(" {row}:"))).unwrap().to_string();
    let to = line.replace(&format!(" {seen} kB"), &format!(" {} kB", seen + kb));
    Some(guest.edit(&path, &format!("{line}\n"), &format!("{to}\n")))
}

#[test]
fn rows_of_nodes_that_are_more_than_there_is() {
    let rows =
        ["Active(anon)", "Inactive(file)", "Dirty", "WritebackTmp", "SecPageTables", "Slab", "KReclaimable"];
    for kernel in KERNELS {
        for row in rows {
            let Some(guest) = with_more(mixed(kernel), row, 1300) else {
                assert_eq!((kernel, row), ("5.10", "SecPageTables"));
                continue;
            };
            let subject = if row == "Dirty" { "node 0 Dirty" } else { row };
            assert!(only(&guest).starts_with(&format!("node.sum {subject}: ")), "{kernel}");
            assert_eq!(facts(&with_more(mixed(kernel), row, 900).unwrap()), [""; 0], "{kernel} {row}");
        }
        let found = only(&with_more(mixed(kernel), "FilePages", 1300).unwrap());
        assert!(found.starts_with("node.sum node 0 FilePages: "), "{kernel} {found}");
        for row in ["AnonHugePages", "ShmemHugePages", "ShmemPmdMapped", "FileHugePages", "FilePmdMapped"] {
            let found = only(&with_more(mixed(kernel), row, 2048).unwrap());
            assert_eq!(found, format!("node.sum {row}: 0 within 0 / 2048, too many"), "{kernel}");
        }
    }
}

#[test]
fn a_node_that_went_may_have_taken_some_of_a_counter_with_it() {
    for kernel in KERNELS {
        // node 2 is possible, and not there
        let guest = || guest(kernel, "numa", 0, "");
        let found = |row: &str, kb: u64| facts(&with_more(guest(), row, kb).unwrap());
        assert_eq!(found("Slab", 900), [""; 0], "{kernel}");
        let counted_in_huge_pages = kernel == "5.10";
        let expected: &[&str] = if counted_in_huge_pages { &[] } else { &["node.sum"] };
        assert_eq!(found("AnonHugePages", 2048), expected, "{kernel}");
        assert_eq!(found("AnonHugePages", 251 * 2048), ["node.sum"], "{kernel}");
    }
}

#[test]
fn a_pool_of_huge_pages_that_does_not_add_up() {
    for kernel in KERNELS {
        for (part, whole) in [("Surp", "Total"), ("Free", "Total"), ("Rsvd", "Free")] {
            let text = mixed(kernel).text("/proc/meminfo");
            let line =
                text.lines().find(|l| l.starts_with(&format!("HugePages_{part}"))).unwrap().to_string();
            let guest = mixed(kernel).edit("/proc/meminfo", &line, &line.replace(" 0", " 3"));
            let found = guest.found();
            let expected = format!("at most HugePages_{whole}, 0");
            assert_eq!(found[0], ("meminfo.HugePages".into(), part.into(), expected, "3".into()), "{kernel}");
            // a promise is of no node
            let of_nodes = usize::from(part != "Rsvd");
            assert_eq!(found.len(), 1 + of_nodes, "{kernel} {found:?}");
        }
    }
}

#[test]
fn huge_pages_that_a_node_has_and_the_system_has_not() {
    for kernel in KERNELS {
        for part in ["Surp", "Free"] {
            let path = "/sys/devices/system/node/node0/meminfo";
            let text = mixed(kernel).text(path);
            let line = text.lines().find(|l| l.contains(&format!(" HugePages_{part}"))).unwrap().to_string();
            let found = mixed(kernel).edit(path, &line, &format!("Node 0 HugePages_{part}:     3")).found();
            let more = (
                "meminfo.HugePages".into(),
                format!("node0 {part}"),
                "at most HugePages_Total, 0".into(),
                "3".into(),
            );
            let sum = ("node.HugePages".into(), part.into(), "0".into(), "3".into());
            assert_eq!(found, [more, sum], "{kernel}");
        }
    }
}

#[test]
fn a_parameter_that_root_alone_may_read() {
    let guest = || mixed("6.12");
    let listing = "/sys/module/memory_hotplug/parameters/.";
    let names = guest().text(listing);
    assert!(names.contains("online_policy"), "{names}");
    let with = |mode: &str| {
        let words =
            names.split(' ').map(|n| if n == "online_policy" { format!("{n}={mode}") } else { n.into() });
        let mut guest = guest();
        guest.put(listing, Some(&words.collect::<Vec<String>>().join(" ")));
        guest
    };
    assert_eq!(facts(&with("644")), [""; 0]);
    assert_eq!(only(&with("600")), "file.mode parameter online_policy: rw-r--r-- / rw-------");
}

#[test]
fn struct_pages_that_huge_pages_gave_away() {
    for kernel in ["6.12", "6.18", "7.3"] {
        let guest = |missing: u64, huge: &str| {
            let seen = format!("nr_memmap_pages {}", 4096 - missing);
            let mut guest = mixed(kernel).edit("/proc/vmstat", "nr_memmap_pages 4096", &seen);
            let line =
                guest.text("/proc/meminfo").lines().find(|l| l.starts_with("Hugetlb:")).unwrap().to_string();
            guest = guest.edit("/proc/meminfo", &line, &format!("Hugetlb: {huge} kB"));
            guest.written.insert(super::watch::OPTIMIZE_VMEMMAP.into(), "1".into());
            facts(&guest)
        };
        // CommitLimit knows of the huge pages; the pool of this guest does not
        let limit = "meminfo.CommitLimit".to_string();
        let wrong = "vmstat.nr_memmap_pages".to_string();
        assert_eq!(guest(7, "2048"), std::slice::from_ref(&limit), "{kernel}");
        assert_eq!(guest(9, "2048"), [limit, wrong.clone()], "{kernel}");
        assert_eq!(guest(1, "0"), [wrong], "{kernel}");
    }
}

#[test]
fn free_pages_of_all_memory_are_those_of_the_zones() {
    for kernel in KERNELS {
        let free = |guest: &Guest| guest.now().vm("nr_free_pages").unwrap();
        let zones = |guest: &Guest| -> u64 {
            let zones = guest.now().zoneinfo.zones;
            zones.values().map(|zone| zone.counters["free"]).sum()
        };
        let with = |pages: u64| {
            let guest = mixed(kernel);
            let from = format!("nr_free_pages {}\n", free(&guest));
            guest.edit("/proc/vmstat", &from, &format!("nr_free_pages {pages}\n"))
        };
        let sum = zones(&mixed(kernel));
        assert_eq!(facts(&with(sum + 256)), [""; 0], "{kernel}");
        let found = only(&with(sum - 257));
        assert_eq!(
            found,
            format!("vmstat.nr_free_pages : {sum} within 256 / {}, too few", sum - 257),
            "{kernel}"
        );
    }
}
