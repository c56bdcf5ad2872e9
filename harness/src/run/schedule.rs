//! Runs a plan with several guests at once.
//!
//! One worker, where there are several, boots beside the others: guests that are not restored, and the next templates (a few
//! ahead of their use, for each takes memory or disk), so that boots are not what is left at the end. The others take, in
//! this order: a scenario whose template is ready (so that scenarios that share one run together), one whose template
//! nobody makes yet (and make it), one that boots. If scenarios are to be spread over templates, all of these are made
//! first. Among equals, the one that took longest when it last ran. Under `--fail-fast` only time counts, the shortest
//! first. A worker waits if all that is left needs templates that others are making, but not for long: then its guest
//! boots; or if the memory that is free does not carry the worst case of another guest.

use super::attempt::{self, Start};
use super::boot::Remains;
use super::footprint;
use super::host::{BootMode, Host};
use super::plan::Planned;
use super::templates::{self, Found, Key};
use crate::event::{Kind, ScenarioEnd};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// A worker waits so long for a template that another one makes, before scaling: a boot that is stuck holds up nobody.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many templates may be ready before scenarios need them.
const AHEAD: usize = 2;

/// Something a worker says of a scenario.
pub enum News {
    /// an entry of the event log
    Entry(Kind),
    /// the judgement, and what is left of it
    End(Box<(ScenarioEnd, Remains)>),
}

/// Runs every scenario of the plan, `jobs` at once; `take` hears everything, in the caller's thread, in the order it
/// comes. `cache` is where templates are kept.
///
/// Skipped scenarios are judged too. After an interrupt nothing new starts; what never started is MISS.
pub fn run(host: &Host, plan: &[Planned], jobs: usize, cache: &Path, take: &mut dyn FnMut(&Planned, News)) {
    for planned in plan {
        if let Some(reason) = &planned.skip {
            take(planned, without_run(Verdict::Skip, reason));
        }
    }
    let queue = Queue::new(host, plan, jobs);
    let (sender, receiver) = mpsc::channel::<(usize, News)>();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || {
                while let Some(task) = queue.next() {
                    let _running = Running { queue, index: task.index };
                    // The receiver lives as long as the scope: sending cannot fail before it has ended.
                    let say = |index, news| drop(sender.send((index, news)));
                    work(host, plan, cache, queue, task, &say);
                }
            });
        }
        drop(sender);
        for (index, news) in receiver {
            take(&plan[index], news);
        }
    });
}

fn without_run(verdict: Verdict, why: &str) -> News {
    News::End(Box::new((ScenarioEnd::without_run(verdict, why), Remains::default())))
}

fn work(host: &Host, plan: &[Planned], cache: &Path, queue: &Queue, task: Task, say: &dyn Fn(usize, News)) {
    let planned = &plan[task.index];
    let mut log = |kind| say(task.index, News::Entry(kind));
    let none_more = || host.interrupted() || host.starts_no_more();
    let start = match task.how {
        _ if planned.dead.is_some() => planned.dead.clone().map_or(Start::Cold, Start::Dead),
        How::Start(start) => start,
        How::Make(key) => {
            let mut making = Making { queue, index: task.index, key, made: None };
            if none_more() { Start::Cold } else { make(host, planned, cache, &mut making, &mut log) }
        }
    };
    let news = if host.interrupted() {
        without_run(Verdict::Miss, "interrupted before it began")
    } else if host.starts_no_more() {
        without_run(Verdict::Miss, "not begun after a failure (--fail-fast)")
    } else {
        News::End(Box::new(attempt::run(host, planned, &start, &mut log)))
    };
    say(task.index, news);
}

/// A template in the making: however this ends, whoever waits for it is told.
struct Making<'a> {
    queue: &'a Queue,
    index: usize,
    key: Key,
    made: Option<Start>,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.queue.made(self.index, self.key.clone(), self.made.take());
    }
}

