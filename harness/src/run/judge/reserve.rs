//! What listens to MEM_ONLINE and tells of it: the memory that is kept for the user's, and the administrator's, own way out of
//! a shortage.
//!
//! mm/mmap.c:reserve_mem_notifier (5.10 to 7.3) computes each of them anew every time a block has come online and it is
//! between 0 and its limit, and when one has gone offline and it is more than what is free now, and leaves it alone otherwise.

use super::*;
use std::ops::RangeInclusive;

/// Path, name, and from where on it is not computed any more, kB.
const RESERVES: [(&str, &str, u64); 2] = [
    (facts::USER_RESERVE, "vm.user_reserve_kbytes", 128 << 10),
    (facts::ADMIN_RESERVE, "vm.admin_reserve_kbytes", 8 << 10),
];
/// Each is one part of so many of the free memory.
const PART: u64 = 32;
/// By how much free memory may have moved between the notification and the reading, kB, beside what the processors' lists took
/// or gave back.
const SLACK: u64 = 8 << 10;
const RULE: &str = "mm/mmap.c:reserve_mem_notifier: a 32nd of the free memory, up to its limit (user 128 MiB, admin 8 MiB), at each MEM_ONLINE where it is between 0 and the limit, and at MEM_OFFLINE where it is more than all that is free";

/// Figures by path.
pub(super) type Figures = BTreeMap<&'static str, u64>;

/// Is this one of them?
pub(super) fn is_reserve(path: &str) -> bool {
    RESERVES.iter().any(|(own, ..)| *own == path)
}

/// The figures that the kernel has, with what was just written in their place; a text that is no plain number tells nothing.
pub(super) fn figures(now: &Snapshot, written: &BTreeMap<String, Option<u64>>) -> Figures {
    let figure = |path: &str| written.get(path).copied().unwrap_or_else(|| now.knobs.get(path)?.parse().ok());
    RESERVES.iter().filter_map(|(path, ..)| Some((*path, figure(path)?))).collect()
}

/// Free memory that is not on the lists of CPUs, kB: what there is, and from where to where it may have been.
#[derive(Clone)]
struct Free {
    now: u64,
    then: RangeInclusive<u64>,
}

impl Free {
    fn of(now: &Snapshot) -> Option<Self> {
        let free = *now.meminfo.get("MemFree")?;
        let lists = now.zoneinfo.zones.values().flat_map(|zone| zone.pagesets.values());
        let (mut held, mut most) = (0, 0);
        for list in lists {
            let count = *list.get("count")?;
            held += 4 * count;
            // its limit grows and shrinks with use (mm/page_alloc.c:nr_pcp_high, 6.7 and later): seen 82 MiB on two processors
            most += 4 * count.max(*list.get("high_max").or_else(|| list.get("high"))?);
        }
        let all = free + held;
        Some(Self { now: free, then: all.saturating_sub(most + SLACK)..=all + SLACK })
    }
}

/// What it may be, kB. `None`: that cannot be told. `moves`: the blocks' uevents since it was `before`; `quiet`: nothing of the
/// case takes or gives memory back by itself; `limit`: of RESERVES.
fn expected(
    (before, limit): (u64, u64),
    free: &Free,
    moves: &[&str],
    quiet: bool,
) -> Option<RangeInclusive<u64>> {
    let computed = (1..limit).contains(&before) && moves.contains(&"online");
    let at = |free: u64| (free / PART).min(limit);
    let anew = || at(*free.then.start())..=at(*free.then.end());
    match moves {
        [] => Some(before..=before),
        // after one block of several the figure may have been right, and after another one not
        [.., "offline"] if before > *free.then.end() => (quiet && moves.len() == 1).then(anew),
        _ if before > free.now => None,
        // what was free when a block went may have been less than what is now
        _ if !computed && !quiet && moves.contains(&"offline") && before > free.now / 4 => None,
        _ if !computed => Some(before..=before),
        [.., "online"] if quiet => Some(anew()),
        _ => None,
    }
}

