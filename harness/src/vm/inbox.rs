//! What came from the agent, taken apart: answers and ends of jobs by id, the rest in the order it came.

use super::record::Record;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;
use wire::{Answer, Failure, FrameError, JobOutcome, Message, Uevent};

/// The end of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// id of the job
    pub id: u64,
    /// guest time when its work began, nanoseconds
    pub begun_ns: u64,
    /// guest time when it ended
    pub t_ns: u64,
    /// what came out
    pub result: Result<JobOutcome, Failure>,
}

/// What the agent says unasked, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// a uevent
    Uevent(Uevent),
    /// uevents were lost before this point
    UeventsLost {
        /// guest time
        t_ns: u64,
    },
    /// a job ended
    JobDone(JobEnd),
}

/// Where both directions stand: what a fork of the guest goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// number of the last message to the agent
    pub sent: u64,
    /// number of the last message from the agent
    pub received: u64,
    /// last id of a request
    pub last_id: u64,
    /// beginning of a message from the agent whose end has not come
    pub partial: Vec<u8>,
    /// end of what was sent, from which a message may quote ([`wire::FrameWriter::past`])
    pub said: String,
    /// end of what was received ([`wire::FrameReader::past`])
    pub heard: String,
}

/// What came from the agent so far.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) awaited: BTreeSet<u64>,
    pub(super) answers: BTreeMap<u64, (u64, Instant, Result<Answer, Failure>)>,
    pub(super) jobs: BTreeMap<u64, JobEnd>,
    pub(super) pushes: VecDeque<Push>,
    pub(super) received: u64,
    pub(super) partial: Vec<u8>,
    pub(super) heard: String,
    pub(super) damaged: Option<FrameError>,
    pub(super) closed: bool,
    pub(super) record: Record,
}

/// Bytes of `agent.log` that are kept.
const RECORD: usize = 4 << 20;
/// A longer line is cut in the log.
const LOG_LINE: usize = 2048;

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            awaited: BTreeSet::new(),
            answers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            pushes: VecDeque::new(),
            received: 0,
            partial: Vec::new(),
            heard: String::new(),
            damaged: None,
            closed: false,
            record: Record::new(RECORD),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn log(&mut self, arrow: char, text: &str) {
        let end = (0..=text.len().min(LOG_LINE)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        self.record.push(format!("{arrow} {}", &text[..end]));
    }

    pub(super) fn take(&mut self, message: Result<Message, FrameError>) {
        let message = match message {
            Ok(message) => message,
            // What a port echoes while the agent opens it, and the like.
            Err(noise) if self.received == 0 && !matches!(noise, FrameError::Number { .. }) => {
                return self.log('~', &noise.to_string());
            }
            Err(damage) => {
                self.log('!', &damage.to_string());
                self.damaged.get_or_insert(damage);
                return;
            }
        };
        if self.damaged.is_some() {
            return;
        }
        self.received += 1;
        match message {
            Message::Answer { id, t_ns, result } => {
                self.log('<', &format!("#{id} {}", brief(&result)));
                if self.awaited.remove(&id) {
                    self.answers.insert(id, (t_ns, Instant::now(), result));
                }
            }
            Message::JobDone { id, begun_ns, t_ns, result } => {
                self.log('<', &format!("job #{id} {}", brief(&result)));
                let end = JobEnd { id, begun_ns, t_ns, result };
                self.jobs.insert(id, end.clone());
                self.pushes.push_back(Push::JobDone(end));
            }
            Message::Uevent(uevent) => {
                self.log('<', &format!("uevent {} {}@{}", uevent.seqnum, uevent.action, uevent.devpath));
                self.pushes.push_back(Push::Uevent(uevent));
            }
            Message::UeventsLost { t_ns } => {
                self.log('<', "uevents lost");
                self.pushes.push_back(Push::UeventsLost { t_ns });
            }
            Message::Log { t_ns, text } => self.log('-', &format!("{t_ns} {text}")),
        }
    }
}

pub(super) fn brief<T: std::fmt::Debug>(result: &Result<T, Failure>) -> String {
    match result {
        Ok(answer) => format!("{answer:?}"),
        Err(failure) => format!("errno {}: {}", failure.errno, failure.why),
    }
}