/// Finds or builds a template. While another process is at it, only this scenario begins otherwise.
fn make(
    host: &Host,
    planned: &Planned,
    cache: &Path,
    making: &mut Making<'_>,
    log: &mut dyn FnMut(Kind),
) -> Start {
    let begun = Instant::now();
    let (start, built) = match templates::find(host, cache, &making.key) {
        Ok(Found::Whole(saved)) => (Ok(Start::Fork((*saved).into())), false),
        Ok(Found::Nothing(place)) => (attempt::build(host, planned, place, log), true),
        Ok(Found::Busy) => {
            return attempt::without_template(host.boot, "another process makes it, or removes it", log);
        }
        Err(e) => (Err(format!("templates cannot be kept in {}: {e}", cache.display())), false),
    };
    let start = match start {
        Ok(start) => start,
        // Not for want of a template.
        Err(_) if host.interrupted() => Start::Cold,
        Err(reason) => attempt::without_template(host.boot, &reason, log),
    };
    if matches!(start, Start::Fork(_)) {
        let duration_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        log(Kind::Template { built, duration_ns });
    }
    making.made = Some(start.clone());
    start
}

/// What a worker is to do.
struct Task {
    index: usize,
    how: How,
}

enum How {
    Start(Start),
    /// make the template first
    Make(Key),
}

/// How far a template is.
enum Slot {
    Wanted,
    InTheMaking,
    Made(Start),
}

/// What a scenario takes to begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// its guest boots
    Boot,
    /// it makes its template, which is a boot too
    Make,
    /// nothing: its template is ready
    Restore,
    /// its template, which another worker makes
    Wait,
}

impl Slot {
    fn needs(slot: Option<&Self>) -> Needs {
        match slot {
            None | Some(Self::Made(Start::Cold)) => Needs::Boot,
            Some(Self::Wanted) => Needs::Make,
            Some(Self::InTheMaking) => Needs::Wait,
            Some(Self::Made(_)) => Needs::Restore,
        }
    }
}

/// What is left to do.
struct Queue {
    state: Mutex<Left>,
    changed: Condvar,
    /// how long a worker with nothing else to do waits for templates that others make; `None`: to their end
    patience: Option<Duration>,
}

struct Left {
    /// scenarios, in the order of preference
    todo: Vec<(usize, Option<Key>)>,
    slots: BTreeMap<Key, Slot>,
    /// take them in this order, whatever it costs to start them
    in_order: bool,
    /// make every template before any is used twice
    spread: bool,
    /// there are several workers: one boots beside the others
    beside: bool,
    /// scenarios whose guests boot now, or their templates'
    booting: BTreeSet<usize>,
    /// bytes that each scenario of the plan may take
    needs: Vec<u64>,
    /// bytes that all guests may take together
    room: u64,
    /// bytes that those which run may take
    taken: u64,
}

