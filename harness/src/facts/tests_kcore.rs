//! What /proc/kcore must tell of, and what it may.

use super::testing::{Guest, KERNELS, guest};
use super::tests_findings::{facts, mixed, only};
use super::watch::KCORE;

/// Where the DIMM of [`mixed`] begins: block 32.
const DIMM: u64 = 4 << 30;
const BLOCK: u64 = 128 << 20;

/// With boot memory and these ranges, in blocks from the DIMM on.
fn with(mut guest: Guest, ranges: &[(u64, u64)]) -> Guest {
    let line =
        |(first, end): &(u64, u64)| format!("{:x} {:x}\n", DIMM + first * BLOCK, (end - first) * BLOCK);
    let hot: String = ranges.iter().map(line).collect();
    guest.put(KCORE, Some(&format!("1000 9e000\n100000 1fee0000\n{hot}")));
    guest
}

/// Blocks 33, 35 and 38 of 32 to 39 are online: the last zone ends with 38.
#[test]
fn what_a_kernel_may_tell() {
    for kernel in KERNELS {
        let found = |ranges: &[(u64, u64)]| with(mixed(kernel), ranges).found();
        // as it is, in pieces, and without what is offline
        for ranges in [&[(0, 7)][..], &[(0, 2), (2, 4), (4, 7)], &[(1, 2), (3, 4), (6, 7)], &[(0, 5), (2, 7)]]
        {
            assert_eq!(found(ranges), [], "{kernel} {ranges:?}");
        }
        // a DIMM below, which was offline when it went
        let kept = with(mixed(kernel), &[(0, 7)]);
        let text = kept.text(KCORE).replace("100000000 ", "e0000000 10000000\n100000000 ");
        let mut guest = mixed(kernel);
        guest.put(KCORE, Some(&text));
        assert_eq!(guest.found(), [], "{kernel}");
    }
}

#[test]
fn memory_that_came_online_is_told() {
    for kernel in KERNELS {
        let only = |ranges: &[(u64, u64)]| only(&with(mixed(kernel), ranges));
        let missing = |seen: &str| format!("kcore.missing d0: 33 35 38 / {seen}");
        assert_eq!(only(&[]), missing(""));
        assert_eq!(only(&[(0, 6)]), missing("33 35"));
        assert_eq!(only(&[(2, 7)]), missing("35 38"));
        // a page too few, at either end
        for (from, to, seen) in [
            ("100000000 38000000", "100000000 37fff000", "33 35"),
            ("100000000 38000000", "108001000 2ffff000", "35 38"),
        ] {
            let text = with(mixed(kernel), &[(0, 7)]).text(KCORE).replace(from, to);
            let mut guest = mixed(kernel);
            guest.put(KCORE, Some(&text));
            assert_eq!(super::tests_findings::only(&guest), missing(seen));
        }
    }
}

#[test]
fn memory_of_a_node_that_has_nothing_else_is_told() {
    for kernel in KERNELS {
        let guest = guest(kernel, "numa", 2, "32-33=Movable");
        assert_eq!(with(guest.clone(), &[(0, 2)]).found(), []);
        assert_eq!(only(&with(guest, &[])), "kcore.missing d0: 32 33 / ");
    }
}

#[test]
fn memory_that_went_offline_at_the_end_is_told_no_more() {
    for kernel in KERNELS {
        let extra = "kcore.extra : none above 0x138000000";
        let whole = with(mixed(kernel), &[(0, 8)]);
        assert_eq!(only(&whole), format!("{extra} / 0x100000000-0x13fffffff"));
        let apart = with(mixed(kernel), &[(0, 7), (7, 8)]);
        assert_eq!(only(&apart), format!("{extra} / 0x138000000-0x13fffffff"));
        // the same DIMM before any of it is online, and when it has gone
        let offline = guest(kernel, "one", 1, "32-39=offline");
        assert_eq!(with(offline.clone(), &[]).found(), []);
        assert_eq!(facts(&with(offline, &[(0, 8)])), ["kcore.extra"]);
        assert_eq!(facts(&with(guest(kernel, "one", 6, ""), &[(0, 8)])), ["kcore.extra"]);
    }
}

#[test]
fn a_zone_that_does_not_tell_its_place_leaves_the_end_open() {
    let guest = with(mixed("6.12"), &[(0, 8)]);
    let mut now = guest.now();
    let zone = now.zoneinfo.zones.values_mut().find(|z| z.spanned == 0).expect("an empty zone");
    zone.spanned = 1;
    let base = super::expect::Base { snapshot: &guest.base, layout: &guest.base_layout };
    let context = super::expect::Context {
        version: guest.version,
        hotremove: Some(true),
        written: &guest.written,
        valid_zones: &guest.valid_zones,
        min_free_written: true,
        poisoned: &Default::default(),
    };
    let found = super::expect::check(&guest.layout, base, &now, &context);
    assert!(found.iter().all(|f| !f.fact.starts_with("kcore.")), "{found:?}");
}

#[test]
fn a_kernel_that_had_it_has_it_still() {
    let guest = with(mixed("6.12"), &[(0, 7)]);
    assert_eq!(guest.found(), []);
    let (mut raw, mut entries) = (guest.raw.clone(), guest.raw.dir("/proc").unwrap().clone());
    entries.insert("kcore".into(), wire::Value::Errno(2));
    let changed = [("/proc".to_string(), entries)].into();
    raw.apply(&wire::Snapshot { changed, gone: vec![], threads: raw.threads().to_vec() });
    let found = facts(&Guest { raw, ..guest });
    assert_eq!(found, ["file.missing"]);
}
