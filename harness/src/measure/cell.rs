//! The factors of the measurement.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Who brings memory online, and in which zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// the kernel (auto_online_blocks=online)
    Online,
    /// the kernel, movable zone (auto_online_blocks=online_movable)
    OnlineMovable,
    /// systemd-udevd with the classic rule
    Udev,
    /// systemd-udevd with the movable rule
    UdevMovable,
    /// a thread of the agent that does nothing else: the best that user space can do
    Agent,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Online, Self::OnlineMovable, Self::Udev, Self::UdevMovable, Self::Agent];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::OnlineMovable => "online_movable",
            Self::Udev => "udev",
            Self::UdevMovable => "udev_movable",
            Self::Agent => "agent",
        }
    }

    /// What `auto_online_blocks` is set to.
    pub fn knob(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::OnlineMovable => "online_movable",
            _ => "offline",
        }
    }

    /// udevd's rules (images/udev/rules), where it runs.
    pub fn rules(self) -> Option<&'static str> {
        match self {
            Self::Udev => Some("classic"),
            Self::UdevMovable => Some("movable"),
            _ => None,
        }
    }

    /// What the agent writes.
    pub fn agent_writes(self) -> Option<&'static str> {
        (self == Self::Agent).then_some("online")
    }
}

/// What else the guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Load {
    /// nothing
    Idle,
    /// processes that spin, per processor
    Cpu(u32),
    /// percent of the free memory that is held
    Memory(u32),
    /// a storm of synthetic uevents
    Uevents,
    /// cpu-4x, memory-80 and the storm together
    All,
}

impl Load {
    /// The levels of the full measurement.
    pub const ALL: [Self; 9] = [
        Self::Idle,
        Self::Cpu(1),
        Self::Cpu(4),
        Self::Cpu(16),
        Self::Memory(50),
        Self::Memory(80),
        Self::Memory(95),
        Self::Uevents,
        Self::All,
    ];

    /// Processes that spin, per processor.
    pub fn spinners(self) -> u32 {
        match self {
            Self::Cpu(n) => n,
            Self::All => 4,
            _ => 0,
        }
    }

    /// Percent of the free memory that is held.
    pub fn held(self) -> u32 {
        match self {
            Self::Memory(percent) => percent,
            Self::All => 80,
            _ => 0,
        }
    }

    /// Is there a storm?
    pub fn storm(self) -> bool {
        matches!(self, Self::Uevents | Self::All)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = Self::ALL.map(Self::word).join(", ");
        Self::ALL
            .into_iter()
            .find(|p| p.word() == text)
            .ok_or_else(|| format!("no policy {text:?} (want {words})"))
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Cpu(n) => write!(f, "cpu-{n}x"),
            Self::Memory(percent) => write!(f, "memory-{percent}"),
            Self::Uevents => f.write_str("uevents"),
            Self::All => f.write_str("all"),
        }
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
        let number =
            |digits: &str, most: u32| digits.parse().ok().filter(|n| plain(digits) && (1..=most).contains(n));
        let cpu = || text.strip_prefix("cpu-")?.strip_suffix('x').and_then(|n| number(n, 64)).map(Self::Cpu);
        let memory = || text.strip_prefix("memory-").and_then(|n| number(n, 99)).map(Self::Memory);
        let named = match text {
            "idle" => Some(Self::Idle),
            "uevents" => Some(Self::Uevents),
            "all" => Some(Self::All),
            _ => None,
        };
        let wrong = || {
            format!("no load {text:?} (want idle, cpu-1x to cpu-64x, memory-1 to memory-99, uevents, all)")
        };
        named.or_else(cpu).or_else(memory).ok_or_else(wrong)
    }
}

impl Serialize for Load {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Load {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One combination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// kernel's name
    pub kernel: String,
    /// bytes of the DIMM
    pub size: u64,
    /// load
    pub load: Load,
    /// policy
    pub policy: Policy,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.kernel, size(self.size), self.load, self.policy)
    }
}

/// A size as people write it.
pub fn size(bytes: u64) -> String {
    let (mib, gib) = (1u64 << 20, 1u64 << 30);
    if bytes.is_multiple_of(gib) { format!("{}G", bytes / gib) } else { format!("{}M", bytes / mib) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for policy in Policy::ALL {
            assert_eq!(policy.word().parse(), Ok(policy));
        }
        for load in Load::ALL {
            assert_eq!(load.to_string().parse(), Ok(load));
        }
        assert_eq!((size(128 << 20), size(3 << 30)), ("128M".to_string(), "3G".to_string()));
    }

    #[test]
    fn other_words_are_refused() {
        for text in
            ["", "cpu", "cpu-0x", "cpu-x", "cpu-65x", "cpu-4", "memory-0", "memory-100", "memory-+5", "Idle"]
        {
            let refused = text.parse::<Load>();
            assert!(
                refused.as_ref().is_err_and(|e| e.contains(&format!("{text:?}"))),
                "{text:?}: {refused:?}"
            );
        }
        assert!("onlin".parse::<Policy>().is_err_and(|e| e.contains("online_movable")));
    }
}
