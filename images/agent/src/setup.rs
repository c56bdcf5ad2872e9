//! What PID 1 must do before it can serve: mounts, device nodes, and staying alive when memory runs out.

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::mount::{MountFlags, mount};
use std::path::Path;

/// Device nodes that are needed where the kernel has no devtmpfs: name, major, minor (admin-guide/devices.txt).
const NODES: [(&str, u32, u32); 8] = [
    ("console", 5, 1),
    ("ttyS0", 4, 64),
    ("ttyS1", 4, 65),
    ("null", 1, 3),
    ("zero", 1, 5),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("kmsg", 1, 11),
];

/// Heap that is taken at the start and never given back.
const HEAP: usize = 4 << 20;

/// Mounts /proc, where the command line is.
pub(crate) fn mount_proc() -> Result<(), String> {
    attach("proc", "/proc", "").map_err(|e| format!("mount /proc: {e}"))
}

/// Is this the guest of a harness?
pub(crate) fn marked() -> Result<bool, String> {
    let path = "/proc/cmdline";
    let cmdline = std::fs::read_to_string(path).map_err(|e| format!("read {path}: {e}"))?;
    Ok(cmdline.split_ascii_whitespace().any(|word| word == wire::MARKER))
}

/// Everything else that is mounted, and /dev. What a kernel may lack without harm is no failure.
pub(crate) fn mount_rest() -> Result<(), String> {
    attach("sysfs", "/sys", "").map_err(|e| format!("mount /sys: {e}"))?;
    match attach("devtmpfs", "/dev", "") {
        Ok(()) => {}
        Err(Errno::NODEV) => make_nodes()?,
        Err(e) => return Err(format!("mount /dev: {e}")),
    }
    match attach("tmpfs", "/tmp", "size=100%") {
        Ok(()) | Err(Errno::NODEV) => {} // without tmpfs the root file system serves
        Err(e) => return Err(format!("mount /tmp: {e}")),
    }
    // Options of the kernel's configuration; who needs them is told by the file that is not there.
    let _ = attach("debugfs", "/sys/kernel/debug", "");
    let _ = attach("cgroup2", "/sys/fs/cgroup", "");
    Ok(())
}

/// Mounts, where it is not mounted already.
fn attach(fstype: &str, target: &str, data: &str) -> Result<(), Errno> {
    if let Err(error) = std::fs::create_dir_all(target) {
        return Err(error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error));
    }
    let data = std::ffi::CString::new(data).map_err(|_| Errno::INVAL)?;
    match mount(fstype, target, fstype, MountFlags::empty(), data.as_c_str()) {
        Err(Errno::BUSY) => Ok(()), // CONFIG_DEVTMPFS_MOUNT
        other => other,
    }
}

fn make_nodes() -> Result<(), String> {
    for (name, major, minor) in NODES {
        let path = Path::new("/dev").join(name);
        let made = mknodat(CWD, &path, FileType::CharacterDevice, Mode::from(0o600), makedev(major, minor));
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(format!("mknod {}: {e}", path.display())),
        }
    }
    Ok(())
}

/// Nice value of the agent's threads: what loads the guest must not keep it from answering. What it starts has its own.
pub(crate) const NICE: i32 = -20;

/// Keeps the agent out of the way of the OOM killer, its memory in place, and a processor within its reach.
///
/// The heap is taken now and kept. Pages are locked once they are there: locking the whole address space ahead
/// would fill every thread's stack.
pub(crate) fn protect() -> Result<(), String> {
    let path = "/proc/self/oom_score_adj";
    std::fs::write(path, "-1000").map_err(|e| format!("write {path}: {e}"))?;
    crate::manner::nice(NICE)?;
    crate::sys::keep_heap();
    drop(std::hint::black_box(vec![1u8; HEAP]));
    mlockall(MlockAllFlags::CURRENT).map_err(|e| format!("mlockall: {e}"))?;
    let later = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(later).map_err(|e| format!("mlockall, later pages: {e}"))
}
