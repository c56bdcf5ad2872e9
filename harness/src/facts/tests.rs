//! Every invariant holds on every real guest.

use super::testing::{Guest, KERNELS, guest};
use crate::policy::Dimm;

/// Scenario, stage, blocks of DIMMs.
pub(crate) const STAGES: [(&str, usize, &str); 36] = [
    ("one", 0, ""),
    ("one", 1, "32-39=offline"),
    ("one", 2, "32-39=offline 33=Movable 35=Movable 38=Movable"),
    ("one", 3, "32-39=offline 33=Movable 38=Movable"),
    ("one", 4, "32-39=offline 33=Movable 38=Movable 40-47=Movable"),
    ("one", 5, "32-39=offline 33=Movable 38=Movable"),
    ("one", 6, ""),
    ("normal", 0, ""),
    ("normal", 1, "32-39=Normal"),
    ("normal", 2, "32-36=Normal 37-39=offline"),
    ("normal", 3, "32-36=Normal 37-38=offline 39=Movable"),
    ("numa", 0, ""),
    ("numa", 1, "32-33=offline"),
    ("numa", 2, "32-33=Movable"),
    ("numa", 3, "32-33=Movable 34-37=Normal"),
    ("numa", 4, "34-37=Normal"),
    ("numa", 5, "32=Movable 33=offline 34-37=Normal"),
    ("numa", 6, "32-33=offline 34-37=Normal"),
    ("numa", 7, "32=Normal 33=offline 34-37=Normal"),
    ("cold-offline", 0, "32-35=offline"),
    ("cold-offline", 1, "32-37=offline"),
    ("cold-online", 0, "32-35=Normal"),
    ("cold-online", 1, "32-37=Normal"),
    ("cold-online_movable", 0, "32-35=Movable"),
    ("cold-online_movable", 1, "32-37=Movable"),
    ("mom", 0, ""),
    ("mom", 1, "32=Movable"),
    ("mom", 2, "32-36=Movable"),
    ("mom", 3, "32-36=Movable 34=offline"),
    ("mom", 4, ""),
    ("big", 0, ""),
    ("big", 1, "56-59=Movable"),
    ("big", 2, "56-59=Movable 60-63=Normal"),
    ("kc", 0, ""),
    ("kc", 1, "32-35=Movable"),
    ("kc", 2, ""),
];

/// Defects that shipping kernels have and these guests show: kernel, scenario, stage, fact, subject, expected, seen.
const DEFECTS: [(&str, &str, usize, [&str; 4]); 1] = [
    // onlining kernel memory on a node that had none no longer sets N_NORMAL_MEMORY; 6.12 did, and 7.3 does again
    ("6.18", "numa", 7, ["node.mask", "has_normal_memory", "0 1 2", "0 1"]),
];

#[test]
fn healthy_guests_give_no_findings() {
    let mut all = Vec::new();
    for kernel in KERNELS {
        for (scenario, stage, blocks) in STAGES {
            let mut found = guest(kernel, scenario, stage, blocks).found();
            for (k, s, n, [fact, subject, expected, seen]) in DEFECTS {
                if (k, s, n) == (kernel, scenario, stage) {
                    let defect = (fact.into(), subject.into(), expected.into(), seen.into());
                    let at = found.iter().position(|f| *f == defect).expect("the defect shows");
                    found.remove(at);
                }
            }
            all.extend(found.into_iter().map(|f| format!("{kernel} {scenario}.{stage} {f:?}")));
        }
    }
    assert!(all.is_empty(), "{} findings:\n{}", all.len(), all.join("\n"));
}

/// Expected and seen size of a block, where they differ.
fn block_size(guest: &Guest) -> Vec<(String, String)> {
    let found = guest.base_layout.check_boot(&guest.now()).into_iter();
    found.filter(|f| f.fact == "boot.block_size").map(|f| (f.expected, f.seen)).collect()
}

#[test]
fn what_boot_makes_of_its_memory() {
    for kernel in KERNELS {
        for (scenario, _, _) in STAGES.iter().filter(|(_, stage, _)| *stage == 0) {
            let guest = guest(kernel, scenario, 0, "");
            assert_eq!(guest.base_layout.check_boot(&guest.base), [], "{kernel} {scenario}");
        }
    }
}

#[test]
fn the_size_of_a_block_follows_from_the_end_of_memory() {
    for kernel in KERNELS {
        let with = |region: &str| {
            let rom = "000f0000-000fffff : System ROM";
            guest(kernel, "one", 0, "").edit("/proc/iomem", rom, &format!("{rom}\n{region}"))
        };
        let small = || "8000000".to_string();
        assert_eq!(block_size(&with("100000000-ffeffffff : System RAM")), [], "{kernel}");
        for (end, size) in [("fffffffff", "80000000"), ("103fffffff", "40000000"), ("1007ffffff", "8000000")]
        {
            let found = block_size(&with(&format!("100000000-{end} : System RAM")));
            let expected = (size != "8000000").then(|| (size.to_string(), small()));
            assert_eq!(found, Vec::from_iter(expected), "{kernel} {end}");
        }
        assert_eq!(block_size(&with("100000000-107fffffff : Reserved")), [], "{kernel}");
        let mut plugged = with("1000000000-107fffffff : System RAM");
        assert_eq!(block_size(&plugged), [("80000000".to_string(), small())], "{kernel}");
        let dimm = Dimm { addr: 64 << 30, size: 2 << 30, slot: 0, node: 0, cold: true };
        plugged.base_layout.dimms.insert("d".into(), dimm);
        assert_eq!(block_size(&plugged), [], "{kernel}");
    }
}
