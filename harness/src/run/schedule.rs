//! Runs a plan with several guests at once.

use super::attempt::{self, Remains};
use super::host::Host;
use super::plan::Planned;
use crate::event::{Kind, ScenarioEnd};
use crate::verdict::Verdict;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, mpsc};

/// Something a worker says of a scenario.
pub enum News {
    /// an entry of the event log
    Entry(Kind),
    /// the judgement, and what is left of it
    End(Box<(ScenarioEnd, Remains)>),
}

/// Runs every scenario of the plan, `jobs` at once; `take` hears everything, in the caller's thread, in the order it comes.
///
/// Skipped scenarios are judged too. After an interrupt nothing new starts; what never started is MISS.
pub fn run(host: &Host, plan: &[Planned], jobs: usize, take: &mut dyn FnMut(&Planned, News)) {
    let queue: Mutex<VecDeque<usize>> =
        Mutex::new((0..plan.len()).filter(|i| plan[*i].skip.is_none()).collect());
    for planned in plan {
        if let Some(reason) = &planned.skip {
            take(
                planned,
                News::End(Box::new((ScenarioEnd::without_run(Verdict::Skip, reason), Remains::default()))),
            );
        }
    }
    let (sender, receiver) = mpsc::channel::<(usize, News)>();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || {
                while let Some(index) = next(queue) {
                    // The receiver lives as long as the scope: sending cannot fail before it has ended.
                    let say = |news| drop(sender.send((index, news)));
                    let end = if host.interrupted() {
                        (
                            ScenarioEnd::without_run(Verdict::Miss, "interrupted before it began"),
                            Remains::default(),
                        )
                    } else if host.starts_no_more() {
                        (
                            ScenarioEnd::without_run(
                                Verdict::Miss,
                                "not begun after a failure (--fail-fast)",
                            ),
                            Remains::default(),
                        )
                    } else {
                        attempt::run(host, &plan[index], &mut |kind| say(News::Entry(kind)))
                    };
                    say(News::End(Box::new(end)));
                }
            });
        }
        drop(sender);
        for (index, news) in receiver {
            take(&plan[index], news);
        }
    });
}

fn next(queue: &Mutex<VecDeque<usize>>) -> Option<usize> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}
