//! Plugs and unplugs: QEMU's and the guest's answers, and what the model becomes.

use super::*;

/// Source of the report on an eject that the guest began (include/linux/acpi.h:ACPI_OST_EC_OSPM_EJECT).
const OSPM_EJECT: u64 = 259;

impl State {
    pub(super) fn plug(&mut self, context: &Context, plug: &Plug) -> Judged {
        if let Some(finding) =
            plain::refusal("plug", &plug.dimm, plug.want_refused.as_deref(), plug.error.as_deref())
        {
            return Ok(vec![finding]);
        }
        let Some(device) = &plug.device else { return Ok(Vec::new()) };
        let dimm = dimm(device, false, &self.nodes);
        if plug.race {
            self.racing.insert(plug.dimm.clone(), dimm);
            return Ok(Vec::new());
        }
        let added = policy::add(&mut self.layout, &self.knobs, &context.subject, &plug.dimm, dimm)?;
        self.expected.push(policy::expect_plug(&context.subject, &added)?);
        Ok(inserted(&plug.dimm, &plug.osts))
    }

    pub(super) fn unplug(&mut self, unplug: &Unplug) -> Vec<Finding> {
        let refusal =
            plain::refusal("unplug", &unplug.dimm, unplug.want_refused.as_deref(), unplug.error.as_deref());
        if refusal.is_none() && unplug.error.is_none() && !self.unplugging.contains(&unplug.dimm) {
            self.unplugging.push(unplug.dimm.clone());
            if unplug.by_guest {
                self.ejecting.insert(unplug.dimm.clone());
            }
            if unplug.contested {
                self.contested.insert(unplug.dimm.clone());
            }
        }
        refusal.into_iter().collect()
    }

    pub(super) fn unplug_outcome(&mut self, context: &Context, ended: &UnplugOutcome) -> Judged {
        self.unplugging.retain(|d| *d != ended.dimm);
        let permitted = policy::unplug(&self.layout, &self.knobs, &context.subject, &ended.dimm)?;
        let all = [
            (Outcome::Done, &permitted.done),
            (Outcome::Refused, &permitted.refused),
            (Outcome::Disabled, &permitted.disabled),
        ];
        let mut possible: Vec<(Outcome, &policy::Ending)> =
            all.iter().filter_map(|(o, e)| e.as_ref().map(|e| (*o, e))).collect();
        // A refusal that the case names is right though the oracle sees no reason (injected errors).
        let named = policy::refusal_for_a_reason_of_the_case();
        if ended.want == [Outcome::Refused] && permitted.refused.is_none() {
            possible = vec![(Outcome::Refused, &named)];
        }
        let words = |outcomes: &mut dyn Iterator<Item = Outcome>| {
            outcomes.map(Outcome::word).collect::<Vec<_>>().join(" or ")
        };
        let seen = ended.outcome.word();
        let Some((_, ending)) = possible.iter().find(|(o, _)| *o == ended.outcome) else {
            let rules: Vec<String> = possible.iter().map(|(_, e)| e.ruling.to_string()).collect();
            let expected = words(&mut possible.iter().map(|(o, _)| *o));
            return Ok(vec![Finding::new("unplug.outcome", &*ended.dimm, expected, seen, rules.join("; "))]);
        };
        if !ended.want.is_empty() && !ended.want.contains(&ended.outcome) {
            let expected = words(&mut ended.want.iter().copied());
            return Ok(vec![Finding::new(
                "unplug.outcome",
                &*ended.dimm,
                expected,
                seen,
                "the case says so",
            )]);
        }
        let right = |outcome: &Outcome| ended.want.is_empty() || ended.want.contains(outcome);
        self.luck |= possible.iter().filter(|(outcome, _)| right(outcome)).count() > 1;
        let mut findings = Vec::new();
        let mut osts: Vec<(u64, u64)> =
            ending.osts.iter().map(|(a, b)| (u64::from(*a), u64::from(*b))).collect();
        if let Some((source, _)) = osts.last_mut().filter(|_| self.ejecting.remove(&ended.dimm)) {
            *source = OSPM_EJECT;
        }
        if osts != ended.osts {
            let rule = ending.ruling.to_string();
            findings.push(Finding::new(
                "unplug.ost",
                &*ended.dimm,
                format!("{osts:?}"),
                format!("{:?}", ended.osts),
                rule,
            ));
        }
        let contested = self.contested.remove(&ended.dimm);
        self.luck |= contested;
        if ended.outcome == Outcome::Done {
            let expect = if contested { policy::expect_contested } else { policy::expect_unplug };
            self.expected.push(expect(&self.layout, &context.subject, &ended.dimm));
            let gone = self.layout.dimms.get(&ended.dimm).map(|d| d.addr..d.addr + d.size);
            self.poisoned
                .retain(|pfn| !gone.as_ref().is_some_and(|g| g.contains(&(pfn * policy::PAGE_BYTES))));
            policy::apply_unplugged(&mut self.layout, &ended.dimm);
        } else if ended.outcome == Outcome::Refused {
            self.expected.push(policy::expect_refusal(&self.layout, &ended.dimm));
        }
        Ok(findings)
    }

