//! Every invariant holds on every real guest.

use super::testing::{KERNELS, guest};

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
