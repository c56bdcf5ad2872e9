//! Runs a plan with several guests at once.
//!
//! Each worker takes, in this order: a scenario whose template is ready (so that scenarios that share one run
//! together), one whose template nobody makes yet (and makes it), one that boots; if scenarios are to be spread over
//! templates, all of these are made first. Among equals, the one that took longest when it last ran. A worker waits only if all that is left needs templates that others are making.

use super::attempt::{self, Start};
use super::boot::Remains;
use super::host::Host;
use super::plan::Planned;
use super::templates::{self, Found, Key};
use crate::event::{Kind, ScenarioEnd};
use crate::verdict::Verdict;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Instant;

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
    let queue = Queue::new(host, plan);
    let (sender, receiver) = mpsc::channel::<(usize, News)>();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || {
                while let Some(task) = queue.next() {
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
            let mut making = Making { queue, key, made: None };
            if !none_more() {
                making.made = make(host, planned, cache, &making.key, &mut log);
            }
            making.made.clone().unwrap_or(Start::Cold)
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
    key: Key,
    made: Option<Start>,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.queue.made(self.key.clone(), self.made.take());
    }
}

/// Finds or builds a template. `None`: another process is at it, this scenario boots.
fn make(host: &Host, planned: &Planned, cache: &Path, key: &Key, log: &mut dyn FnMut(Kind)) -> Option<Start> {
    let begun = Instant::now();
    let (start, built) = match templates::find(host, cache, key) {
        Ok(Found::Whole(saved)) => (Start::Fork((*saved).into()), false),
        Ok(Found::Nothing(place)) => (attempt::build(host, planned, place, log), true),
        Ok(Found::Busy) => return None,
        Err(e) => {
            log(Kind::Notice { text: format!("templates cannot be kept in {}: {e}", cache.display()) });
            return Some(Start::Cold);
        }
    };
    if matches!(start, Start::Fork(_)) {
        let duration_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        log(Kind::Template { built, duration_ns });
    }
    Some(start)
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

/// What is left to do.
struct Queue {
    state: Mutex<Left>,
    changed: Condvar,
}

struct Left {
    /// scenarios, in the order of preference
    todo: Vec<(usize, Option<Key>)>,
    slots: BTreeMap<Key, Slot>,
    spread: bool,
}

impl Queue {
    fn new(host: &Host, plan: &[Planned]) -> Self {
        let all = plan.iter().enumerate().filter(|(_, p)| p.skip.is_none());
        let key = |p: &Planned| p.dead.is_none().then(|| templates::key(host, p)).flatten();
        let mut todo: Vec<(usize, Option<Key>)> = all.map(|(i, p)| (i, key(p))).collect();
        let mut counts: BTreeMap<Key, usize> = BTreeMap::new();
        todo.iter().filter_map(|(_, key)| key.clone()).for_each(|key| *counts.entry(key).or_default() += 1);
        for (_, key) in &mut todo {
            *key = key.take().filter(|k| k.pays_for(counts[k]));
        }
        let slots = todo.iter().filter_map(|(_, key)| Some((key.clone()?, Slot::Wanted))).collect();
        todo.sort_by_key(|(index, _)| std::cmp::Reverse(host.took(&plan[*index].id)));
        if host.short_first {
            todo.reverse();
        }
        Self { state: Mutex::new(Left { todo, slots, spread: host.spread }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits only for workers that make templates; these end in bounded time.
    fn next(&self) -> Option<Task> {
        let mut left = self.lock();
        loop {
            if left.todo.is_empty() {
                return None;
            }
            if let Some(task) = left.take() {
                return Some(task);
            }
            left = self.changed.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What became of a template; `None`: it is to be tried again.
    fn made(&self, key: Key, start: Option<Start>) {
        self.lock().slots.insert(key, start.map_or(Slot::Wanted, Slot::Made));
        self.changed.notify_all();
    }
}

impl Left {
    fn take(&mut self) -> Option<Task> {
        let slot = |key: &Option<Key>| key.as_ref().map(|k| &self.slots[k]);
        let find =
            |wanted: &dyn Fn(Option<&Slot>) -> bool| self.todo.iter().position(|(_, k)| wanted(slot(k)));
        let wanted = || find(&|s| matches!(s, Some(Slot::Wanted)));
        let at = self
            .spread
            .then(wanted)
            .flatten()
            .or_else(|| find(&|s| matches!(s, Some(Slot::Made(_)))))
            .or_else(wanted)
            .or_else(|| find(&|s| s.is_none()))?;
        let (index, key) = self.todo.remove(at);
        let Some(key) = key else { return Some(Task { index, how: How::Start(Start::Cold) }) };
        let last = !self.todo.iter().any(|(_, k)| k.as_ref() == Some(&key));
        let how = match self.slots.get(&key) {
            Some(Slot::Made(start)) => How::Start(start.clone()),
            _ => How::Make(key.clone()),
        };
        match &how {
            // The last user lets go of it.
            How::Start(_) if last => drop(self.slots.remove(&key)),
            How::Start(_) => {}
            How::Make(_) => drop(self.slots.insert(key, Slot::InTheMaking)),
        }
        Some(Task { index, how })
    }
}
