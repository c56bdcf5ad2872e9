//! NUMA nodes: masks, links to blocks, per-node totals and the kernel threads that nodes with memory have.

use super::super::watch::{CPUS, HUGE_PAGES};
use super::{Scene, expect_eq, join};
use crate::finding::Finding;
use crate::policy::Zone;
use std::collections::BTreeSet;

const STATES: &str = "mm/memory_hotplug.c: node_set_state, node_clear_state with the first and the last page";
const LINKS: &str =
    "drivers/base/node.c:register_memory_blocks_under_node, unregister_memory_block_under_nodes";

pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    check_threads(scene, findings);
    if scene.base.snapshot.nodes.is_empty() {
        return; // no CONFIG_NUMA
    }
    check_masks(scene, findings);
    check_links(scene, findings);
    for (node, facts) in &scene.now.nodes {
        let zones = scene.now.zoneinfo.zones.iter().filter(|((n, _), _)| n == node);
        let managed: u64 = zones.map(|(_, z)| z.managed).sum();
        let total = facts.meminfo.get("MemTotal").copied().unwrap_or(0);
        let rule = "mm/show_mem.c:si_meminfo_node: managed pages of the node's zones";
        let subject = format!("node {node}");
        expect_eq(findings, "node.MemTotal", &subject, managed * 4, total, rule);
        let get = |name: &str| facts.meminfo.get(name).copied().unwrap_or(0);
        let rule = "drivers/base/node.c:node_read_meminfo: what is not free is used";
        if total == managed * 4 {
            expect_eq(
                findings,
                "node.MemUsed",
                &subject,
                total.saturating_sub(get("MemFree")),
                get("MemUsed"),
                rule,
            );
        }
    }
    check_names(scene, findings);
    check_tiers(scene, findings);
    super::sums::check(scene, findings);
}

/// A node's directory holds what those of boot hold.
fn check_names(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let rule = "drivers/base/node.c:register_node: every node has the same attributes";
    let base = &scene.base.snapshot.nodes;
    let Some(first) = base.values().next() else { return };
    for (node, facts) in &scene.now.nodes {
        let mut expected = base.get(node).unwrap_or(first).names.clone();
        let mut seen = facts.names.clone();
        // before 5.19 only nodes with memory have this directory (mm/hugetlb.c:hugetlb_register_node)
        if !scene.context.version.at_least(5, 19) {
            expected.remove("hugepages");
            seen.remove("hugepages");
        }
        expect_eq(findings, "node.names", &format!("node {node}"), join(expected), join(seen), rule);
    }
}

/// Each node with memory is in one memory tier, and no other node is.
fn check_tiers(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    if scene.base.snapshot.tiers.is_empty() {
        return;
    }
    let rule = "mm/memory-tiers.c:memtier_hotplug_callback: MEM_ONLINE and MEM_OFFLINE of a node's first and last block";
    let mut listed: Vec<u32> = scene.now.tiers.values().flatten().copied().collect();
    listed.sort_unstable();
    expect_eq(findings, "node.tiers", "", join(populated(scene, |_| true)), join(listed), rule);
    let rule = "mm/memory-tiers.c:set_node_memory_tier: memory that nothing says is slower is in the tier of boot memory";
    let tiers =
        |s: &super::Snapshot| join(s.tiers.iter().filter(|(_, n)| !n.is_empty()).map(|(name, _)| name));
    expect_eq(findings, "node.tier_names", "", tiers(scene.base.snapshot), tiers(scene.now), rule);
}

/// Nodes with a populated zone that `which` accepts.
fn populated(scene: &Scene<'_>, which: impl Fn(&str) -> bool) -> BTreeSet<u32> {
    let zones = scene.now.zoneinfo.zones.iter();
    zones.filter(|((_, name), z)| z.present > 0 && which(name)).map(|((n, _), _)| *n).collect()
}

fn kernel_zone(name: &str) -> bool {
    Zone::parse(name).is_some_and(|z| Zone::KERNEL.contains(&z))
}

fn check_threads(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let memory = populated(scene, |_| true);
    let compaction = scene.base.snapshot.threads.iter().any(|t| t.starts_with("kcompactd"));
    let mut expected: BTreeSet<String> = memory.iter().map(|n| format!("kswapd{n}")).collect();
    if compaction {
        expected.extend(memory.iter().map(|n| format!("kcompactd{n}")));
    }
    expected.extend(scene.now.threads.get(HUGE_PAGES).cloned());
    let rule = "mm/memory_hotplug.c:online_pages, offline_pages: kswapd_run, kswapd_stop, kcompactd_run, kcompactd_stop";
    expect_eq(findings, "threads", "", join(&expected), join(&scene.now.threads), rule);
    let rule = "mm/vmscan.c:kswapd_run, mm/compaction.c:kcompactd_run: kthread_run wakes the thread that it makes, and it \
                waits for work TASK_INTERRUPTIBLE";
    for thread in scene.now.blocked.iter().filter(|thread| *thread != HUGE_PAGES) {
        findings.push(Finding::new("threads.state", thread, "not D", "D", rule));
    }
    check_affinity(scene, findings);
}

