//! Case files as they are written: the types that YAML is read into and that the JSON schema is made from.
//!
//! External tags only and unknown keys refused, so that every mistake has a position. Text fields may hold
//! `${axis}`, replaced by the axis's value when the matrix is expanded. An axis named like a kernel
//! parameter ([`crate::case::KERNEL_PARAMETERS`]) is put on the command line too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod expect;
mod work;
pub use expect::{AsPolicy, Expect};
pub use work::{Dies, End, Exec, Hold, HoldKind, Load, Pressure, Prove, Release, Storm};

/// One case file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// what must hold, in one sentence
    pub summary: String,
    /// what the case stands for (thread, commit, bug, document), so that a failure means something to a reader
    pub origin: String,
    /// kernels it applies to: comma-separated comparisons that must all hold, `>=5.15, <6.18`; all kernels without it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// configuration it needs: `NAME=y`, `NAME=m`, `NAME` (y or m), `!NAME`; all must hold
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<String>,
    /// the guest
    #[serde(default)]
    pub machine: Machine,
    /// further kernel parameters
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub append: String,
    /// axes, in the order in which they appear in ids (their order in the file)
    #[serde(default, skip_serializing_if = "Axes::is_empty")]
    pub matrix: Axes,
    /// combinations to leave out: each names values of some axes
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<BTreeMap<String, String>>,
    /// modules to load after boot, from the kernel's package; built in is fine too
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// systemd-udevd in the guest; without it there is no user space but the agent
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udev: Option<Udev>,
    /// how the guest may come to be
    #[serde(default)]
    pub boot: BootMode,
    /// console messages that the case provokes on purpose; any other bad message is a failure
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provokes: Vec<Provoked>,
    /// what is done and expected, in order; every observable is judged after each step without being asked for
    pub steps: Vec<Step>,
}

/// Axes in file order: name and values.
pub type Axes = crate::case::axes::Axes;

/// The guest's hardware.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// boot memory (`512M`); with `nodes`, the sum of theirs
    pub memory: String,
    /// DIMM slots
    pub slots: u32,
    /// boot memory and DIMMs together at most
    pub max_memory: String,
    /// virtual processors
    pub smp: u32,
    /// boot memory of each NUMA node (`0` for one without); none: a machine without NUMA description
    pub nodes: Vec<String>,
    /// NUMA node of each virtual processor; none: all are on node 0
    pub cpu_nodes: Vec<u32>,
    /// DIMMs that are present at boot
    pub dimms: Vec<Plug>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            memory: "512M".into(),
            slots: 4,
            max_memory: "8G".into(),
            smp: 2,
            nodes: Vec::new(),
            cpu_nodes: Vec::new(),
            dimms: Vec::new(),
        }
    }
}

/// A distribution's own udevd, with rules of ours. It runs from before the first step on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Udev {
    /// which rules (images/udev/rules): classic, movable, kernel-zone, unguarded-movable, change, enterprise, none; misspelt
    /// is classic with a mistake
    pub rules: String,
    /// what the rules are told that the machine is: virtual, bare-metal, s390
    #[serde(default = "virtual_word")]
    pub machine: String,
    /// nice value of udevd
    #[serde(default)]
    pub nice: i32,
}

fn virtual_word() -> String {
    "virtual".into()
}

/// How a guest may come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BootMode {
    /// booted, or restored from a template
    #[default]
    Auto,
    /// always booted: the case is about booting
    Cold,
}

/// A console message that is no failure here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provoked {
    /// regular expression, searched in one console line
    pub message: String,
    /// why it may come
    pub reason: String,
}

/// One thing to do or to expect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// plug a DIMM, and wait until the guest has taken it
    Plug(Plug),
    /// ask the guest to let a DIMM go (device_del); `expect: { unplug: … }` waits for the outcome
    Unplug(Unplug),
    /// write to a file
    Write(Write),
    /// write to `state` (or `online`) of blocks, one by one
    Set(Set),
    /// start a write without waiting for its end
    Start(Start),
    /// wait for the end of what `start` started
    Finish(Finish),
    /// take memory and keep it
    Hold(Hold),
    /// wait until a `hold` that was only begun has taken all
    Held(Release),
    /// give back what a `hold` holds, after checking its content
    Release(Release),
    /// start something that keeps the guest busy, and wait until it does
    Load(Load),
    /// end a load, and see that nothing of it is left
    End(End),
    /// a load must be in force now (else ERROR: the case shows nothing)
    Prove(Prove),
    /// run a program in the guest
    Exec(Exec),
    /// wait until a page of a DIMM's memory is in use: the guest takes pages until it gets one, and gives all back. Its
    /// time stands in the timeline; ERROR where none comes in 30s
    Touch(String),
    /// do something to udevd: stop and continue (signals), kill, start, trigger (udevadm trigger --action=add)
    Udevd(String),
    /// do steps several times
    Repeat(Repeat),
    /// do steps once for every number of a range
    Each(Each),
    /// something must be so
    Expect(Expect),
}

