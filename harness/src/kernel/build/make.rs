//! `make` for a kernel: its command line, its environment, what its failure says.

use super::complaint;
use super::error::BuildError;
use super::process;
use super::step::{Step, Tools};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs that every kernel build starts, and Debian's packages of them.
const NEEDED: [(&str, &str); 5] =
    [("make", "make"), ("gcc", "gcc"), ("flex", "flex"), ("bison", "bison"), ("bc", "bc")];

/// What of the user's shell reaches the build: where programs, the user's files and temporary ones are, and how ccache
/// works. Anything else could change the kernel (CPATH, KCFLAGS, SOURCE_DATE_EPOCH, …) and is no part of the request.
const KEPT: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"];

/// Where distributions keep links named like compilers that lead to ccache.
const CCACHE: [&str; 3] = ["/usr/lib/ccache", "/usr/lib64/ccache", "/usr/local/libexec/ccache"];

/// Whether the build takes the user's environment: one of ours must not, one in the user's own tree must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Environment {
    /// Only what the request says; time, user and host in the image are fixed, so that equal inputs make equal images.
    Ours,
    /// As `make` in the user's shell.
    Users,
}

/// A call of make.
#[derive(Debug, Clone, Copy)]
pub(super) struct Make<'a> {
    pub(super) tree: &'a Path,
    /// The same as `tree` for a build in place.
    pub(super) build_dir: &'a Path,
    pub(super) environment: Environment,
    pub(super) log: &'a Path,
}

impl Make<'_> {
    /// Makes targets; an error carries the compiler's own message.
    pub(super) fn run(&self, targets: &[&str], tools: &Tools<'_>) -> Result<(), BuildError> {
        check_tools()?;
        let what = format!("make {}", targets.join(" "));
        self.announce(targets)?;
        let status = process::run(&what, self.step(targets, tools.jobs), self.log, tools)?;
        if status.success() {
            return Ok(());
        }
        let text = end_of(self.log).map_err(crate::kernel::error::at("reading", self.log))?;
        let begin = text.rfind(&self.heading(targets)).unwrap_or(0);
        match complaint::of(&text[begin..]) {
            complaint::Complaint::NoSpace => Err(self.no_space(what)),
            // Where the disk is full, the message may not have found room in the log either.
            complaint::Complaint::Message(message) if !message.contains(": error: ") && self.is_full() => {
                Err(self.no_space(what))
            }
            complaint::Complaint::Message(message) => {
                let message = if message.is_empty() { status.to_string() } else { message };
                Err(BuildError::Make { what, message, log: self.log.to_path_buf() })
            }
        }
    }

    fn no_space(&self, what: String) -> BuildError {
        BuildError::NoSpace { what, dir: self.build_dir.to_path_buf() }
    }

    /// Less is free than one large object needs.
    fn is_full(&self) -> bool {
        const LARGE: u64 = 16 << 20;
        rustix::fs::statvfs(self.build_dir).is_ok_and(|s| s.f_bavail * s.f_frsize < LARGE)
    }

    /// The line that begins this call's part of the log.
    fn heading(&self, targets: &[&str]) -> String {
        format!("memhp: make {} in {}\n", targets.join(" "), self.build_dir.display())
    }

    fn step(&self, targets: &[&str], jobs: usize) -> Step {
        let mut argv: Vec<OsString> = vec!["make".into(), "-C".into(), self.tree.into()];
        if self.tree != self.build_dir {
            let mut out = OsString::from("O=");
            out.push(self.build_dir);
            argv.push(out);
        }
        // The output of one command stays together, also the message of one compiler.
        argv.extend(["--output-sync=target".into(), format!("-j{jobs}").into()]);
        argv.extend(targets.iter().map(OsString::from));
        Step {
            argv,
            cwd: self.build_dir.to_path_buf(),
            env: self.environment.variables(std::env::vars_os().map(|(name, _)| name)),
            reads: vec![self.tree.to_path_buf()],
            writes: vec![self.build_dir.to_path_buf()],
        }
    }

    /// Writes the heading, so that the part of the log that belongs to this call can be found.
    fn announce(&self, targets: &[&str]) -> Result<(), BuildError> {
        use std::io::Write;
        let file = File::options().create(true).append(true).open(self.log);
        let mut file = file.map_err(crate::kernel::error::at("opening", self.log))?;
        let written = file.write_all(self.heading(targets).as_bytes());
        Ok(written.map_err(crate::kernel::error::at("writing", self.log))?)
    }
}

impl Environment {
    /// Changes to an environment that has these names.
    fn variables(self, there: impl Iterator<Item = OsString>) -> Vec<(OsString, Option<OsString>)> {
        let mut all: Vec<(OsString, Option<OsString>)> = Vec::new();
        if self == Self::Ours {
            let is_kept = |n: &OsString| {
                KEPT.iter().any(|kept| n == kept) || n.as_encoded_bytes().starts_with(b"CCACHE_")
            };
            all.extend(there.filter(|n| !is_kept(n)).map(|n| (n, None)));
        }
        all.push(("LC_ALL".into(), Some("C".into())));
        if let Some(path) = path_with_ccache() {
            all.push(("PATH".into(), Some(path)));
        }
        match self {
            Self::Users => all.extend(["MAKEFLAGS", "MFLAGS", "MAKELEVEL"].map(|n| (n.into(), None))),
            Self::Ours => {
                let fixed = [
                    ("LANG", "C"),
                    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
                    ("KBUILD_BUILD_USER", "memhp"),
                    ("KBUILD_BUILD_HOST", "memhp"),
                    ("KBUILD_BUILD_VERSION", "1"),
                ];
                all.extend(fixed.map(|(n, v)| (n.into(), Some(v.into()))));
            }
        }
        all
    }
}

