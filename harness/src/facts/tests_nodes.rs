//! What differs in nodes is found.

use super::testing::{Guest, KERNELS, guest};
use super::tests_findings::{MEMORY, NODE0, facts, mixed, only};

#[test]
fn links_between_blocks_and_nodes() {
    for kernel in KERNELS {
        let mut guest = mixed(kernel);
        guest.put(&format!("{NODE0}/->memory37"), None);
        assert!(only(&guest).starts_with("node.links node 0: 0 1 2 3 32 33"));
        let mut guest = guest_two_nodes(kernel);
        guest.put(&format!("{MEMORY}/memory32/->node2"), None);
        guest.put(&format!("{MEMORY}/memory32/->node1"), Some("node1"));
        let guest = guest.edit(&format!("{MEMORY}/memory32/."), "node2", "node1");
        let found = facts(&guest);
        assert_eq!(found, ["block.node", "node.links", "node.links"], "{kernel}");
    }
}

fn guest_two_nodes(kernel: &str) -> Guest {
    guest(kernel, "numa", 2, "32-33=Movable")
}

#[test]
fn masks_of_nodes() {
    let node = "/sys/devices/system/node";
    for kernel in KERNELS {
        let mask = |name: &str, from: &str, to: &str| {
            only(&guest_two_nodes(kernel).edit(&format!("{node}/{name}"), from, to))
        };
        assert_eq!(mask("has_memory", "0-2", "0-1"), "node.mask has_memory: 0 1 2 / 0 1");
        assert_eq!(mask("has_normal_memory", "0-1", "0-2"), "node.mask has_normal_memory: 0 1 / 0 1 2");
        assert_eq!(mask("possible", "0-2", "0-3"), "node.mask possible: 0 1 2 / 0 1 2 3");
        assert_eq!(mask("has_cpu", "0-1", "0"), "node.mask has_cpu: 0 1 / 0");
        let gone = guest_two_nodes(kernel).edit(&format!("{node}/online"), "0-2", "0-1");
        assert_eq!(facts(&gone), ["node.mask", "node.directories", "node.zoneinfo"]);
    }
}

#[test]
fn threads_of_nodes_with_memory() {
    for kernel in KERNELS {
        let without = |thread: &str| {
            let guest = guest_two_nodes(kernel);
            let mut raw = guest.raw.clone();
            let threads = raw.threads().iter().filter(|t| *t != thread).cloned().collect();
            raw.apply(&wire::Snapshot { changed: Default::default(), gone: vec![], threads });
            only(&Guest { raw, ..guest })
        };
        let guest = guest_two_nodes(kernel);
        let told = |name: &String| if name == "kswapd2" { format!("{name}=D") } else { name.clone() };
        let threads = guest.raw.threads().iter().map(told).collect();
        let mut raw = guest.raw.clone();
        raw.apply(&wire::Snapshot { changed: Default::default(), gone: vec![], threads });
        assert_eq!(only(&Guest { raw, ..guest }), "threads.state kswapd2: not D / D");
        let guest = guest_two_nodes(kernel);
        let told = |name: &String| if name == "kswapd1" { format!("{name}@0") } else { name.clone() };
        let threads = guest.raw.threads().iter().map(told).collect();
        let mut raw = guest.raw.clone();
        raw.apply(&wire::Snapshot { changed: Default::default(), gone: vec![], threads });
        let mut guest = Guest { raw, ..guest };
        assert_eq!(only(&guest), "threads.cpus kswapd1: 1 / 0");
        guest.written.insert("/sys/devices/system/cpu/cpu1/online".into(), "1".into());
        assert_eq!(facts(&guest), [""; 0], "where it began is not known");
        let all = "kcompactd0 kcompactd1 kcompactd2 kswapd0 kswapd1 kswapd2";
        assert_eq!(
            without("kswapd2"),
            format!("threads : {all} / kcompactd0 kcompactd1 kcompactd2 kswapd0 kswapd1")
        );
        assert_eq!(
            without("kcompactd2"),
            format!("threads : {all} / kcompactd0 kcompactd1 kswapd0 kswapd1 kswapd2")
        );
    }
}

#[test]
fn huge_pages_may_be_switched_on_at_any_time() {
    for kernel in KERNELS {
        let switched_on = guest(kernel, "one", 6, "").with_thread("khugepaged");
        let (base, now) = (&switched_on.base, switched_on.now());
        let of_threads = |fact: &&String| fact.ends_with("threads");
        assert_eq!(facts(&switched_on).iter().find(of_threads), None, "{kernel}");
        let drift: Vec<String> = super::drift::back(base, &now).into_iter().map(|f| f.fact).collect();
        assert_eq!(drift.iter().find(of_threads), None, "{kernel}");
        let unasked = guest(kernel, "one", 6, "").with_thread("kswapd1");
        assert!(facts(&unasked).contains(&"threads".to_string()), "{kernel}");
        let drift = super::drift::back(&unasked.base, &unasked.now());
        assert_eq!(drift.iter().map(|f| f.fact.as_str()).collect::<Vec<_>>(), ["drift.threads"], "{kernel}");
    }
}
