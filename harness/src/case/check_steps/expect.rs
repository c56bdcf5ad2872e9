//! Expectations: one subject each, and what belongs to it.

use super::{Names, errno_name};
use crate::case::check::{Checker, regex};
use crate::case::schema::Expect;
use crate::case::units;
use crate::policy::{BlockState, Zone};

impl Names<'_> {
    pub(super) fn expect(&mut self, c: &mut Checker, e: &Expect) {
        if let Some(time) = &e.within {
            c.ok("within", units::duration(time));
        }
        let subjects = [&e.blocks, &e.unplug, &e.file, &e.console, &e.pinned];
        if subjects.iter().filter(|s| s.is_some()).count() != 1 {
            return c.wrong("want exactly one of blocks, unplug, file, console and pinned");
        }
        let about_blocks = e.state.is_some() || e.zone.is_some() || e.valid_zones.is_some() || e.uniform;
        let about_file = [&e.is, &e.line, &e.errno].iter().filter(|about| about.is_some()).count();
        let stray = (about_blocks && e.blocks.is_none())
            || (about_file > 0 && e.file.is_none())
            || (e.outcome.is_some() && e.unplug.is_none())
            || (e.as_.is_some() && e.blocks.is_none() && e.unplug.is_none());
        if stray {
            return c.wrong(
                "state, zone, valid_zones and uniform belong to blocks, outcome to unplug, is, line and errno to \
                 file, as to blocks and unplug",
            );
        }
        if let Some(blocks) = &e.blocks {
            self.expect_blocks(c, e, blocks);
        }
        if let Some(dimm) = &e.unplug {
            self.pending.retain(|name| name != dimm);
            self.expect_unplug(c, e, dimm);
        }
        if let Some(path) = &e.file {
            self.path(c, "file", path);
            if about_file != 1 {
                c.wrong("want one of is, line and errno");
            }
            if let Some(pattern) = &e.line {
                c.ok("line", regex(pattern));
            }
            if let Some(name) = &e.errno {
                c.ok("errno", errno_name(name));
            }
        }
        if let Some(pattern) = &e.console {
            c.ok("console", regex(pattern));
        }
        if let Some(blocks) = &e.pinned {
            self.selection(c, "pinned", blocks);
        }
    }

    fn expect_blocks(&self, c: &mut Checker, e: &Expect, blocks: &str) {
        let count = self.selection(c, "blocks", blocks);
        if e.as_.is_none() && e.state.is_none() && e.zone.is_none() && e.valid_zones.is_none() && !e.uniform {
            c.wrong("nothing is expected of the blocks: want as, state, zone, valid_zones or uniform");
        }
        if e.uniform && (e.as_.is_some() || e.zone.is_some() || e.state.is_some()) {
            c.wrong("uniform takes states and zones as they are: no as, state or zone beside it");
        }
        let state = |w: &str| BlockState::parse(w).is_some();
        let zone = |w: &str| w == "-" || Zone::parse(w).is_some();
        words(c, "state", e.state.as_deref(), count, state, "online, offline or going-offline");
        words(c, "zone", e.zone.as_deref(), count, zone, "DMA, DMA32, Normal, Movable or -");
        let valid = |w: &str| w == "none" || Zone::parse(w).is_some();
        words(c, "valid_zones", e.valid_zones.as_deref(), None, valid, "zones, or none");
    }

    fn expect_unplug(&mut self, c: &mut Checker, e: &Expect, name: &str) {
        match self.dimms.get(name) {
            None => return c.at("unplug", |c| c.wrong(format!("no DIMM {name} is plugged before"))),
            Some(dimm) if !dimm.asked => {
                return c.at("unplug", |c| c.wrong(format!("no unplug of {name} was asked for")));
            }
            Some(_) => {}
        }
        let Some(outcome) = &e.outcome else {
            if e.as_.is_none() {
                c.wrong("want as or outcome");
            }
            return;
        };
        let all: Vec<&str> = outcome.split(',').map(str::trim).collect();
        for word in &all {
            if !["done", "refused", "disabled"].contains(word) {
                c.at("outcome", |c| {
                    c.wrong(format!("no outcome: {word:?} (want done, refused or disabled)"))
                });
            }
        }
        match all.as_slice() {
            ["done"] => drop(self.dimms.remove(name)),
            ["refused" | "disabled"] => {
                self.dimms.entry(name.to_string()).and_modify(|dimm| dimm.asked = false);
            }
            _ => {}
        }
    }
}

/// One word for all blocks or one for each; `count` is the number of blocks where it is known.
fn words(
    c: &mut Checker,
    key: &str,
    text: Option<&str>,
    count: Option<usize>,
    known: impl Fn(&str) -> bool,
    want: &str,
) {
    let Some(text) = text else { return };
    let all: Vec<&str> = text.split_whitespace().collect();
    c.at(key, |c| {
        if all.is_empty() {
            c.wrong(format!("no word (want {want})"));
        }
        if let Some(odd) = all.iter().find(|w| !known(w)) {
            c.wrong(format!("unknown word {odd:?} (want {want})"));
        }
        if let Some(count) = count.filter(|count| all.len() > 1 && all.len() != *count) {
            c.wrong(format!("{} words for {count} blocks", all.len()));
        }
    });
}