/// A thread of a node with processors runs on these. It is told so where it begins: not judged where processors are switched.
fn check_affinity(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    if scene.context.written.keys().any(|path| path.starts_with(CPUS)) {
        return;
    }
    let rule = "mm/vmscan.c:kswapd, mm/compaction.c:kcompactd: cpumask_of_node; since 6.14 kernel/kthread.c:kthread_affine_node";
    for (node, facts) in &scene.now.nodes {
        let Some(cpus) = facts.cpus.as_ref().filter(|cpus| !cpus.is_empty()) else { continue };
        for thread in [format!("kswapd{node}"), format!("kcompactd{node}")] {
            if let Some(seen) = scene.now.affinity.get(&thread) {
                expect_eq(findings, "threads.cpus", &thread, join(cpus), join(seen), rule);
            }
        }
    }
}

fn check_masks(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let base = &scene.base.snapshot.masks;
    let mask = |name: &str| scene.now.masks.get(name).cloned().unwrap_or_default();
    if let Some(possible) = base.get("possible") {
        let rule = "does not change here";
        expect_eq(findings, "node.mask", "possible", join(possible), join(mask("possible")), rule);
    }
    if base.contains_key("has_cpu") {
        let with_cpus =
            scene.now.nodes.iter().filter(|(_, f)| f.cpus.as_ref().is_some_and(|c| !c.is_empty()));
        let (expected, rule) =
            (join(with_cpus.map(|(n, _)| n)), "mm/vmstat.c:vmstat_cpu_online, vmstat_cpu_dead");
        expect_eq(findings, "node.mask", "has_cpu", expected, join(mask("has_cpu")), rule);
    }
    let has_memory = populated(scene, |_| true);
    expect_eq(findings, "node.mask", "has_memory", join(has_memory), join(mask("has_memory")), STATES);
    let has_normal = populated(scene, kernel_zone);
    expect_eq(
        findings,
        "node.mask",
        "has_normal_memory",
        join(has_normal),
        join(mask("has_normal_memory")),
        STATES,
    );
    let online = online(scene, &mask("online"));
    let rule = "mm/memory_hotplug.c:__try_online_node, try_offline_node: a node with blocks or CPUs";
    expect_eq(findings, "node.mask", "online", join(&online), join(mask("online")), rule);
    let listed = join(scene.now.nodes.keys());
    expect_eq(
        findings,
        "node.directories",
        "",
        join(mask("online")),
        listed,
        "drivers/base/node.c:__register_one_node",
    );
    let printed: BTreeSet<u32> = scene.now.zoneinfo.zones.keys().map(|(n, _)| *n).collect();
    expect_eq(
        findings,
        "node.zoneinfo",
        "",
        join(mask("online")),
        join(printed),
        "mm/vmstat.c:frag_start: online nodes",
    );
}

/// Nodes that must be online. One that boot brought online without blocks or CPUs stays so until it had blocks, which
/// a look at the present cannot tell: there the kernel's word is taken.
fn online(scene: &Scene<'_>, seen: &BTreeSet<u32>) -> BTreeSet<u32> {
    let base = &scene.base.snapshot.masks;
    let get = |name: &str| base.get(name).cloned().unwrap_or_default();
    let mut online: BTreeSet<u32> = scene.layout.blocks.values().map(|b| b.node).collect();
    online.extend(get("has_cpu"));
    let boot_only: Vec<u32> = get("online").difference(&online).copied().collect();
    online.extend(boot_only.into_iter().filter(|n| seen.contains(n) || had_boot_memory(scene, *n)));
    online
}

fn had_boot_memory(scene: &Scene<'_>, node: u32) -> bool {
    scene.base.layout.blocks.values().any(|b| b.dimm.is_none() && b.node == node)
}

/// Blocks link to nodes and nodes to blocks; a block of a DIMM to exactly the DIMM's node.
fn check_links(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for (number, facts) in &scene.now.blocks {
        let Some(block) = scene.layout.blocks.get(number) else { continue };
        let expected = match scene.base.snapshot.blocks.get(number) {
            Some(boot) if block.dimm.is_none() => join(&boot.nodes),
            _ => block.node.to_string(),
        };
        expect_eq(findings, "block.node", &format!("memory{number}"), expected, join(&facts.nodes), LINKS);
    }
    for (node, facts) in &scene.now.nodes {
        let linking = scene.now.blocks.iter().filter(|(_, b)| b.nodes.contains(node)).map(|(n, _)| n);
        expect_eq(findings, "node.links", &format!("node {node}"), join(linking), join(&facts.blocks), LINKS);
    }
}
