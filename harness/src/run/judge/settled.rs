//! A settled state against the model: every observable, QEMU's DIMMs, page flags, uevents.

use super::*;

/// Facts about free memory that take figures from several moments.
const ONE_AFTER_ANOTHER: [&str; 2] = ["meminfo.MemAvailable", "zone.free_lists"];
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
            poisoned: &self.poisoned,
        };
        let base = expect::Base { snapshot: &self.base, layout: &self.base_layout };
        Ok(expect::check(&self.layout, base, &self.now, &context))
    }

    pub(super) fn settled(&mut self, context: &Context, settled: &Settled) -> Judged {
        self.observe(settled)?;
        let mut findings = self.check(context)?;
        if self.layout.dimms == self.base_layout.dimms && self.layout.blocks == self.base_layout.blocks {
            findings.extend(facts::drift::back(&self.base, &self.now));
        }
        findings.extend(self.check_devices(&settled.devices));
        findings.extend(self.check_pages(context, &settled.pages));
        findings.extend(settled.fresh_on_lru.into_iter().flat_map(expect::check_fresh));
        findings.extend(self.check_uevents(context, settled)?);
        Ok(persistent(&mut self.wrong_readings, findings))
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
        let mut seen: Vec<String> = devices.iter().map(|d| show(&d.name, &dimm(d, false))).collect();
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
        let mut last = self.last_seqnum;
        for uevent in &settled.uevents {
            if last.is_some_and(|last| uevent.seqnum != last + 1 + uevent.skipped) {
                return Err(JudgeError::UeventsLost);
            }
            last = Some(uevent.seqnum);
        }
        if settled.uevents_lost {
            return Err(JudgeError::UeventsLost);
        }
        self.last_seqnum = last;
        let mut seen: Vec<policy::Event> = settled.uevents.iter().filter_map(policy::Event::of).collect();
        let mut findings = self.take_brought(&mut seen);
        findings.extend(policy::check_all_uevents(&seen, &expected, concurrent));
        Ok(findings)
    }

    /// A case's own expectations, against the last observed state.
    pub(super) fn blocks(&self, want: &Blocks) -> Vec<Finding> {
        plain::blocks(want, &self.now)
    }
}

/// What is wrong in one reading only is the reading's fault, for facts that compare counters which are read one after the
/// other ([`ONE_AFTER_ANOTHER`]): the kernel may give back a CPU's list of pages in between. They are left out until they are
/// wrong in as many readings in a row as [`READINGS`]; then they are told as they are.
pub(super) fn persistent(wrong_readings: &mut u32, findings: Vec<Finding>) -> Vec<Finding> {
    let moving = |f: &Finding| ONE_AFTER_ANOTHER.contains(&f.fact.as_str());
    if !findings.iter().any(moving) {
        *wrong_readings = 0;
        return findings;
    }
    *wrong_readings += 1;
    if *wrong_readings >= READINGS {
        *wrong_readings = 0;
        return findings;
    }
    findings.into_iter().filter(|f| !moving(f)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(facts: &[&str]) -> Vec<Finding> {
        facts.iter().map(|fact| Finding::new(*fact, "", 1, 2, "rule")).collect()
    }

    #[test]
    fn sums_of_free_memory_count_in_the_third_reading() {
        let mut wrong = 0;
        let free = || found(&["zone.free_lists"]);
        assert_eq!(persistent(&mut wrong, free()), []);
        assert_eq!(persistent(&mut wrong, found(&["meminfo.MemAvailable"])), []);
        assert_eq!(wrong, 2);
        assert_eq!(persistent(&mut wrong, free()), free());
        assert_eq!(persistent(&mut wrong, free()), []);
        assert_eq!(persistent(&mut wrong, Vec::new()), []);
        assert_eq!(wrong, 0);
        let both = found(&["block.zone", "zone.free_lists"]);
        assert_eq!(persistent(&mut wrong, both), found(&["block.zone"]));
        assert_eq!(persistent(&mut wrong, found(&["block.zone"])), found(&["block.zone"]));
        assert_eq!(wrong, 0);
    }
}