/// A DIMM.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plug {
    /// its name in the case
    pub dimm: String,
    /// its size (`1G`)
    pub size: String,
    /// NUMA node (QEMU's default without it)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// slot (the first free one without it)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// guest physical address, hexadecimal with 0x (QEMU's choice without it)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// QEMU must refuse it, with an error that contains this text
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// do not wait for the guest: the next steps race with the plug until `expect: { blocks: … }`
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub race: bool,
    /// how long the guest may take (`300s`, for a DIMM of hundreds of blocks); default 30s
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

/// A request to unplug.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unplug {
    /// the DIMM
    pub dimm: String,
    /// QEMU must refuse the request, with an error that contains this text
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// the guest begins it (`eject` of the slot's ACPI device), not the platform
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_guest: bool,
}

/// A write to any file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// absolute path; `${BLOCK:a[0]}` is replaced by `/sys/devices/system/memory/memoryN`
    pub path: String,
    /// written with one write(2), no newline added
    pub text: String,
    /// the write must fail with this errno (`EINVAL`); it must succeed without it, but for files the oracle knows
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
}

/// Writes to blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// which: `a` (a DIMM's), `a[0]`, `a[1..3]` (inclusive), `boot` (boot memory), `memory32`, several with commas; in this order
    pub blocks: String,
    /// text to write
    pub to: String,
    /// order of the blocks
    #[serde(default, skip_serializing_if = "Order::is_as_given")]
    pub order: Order,
    /// the attribute
    #[serde(default, skip_serializing_if = "Attribute::is_state")]
    pub attribute: Attribute,
    /// what every write must give: `policy` (the oracle says), `ok`, or an errno
    #[serde(default = "policy_word", skip_serializing_if = "is_policy")]
    pub result: String,
}

fn policy_word() -> String {
    "policy".into()
}

fn is_policy(word: &str) -> bool {
    word == "policy"
}

/// Order of blocks, or of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// as the selection names them (ascending within a DIMM)
    #[default]
    AsGiven,
    /// from the highest number
    Descending,
    /// even indices first, then odd ones
    EvenOdd,
    /// shuffled by the run's seed
    Shuffled,
}

impl Order {
    fn is_as_given(&self) -> bool {
        *self == Self::AsGiven
    }
}

/// Attributes of a block that take writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    /// `memoryN/state`
    #[default]
    State,
    /// `memoryN/online` (driver core)
    Online,
}

impl Attribute {
    fn is_state(&self) -> bool {
        *self == Self::State
    }

    /// File name.
    pub const fn file(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Online => "online",
        }
    }
}

/// A write in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// its name
    pub name: String,
    /// one block, as in `set`
    pub block: String,
    /// text to write to its `state`
    pub to: String,
}

/// The end of a write in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// its name
    pub name: String,
    /// interrupt it with a signal first
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupt: bool,
    /// results that are right: `ok` or an errno, several with commas; `policy` for the oracle's
    #[serde(default = "policy_word", skip_serializing_if = "is_policy")]
    pub result: String,
}

/// Steps that are done several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// how often
    pub times: u32,
    /// counters must not drift from round to round (slab, MemFree, Percpu, sysfs objects, …); twice as many rounds where
    /// that is in doubt
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flat: bool,
    /// the round
    pub steps: Vec<Step>,
}

/// Steps that are done once for every number of a range, with `${n}` in their texts replaced by the number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Each {
    /// the numbers: `0..255`, inclusive
    pub of: String,
    /// order of the numbers
    #[serde(default, skip_serializing_if = "Order::is_as_given")]
    pub order: Order,
    /// what is done for each; no `each` among them
    pub steps: Vec<Step>,
}