impl State {
    /// The figures against those before, and against free memory where a block came online last.
    pub(super) fn check_reserves(&self, before: &reserve::Figures, settled: &Settled) -> Vec<Finding> {
        let Some(free) = Free::of(&self.now) else { return Vec::new() };
        let of_block = |u: &&wire::Uevent| u.devpath.starts_with("/devices/system/memory/memory");
        let actions = settled.uevents.iter().filter(of_block).map(|u| u.action.as_str());
        let moves: Vec<&str> = actions.filter(|a| ["online", "offline"].contains(a)).collect();
        let quiet = self.held.is_empty();
        let now = figures(&self.now, &BTreeMap::new());
        let wrong = RESERVES.iter().filter_map(|(path, name, limit)| {
            let (before, seen) = (*before.get(path)?, *now.get(path)?);
            let expected = expected((before, *limit), &free, &moves, quiet)?;
            if expected.contains(&seen) {
                return None;
            }
            let expected = if *expected.start() == *expected.end() {
                match *expected.end() == before {
                    true => format!("{before}, as before"),
                    false => expected.end().to_string(),
                }
            } else {
                format!("{} to {}", expected.start(), expected.end())
            };
            Some(Finding::new(*name, "", expected, seen, RULE))
        });
        wrong.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIGHEST: u64 = RESERVES[0].2;

    #[test]
    fn the_reserve_of_the_administrator_has_its_own_limit() {
        let free = |now: u64| Free { now, then: now - 1024..=now + 1024 };
        let admin = |before, free: Free, moves: &[&str]| expected((before, 8192), &free, moves, true);
        assert_eq!(admin(4000, free(640 << 10), &["online"]), Some(8192..=8192));
        assert_eq!(admin(4000, free(64 << 10), &["online"]), Some(2016..=2080));
        assert_eq!(admin(8192, free(64 << 10), &["online"]), Some(8192..=8192));
        assert_eq!(admin(0, free(64 << 10), &["online"]), Some(0..=0));
        assert_eq!(admin(1 << 20, free(640 << 10), &["offline"]), Some(8192..=8192));
        // a case that takes memory may have left less than that for a moment
        let held = |free_kb| expected((8192, 8192), &free(free_kb), &["offline"], false);
        assert_eq!([held(20 << 10), held(640 << 10)], [None, Some(8192..=8192)]);
    }

    #[test]
    fn the_reserve_follows_each_onlining() {
        let expected =
            |before, free: &Free, moves: &[&str], quiet| expected((before, HIGHEST), free, moves, quiet);
        let free = |now: u64| Free { now, then: now - (now >> 5)..=now + (now >> 5) };
        let quiet = |before, moves: &[&str]| expected(before, &free(640 << 10), moves, true);
        assert_eq!(quiet(14000, &[]), Some(14000..=14000));
        assert_eq!(quiet(14000, &["offline"]), Some(14000..=14000));
        assert_eq!(quiet(14000, &["online"]), Some(19840..=21120));
        assert_eq!(quiet(14000, &["offline", "online"]), Some(19840..=21120));
        assert_eq!(quiet(14000, &["online", "offline"]), None);
        // switched off, and so high that it stays
        assert_eq!(quiet(0, &["online"]), Some(0..=0));
        assert_eq!(quiet(HIGHEST, &["online"]), Some(HIGHEST..=HIGHEST));
        assert_eq!(expected(14000, &free(640 << 10), &["online"], false), None);
        // more than is free: an offline computes it too
        assert_eq!(expected(700 << 10, &free(640 << 10), &["offline"], true), Some(19840..=21120));
        assert_eq!(expected(14000, &free(13800), &["offline"], true), None);
        assert_eq!(expected(700 << 10, &free(640 << 10), &["offline", "offline"], true), None);
        assert_eq!(expected(700 << 10, &free(640 << 10), &[], true), Some(700 << 10..=700 << 10));
        assert_eq!(expected(14000, &free(8 << 20), &["online"], true), Some(HIGHEST..=HIGHEST));
    }

    #[test]
    fn lists_of_processors_hold_what_may_have_been_free() {
        for kernel in crate::facts::testing::KERNELS {
            let mut now = crate::facts::testing::guest(kernel, "one", 4, "").now();
            let free = Free::of(&now).unwrap();
            assert!(free.then.contains(&free.now), "{kernel}");
            let width = free.then.end() - free.then.start();
            // less than two blocks of memory, so that a DIMM whose onlining was not announced shows
            assert!((2 * SLACK..256 << 10).contains(&width), "{kernel} {width}");
            let zone = now.zoneinfo.zones.values_mut().next().unwrap();
            zone.pagesets.values_mut().next().unwrap().remove("count");
            assert!(Free::of(&now).is_none(), "{kernel}");
        }
    }
}