impl Queue {
    fn new(host: &Host, plan: &[Planned], jobs: usize) -> Self {
        let all = plan.iter().enumerate().filter(|(_, p)| p.skip.is_none());
        let key = |p: &Planned| p.dead.is_none().then(|| templates::key(host, p)).flatten();
        let mut todo: Vec<(usize, Option<Key>)> = all.map(|(i, p)| (i, key(p))).collect();
        let mut counts: BTreeMap<Key, usize> = BTreeMap::new();
        todo.iter().filter_map(|(_, key)| key.clone()).for_each(|key| *counts.entry(key).or_default() += 1);
        for (_, key) in &mut todo {
            *key = key.take().filter(|k| host.boot == BootMode::Fork || k.pays_for(counts[k]));
        }
        let slots = todo.iter().filter_map(|(_, key)| Some((key.clone()?, Slot::Wanted))).collect();
        todo.sort_by_key(|(index, _)| std::cmp::Reverse(host.took(&plan[*index].id)));
        if host.short_first {
            todo.reverse();
        }
        let needs = plan.iter().map(|planned| footprint::bytes(host, planned)).collect();
        let left = Left {
            todo,
            slots,
            in_order: host.short_first,
            spread: host.spread,
            beside: jobs > 1,
            booting: BTreeSet::new(),
            needs,
            room: host.room,
            taken: 0,
        };
        let patience = (host.boot == BootMode::Auto).then(|| PATIENCE.mul_f64(host.scale));
        Self { state: Mutex::new(left), changed: Condvar::new(), patience }
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for memory, and for workers that make templates; both end in bounded time.
    fn next(&self) -> Option<Task> {
        let begun = Instant::now();
        let mut left = self.lock();
        loop {
            if left.todo.is_empty() {
                return None;
            }
            let rest = self.patience.map(|patience| patience.saturating_sub(begun.elapsed()));
            if let Some(task) = left.take(rest == Some(Duration::ZERO)) {
                return Some(task);
            }
            left = match rest.filter(|rest| !rest.is_zero()) {
                Some(rest) => self.changed.wait_timeout(left, rest).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(left).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// What became of a template, which the scenario `index` made and begins with; `None`: it is to be tried again.
    fn made(&self, index: usize, key: Key, start: Option<Start>) {
        let mut left = self.lock();
        if start.as_ref().is_some_and(|start| !matches!(start, Start::Cold)) {
            left.booting.remove(&index);
        }
        if left.todo.iter().any(|(_, k)| k.as_ref() == Some(&key)) {
            left.slots.insert(key, start.map_or(Slot::Wanted, Slot::Made));
        } else {
            left.slots.remove(&key);
        }
        self.changed.notify_all();
    }
}

/// A scenario that runs: however it ends, its memory is there for others.
struct Running<'a> {
    queue: &'a Queue,
    index: usize,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut left = self.queue.lock();
        left.taken -= left.needs[self.index];
        left.booting.remove(&self.index);
        self.queue.changed.notify_all();
    }
}

impl Left {
    /// The next task that can begin now. `impatient`: a scenario whose template another worker makes boots instead.
    fn take(&mut self, impatient: bool) -> Option<Task> {
        let fits =
            |index: usize| self.taken == 0 || self.taken.saturating_add(self.needs[index]) <= self.room;
        let find = |wanted: &[Needs]| {
            let needs = |key: &Option<Key>| Slot::needs(key.as_ref().map(|k| &self.slots[k]));
            self.todo.iter().position(|(index, key)| fits(*index) && wanted.contains(&needs(key)))
        };
        let mut order: Vec<&[Needs]> = Vec::new();
        if self.in_order {
            order.push(&[Needs::Boot, Needs::Make, Needs::Restore]);
        } else {
            if self.spread {
                order.push(&[Needs::Make]);
            }
            if self.beside && self.booting.is_empty() {
                let ready = self.slots.values().filter(|s| Slot::needs(Some(s)) == Needs::Restore).count();
                order.push(if ready < AHEAD { &[Needs::Boot, Needs::Make] } else { &[Needs::Boot] });
            }
            order.extend([&[Needs::Restore][..], &[Needs::Make], &[Needs::Boot]]);
        }
        if impatient {
            order.push(&[Needs::Wait]);
        }
        let at = order.into_iter().find_map(find)?;
        let (index, key) = self.todo.remove(at);
        self.taken += self.needs[index];
        let how = key.map_or(How::Start(Start::Cold), |key| self.start(key));
        if matches!(how, How::Make(_) | How::Start(Start::Cold)) {
            self.booting.insert(index);
        }
        Some(Task { index, how })
    }

    /// How a scenario with a template begins, which is no more in the list.
    fn start(&mut self, key: Key) -> How {
        let last = !self.todo.iter().any(|(_, k)| k.as_ref() == Some(&key));
        match &self.slots[&key] {
            // The last user lets go of it.
            Slot::Made(start) => {
                let start = start.clone();
                if last {
                    self.slots.remove(&key);
                }
                How::Start(start)
            }
            Slot::InTheMaking => How::Start(Start::Cold),
            Slot::Wanted => {
                self.slots.insert(key.clone(), Slot::InTheMaking);
                How::Make(key)
            }
        }
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
