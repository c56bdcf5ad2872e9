//! What can go wrong between a kernel's name and a kernel, and what is worth telling when nothing went wrong.

use super::build::BuildError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a kernel could not be had. Fragments fit for "failed to …: {error}".
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Neither a definition nor a file.
    #[error(
        "no kernel {spec:?}: neither a definition ({names}) nor a file or directory; ./{spec} forces a path"
    )]
    Unknown {
        /// as typed
        spec: String,
        /// names of all definitions
        names: String,
    },
    /// Not the name of a kernel that is built.
    #[error(
        "no kernel {name:?} that is built from source: there are {names}; a source directory is given with --tree"
    )]
    NotBuilt {
        /// as typed
        name: String,
        /// names of those that are
        names: String,
    },
    /// A definition that no archive has versions of.
    #[error("{0} is built from source: no archive offers versions of it")]
    NotPackaged(String),
    /// A path that is not there.
    #[error("no such file or directory: {}", .0.display())]
    Missing(PathBuf),
    /// A file that is no kernel.
    #[error("{} is not a kernel: {why}; give a bzImage, a vmlinux or a build directory", path.display())]
    NotAKernel {
        /// the file
        path: PathBuf,
        /// what it looks like
        why: String,
    },
    /// A kernel for another machine.
    #[error("{} is a kernel for {arch}; only x86-64 kernels are supported", path.display())]
    OtherArch {
        /// the file
        path: PathBuf,
        /// the machine, in the kernel's word where it has one
        arch: String,
    },
    /// A directory in which nothing was built.
    #[error("{} holds no kernel image: neither arch/x86/boot/bzImage nor vmlinux; build it first", .0.display())]
    NoImage(PathBuf),
    /// An uncompressed kernel that QEMU cannot enter.
    #[error("{} has no PVH entry point and cannot be booted: give the bzImage, or build with CONFIG_PVH=y", .0.display())]
    NoPvh(PathBuf),
    /// There is nothing to test.
    #[error("{kernel} is without memory hotplug: CONFIG_MEMORY_HOTPLUG is not set in {config}")]
    NoMemoryHotplug {
        /// name of the kernel
        kernel: String,
        /// where the configuration was read
        config: String,
    },
    /// The release name does not begin with a version.
    #[error("{}: {error}", path.display())]
    BadRelease {
        /// the image
        path: PathBuf,
        /// the text
        error: crate::version::BadVersion,
    },
    /// A definition that cannot be read.
    #[error("kernel definition {file}: {error}")]
    Definition {
        /// file name
        file: String,
        /// with the line
        error: String,
    },
    /// The lock file cannot be read.
    #[error("{file}: {error}")]
    Lock {
        /// file name
        file: String,
        /// with the line
        error: String,
    },
    /// No place for the cache.
    #[error("no directory to keep kernels in: set XDG_CACHE_HOME or HOME")]
    NoCacheDir,
    /// No apt.
    #[error(
        "{0} not found: kernel packages need a Debian host with apt; elsewhere give a bzImage or a build directory"
    )]
    AptMissing(String),
    /// No Debian archive among the host's package sources.
    #[error(
        "the host's apt configuration names no Debian archive (saw: {0}); kernel packages need one, or give a bzImage"
    )]
    NoArchive(String),
    /// apt said no.
    #[error("{command} failed: {stderr}")]
    Apt {
        /// command line without the private configuration
        command: String,
        /// its complaints
        stderr: String,
    },
    /// apt did not come to an end.
    #[error("{command} did not end within {seconds} s")]
    AptTimeout {
        /// command line without the private configuration
        command: String,
        /// the limit
        seconds: u64,
    },
    /// The archive has no such series.
    #[error("no {wanted} in {suites}")]
    NoPackage {
        /// what was looked for
        wanted: String,
        /// suites that were read
        suites: String,
    },
    /// Two names for different things.
    #[error("{package} {version}: the archive says sha256 {archive}, the lock says {lock}; not used")]
    LockMismatch {
        /// package
        package: String,
        /// its version
        version: String,
        /// by the signed package list
        archive: String,
        /// by kernels.lock
        lock: String,
    },
    /// A package file that does not hold what it must.
    #[error("{}: {why}", path.display())]
    Deb {
        /// the file
        path: PathBuf,
        /// what is missing or damaged
        why: String,
    },
    /// No room.
    #[error("no space left on the file system of {}", .0.display())]
    NoSpace(PathBuf),
    /// Anything else about files.
    #[error("{doing} {}: {error}", path.display())]
    Io {
        /// read, write, …
        doing: &'static str,
        /// which file
        path: PathBuf,
        /// why
        error: io::Error,
    },
    /// A module of this kernel cannot be had.
    #[error("module {module}: {why}")]
    Module {
        /// its name
        module: String,
        /// what is wrong
        why: String,
    },
    /// It could not be built.
    #[error(transparent)]
    Build(#[from] Box<BuildError>),
}

