//! Steps and expectations of a case: names before their use, words that exist, texts that parse.

use super::check::{Checker, bad_name, plug, regex};
use super::schema::{Case, Each, Finish, Hold, HoldKind, Load, Prove, Set, Start, Step, Write};
use super::select::{Part, Selection, is_name};
use super::{errno, units};
use std::collections::BTreeMap;

mod expect;

/// What the kernel says of a DIMM that is not made of whole blocks (mm/memory_hotplug.c:check_hotplug_memory_range).
const UNALIGNED: &str = "unaligned hotplug range";

/// What can be done to udevd.
const UDEVD: [&str; 5] = ["stop", "continue", "kill", "start", "trigger"];

/// Checks all steps of a case.
pub(super) fn check(c: &mut Checker, case: &Case) {
    let layout = units::size(&case.machine.memory).ok().and_then(|bytes| crate::policy::guest(bytes).ok());
    let mut names = Names {
        case,
        block: layout.map_or(128 << 20, |layout| layout.block_bytes),
        dimms: BTreeMap::new(),
        holds: Vec::new(),
        begun: Vec::new(),
        loads: Vec::new(),
        starts: Vec::new(),
        pending: Vec::new(),
    };
    for dimm in &case.machine.dimms {
        names
            .dimms
            .insert(dimm.dimm.clone(), Dimm { size: units::size(&dimm.size).unwrap_or(0), asked: false });
    }
    names.steps(c, &case.steps);
    for name in &names.starts {
        c.at("steps", |c| c.wrong(format!("{name} is started and never finished")));
    }
    for name in &names.begun {
        c.at("steps", |c| c.wrong(format!("hold {name} is begun and never waited for")));
    }
}

/// Names that are known at a step.
struct Names<'a> {
    case: &'a Case,
    /// bytes of a memory block of the guest (128 MiB too where `memory` is wrong, which is said elsewhere)
    block: u64,
    dimms: BTreeMap<String, Dimm>,
    holds: Vec<String>,
    /// holds that were only begun
    begun: Vec<String>,
    loads: Vec<String>,
    starts: Vec<String>,
    /// DIMMs whose unplug was asked for and not waited for
    pending: Vec<String>,
}

/// What is known of a DIMM.
struct Dimm {
    size: u64,
    /// an unplug was asked for, so that it may be gone
    asked: bool,
}