/// The last part of a log, its lines cut: what is said of a failure must be fit to be read.
fn end_of(log: &Path) -> io::Result<String> {
    const MOST: u64 = 4 << 20;
    const LONGEST: usize = 500;
    let mut file = File::open(log)?;
    let from = file.metadata()?.len().saturating_sub(MOST);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let cut = |line: &str| match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…\n", &line[..end]),
        None => format!("{line}\n"),
    };
    Ok(text.lines().map(cut).collect())
}

/// ccache's compilers first: as their names are the compilers', the commands that kbuild records stay the same.
fn path_with_ccache() -> Option<OsString> {
    on_path("ccache")?;
    let dir = CCACHE.iter().map(Path::new).find(|d| d.join("gcc").exists())?;
    let path = std::env::var_os("PATH")?;
    let rest = std::env::split_paths(&path).filter(|d| d != dir);
    std::env::join_paths(std::iter::once(dir.to_path_buf()).chain(rest)).ok()
}

fn check_tools() -> Result<(), BuildError> {
    match NEEDED.iter().find(|(program, _)| on_path(program).is_none()) {
        Some((program, package)) => Err(BuildError::NoTool { program, package }),
        None => Ok(()),
    }
}

/// What compiler and linker say they are: another one makes another kernel.
pub(super) fn compiler() -> Result<String, BuildError> {
    check_tools()?;
    let mut lines = Vec::new();
    for program in ["gcc", "ld"] {
        let out = Command::new(program).arg("--version").env("LC_ALL", "C").stdin(Stdio::null()).output();
        let out = out.map_err(crate::kernel::error::at("starting", Path::new(program)))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        lines.push(text.lines().next().unwrap_or_default().to_string());
    }
    Ok(lines.join("; "))
}

/// Where a program is.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(tree: &str, build_dir: &str, environment: Environment) -> Step {
        let (tree, build_dir, log) = (Path::new(tree), Path::new(build_dir), Path::new("/log"));
        Make { tree, build_dir, environment, log }.step(&["vmlinux"], 3)
    }

    #[test]
    fn command_line_out_of_tree_and_in_place() {
        let out = step("/src", "/b", Environment::Ours);
        assert_eq!(out.argv, ["make", "-C", "/src", "O=/b", "--output-sync=target", "-j3", "vmlinux"]);
        assert_eq!((out.reads, out.writes), (vec!["/src".into()], vec!["/b".into()]));
        let in_place = step("/src", "/src", Environment::Users);
        assert_eq!(in_place.argv, ["make", "-C", "/src", "--output-sync=target", "-j3", "vmlinux"]);
    }

    #[test]
    fn of_a_log_the_end_is_read_and_its_lines_are_cut() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{}\nlast\n", "é".repeat(3 << 20))).unwrap();
        let text = end_of(file.path()).unwrap();
        let lines: Vec<usize> = text.lines().map(|l| l.chars().count()).collect();
        assert_eq!((lines, text.ends_with("…\nlast\n")), (vec![501, 4], true));
        std::fs::write(file.path(), "memhp: make x in /b\nerror\n").unwrap();
        assert_eq!(end_of(file.path()).unwrap(), "memhp: make x in /b\nerror\n");
    }

    #[test]
    fn the_users_shell_does_not_reach_our_builds() {
        const THERE: [&str; 9] =
            ["PATH", "HOME", "CCACHE_DIR", "CPATH", "LIBRARY_PATH", "KCFLAGS", "LC_ALL", "LANG", "W"];
        let of = |e: Environment| e.variables(THERE.iter().map(OsString::from));
        // As a process has it in the end.
        let left = |e: Environment| -> Vec<String> {
            let mut all: Vec<String> = THERE.iter().map(ToString::to_string).collect();
            for (name, value) in of(e) {
                let name = name.into_string().unwrap();
                all.retain(|n| *n != name);
                all.extend(value.map(|_| name));
            }
            all.sort();
            all
        };
        assert_eq!(
            left(Environment::Ours),
            [
                "CCACHE_DIR",
                "HOME",
                "KBUILD_BUILD_HOST",
                "KBUILD_BUILD_TIMESTAMP",
                "KBUILD_BUILD_USER",
                "KBUILD_BUILD_VERSION",
                "LANG",
                "LC_ALL",
                "PATH"
            ]
        );
        assert!(of(Environment::Ours).contains(&("LC_ALL".into(), Some("C".into()))));
        assert!(of(Environment::Ours).contains(&("LANG".into(), Some("C".into()))));
        let users = left(Environment::Users);
        assert!(users.contains(&"KCFLAGS".to_string()) && !users.contains(&"KBUILD_BUILD_USER".to_string()));
        assert!(of(Environment::Users).contains(&("MAKEFLAGS".into(), None)));
    }
}
