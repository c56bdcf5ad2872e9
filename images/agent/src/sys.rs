//! The system calls that need `unsafe`; nothing else in the agent does.

use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::process::Pid;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

/// What interrupts a write. Its handler is installed without SA_RESTART.
const INTERRUPT: libc::c_int = libc::SIGUSR1;

/// `RNDADDENTROPY` and `RNDRESEEDCRNG` (include/uapi/linux/random.h).
const RND_ADD_ENTROPY: libc::Ioctl = 0x4008_5203;
const RND_RESEED_CRNG: libc::Ioctl = 0x5207;

/// Size of `struct io_uring_params`, and the operations on buffers (include/uapi/linux/io_uring.h).
const IO_URING_PARAMS: usize = 120;
const IORING_REGISTER_BUFFERS: libc::c_uint = 0;
const IORING_UNREGISTER_BUFFERS: libc::c_uint = 1;

/// Pages of this process alone (include/uapi/linux/mempolicy.h).
const MPOL_MF_MOVE: libc::c_int = 1 << 1;

/// A descriptor that cannot be written to; it takes the place of the one being written on an interrupt.
static DEAD_END: AtomicI32 = AtomicI32::new(-1);

thread_local! {
    /// The descriptor that this thread is writing to, or -1.
    static WRITING: AtomicI32 = const { AtomicI32::new(-1) };
}

/// Ends the write of the thread it runs in, wherever the signal found it.
///
/// A write that sleeps or loops with an eye on signals (`offline_pages`) has already come back with EINTR. One
/// that the kernel starts again after every signal (`restart_syscall` in `lock_device_hotplug_sysfs`), or that has
/// not begun, finds a descriptor that is not open for writing, and fails with EBADF.
extern "C" fn on_interrupt(_: libc::c_int) {
    let fd = WRITING.with(|w| w.load(Ordering::SeqCst));
    if fd < 0 {
        return;
    }
    // SAFETY: dup2 is async-signal-safe and takes no memory; errno is the thread's own and is put back.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        libc::dup2(DEAD_END.load(Ordering::SeqCst), fd);
        *errno = saved;
    }
}

/// Installs the handler of the interrupting signal; `dead_end` must stay open and must not be writable.
pub(crate) fn install_interrupt(dead_end: impl AsFd) -> Result<(), Errno> {
    DEAD_END.store(dead_end.as_fd().as_raw_fd(), Ordering::SeqCst);
    // SAFETY: the structure is zeroed and then filled in; the handler only does what a signal handler may do.
    let rc = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_interrupt as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(INTERRUPT, &action, ptr::null_mut())
    };
    check(rc)
}

/// Names the descriptor that an interrupt of this thread closes for writing; `None` when the write is over.
pub(crate) fn set_writing<F: AsFd>(fd: Option<F>) {
    let raw = fd.map_or(-1, |fd| fd.as_fd().as_raw_fd());
    WRITING.with(|w| w.store(raw, Ordering::SeqCst));
}

/// Interrupts the thread `tid` of this process.
pub(crate) fn interrupt_thread(tid: i32) -> Result<(), Errno> {
    // SAFETY: tgkill takes numbers only.
    let rc = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, INTERRUPT) };
    if rc == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Another process like this one, which does `work`, ends with the status that this gives, and does nothing else.
pub(crate) fn fork(work: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    // SAFETY: whoever holds memory has one thread, so that the child may do all that the parent may.
    match unsafe { libc::fork() } {
        0 => {
            let status = work();
            // SAFETY: takes a number; what the parent has open or buffered is none of the child's business.
            unsafe { libc::_exit(status) }
        }
        pid => Pid::from_raw(pid.max(0)).ok_or_else(last_errno),
    }
}

/// Makes the allocator keep what it has: one arena, nothing mapped apart, nothing given back to the kernel.
pub(crate) fn keep_heap() {
    // SAFETY: mallopt only sets numbers in the allocator.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}

/// Waits for any child to end and says which, leaving it to be waited for again.
pub(crate) fn peek_dead_child() -> Result<i32, Errno> {
    // SAFETY: siginfo_t is plain data, valid when zeroed; waitid fills it in, and si_pid is valid after success.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        match libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOWAIT) {
            0 => Ok(info.si_pid()),
            _ => Err(last_errno()),
        }
    }
}

/// Mixes bytes into the random pool, credits all their bits, and has the generator take them up.
pub(crate) fn reseed(random: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    let fd = random.as_fd().as_raw_fd();
    let bytes_len = i32::try_from(bytes.len()).map_err(|_| Errno::INVAL)?;
    let mut info = Vec::with_capacity(8 + bytes.len());
    info.extend_from_slice(&(bytes_len.saturating_mul(8)).to_ne_bytes());
    info.extend_from_slice(&bytes_len.to_ne_bytes());
    info.extend_from_slice(bytes);
    // SAFETY: `info` is a struct rand_pool_info (two ints, then as many bytes as the second says) and outlives the call.
    check(unsafe { libc::ioctl(fd, RND_ADD_ENTROPY, info.as_ptr()) })?;
    // SAFETY: this ioctl takes no argument.
    check(unsafe { libc::ioctl(fd, RND_RESEED_CRNG) })
}

