//! How much of all memory may be dirty pages of files before those who write them are slowed down.

use super::reserves::{AT_ONCE, all_reserved, boosted, inputs_wrong};
use super::{Scene, off};
use crate::finding::Finding;

const RULE: &str = "mm/page-writeback.c:global_dirtyable_memory, domain_dirty_limits: a share of what is free, of all zones, or caches files";

/// Counters of vmstat, and the sysctls they follow. A ratio is 0 where a number of bytes was set in its place.
const LIMITS: [(&str, &str); 2] = [
    ("nr_dirty_threshold", "/proc/sys/vm/dirty_ratio"),
    ("nr_dirty_background_threshold", "/proc/sys/vm/dirty_background_ratio"),
];

/// Of what one reading of /proc/vmstat tells. As with MemAvailable the reserves may hold a boost that is gone since.
pub(super) fn check(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let vm = |name: &str| scene.now.vm(name);
    let (Some(free), Some(inactive), Some(active), Some(reserved)) =
        (vm("nr_free_pages"), vm("nr_inactive_file"), vm("nr_active_file"), all_reserved(scene))
    else {
        return;
    };
    if inputs_wrong(findings) {
        return;
    }
    let dirtyable = free.saturating_sub(reserved) + inactive + active + 1;
    let ratios = LIMITS.map(|(_, sysctl)| scene.now.knobs.get(sysctl)?.parse().ok());
    // a background limit that is not below the other is half of it
    let halved = ratios[1] >= ratios[0];
    for ((counter, _), ratio) in LIMITS.into_iter().zip(ratios).take(if halved { 1 } else { 2 }) {
        let ratio = ratio.filter(|ratio: &u64| *ratio > 0);
        let (Some(ratio), Some(seen)) = (ratio, vm(counter)) else { continue };
        let expected = share(dirtyable, ratio);
        let missing = expected.saturating_sub(seen) * 100 / ratio;
        if !boosted(scene, missing) {
            findings.extend(off(&format!("vmstat.{counter}"), String::new(), expected, seen, AT_ONCE, RULE));
        }
    }
}

/// `ratio` percent, in the kernel's steps of a 4096th.
fn share(pages: u64, ratio: u64) -> u64 {
    ratio * 4096 / 100 * pages / 4096
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Guest, KERNELS, guest};
    use super::{LIMITS, share};

    /// As it was seen at boot, with the default ratios.
    fn with_ratios(kernel: &str) -> Guest {
        let mut guest = guest(kernel, "one", 4, "32-39=offline 33=Movable 38=Movable 40-47=Movable");
        for ((_, sysctl), ratio) in LIMITS.into_iter().zip(["20\n", "10\n"]) {
            guest.put(sysctl, Some(ratio));
        }
        guest
    }

    #[test]
    fn limits_of_dirty_pages_are_shares_of_what_is_free() {
        for kernel in KERNELS.into_iter().filter(|k| *k != "5.10") {
            assert_eq!(with_ratios(kernel).found(), [], "{kernel}");
            for (counter, _) in LIMITS {
                let guest = with_ratios(kernel);
                let seen = guest.now().vm(counter).unwrap();
                let edit = |to: u64| {
                    guest.clone().edit(
                        "/proc/vmstat",
                        &format!("{counter} {seen}"),
                        &format!("{counter} {to}"),
                    )
                };
                let facts = |guest: Guest| guest.found().into_iter().map(|f| f.0).collect::<Vec<_>>();
                assert_eq!(facts(edit(seen - 130)), [format!("vmstat.{counter}")], "{kernel}");
                assert_eq!(facts(edit(seen + 130)), [format!("vmstat.{counter}")], "{kernel}");
            }
        }
    }

    #[test]
    fn shares_are_of_whole_4096ths() {
        assert_eq!([share(262_144, 20), share(262_144, 10), share(4095, 1)], [52416, 26176, 39]);
    }
}