    /// The model takes over what came out of plugs that raced with other steps.
    pub(super) fn raced(
        &mut self,
        context: &Context,
        settled: &Settled,
        dimms: &[String],
        osts: &BTreeMap<String, Vec<(u64, u64)>>,
    ) -> Judged {
        self.observe(settled)?;
        self.luck = true;
        let mut findings: Vec<Finding> = osts.iter().flat_map(|(dimm, osts)| inserted(dimm, osts)).collect();
        for name in dimms {
            let Some(dimm) = self.racing.remove(name) else { continue };
            let vmemmap_pages =
                policy::vmemmap_pages(self.layout.block_bytes, &self.knobs, &context.subject, dimm.size);
            for number in self.layout.block_range(dimm.addr, dimm.size) {
                let Some(seen) = self.now.blocks.get(&number) else {
                    let rule = "every block of a DIMM that was added exists";
                    findings.push(Finding::new(
                        "block.missing",
                        format!("memory{number}"),
                        "present",
                        "absent",
                        rule,
                    ));
                    continue;
                };
                if context.uevents && !settled.uevents_lost && !self.stormy {
                    findings.extend(announced(number, seen.state, &settled.uevents));
                }
                let zone = plain::zone(seen);
                let node = dimm.node;
                let block = Block { node, state: seen.state, zone, dimm: Some(name.clone()), vmemmap_pages };
                self.layout.blocks.insert(number, block);
            }
            self.layout.dimms.insert(name.clone(), dimm);
        }
        // Their order depends on the race; the numbers must still be continuous.
        self.last_seqnum = settled.uevents.last().map(|u| u.seqnum).or(self.last_seqnum);
        self.expected.clear();
        self.concurrent = false;
        Ok(findings)
    }
}

/// The guest's report that ends an insertion is one of success.
fn inserted(dimm: &str, osts: &[(u64, u64)]) -> Vec<Finding> {
    const RULE: &str = "drivers/acpi/scan.c:acpi_generic_hotplug_event: the insertion ends with _OST success (also when the add failed)";
    let expected = [(1, 0)];
    if osts == expected {
        return Vec::new();
    }
    vec![Finding::new("plug.ost", dimm, format!("{expected:?}"), format!("{osts:?}"), RULE)]
}

/// Of a block that came with a plug that raced: one uevent that it is there, and then one that it is online, if it is.
fn announced(number: u32, state: BlockState, uevents: &[wire::Uevent]) -> Option<Finding> {
    const RULE: &str =
        "drivers/base/memory.c: a block is announced once when it is added and once when it is online";
    let path = format!("/devices/system/memory/memory{number}");
    let seen = uevents.iter().filter(|u| u.devpath == path).map(|u| u.action.as_str()).collect::<Vec<_>>();
    let expected = if state == BlockState::Online { &["add", "online"][..] } else { &["add"] };
    let text = |actions: &[&str]| actions.join(" ");
    (seen != expected).then(|| Finding::new("uevents", path, text(expected), text(&seen), RULE))
}
