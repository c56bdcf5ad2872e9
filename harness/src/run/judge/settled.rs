//! A settled state against the model: every observable, QEMU's DIMMs, page flags, uevents.

use super::*;

/// Facts that take figures from several moments.
const ONE_AFTER_ANOTHER: [&str; 19] = [
    "meminfo.MemAvailable",
    "zone.free_lists",
    "zone.buddies",
    "node.MemFree",
    "node.sum",
    "node.HugePages",
    "node.vmstat",
    "node.numastat",
    "node.events",
    "drift.unaccounted",
    "node.lru",
    "pagetypes.largest",
    "node.isolated",
    "zone.mlock",
    "threads.state",
    "threads.cpus",
    "vmstat.nr_free_pages",
    "vmstat.nr_dirty_threshold",
    "vmstat.nr_dirty_background_threshold",
];
/// Readings in a row in which such a fact must be wrong.
const READINGS: u32 = 3;

impl State {
    /// Every observable against the model.
    pub(super) fn check(&self, context: &Context) -> Judged {
        let subject = &context.subject;
        let mut valid_zones = BTreeMap::new();
        for number in self.layout.blocks.keys() {
            if let Some(text) = policy::valid_zones(&self.layout, &self.knobs, subject, *number)? {
                valid_zones.insert(*number, text);
            }
        }
        let mut written = self.written.clone();
        written.insert(AUTO_ONLINE.to_string(), self.knobs.auto_online.word().to_string());
        for name in PARAMETERS {
            if let Some(value) = self.knobs.param(name) {
                written.insert(format!("{}/{name}", facts::PARAMETERS), value);
            }
        }
        let context = expect::Context {
            version: subject.version,
            hotremove: Some(subject.hotremove),
            written: &written,
            valid_zones: &valid_zones,
            min_free_written: self.min_free_written == Some(self.now.managed_pages()),
            poisoned: &self.poisoned,
        };
        let base = expect::Base { snapshot: &self.base, layout: &self.base_layout };
        Ok(expect::check(&self.layout, base, &self.now, &context))
    }

    pub(super) fn settled(&mut self, context: &Context, settled: &Settled) -> Judged {
        let reserves = reserve::figures(&self.now, &std::mem::take(&mut self.reserves_written));
        let events = context.uevents;
        self.observe(settled)?;
        let mut findings = self.check(context)?;
        if events {
            findings.extend(self.check_reserves(&reserves, settled));
        }
        if self.layout.dimms == self.base_layout.dimms && self.layout.blocks == self.base_layout.blocks {
            findings.extend(facts::drift::back(&self.base, &self.now));
        }
        findings.extend(self.check_accounted(&context.subject));
        findings.extend(self.check_devices(&settled.devices));
        findings.extend(self.check_pages(context, &settled.pages));
        findings.extend(settled.fresh_on_lru.into_iter().flat_map(expect::check_fresh));
        findings.extend(self.check_uevents(context, settled)?);
        Ok(persistent(&mut self.wrong_readings, findings))
    }

    /// All memory is accounted for, where nothing of the case is at work that it cannot be for.
    fn check_accounted(&self, subject: &Subject) -> Vec<Finding> {
        let maps = |layout: &Layout| -> i64 {
            let whole = layout.block_pages() * subject.struct_page_bytes / policy::PAGE_BYTES;
            let hot = layout.blocks.values().filter(|b| b.dimm.is_some() && b.vmemmap_pages == 0);
            (hot.count() as u64 * whole).cast_signed()
        };
        let memmap = maps(&self.layout) - maps(&self.base_layout);
        if !self.held.is_empty() || (memmap != 0 && !subject.takes_memmap_only) {
            return Vec::new();
        }
        facts::drift::accounted(&self.base, &self.now, memmap)
    }

    /// Keeps count of what the case holds: a hold is checked, or found dead, when it is released; a load is there until it
    /// ends.
    pub(super) fn holds(&mut self, observation: &Observation) {
        let load = |name: &Option<String>| format!("load {}", name.as_deref().unwrap_or_default());
        match observation {
            Observation::Held(held) => drop(self.held.insert(held.name.clone())),
            Observation::Load(seen) => match seen.phase {
                Phase::Begun => drop(self.held.insert(load(&seen.name))),
                Phase::Proved => {}
                Phase::Ended => drop(self.held.remove(&load(&seen.name))),
            },
            Observation::Verified { name, .. } | Observation::HolderDied { name, .. } => {
                self.held.remove(name);
            }
            _ => {}
        }
    }

