//! What occupies the guest: memory that is held, loads, programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Memory to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// its name
    pub name: String,
    /// anonymous, mlocked, tmpfs, slab, page-tables, pipe, huge, hugetlb, reserved, forked, mergeable, spliced, registered
    pub kind: HoldKind,
    /// how much: `200M`, a share of MemFree at that moment (`60%`), or all of it but some (`free-40M`; `available-40M`)
    pub size: String,
    /// take so much in a second (`20M`; anonymous and mlocked only)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<String>,
    /// do not wait until all is taken: the next steps come meanwhile, until `held` waits for it
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begin: bool,
    /// keep writing to it
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub busy: bool,
    /// at least one page of it must lie in each block of this selection that is online (else ERROR: the case shows nothing)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaches: Option<String>,
}

/// Kinds of memory, by what the kernel can do with them when a block goes offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HoldKind {
    /// private anonymous pages
    Anonymous,
    /// the same, mlocked
    Mlocked,
    /// pages of a tmpfs file
    Tmpfs,
    /// slab objects
    Slab,
    /// page tables
    PageTables,
    /// pipe buffers
    Pipe,
    /// private anonymous memory in transparent huge pages
    Huge,
    /// private anonymous memory in folios of whatever sizes are switched on (hugepages-*kB/enabled, 6.8 and later)
    Large,
    /// pages of hugetlbfs, which the kernel makes for it
    Hugetlb,
    /// pages that hugetlbfs promises out of its pool (/proc/sys/vm/nr_hugepages) and that are taken at the end only
    Reserved,
    /// private anonymous pages that a pipe refers to: an offline that meets them goes on until it is interrupted
    Spliced,
    /// private anonymous pages, registered with io_uring: pinned for long, and therefore moved out of ZONE_MOVABLE since 5.13
    Registered,
    /// private anonymous pages that a second process shares until one of the two writes (fork); at the end both look at them
    /// while one writes, so that as much again is needed
    Forked,
    /// transparent huge pages, shared in the same way (as much again is needed at the end)
    ForkedHuge,
    /// pages of a file of hugetlbfs, shared, which the kernel makes for it
    HugetlbShared,
    /// pages of a file on a hugetlbfs that is mounted with a limit of just as many: at the end it must be full still
    HugetlbLimited,
    /// pages of a tmpfs file, registered with io_uring
    RegisteredTmpfs,
    /// pages of hugetlbfs, which the kernel makes for it, registered with io_uring
    RegisteredHugetlb,
    /// memory of transparent huge pages that was read and never written: all of it is the one huge page of zeros
    HugeZero,
    /// private anonymous pages that count against the overcommit limit when they are asked for, all at once: what refuses them
    /// is the kernel's fault
    Accounted,
    /// private anonymous pages that move_pages(2) has put onto the last node that has memory: what refuses to is the kernel's
    /// fault
    Placed,
    /// private anonymous pages, merged (switch it on first: /sys/kernel/mm/ksm/run)
    Mergeable,
}

/// End of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// its name
    pub name: String,
    /// the holder is to be killed where it looks at what it holds, because part of it is broken
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dies: Option<Dies>,
}

/// How a holder is to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dies {
    /// by the signal that tells of broken memory (arch/x86/mm/fault.c:do_sigbus)
    #[serde(rename = "SIGBUS")]
    SigBus,
}

/// A load: exactly one of `cpu`, `forks`, `uevents` and `stress`. It is stopped while the guest's state is read, so that
/// every fact is judged as in a guest at rest, and goes on at once. It ends with the scenario at the latest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// its name
    pub name: String,
    /// so many processes that compute all the time
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// so many processes that start programs without end, one after the other
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forks: Option<String>,
    /// uevents without end
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uevents: Option<Storm>,
    /// arguments of stress-ng, without a time limit (`--vm 2 --vm-bytes 60%`)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stress: Option<String>,
    /// nice value
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nice: i32,
    /// it runs in a memory cgroup of its own with this `memory.max` (`64M`)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<String>,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// Synthetic `change` events (Documentation/ABI/testing/sysfs-uevent).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// of which blocks, as in `set`; those that are there when it starts
    pub blocks: String,
    /// how many in a second at most
    pub per_second: u32,
}

/// End of a load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// its name
    pub name: String,
}

/// What a load must do to the guest now; at least one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prove {
    /// this load works: its processes want processors, children are started, events are sent, stress-ng has used time
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<String>,
    /// so many tasks run or wait for a processor at least (/proc/loadavg)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// tasks are held up by lack of it: the total of `some` in /proc/pressure grows by 10 ms
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// MemFree is this at most
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<String>,
    /// how long to wait for it; default 120s
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

/// Files in /proc/pressure (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pressure {
    /// processors
    Cpu,
    /// memory
    Memory,
    /// storage
    Io,
}

impl Pressure {
    /// File name.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
        }
    }
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// file on the host, its path from the case file's directory: copied into the guest and run there
    pub program: String,
    /// arguments
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// exit status that is right
    #[serde(default)]
    pub status: i32,
    /// regular expression that must match its standard output
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// time limit
    #[serde(default = "half_minute")]
    pub within: String,
}

fn half_minute() -> String {
    "30s".into()
}
