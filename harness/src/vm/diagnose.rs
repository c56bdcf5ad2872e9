//! Before a guest that hangs is killed, it is asked what it is doing: its answers go to the console.
//!
//! SysRq l (backtraces of active processors), w (blocked tasks), m (memory), t (all tasks), then an NMI. Through the
//! agent while it answers; else with a BREAK on the serial console and the letter, which needs CONFIG_MAGIC_SYSRQ_SERIAL
//! and `sysrq_always_enabled` on the command line (Debian's default mask forbids these letters to a BREAK, not to
//! /proc/sysrq-trigger), and a process that holds /dev/console open.

use super::console::Console;
use super::hub::Deadline;
use super::record::Lines;
use super::start::Vm;
use serde_json::{Value, json};
use std::time::Duration;
use wire::Ask;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// the agent still answered
    pub agent_answers: bool,
    /// what the console said meanwhile
    pub console: Lines,
    /// what was done, and what failed, in order
    pub notes: Vec<String>,
}

/// Letters, in order: the short and telling ones first.
const LETTERS: [&str; 4] = ["l", "w", "m", "t"];
/// An agent that answers at all answers a write of one letter within this time.
const ANSWER: Duration = Duration::from_secs(5);
/// A report is over when nothing came for so long.
const QUIET: Duration = Duration::from_millis(700);

impl Vm {
    /// Asks the guest what it is doing, until the deadline at most. The alarm ends no wait of this VM from here on.
    pub fn sysrq_diagnose(&self, deadline: Deadline) -> Diagnosis {
        let from = self.console().end();
        let mut notes = Vec::new();
        self.console().mute();
        let agent_answers = LETTERS.iter().all(|letter| self.by_agent(letter, deadline, &mut notes));
        if !agent_answers {
            for letter in LETTERS {
                self.by_break(letter, deadline, &mut notes);
            }
        }
        match self.qmp().execute("inject-nmi", Value::Null, deadline.at_most(ANSWER)) {
            Ok(_) => notes.push("NMI sent".to_string()),
            Err(e) => notes.push(e.to_string()),
        }
        settle(self.console(), deadline);
        Diagnosis { agent_answers, console: self.console().lines_since(from), notes }
    }

    /// Whether the agent took the letter.
    fn by_agent(&self, letter: &str, deadline: Deadline, notes: &mut Vec<String>) -> bool {
        let ask = Ask::Write { path: "/proc/sysrq-trigger".to_string(), text: letter.to_string() };
        let taken = self.channel().call(ask, deadline.at_most(ANSWER));
        settle(self.console(), deadline);
        notes.push(match &taken {
            Ok(_) => format!("sysrq {letter} by the agent"),
            Err(e) => format!("sysrq {letter} by the agent: {e}"),
        });
        taken.is_ok()
    }

    fn by_break(&self, letter: &str, deadline: Deadline, notes: &mut Vec<String>) {
        let sent =
            self.qmp().execute("chardev-send-break", json!({ "id": "console" }), deadline.at_most(ANSWER));
        let typed = sent.map_err(|e| e.to_string()).and_then(|_| {
            self.console().type_in(letter.as_bytes()).map_err(|e| format!("write to the console: {e}"))
        });
        settle(self.console(), deadline);
        notes.push(match typed {
            Ok(()) => format!("sysrq {letter} by BREAK"),
            Err(e) => format!("sysrq {letter} by BREAK: {e}"),
        });
    }
}

/// Waits for the end of a report.
fn settle(console: &Console, deadline: Deadline) {
    console.wait_quiet(QUIET, deadline);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::start::tests::{machine, paused};

    #[test]
    fn a_guest_that_does_not_run_is_asked_all_the_same() {
        let vm = paused(machine()).unwrap();
        let diagnosis = vm.sysrq_diagnose(Deadline::within(Duration::from_secs(3)));
        assert!(!diagnosis.agent_answers);
        let notes = &diagnosis.notes;
        assert!(notes[0].starts_with("sysrq l by the agent: "), "{notes:?}");
        assert_eq!(notes.len(), 6, "{notes:?}");
        assert_eq!(diagnosis.console.lines, []);
        vm.kill();
    }
}