/// Writes a byte to an I/O port (x86). /dev/port is an option of the kernel's that cloud kernels do not have.
#[cfg(target_arch = "x86_64")]
pub(crate) fn write_port(port: u16, byte: u8) -> Result<(), Errno> {
    // SAFETY: ioperm takes numbers only; it counts for the calling thread.
    check(unsafe { libc::ioperm(port.into(), 1, 1) })?;
    // SAFETY: the port is open to this thread; the harness names one whose device touches no memory.
    unsafe {
        std::arch::asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack, preserves_flags));
    }
    Ok(())
}

/// There are no ports.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn write_port(_: u16, _: u8) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// Address space mapped by this process alone, as 64-bit words.
pub(crate) struct Region {
    at: *mut u64,
    bytes: usize,
}

impl Region {
    /// Private anonymous memory in base pages, nothing of it taken yet.
    pub(crate) fn anonymous(bytes: usize) -> Result<Self, Errno> {
        Self::unbacked(bytes, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// The same, and counted when it is asked for (mm/mmap.c:accountable_mapping).
    pub(crate) fn accounted(bytes: usize) -> Result<Self, Errno> {
        Self::mapped(bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }

    /// Base pages that the kernel may merge with others that are alike.
    pub(crate) fn mergeable(bytes: usize) -> Result<Self, Errno> {
        let region = Self::anonymous(bytes)?;
        // SAFETY: the range is the mapping just made; the advice does not change its content.
        unsafe { rustix::mm::madvise(region.at.cast(), bytes, Advice::LinuxMergeable)? };
        Ok(region)
    }

    /// The same, but never written: reading maps the zero page, so only page tables are taken.
    pub(crate) fn zero_pages(bytes: usize) -> Result<Self, Errno> {
        Self::unbacked(bytes, ProtFlags::READ)
    }

    fn unbacked(bytes: usize, prot: ProtFlags) -> Result<Self, Errno> {
        Self::mapped(bytes, prot, MapFlags::PRIVATE | MapFlags::NORESERVE)
    }

    fn mapped(bytes: usize, prot: ProtFlags, flags: MapFlags) -> Result<Self, Errno> {
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else refers to it.
        let at = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), bytes, prot, flags)? };
        let region = Self { at: at.cast(), bytes };
        // SAFETY: the range is the mapping just made; the advice does not change its content.
        match unsafe { rustix::mm::madvise(at, bytes, Advice::LinuxNoHugepage) } {
            Ok(()) | Err(Errno::INVAL) => Ok(region), // EINVAL: a kernel without huge pages
            Err(e) => Err(e),
        }
    }

