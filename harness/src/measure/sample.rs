//! One trial's result, and its line in samples.csv.

use super::cell::{Cell, Load, Policy};
use serde::{Deserialize, Serialize};

/// What came of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// every block came online within the limit
    Online,
    /// some did not
    Partly,
    /// the kernel died
    Died,
    /// nothing was measured: the load was not in force, or the host or QEMU failed; it counts nowhere
    NotMeasured,
}

impl Outcome {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Partly => "partly",
            Self::Died => "died",
            Self::NotMeasured => "not-measured",
        }
    }
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// from 1, in the order they were taken
    pub order: u32,
    /// which round, from 0
    pub round: u32,
    /// combination
    #[serde(flatten)]
    pub cell: Cell,
    /// what came of it
    pub outcome: Outcome,
    /// what the guest saw; nothing where the guest did not come so far
    #[serde(flatten)]
    pub seen: Seen,
    /// why it was not measured, or how the kernel died
    pub why: String,
}

/// What the guest saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// guest time of the plug, ns since boot
    pub plug_at_ns: Option<u64>,
    /// from the plug to the last block online, ns; only where every block came online
    pub latency_ns: Option<u64>,
    /// from the plug to the first and the last `add` uevent, ns
    pub added_ns: Option<(u64, u64)>,
    /// blocks that are online at the end
    pub online: u32,
    /// blocks of the DIMM
    pub blocks: u32,
    /// processes that the kernel killed for memory between plug and end
    pub oom_kills: u64,
    /// their names
    pub victims: Vec<String>,
    /// failures to allocate pages on the console between plug and end
    pub allocation_failures: u64,
    /// bytes that the load holds
    pub held_bytes: u64,
    /// MemFree right before the plug, bytes
    pub free_bytes: u64,
}

/// First line of samples.csv.
pub const HEADER: &str = "order,round,kernel,size_bytes,load,policy,outcome,latency_ns,first_add_ns,last_add_ns,blocks_online,\
blocks,oom_kills,victims,allocation_failures,held_bytes,free_bytes,plug_at_ns,why\n";

impl Sample {
    /// As ranked: `None` is never within the limit. Nothing of a trial that was not measured.
    pub fn value(&self) -> Option<Option<u64>> {
        match self.outcome {
            Outcome::Online => Some(self.seen.latency_ns),
            Outcome::Partly | Outcome::Died => Some(None),
            Outcome::NotMeasured => None,
        }
    }

    /// Its line in samples.csv; an empty field: there is no such value.
    pub fn csv(&self) -> String {
        let number = |n: Option<u64>| n.map_or(String::new(), |n| n.to_string());
        let Cell { kernel, size, load, policy } = &self.cell;
        let seen = &self.seen;
        let fields = [
            self.order.to_string(),
            self.round.to_string(),
            quoted(kernel),
            size.to_string(),
            Load::to_string(load),
            Policy::to_string(policy),
            self.outcome.word().into(),
            number(seen.latency_ns),
            number(seen.added_ns.map(|(first, _)| first)),
            number(seen.added_ns.map(|(_, last)| last)),
            seen.online.to_string(),
            seen.blocks.to_string(),
            seen.oom_kills.to_string(),
            quoted(&seen.victims.join(" ")),
            seen.allocation_failures.to_string(),
            seen.held_bytes.to_string(),
            seen.free_bytes.to_string(),
            number(seen.plug_at_ns),
            quoted(&self.why),
        ];
        fields.join(",") + "\n"
    }
}

/// A field of CSV (RFC 4180), kept on one line.
fn quoted(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A sample of a cell with a latency in ms; `None`: not all blocks came online.
    pub(in crate::measure) fn sample(load: Load, policy: Policy, ms: Option<u64>) -> Sample {
        Sample {
            order: 1,
            round: 0,
            cell: Cell { kernel: "k".into(), size: 1 << 30, load, policy },
            outcome: if ms.is_some() { Outcome::Online } else { Outcome::Partly },
            seen: Seen { latency_ns: ms.map(|ms| ms * 1_000_000), blocks: 8, online: 8, ..Seen::default() },
            why: String::new(),
        }
    }

    #[test]
    fn a_line_has_the_fields_of_the_header() {
        let mut one = sample(Load::Cpu(4), Policy::Udev, Some(7));
        (one.why, one.seen.victims) = ("a \"b\", c\nd".into(), vec!["x".into(), "y".into()]);
        let line = one.csv();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(
            line.starts_with("1,0,k,1073741824,cpu-4x,udev,online,7000000,,,8,8,0,x y,0,0,0,,"),
            "{line}"
        );
        assert!(line.ends_with("\"a \"\"b\"\", c d\"\n"), "{line}");
        assert_eq!(
            HEADER.matches(',').count(),
            sample(Load::Idle, Policy::Agent, None).csv().matches(',').count()
        );
    }

    #[test]
    fn what_was_not_measured_is_no_value() {
        let mut one = sample(Load::Idle, Policy::Agent, None);
        assert_eq!(one.value(), Some(None));
        one.outcome = Outcome::NotMeasured;
        assert_eq!(one.value(), None);
    }
}
