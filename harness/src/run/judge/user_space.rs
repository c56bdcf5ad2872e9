//! What udevd must have made of the blocks it was told of: each one that was offline is online now, by the word of its
//! rules. The kernel's own policy comes first: add_memory and the onlining in it hold device_hotplug_lock, which a write
//! to `state` waits for (drivers/base/core.c:lock_device_hotplug_sysfs).
//!
//! udevd's workers write in any order. Which it was is seen: each block's `online` event is sent under that lock.

use super::*;

const RULE: &str = "drivers/base/memory.c:state_store, written by udevd for every block that was announced";

impl State {
    pub(super) fn user_space(&mut self, context: &Context, acted: &UserSpace) -> Judged {
        let told = |number: &u32, block: &Block| match &acted.dimms {
            None => true,
            Some(dimms) => {
                acted.blocks.contains(number) || block.dimm.as_ref().is_some_and(|dimm| dimms.contains(dimm))
            }
        };
        let offline = self.layout.blocks.iter();
        let offline = offline.filter(|(n, b)| b.state == BlockState::Offline && told(n, b));
        let mut waiting: Vec<u32> = offline.map(|(number, _)| *number).collect();
        if let Some(word) = &acted.word {
            let seen = acted.settled.uevents.iter().filter_map(policy::Event::of);
            let mut order: Vec<u32> =
                seen.filter_map(|e| e.block("online")).filter(|n| waiting.contains(n)).collect();
            waiting.retain(|number| !order.contains(number));
            order.append(&mut waiting);
            for number in order {
                let permitted =
                    policy::write_state(&self.layout, &self.knobs, &context.subject, number, word)?;
                let done =
                    permitted.allowed.iter().find(|a| matches!(a.outcome, policy::Outcome::Done { .. }));
                let Some(done) = done else {
                    let rules: Vec<String> = permitted.allowed.iter().map(|a| a.ruling.to_string()).collect();
                    return Ok(vec![Finding::new(
                        "user-space.write",
                        format!("memory{number}"),
                        "refused",
                        word,
                        rules.join("; "),
                    )]);
                };
                policy::apply_write_state(&mut self.layout, number, word, &done.outcome);
                self.brought.push(number);
            }
        }
        self.settled(context, &acted.settled)
    }

    /// Takes the events of what user space brought online out of those that were seen: each once, after the block's own
    /// `add` where there is one.
    pub(super) fn take_brought(&mut self, seen: &mut Vec<policy::Event>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for number in std::mem::take(&mut self.brought) {
            let at = |action: &str, events: &[policy::Event]| {
                events.iter().position(|e| e.block(action) == Some(number))
            };
            let online = at("online", seen);
            let late = online.is_some_and(|online| at("add", seen).is_none_or(|add| add < online));
            match online.filter(|_| late) {
                Some(online) => drop(seen.remove(online)),
                None => {
                    let all: Vec<String> = seen.iter().map(ToString::to_string).collect();
                    let want = format!("online@…/memory{number} once, after it was added");
                    findings.push(Finding::new("uevents", "", want, all.join(" "), RULE));
                }
            }
        }
        findings
    }
}
