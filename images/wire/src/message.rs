//! The messages themselves.

use crate::follow::{Delta, Sent};
use crate::job::{Job, TrialSeen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Harness to agent. `id` comes back in the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// chosen by the harness, unique in a run
    pub id: u64,
    /// what is asked
    pub ask: Ask,
}

/// Agent to harness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// Answer to the request of the same id; every request has exactly one.
    Answer {
        /// id of the request
        id: u64,
        /// guest time when the answer was made
        t_ns: u64,
        /// the answer, or the errno (0: see `why`) with what failed
        result: Result<Answer, Failure>,
    },
    /// A job that [`Ask::Job`] started has ended; comes exactly once for each job.
    JobDone {
        /// id of the request that started it
        id: u64,
        /// guest time when the job's work began
        begun_ns: u64,
        /// guest time when it ended
        t_ns: u64,
        /// what came out
        result: Result<JobOutcome, Failure>,
    },
    /// A kernel uevent (NETLINK_KOBJECT_UEVENT, group 1), in the order of arrival.
    Uevent(Uevent),
    /// Uevents were lost (ENOBUFS on the socket); counts are unknown.
    UeventsLost {
        /// guest time
        t_ns: u64,
    },
    /// Something for the agent's log; no meaning for a verdict.
    Log {
        /// guest time
        t_ns: u64,
        /// one line
        text: String,
    },
}

/// What can be asked. Nothing here blocks the agent's answering thread: what may take long is a [`Job`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Who are you. The agent does not speak before this came, uevents are queued.
    Hello,
    /// One file, whole, as text (lossy UTF-8).
    Read {
        /// absolute path
        path: String,
    },
    /// One file, whole, as bytes.
    ReadBytes {
        /// absolute path
        path: String,
    },
    /// Several files in one answer; each has its own result.
    ReadMany {
        /// absolute paths
        paths: Vec<String>,
    },
    /// Names in a directory, sorted.
    List {
        /// absolute path
        path: String,
    },
    /// One `write(2)` of the whole text, opened O_WRONLY without O_CREAT. For files whose write cannot block long.
    Write {
        /// absolute path
        path: String,
        /// text, written as it is (no newline added)
        text: String,
    },
    /// The same for several files, in order; an error of one does not stop the next.
    WriteMany {
        /// absolute path and text of each
        writes: Vec<(String, String)>,
    },
    /// Starts something in a thread or process of its own.
    Job(Job),
    /// Interrupts a job: a signal to the thread in its system call (EINTR), SIGKILL to a process.
    Interrupt {
        /// the job
        job: u64,
    },
    /// Sets what [`Ask::Snapshot`] reads, and forgets what was sent before.
    Watch {
        /// directories and files
        sets: Vec<WatchSet>,
        /// kernel threads whose presence is reported, by prefix of their name (`kswapd`)
        threads: Vec<String>,
    },
    /// Reads all that is watched; the answer holds only what differs from the last snapshot.
    Snapshot,
    /// Counts the flags of /proc/kpageflags, one range after the other.
    CountFlags {
        /// first page frame number, and number of pages
        ranges: Vec<(u64, u64)>,
        /// take [`FRESH_PAGES`] pages of the agent's own afterwards, touch them, and count theirs as a last range
        fresh: bool,
    },
    /// Stores part of a file (base64), creating it and its directories at offset 0.
    Put {
        /// absolute path
        path: String,
        /// permission bits
        mode: u32,
        /// where this part goes
        offset: u64,
        /// content, base64 with padding
        base64: String,
    },
    /// `finit_module(2)` of a file in the guest.
    Module {
        /// absolute path of the uncompressed .ko
        path: String,
        /// parameters, as on a modprobe line
        params: String,
    },
    /// `mount(2)`.
    Mount {
        /// device or name
        source: String,
        /// mount point, created if missing
        target: String,
        /// file system type
        fstype: String,
        /// data string
        data: String,
    },
    /// Mixes bytes into the kernel's random pool and reseeds it (RNDADDENTROPY, RNDRESEEDCRNG).
    Reseed {
        /// bytes, base64
        base64: String,
    },
    /// Ends what a job of kind [`Job::Hold`] holds.
    Release {
        /// the job
        job: u64,
    },
    /// Checks the content of what a job of kind [`Job::Hold`] holds.
    Verify {
        /// the job
        job: u64,
    },
    /// Sends a signal to the program of a job of kind [`Job::Exec`]; refused where it has ended.
    Signal {
        /// the job
        job: u64,
        /// its number
        signal: i32,
        /// to all processes of its group, not to the program alone
        #[serde(default)]
        group: bool,
    },
    /// All processes but kernel threads.
    Processes,
    /// Number of the process of a job of kind [`Job::Exec`]; refused where it has ended.
    Process {
        /// the job
        job: u64,
    },
    /// Makes a cgroup (v2) for memory, or sets its limits anew.
    Cgroup {
        /// name below the root
        name: String,
        /// file -> text: `memory.max`
        limits: BTreeMap<String, String>,
    },
    /// Page frames that back a hold (pagemap), as ascending inclusive ranges.
    Frames {
        /// the job
        job: u64,
    },
}

/// Fresh pages that [`Ask::CountFlags`] looks at, a few at a time.
pub const FRESH_PAGES: u64 = 32;

