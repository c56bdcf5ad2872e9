//! What may take long: jobs, and what they came to.

use crate::message::{Ask, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that may take long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// Like [`Ask::Write`], in a thread that [`Ask::Interrupt`] can interrupt.
    Write {
        /// absolute path
        path: String,
        /// text
        text: String,
    },
    /// Takes memory in a process of its own and keeps it until [`Ask::Release`]. Done when all is taken.
    Hold(Hold),
    /// Runs a program to its end.
    Exec {
        /// program and arguments
        argv: Vec<String>,
        /// environment, complete
        env: BTreeMap<String, String>,
        /// killed after this many milliseconds
        timeout_ms: u64,
        /// how it runs
        #[serde(default)]
        manner: Manner,
    },
    /// Writes to files again and again, one after the other, until [`Ask::Interrupt`]. The uevents of such writes do not
    /// come as messages: the next one that does tells how many there were ([`crate::Uevent::skipped`]).
    Storm {
        /// `uevent` files of sysfs
        paths: Vec<String>,
        /// writes in a second at most
        per_second: u32,
    },
    /// Waits until there is a file of this name.
    AwaitFile {
        /// absolute path; its directory exists
        path: String,
        /// longest time, ms
        timeout_ms: u64,
    },
    /// Takes pages until it gets one of these frames, then gives all back.
    Touch {
        /// first page frame
        pfn: u64,
        /// page frames
        count: u64,
        /// longest time, ms
        timeout_ms: u64,
    },
    /// Stops the machine for a plug, and times what the kernel tells of it. Meanwhile uevents are not forwarded.
    Trial(Trial),
}

/// A plug that is timed in the guest alone: nothing is said to the harness, or waited for from it, between the stop and
/// the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// stop behind a multiple of this, in ns of the guest's time: the next one; 0: at once
    pub align_ns: u64,
    /// I/O port to write 1 to: the machine stops there, and goes on when the DIMM is plugged
    pub port: u16,
    /// memory blocks that the DIMM has
    pub blocks: u32,
    /// written to `state` of every block that is announced: the agent as user space
    pub online: Option<String>,
    /// the longest wait for all blocks, ms
    pub limit_ms: u64,
    /// files to read before the stop and after the end
    pub read: Vec<String>,
}

/// What a [`Trial`] saw. Times are the guest's, when the uevent was taken from its socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialSeen {
    /// the machine went on, or, of an aligned stop, the kernel was told of the plug
    pub begun_ns: u64,
    /// first `add` of each block
    pub added: Vec<(u32, u64)>,
    /// first `online` of each block
    pub onlined: Vec<(u32, u64)>,
    /// errno of each write of the agent's that failed
    pub refused: Vec<(u32, i32)>,
    /// uevents were lost: times may be missing
    pub lost: bool,
    /// content of the files before the stop
    pub before: Vec<Value>,
    /// content of the files after the end
    pub after: Vec<Value>,
}

/// What an agent does before it listens to the harness: a file [`SCRIPT_PATH`] of its initramfs, JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// requests in order; the id of step N is [`SCRIPT_ID`] + N. The first one that fails is the last one.
    pub steps: Vec<ScriptStep>,
    /// I/O port to write 2 to at the end
    pub port: u16,
}

/// A step of a [`Script`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptStep {
    /// what is asked
    pub ask: Ask,
    /// the next step begins when the job has ended, not when it has begun
    pub to_end: bool,
}

/// Where a [`Script`] is.
pub const SCRIPT_PATH: &str = "/memhp-script.json";

/// Ids of a script's requests: above all of a harness's own.
pub const SCRIPT_ID: u64 = 1 << 40;

/// How a program runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// nice value
    pub nice: i32,
    /// oom_score_adj; `None`: as the agent, which is never killed
    pub oom_score_adj: Option<i32>,
    /// cgroup below the root that it starts in
    pub cgroup: Option<String>,
}

/// Memory to hold. Content is a pattern made of `seed` and the page's number, so that it can be verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// what kind of memory
    pub kind: HoldKind,
    /// how much, in bytes (for [`HoldKind::Slab`]: at least so much by the sum of object sizes)
    pub bytes: u64,
    /// seed of the content
    pub seed: u64,
    /// oom_score_adj of the holding process
    pub oom_score_adj: i32,
    /// keep writing to it all the time
    pub busy: bool,
    /// cgroup below the root that the holding process starts in
    #[serde(default)]
    pub cgroup: Option<String>,
    /// take no more than so many bytes in a second (anonymous memory only)
    #[serde(default)]
    pub pace: Option<u64>,
}

/// Kinds of memory, by what the kernel can do with them when a block goes offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldKind {
    /// private anonymous pages: movable
    Anonymous,
    /// private anonymous pages, mlocked: movable
    Mlocked,
    /// pages of a tmpfs file: movable
    Tmpfs,
    /// slab objects that stay (inodes and dentries of many small tmpfs files): not movable
    Slab,
    /// page tables (one touched page per 2 MiB of address space): not movable
    PageTables,
    /// data pages of pipes: not movable
    Pipe,
    /// private anonymous memory in transparent huge pages: movable
    Thp,
    /// private anonymous memory in folios of whatever sizes the kernel may use for it: movable
    Large,
    /// pages of hugetlbfs (2 MiB), taken from the kernel's pool, which is made larger for them
    Hugetlb,
    /// pages of hugetlbfs (2 MiB) that are promised out of the kernel's pool, and taken when they are looked at
    Reserved,
    /// private anonymous pages that pipes refer to: movable, but not while they are held
    Spliced,
    /// private anonymous pages that io_uring has pinned for long: outside of ZONE_MOVABLE, since 5.13
    Registered,
    /// private anonymous pages that a second process shares until one of the two writes (fork): movable
    Forked,
    /// transparent huge pages, shared in the same way: movable
    ForkedThp,
    /// pages of a file of hugetlbfs (2 MiB), shared; the pool is made larger for them: movable
    HugetlbShared,
    /// pages of a file on a hugetlbfs that is mounted with a limit, and is full with it: movable
    HugetlbLimited,
    /// pages of a tmpfs file that io_uring has pinned for long
    RegisteredTmpfs,
    /// pages of hugetlbfs (2 MiB) that io_uring has pinned for long
    RegisteredHugetlb,
    /// memory of transparent huge pages that was read and never written: the one huge page of zeros
    HugeZero,
    /// private anonymous pages that are charged when they are asked for, all at once: movable
    Accounted,
    /// private anonymous pages, moved to the last node with memory by move_pages(2): movable
    Placed,
    /// private anonymous pages of which two each are alike, held when the kernel's page merging has been through: movable
    Mergeable,
}
