//! How much a step that runs foreign code may take of the host.

use rustix::system::sysinfo;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Limits of one step. The first three are the kernel's (RLIMIT_AS, RLIMIT_NPROC, RLIMIT_FSIZE) and hold for each
/// process; the others hold for all processes of the step together and are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// address space of a process, bytes
    pub address_space: u64,
    /// threads. The kernel does not apply RLIMIT_NPROC to root, so that they are counted by the watch too.
    pub threads: u64,
    /// size of a file, bytes
    pub file: u64,
    /// resident memory of all processes, bytes; the sandbox's /tmp may take as much again
    pub memory: u64,
    /// what the directories that are written to may grow by, bytes
    pub disk: u64,
    /// the file system keeps at least this much free, bytes
    pub reserve: u64,
}

impl Limits {
    /// For building a kernel on this host: three quarters of its memory, and room for a build with debug information.
    pub fn of_build() -> Self {
        let info = sysinfo();
        let memory = info.totalram.saturating_mul(u64::from(info.mem_unit));
        Self {
            address_space: 16 * GIB,
            threads: 2048,
            file: 8 * GIB,
            memory: memory / 4 * 3,
            disk: 24 * GIB,
            reserve: GIB,
        }
    }

    /// For splitting and applying patches, where everything is small.
    pub fn of_patching() -> Self {
        Self {
            address_space: 4 * GIB,
            threads: 64,
            file: GIB,
            memory: 2 * GIB,
            disk: 4 * GIB,
            reserve: 256 * MIB,
        }
    }
}