impl From<BuildError> for KernelError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Kernel(error) => *error,
            error => Self::Build(Box::new(error)),
        }
    }
}

impl KernelError {
    /// The archive could not be reached or did not have it, so that something kept from before may stand in.
    pub(crate) fn is_apt(&self) -> bool {
        matches!(
            self,
            Self::Apt { .. }
                | Self::AptTimeout { .. }
                | Self::AptMissing(_)
                | Self::NoArchive(_)
                | Self::NoPackage { .. }
        )
    }
}

/// Gives an I/O error its path; a full disk is told apart.
pub(crate) fn at<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> KernelError + 'a {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => KernelError::NoSpace(path.into()),
        _ => KernelError::Io { doing, path: path.into(), error },
    }
}

/// Something the user should know although a kernel was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A download has begun.
    Fetching {
        /// definition
        name: String,
        /// packages with versions
        what: String,
    },
    /// The archive was not reached.
    Offline {
        /// definition
        name: String,
        /// what is used instead
        release: String,
        /// why
        why: String,
    },
    /// The archive no longer has what the lock pins.
    PinGone {
        /// definition
        name: String,
        /// version in the lock
        pinned: String,
        /// what is used instead
        version: String,
    },
    /// One of several suites could not be read.
    SuiteSkipped {
        /// suite
        suite: String,
        /// why
        why: String,
    },
    /// A damaged cache entry was thrown away.
    BadEntry {
        /// where
        path: PathBuf,
        /// how it was damaged
        why: String,
    },
    /// Another process holds the cache.
    Waiting {
        /// the lock file
        lock: PathBuf,
    },
    /// A configuration was found and not believed.
    ConfigIgnored {
        /// the file
        path: PathBuf,
        /// why
        why: String,
    },
    /// The configuration was changed after the image was built.
    ConfigNewer {
        /// the file
        path: PathBuf,
    },
    /// The bzImage is booted as it is, which takes longer.
    Compressed {
        /// the image
        path: PathBuf,
        /// why it could not be unpacked
        why: String,
    },
}

impl Notice {
    /// A warning, as opposed to something to show only on request.
    pub fn is_warning(&self) -> bool {
        !matches!(self, Self::Fetching { .. } | Self::Waiting { .. } | Self::Compressed { .. })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetching { name, what } => write!(f, "{name}: fetching {what}"),
            Self::Offline { name, release, why } => {
                write!(f, "{name}: offline: using cached {release} ({why})")
            }
            Self::PinGone { name, pinned, version } => {
                write!(
                    f,
                    "{name}: the archive no longer has {pinned}; using {version} (`memhp kernels update`)"
                )
            }
            Self::SuiteSkipped { suite, why } => write!(f, "suite {suite} not read: {why}"),
            Self::BadEntry { path, why } => {
                write!(f, "damaged cache entry {} thrown away: {why}", path.display())
            }
            Self::Waiting { lock } => write!(f, "waiting for another process: {}", lock.display()),
            Self::ConfigIgnored { path, why } => write!(f, "{} not used: {why}", path.display()),
            Self::ConfigNewer { path } => {
                write!(f, "{} is newer than the image and may not be what it was built with", path.display())
            }
            Self::Compressed { path, why } => {
                write!(f, "{} is booted as it is, which takes longer: {why}", path.display())
            }
        }
    }
}

impl KernelError {
    /// What was asked for is wrong; everything else is the host's or the archive's fault.
    pub fn is_usage(&self) -> bool {
        use KernelError as E;
        if let E::Build(error) = self {
            return error.is_usage();
        }
        matches!(
            self,
            E::Unknown { .. }
                | E::NotPackaged(_)
                | E::NotBuilt { .. }
                | E::Missing(_)
                | E::NotAKernel { .. }
                | E::OtherArch { .. }
                | E::NoImage(_)
                | E::NoPvh(_)
                | E::NoMemoryHotplug { .. }
                | E::Definition { .. }
                | E::Lock { .. }
        )
    }
}