    /// Private anonymous memory that the kernel is asked to back with huge pages of `huge` bytes, aligned to them.
    pub(crate) fn huge(bytes: usize, huge: usize) -> Result<Self, Errno> {
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else refers to it.
        let first = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), bytes + huge, prot, flags)? };
        let head = (first as usize).next_multiple_of(huge) - first as usize;
        // SAFETY: both ends are parts of the mapping just made, and the value returned does not have them.
        let at = unsafe {
            let at = first.cast::<u8>().add(head);
            if head > 0 {
                rustix::mm::munmap(first, head)?;
            }
            rustix::mm::munmap(at.add(bytes).cast(), huge - head)?;
            at
        };
        let region = Self { at: at.cast(), bytes };
        // SAFETY: the range is this mapping; the advice does not change its content.
        unsafe { rustix::mm::madvise(at.cast(), bytes, Advice::LinuxHugepage)? };
        Ok(region)
    }

    /// Private memory in pages of the kernel's pool of huge pages; fails with ENOMEM where it has too few.
    pub(crate) fn hugetlb(bytes: usize) -> Result<Self, Errno> {
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::HUGETLB);
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else refers to it.
        let at = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), bytes, prot, flags)? };
        Ok(Self { at: at.cast(), bytes })
    }

    /// A file, shared.
    pub(crate) fn file(fd: impl AsFd, bytes: usize) -> Result<Self, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice, of a file that only this process has open.
        let at = unsafe { rustix::mm::mmap(ptr::null_mut(), bytes, prot, MapFlags::SHARED, fd, 0)? };
        Ok(Self { at: at.cast(), bytes })
    }

    /// Pins every page for long, as the one buffer of a new io_uring, for as long as that is there.
    pub(crate) fn register(&self) -> Result<Ring, Errno> {
        let mut params = [0u64; IO_URING_PARAMS / 8];
        // SAFETY: the kernel reads and writes a struct io_uring_params, which is what `params` has room for.
        let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
        if ring < 0 {
            return Err(last_errno());
        }
        // SAFETY: a descriptor that was just opened and that nothing else knows.
        let ring = unsafe { OwnedFd::from_raw_fd(ring as libc::c_int) };
        let buffer = libc::iovec { iov_base: self.at.cast(), iov_len: self.bytes };
        // SAFETY: one iovec, of this mapping; the kernel holds its pages, which outlive the mapping.
        let rc = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                ring.as_raw_fd(),
                IORING_REGISTER_BUFFERS,
                &raw const buffer,
                1,
            )
        };
        if rc == 0 { Ok(Ring(ring)) } else { Err(last_errno()) }
    }

    /// Locks every page as it comes in.
    pub(crate) fn lock(&self) -> Result<(), Errno> {
        let flags = rustix::mm::MlockFlags::ONFAULT;
        // SAFETY: the range is this mapping.
        unsafe { rustix::mm::mlock_with(self.at.cast::<c_void>(), self.bytes, flags) }
    }

    /// First address.
    pub(crate) fn address(&self) -> u64 {
        self.at as u64
    }

    /// The words of part of the region; `from` and `count` are in words.
    ///
    /// # Panics
    /// Where the range is not inside the region.
    pub(crate) fn words(&self, from: usize, count: usize) -> &[u64] {
        self.check_range(from, count);
        // SAFETY: inside the mapping, aligned, and only `words_mut`, which borrows mutably, writes to it.
        unsafe { std::slice::from_raw_parts(self.at.add(from), count) }
    }

    /// The same, to be written.
    ///
    /// # Panics
    /// Where the range is not inside the region.
    pub(crate) fn words_mut(&mut self, from: usize, count: usize) -> &mut [u64] {
        self.check_range(from, count);
        // SAFETY: as in `words`, and `self` is borrowed mutably. Never called on `zero_pages`, which is read-only.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(from), count) }
    }

    /// Reads one word, so that the page is there.
    ///
    /// # Panics
    /// Where the word is not inside the region.
    pub(crate) fn touch(&self, word: usize) -> u64 {
        self.check_range(word, 1);
        // SAFETY: inside the mapping and aligned; volatile, because the access itself is what is wanted.
        unsafe { self.at.add(word).read_volatile() }
    }

    /// Moves all its pages, which are there already, to a node (move_pages(2)); the errno of the first that is not on it then.
    pub(crate) fn move_to(&self, node: libc::c_int, page: usize) -> Result<(), Errno> {
        let pages: Vec<*mut c_void> =
            (0..self.bytes / page).map(|n| self.at.cast::<u8>().wrapping_add(n * page).cast()).collect();
        let nodes = vec![node; pages.len()];
        let mut status = vec![-libc::ENOENT; pages.len()];
        // SAFETY: the three lists have `pages.len()` entries each and outlive the call; what the pages hold does not change.
        let rc = unsafe {
            libc::syscall(
                libc::SYS_move_pages,
                0,
                pages.len(),
                pages.as_ptr(),
                nodes.as_ptr(),
                status.as_mut_ptr(),
                MPOL_MF_MOVE,
            )
        };
        if rc < 0 {
            return Err(last_errno());
        }
        match status.into_iter().find(|seen| *seen != node) {
            None => Ok(()),
            Some(errno @ ..0) => Err(Errno::from_raw_os_error(-errno)),
            Some(_) => Err(Errno::AGAIN), // it stayed elsewhere
        }
    }

    /// Has a pipe refer to the pages of part of the region; `from` and `bytes` are in bytes. What the pipe took.
    ///
    /// # Panics
    /// Where the range is not inside the region.
    pub(crate) fn splice(&self, from: usize, bytes: usize, pipe: impl AsFd) -> Result<usize, Errno> {
        self.check_range(from / 8, bytes.div_ceil(8));
        // SAFETY: inside the mapping.
        let slice = rustix::pipe::IoSliceRaw::from_slice(unsafe {
            std::slice::from_raw_parts(self.at.cast::<u8>().cast_const().add(from), bytes)
        });
        // SAFETY: the pipe only refers to the pages, which live on with it; nobody relies on what it holds.
        unsafe { rustix::pipe::vmsplice(pipe, &[slice], rustix::pipe::SpliceFlags::NONBLOCK) }
    }

    fn check_range(&self, from: usize, count: usize) {
        let end = from.checked_add(count).expect("range of words overflows");
        assert!(end <= self.bytes / 8, "words {from}..{end} of a region of {} bytes", self.bytes);
    }
}

/// An io_uring with a buffer registered.
pub(crate) struct Ring(OwnedFd);

impl Drop for Ring {
    /// Lets the buffer's pages go before the ring is closed: what closing leaves over, a worker of the kernel's frees later
    /// (linux 6.12 io_uring/io_uring.c:io_ring_ctx_wait_and_kill).
    fn drop(&mut self) {
        // SAFETY: the operation takes no argument; it ends the pins on pages that this process may or may not map still.
        unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.0.as_raw_fd(),
                IORING_UNREGISTER_BUFFERS,
                ptr::null::<c_void>(),
                0,
            )
        };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no slice of it outlives the value.
        let unmapped = unsafe { rustix::mm::munmap(self.at.cast::<c_void>(), self.bytes) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

fn check(rc: libc::c_int) -> Result<(), Errno> {
    if rc < 0 { Err(last_errno()) } else { Ok(()) }
}

fn last_errno() -> Errno {
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}