impl Names<'_> {
    fn steps(&mut self, c: &mut Checker, steps: &[Step]) {
        if steps.is_empty() {
            c.at("steps", |c| c.wrong("no steps"));
        }
        for (index, step) in steps.iter().enumerate() {
            c.at("steps", |c| c.at(index, |c| self.step(c, step)));
        }
    }

    /// What follows a request to unplug is judged in one order only.
    fn after_unplugs(&self, c: &mut Checker, step: &Step) {
        let key = match step {
            Step::Plug(p) if !p.race && p.refused.is_none() => "plug",
            Step::Set(_) => "set",
            _ => return,
        };
        if let Some(name) = self.pending.first() {
            let wrong = format!("the unplug of {name} may still be under way: `expect` its outcome before");
            c.at(key, |c| c.wrong(wrong));
        }
    }

    fn step(&mut self, c: &mut Checker, step: &Step) {
        self.after_unplugs(c, step);
        match step {
            Step::Plug(p) => c.at("plug", |c| self.plug(c, p)),
            Step::Unplug(u) => c.at("unplug", |c| match self.dimms.get_mut(&u.dimm) {
                Some(dimm) if u.refused.is_none() => {
                    dimm.asked = true;
                    self.pending.push(u.dimm.clone());
                }
                Some(_) => {}
                None => c.at("dimm", |c| c.wrong(format!("no DIMM {} is plugged before", u.dimm))),
            }),
            Step::Write(w) => c.at("write", |c| self.write(c, w)),
            Step::Set(s) => c.at("set", |c| self.set(c, s)),
            Step::Start(s) => c.at("start", |c| self.start(c, s)),
            Step::Finish(f) => c.at("finish", |c| self.finish(c, f)),
            Step::Hold(h) => c.at("hold", |c| self.hold(c, h)),
            Step::Release(r) => c.at("release", |c| match self.holds.iter().position(|h| *h == r.name) {
                Some(_) if self.begun.contains(&r.name) => {
                    c.at("name", |c| c.wrong(format!("{} is only begun: `held` waits for it", r.name)));
                }
                Some(index) => drop(self.holds.remove(index)),
                None => c.at("name", |c| c.wrong(format!("nothing is held as {}", r.name))),
            }),
            Step::Held(r) => c.at("held", |c| match self.begun.iter().position(|h| *h == r.name) {
                Some(index) => drop(self.begun.remove(index)),
                None => c.at("name", |c| c.wrong(format!("no hold is begun as {}", r.name))),
            }),
            Step::Load(l) => c.at("load", |c| self.load(c, l)),
            Step::End(e) => c.at("end", |c| match self.loads.iter().position(|l| *l == e.name) {
                Some(index) => drop(self.loads.remove(index)),
                None => c.at("name", |c| c.wrong(format!("no load is named {}", e.name))),
            }),
            Step::Prove(p) => c.at("prove", |c| self.prove(c, p)),
            Step::Exec(e) => c.at("exec", |c| {
                if !std::path::Path::new(&e.program).is_file() {
                    c.at("program", |c| c.wrong(format!("no such file: {:?}", e.program)));
                }
                if let Some(pattern) = &e.stdout {
                    c.ok("stdout", regex(pattern));
                }
                c.ok("within", units::duration(&e.within));
            }),
            Step::Touch(dimm) if self.dimms.contains_key(dimm) => {}
            Step::Touch(dimm) => c.at("touch", |c| c.wrong(format!("no DIMM {dimm} is plugged before"))),
            Step::Udevd(word) => c.at("udevd", |c| {
                if self.case.udev.is_none() {
                    c.wrong("the case has no udev");
                }
                if !UDEVD.contains(&word.as_str()) {
                    c.wrong(format!("not done to udevd: {word:?} (want {})", UDEVD.join(", ")));
                }
            }),
            Step::Repeat(r) => c.at("repeat", |c| {
                if r.times == 0 {
                    c.at("times", |c| c.wrong("repeated 0 times"));
                }
                // twice: the second round begins with the names that the first has left
                self.steps(c, &r.steps);
                if r.times > 1 {
                    self.steps(c, &r.steps);
                }
            }),
            Step::Each(e) => c.at("each", |c| self.each(c, e)),
            Step::Expect(e) => c.at("expect", |c| self.expect(c, e)),
        }
    }

    /// In the order of the numbers, whatever it will be: names that a number leaves are not another number's.
    fn each(&mut self, c: &mut Checker, each: &Each) {
        if each.steps.iter().any(|step| matches!(step, Step::Each(_))) {
            c.at("steps", |c| c.wrong("each within each"));
        }
        for number in c.ok("of", each.numbers()).into_iter().flatten() {
            if let Some(steps) = c.ok("steps", each.steps_for(number)) {
                self.steps(c, &steps);
            }
        }
    }

    fn plug(&mut self, c: &mut Checker, p: &super::schema::Plug) {
        plug(c, &self.case.machine, p);
        if p.refused.is_some() {
            return;
        }
        if self.dimms.get(&p.dimm).is_some_and(|dimm| !dimm.asked) {
            c.at("dimm", |c| c.wrong(format!("DIMM {} is plugged already", p.dimm)));
        }
        let size = units::size(&p.size).unwrap_or(0);
        let provoked = self.case.provokes.iter().any(|p| p.message.contains(UNALIGNED));
        if !size.is_multiple_of(self.block) && p.refused.is_none() && !provoked {
            let why = format!(
                "{} is no multiple of the memory block size ({}M), so that the kernel adds nothing; a case about that has {UNALIGNED:?} under provokes",
                p.size,
                self.block >> 20
            );
            c.at("size", |c| c.wrong(why));
        }
        self.dimms.insert(p.dimm.clone(), Dimm { size, asked: false });
    }

    fn write(&self, c: &mut Checker, w: &Write) {
        self.path(c, "path", &w.path);
        if let Some(name) = &w.errno {
            c.ok("errno", errno_name(name));
        }
    }

    /// An absolute path, perhaps with `${BLOCK:a[0]}` as its beginning.
    fn path(&self, c: &mut Checker, key: &str, path: &str) {
        let Some(rest) = path.strip_prefix("${BLOCK:") else {
            if !path.starts_with('/') || path.contains("${") {
                c.at(key, |c| c.wrong("want an absolute path, or one that begins with ${BLOCK:a[0]}"));
            }
            return;
        };
        let Some((selection, file)) = rest.split_once('}') else {
            return c.at(key, |c| c.wrong("no } after ${BLOCK:"));
        };
        self.one_block(c, key, selection);
        if !file.starts_with('/') || file.contains("${") {
            c.at(key, |c| c.wrong("want a file below ${BLOCK:…}, for example ${BLOCK:a[0]}/state"));
        }
    }

    fn set(&self, c: &mut Checker, s: &Set) {
        self.selection(c, "blocks", &s.blocks);
        if !matches!(s.result.as_str(), "policy" | "ok") {
            c.ok("result", errno_name(&s.result).map_err(|e| format!("{e}; or policy, or ok")));
        }
    }

    fn start(&mut self, c: &mut Checker, s: &Start) {
        self.one_block(c, "block", &s.block);
        if !is_name(&s.name) {
            c.at("name", |c| c.wrong(bad_name(&s.name)));
        } else if self.starts.contains(&s.name) {
            c.at("name", |c| c.wrong(format!("{} is not finished yet", s.name)));
        } else {
            self.starts.push(s.name.clone());
        }
    }

    fn finish(&mut self, c: &mut Checker, f: &Finish) {
        match self.starts.iter().position(|s| *s == f.name) {
            Some(index) => drop(self.starts.remove(index)),
            None => c.at("name", |c| c.wrong(format!("nothing is started as {}", f.name))),
        }
        for word in f.result.split(',').map(str::trim) {
            if word != "ok" && (word != "policy" || f.result != "policy") {
                c.ok("result", errno_name(word).map_err(|e| format!("{e}; or ok; or policy by itself")));
            }
        }
    }

    fn hold(&mut self, c: &mut Checker, h: &Hold) {
        c.ok("size", units::amount(&h.size));
        if let Some(blocks) = &h.reaches {
            self.selection(c, "reaches", blocks);
        }
        if !is_name(&h.name) {
            c.at("name", |c| c.wrong(bad_name(&h.name)));
        } else if self.holds.contains(&h.name) {
            c.at("name", |c| c.wrong(format!("{} is not released yet", h.name)));
        } else {
            self.holds.push(h.name.clone());
            if h.begin {
                self.begun.push(h.name.clone());
            }
        }
        if let Some(pace) = &h.pace {
            c.ok("pace", super::check::positive_size(pace));
            if !matches!(h.kind, HoldKind::Anonymous | HoldKind::Mlocked) {
                c.at("pace", |c| c.wrong("only anonymous and mlocked memory is taken at a pace"));
            }
        }
        if h.begin && h.reaches.is_some() {
            c.at("reaches", |c| c.wrong("what is only begun has not taken its pages yet"));
        }
    }

    fn load(&mut self, c: &mut Checker, l: &Load) {
        if !is_name(&l.name) {
            c.at("name", |c| c.wrong(bad_name(&l.name)));
        } else if self.loads.contains(&l.name) {
            c.at("name", |c| c.wrong(format!("{} is not ended yet", l.name)));
        } else {
            self.loads.push(l.name.clone());
        }
        let kinds = [l.cpu.is_some(), l.forks.is_some(), l.uevents.is_some(), l.stress.is_some()];
        if kinds.iter().filter(|k| **k).count() != 1 {
            return c.wrong("want exactly one of cpu, forks, uevents and stress");
        }
        for (key, count) in [("cpu", &l.cpu), ("forks", &l.forks)] {
            if count.as_ref().and_then(|n| c.ok(key, units::number(n))) == Some(0) {
                c.at(key, |c| c.wrong("no process"));
            }
        }
        if let Some(storm) = &l.uevents {
            c.at("uevents", |c| {
                self.selection(c, "blocks", &storm.blocks);
                if storm.per_second == 0 {
                    c.at("per_second", |c| c.wrong("no event"));
                }
            });
            if l.nice != 0 || l.memory_max.is_some() {
                c.wrong("uevents come from the agent: no nice, no memory_max");
            }
        }
        if let Some(args) = &l.stress {
            let mut words = args.split_whitespace();
            if !words.clone().any(|w| w.starts_with("--")) {
                c.at("stress", |c| c.wrong("want options of stress-ng (--vm 2)"));
            }
            if words.any(|w| ["-t", "--timeout", "--background", "--daemon"].contains(&w)) {
                c.at("stress", |c| c.wrong("the load ends when the case says so: no timeout, no background"));
            }
        }
        if !(-20..=19).contains(&l.nice) {
            c.at("nice", |c| c.wrong("want -20 to 19"));
        }
        if let Some(limit) = &l.memory_max {
            c.ok("memory_max", super::check::positive_size(limit));
        }
    }

    fn prove(&self, c: &mut Checker, p: &Prove) {
        if p.load.is_none() && p.running.is_none() && p.pressure.is_none() && p.free.is_none() {
            c.wrong("want load, running, pressure or free");
        }
        if let Some(name) = p.load.as_ref().filter(|name| !self.loads.contains(name)) {
            c.at("load", |c| c.wrong(format!("no load is named {name}")));
        }
        if let Some(running) = &p.running {
            c.ok("running", units::number(running));
        }
        if let Some(free) = &p.free {
            c.ok("free", units::size(free));
        }
        if let Some(time) = &p.within {
            c.ok("within", units::duration(time));
        }
    }

    /// Checks a selection; the number of its blocks where it can be told.
    fn selection(&self, c: &mut Checker, key: &str, text: &str) -> Option<usize> {
        let selection = c.ok(key, Selection::parse(text))?;
        let counts: Vec<Option<usize>> =
            selection.0.iter().map(|part| c.at(key, |c| self.part(c, part))).collect();
        counts.into_iter().sum()
    }

    fn one_block(&self, c: &mut Checker, key: &str, text: &str) {
        if let Some(part) = c.ok(key, Selection::parse_one(text)) {
            c.at(key, |c| self.part(c, &part));
        }
    }

    fn part(&self, c: &mut Checker, part: &Part) -> Option<usize> {
        let (name, last) = match part {
            Part::Boot => return None,
            Part::Memory(_) => return Some(1),
            Part::Dimm(name) => (name, None),
            Part::Range(name, _, last) => (name, Some(*last)),
        };
        let Some(dimm) = self.dimms.get(name) else {
            c.wrong(format!("no DIMM {name} is plugged before"));
            return None;
        };
        let blocks = dimm.size / self.block;
        if last.is_some_and(|last| u64::from(last) >= blocks) {
            c.wrong(format!("{part} is beyond the {blocks} blocks of {name}"));
        }
        match part {
            Part::Range(_, first, last) => usize::try_from(last - first + 1).ok(),
            _ => usize::try_from(blocks).ok(),
        }
    }
}

fn errno_name(name: &str) -> Result<(), String> {
    errno::number(name).map(drop).ok_or_else(|| format!("no errno that memhp knows: {name:?}"))
}