    pub(super) fn observe(&mut self, settled: &Settled) -> Result<(), JudgeError> {
        self.raw.apply(&settled.snapshot);
        self.now = Snapshot::parse(&self.raw)?;
        Ok(())
    }

    /// QEMU's list of DIMMs is the model's.
    pub(super) fn check_devices(&self, devices: &[Device]) -> Vec<Finding> {
        let show = |name: &str, d: &Dimm| {
            format!("{name} at {:#x}, {:#x} bytes, slot {}, node {}", d.addr, d.size, d.slot, d.node)
        };
        let mut expected: Vec<String> = self.layout.dimms.iter().map(|(n, d)| show(n, d)).collect();
        let mut seen: Vec<String> =
            devices.iter().map(|d| show(&d.name, &dimm(d, false, &self.nodes))).collect();
        expected.sort();
        seen.sort();
        if expected == seen {
            return Vec::new();
        }
        let rule = "query-memory-devices lists the DIMMs that were plugged and not unplugged";
        vec![Finding::new("qemu.dimms", "", expected.join("; "), seen.join("; "), rule)]
    }

    /// Page flags fit the states of the blocks, as they are (what they must be is checked elsewhere).
    pub(super) fn check_pages(
        &self,
        context: &Context,
        pages: &BTreeMap<u32, BTreeMap<u8, u64>>,
    ) -> Vec<Finding> {
        let seen = expect::overlay(&self.layout, &self.now);
        let mut findings = Vec::new();
        for (number, flags) in pages {
            if let Some(block) = seen.blocks.get(number) {
                let range = seen.first_pfn(*number)..seen.first_pfn(*number) + seen.block_pages();
                let poisoned = self.poisoned.range(range).count() as u64;
                let version = context.subject.version;
                findings.extend(expect::check_pages(version, &seen, *number, block, flags, poisoned));
            }
        }
        findings
    }

    /// Exactly the uevents that the operations must have caused.
    pub(super) fn check_uevents(&mut self, context: &Context, settled: &Settled) -> Judged {
        let expected = std::mem::take(&mut self.expected);
        let concurrent = std::mem::take(&mut self.concurrent);
        if !context.uevents {
            self.brought.clear();
            return Ok(Vec::new());
        }
        if settled.uevents_lost {
            return Err(JudgeError::UeventsLost);
        }
        self.stormy |= settled.uevents.iter().any(|u| u.skipped > 0);
        let numbers = settled.uevents.iter().map(|u| (u.seqnum, u.skipped));
        self.last_seqnum = numbered(self.last_seqnum, self.stormy, numbers).ok_or(JudgeError::UeventsLost)?;
        let mut seen: Vec<policy::Event> = settled.uevents.iter().filter_map(policy::Event::of).collect();
        let mut findings = self.take_brought(&mut seen);
        findings.extend(policy::check_all_uevents(&seen, &expected, concurrent));
        findings.extend(policy::check_environments(&settled.uevents));
        Ok(findings)
    }

    /// A case's own expectations, against the last observed state.
    pub(super) fn blocks(&self, want: &Blocks) -> Vec<Finding> {
        plain::blocks(want, &self.now)
    }
}

/// Of events that may be on their way from two writers at once, so many can be late.
const ON_THEIR_WAY: u64 = 2;

/// The number of the last event, if none is missing after `last`: of each event its number, and how many of a storm came
/// before it. With a storm, an event may come behind others that took their numbers later (lib/kobject_uevent.c takes the
/// number and sends without a lock around both in 6.12 and later): then it is their sum that must not fall short. What a full
/// socket drops is told apart from this.
fn numbered(
    last: Option<u64>,
    stormy: bool,
    events: impl Iterator<Item = (u64, u64)>,
) -> Option<Option<u64>> {
    let mut last = last;
    for (number, skipped) in events {
        let due = last.map_or(number, |last| last + 1 + skipped);
        let whole = if stormy { due + ON_THEIR_WAY >= number } else { due == number };
        last = Some(due);
        whole.then_some(())?;
    }
    Some(last)
}