/// Stands for an errno where write(2) took less than it was given: no errno is as large.
pub const SHORT_WRITE: i32 = 4096;

/// Key of [`Answer::Flags`] for page frames that are shown as not there, or without any flag, and yet are counted as mapped
/// (/proc/kpagecount).
pub const COUNTED: u8 = 254;

/// Key of [`Answer::Flags`] for page frames that are shown as not there, or without any flag, and of which /proc/kcore shows
/// something that is not 0. The last frame of each 2 MiB is looked at, where all of the range is hidden.
pub const DUMPED: u8 = 253;

/// A directory, or several, whose files are part of every snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchSet {
    /// absolute path; `*` in a component matches any run of characters in it
    pub dir: String,
    /// files to read there
    pub files: Vec<String>,
    /// symbolic links to resolve: prefixes of their names (the value is the target's last component)
    pub links: Vec<String>,
    /// also report the names in the directory, those of regular files with their permissions in octal (`state=644`)
    pub list: bool,
    /// reading these files has an effect: they are read once, and again after the agent has written one of them
    pub once: bool,
}

/// Who the agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL`]
    pub protocol: u32,
    /// uname release
    pub release: String,
    /// uname version
    pub version: String,
    /// uname machine
    pub machine: String,
    /// /proc/cmdline
    pub cmdline: String,
    /// uevents can be observed (the kernel has netlink)
    pub uevents: bool,
    /// /proc/kpageflags can be read
    pub page_flags: bool,
    /// page size in bytes
    pub page_size: u64,
}

/// Answers, in the order of [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// to [`Ask::Hello`]
    Hello(Hello),
    /// to [`Ask::Read`]
    Text(String),
    /// to [`Ask::ReadBytes`]: base64 with padding
    Bytes(String),
    /// to [`Ask::ReadMany`]: in the order asked; edits of what the last such answer held of the file
    Texts(Vec<Sent>),
    /// to [`Ask::WriteMany`]: 0 or the errno of each
    Errnos(Vec<i32>),
    /// to [`Ask::List`]
    Names(Vec<String>),
    /// done, nothing to say
    Done,
    /// to [`Ask::Snapshot`]
    Snapshot(Delta),
    /// to [`Ask::CountFlags`]: pages of each range that carry each flag, by bit number (KPF_*); pages with no flag count
    /// as 255
    Flags(Vec<BTreeMap<u8, u64>>),
    /// to [`Ask::Verify`]
    Verified {
        /// pages looked at
        pages: u64,
        /// pages whose content is wrong
        wrong: u64,
    },
    /// to [`Ask::Frames`]
    Frames(Vec<(u64, u64)>),
    /// to [`Ask::Process`]
    Process(i32),
    /// to [`Ask::Processes`], by number
    Processes(Vec<Process>),
}

/// A process, as /proc/PID/stat has it (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// its number
    pub pid: i32,
    /// its name
    pub name: String,
    /// `R`, `S`, `D`, `T`, `Z`, ...
    pub state: char,
    /// its process group
    pub group: i32,
    /// processor time in ticks (1/100 s), its own and that of the children it has waited for
    pub ticks: u64,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobOutcome {
    /// the write was taken whole
    Written,
    /// the memory is held
    Held {
        /// exactly how much, in bytes
        bytes: u64,
        /// objects or pages that make it up
        objects: u64,
    },
    /// the program ended
    Exited {
        /// exit code, or 128 + signal
        status: i32,
        /// it was killed because its time was up
        timed_out: bool,
        /// first 64 KiB of standard output
        stdout: String,
        /// first 64 KiB of standard error
        stderr: String,
    },
    /// the file is there
    Found,
    /// a page of the frames that were asked for was in use
    Touched {
        /// its frame
        pfn: u64,
        /// guest time, as soon as it was written to
        t_ns: u64,
    },
    /// the plug was timed
    Tried(TrialSeen),
    /// the storm was ended
    Stormed {
        /// writes that were made
        writes: u64,
    },
}

/// What differs from the last snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// New directories, and those in which anything changed, each with all its entries: path -> entry name -> value.
    /// The name `.` holds the listing (names, sorted, joined by blanks); a link `node0` is the entry `->node0`
    /// with the last component of its target.
    pub changed: BTreeMap<String, BTreeMap<String, Value>>,
    /// directories of the last snapshot that no longer exist
    pub gone: Vec<String>,
    /// the watched kernel threads, sorted, with the processors that they may run on (`kswapd0@0-1`), as `kswapd0=D@0-1`
    /// where one is in that state; always complete
    pub threads: Vec<String>,
}

/// Content of one file, or why it could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// text, as read
    Text(String),
    /// errno of open or read
    Errno(i32),
}

/// A uevent as the kernel sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uevent {
    /// guest time of arrival
    pub t_ns: u64,
    /// SEQNUM
    pub seqnum: u64,
    /// add, remove, online, offline, change, ...
    pub action: String,
    /// path below /sys, with its slash
    pub devpath: String,
    /// the other variables
    pub env: BTreeMap<String, String>,
    /// events of a [`Job::Storm`] between the one that was told before and this one: as many numbers are missing
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// errno of the system call that failed, 0 where none did
    pub errno: i32,
    /// what failed, as a fragment
    pub why: String,
}