/// In a guest that does not come to rest each reading is wrong in another fact: after so many in a row they are told.
const MOST_READINGS: u32 = 12;

/// Readings in a row in which one of these facts was wrong.
#[derive(Debug, Default)]
pub(super) struct WrongReadings {
    /// fact and subject -> in how many it was
    of: BTreeMap<(String, String), u32>,
    /// in how many any was
    any: u32,
}

impl WrongReadings {
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

/// What is wrong in one reading only is the reading's fault, for facts that compare counters which are read one after the
/// other ([`ONE_AFTER_ANOTHER`]): the kernel may give back a CPU's list of pages in between. Each is left out until it is
/// wrong in as many readings in a row as [`READINGS`]; then it is told as it is.
pub(super) fn persistent(wrong_readings: &mut WrongReadings, mut findings: Vec<Finding>) -> Vec<Finding> {
    let WrongReadings { of: before, any } = std::mem::take(wrong_readings);
    let enough = any + 1 >= MOST_READINGS;
    findings.retain(|finding| {
        if !ONE_AFTER_ANOTHER.contains(&finding.fact.as_str()) {
            return true;
        }
        let key = (finding.fact.clone(), finding.subject.clone());
        let count = before.get(&key).map_or(1, |count| count + 1);
        let told = count >= READINGS || enough;
        if !told {
            wrong_readings.of.insert(key, count);
            wrong_readings.any = any + 1;
        }
        told
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(facts: &[&str]) -> Vec<Finding> {
        facts.iter().map(|fact| Finding::new(*fact, "", 1, 2, "rule")).collect()
    }

    #[test]
    fn numbers_of_events() {
        let check = |stormy, events: &[(u64, u64)]| numbered(Some(10), stormy, events.iter().copied());
        assert_eq!(numbered(None, false, [(7, 0), (8, 0)].into_iter()), Some(Some(8)));
        assert_eq!(check(false, &[(11, 0), (12, 0)]), Some(Some(12)));
        assert_eq!(check(false, &[(11, 0), (13, 0)]), None);
        assert_eq!(check(false, &[(12, 0), (11, 0)]), None);
        assert_eq!(check(true, &[(14, 3), (15, 0)]), Some(Some(15)));
        // 11 comes behind the storm's 12 to 14, then 15
        assert_eq!(check(true, &[(11, 3), (15, 0)]), Some(Some(15)));
        // the storm's 11 comes behind 12
        assert_eq!(check(true, &[(12, 0), (13, 1)]), Some(Some(13)));
        assert_eq!(check(true, &[(14, 0)]), None);
        // seen on 6.18: the storm's 898 came behind 899
        let seen = [(891, 230), (897, 5), (899, 0), (909, 10)];
        assert_eq!(numbered(None, true, seen.into_iter()), Some(Some(909)));
    }

    #[test]
    fn sums_of_free_memory_count_in_the_third_reading() {
        let mut wrong = WrongReadings::default();
        let free = || found(&["zone.free_lists"]);
        let available = || found(&["meminfo.MemAvailable"]);
        let of_nodes = found(&["node.vmstat", "node.numastat", "node.sum"]);
        assert_eq!(persistent(&mut WrongReadings::default(), of_nodes), []);
        assert_eq!(persistent(&mut wrong, free()), []);
        assert_eq!(persistent(&mut wrong, [free(), available()].concat()), []);
        assert_eq!(persistent(&mut wrong, [free(), available()].concat()), free());
        assert_eq!(persistent(&mut wrong, available()), available());
        assert!(wrong.is_empty());
        // each is wrong once: nothing is wrong three times
        for reading in [free(), available()].iter().cycle().take(11) {
            assert_eq!(persistent(&mut wrong, reading.clone()), []);
            assert_eq!(wrong.of.len(), 1);
        }
        assert_eq!(persistent(&mut wrong, available()), available());
        assert_eq!(persistent(&mut wrong, free()), []);
        assert_eq!(persistent(&mut wrong, Vec::new()), []);
        assert!(wrong.is_empty());
        let both = found(&["block.zone", "zone.free_lists"]);
        assert_eq!(persistent(&mut wrong, both), found(&["block.zone"]));
        assert_eq!(persistent(&mut wrong, found(&["block.zone"])), found(&["block.zone"]));
        assert!(wrong.is_empty());
    }
}
