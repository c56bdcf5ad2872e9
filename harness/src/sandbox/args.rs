//! bubblewrap's command line: what a step can see. Pure.

use super::limits::Limits;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What of the host's root directory makes its programs run: /usr, and the old names of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// directories that are shown read-only
    pub directories: Vec<PathBuf>,
    /// links (`/bin` to `usr/bin`), with what they say
    pub links: Vec<(PathBuf, PathBuf)>,
}

impl System {
    /// Looks at this host.
    pub fn of_host() -> Self {
        const OLD_NAMES: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
        let mut system = Self { directories: vec!["/usr".into()], links: Vec::new() };
        for name in OLD_NAMES.map(PathBuf::from) {
            match std::fs::read_link(&name) {
                Ok(target) => system.links.push((name, target)),
                Err(_) if name.is_dir() => system.directories.push(name),
                Err(_) => {}
            }
        }
        system
    }
}

/// What of /etc programs need: no names, no keys, no configuration of the host.
const ETC: [&str; 4] = ["/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What one step may see and touch.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// where it runs
    pub cwd: &'a Path,
    /// variables it gets, besides PATH, HOME, TMPDIR and LC_ALL
    pub env: &'a [(OsString, OsString)],
    /// shown read-only
    pub reads: &'a [PathBuf],
    /// shown writable; these win over `reads` that contain them
    pub writes: &'a [PathBuf],
}

/// `bwrap` and its arguments, up to the program that it starts: a user without privileges, namespaces of its own for
/// everything (no network but an unconnected loopback), an empty root with /usr read-only, a /tmp of its own, the home
/// directory empty, the directories of `view`, and nothing else. It ends with its parent.
pub fn bwrap(program: &Path, system: &System, view: &View<'_>, limits: &Limits) -> Vec<OsString> {
    let mut args = Args(vec![program.into()]);
    args.words(&["--die-with-parent", "--new-session", "--unshare-all", "--unshare-user"]);
    args.words(&["--disable-userns", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"]);
    args.words(&["--clearenv", "--setenv", "PATH", PATH, "--setenv", "HOME", "/tmp"]);
    args.words(&["--setenv", "TMPDIR", "/tmp", "--setenv", "LC_ALL", "C"]);
    for (name, value) in view.env {
        args.of("--setenv", &[name, value]);
    }
    for dir in &system.directories {
        args.of("--ro-bind", &[dir, dir]);
    }
    for (name, target) in &system.links {
        args.of("--symlink", &[target, name]);
    }
    for path in ETC {
        args.words(&["--ro-bind-try", path, path]);
    }
    args.words(&[
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--size",
        &limits.memory.to_string(),
        "--tmpfs",
        "/tmp",
    ]);
    for (flag, dirs) in [("--ro-bind", view.reads), ("--bind", view.writes)] {
        for dir in dirs {
            args.of(flag, &[dir, dir]);
        }
    }
    // What bwrap made to hang all this in is memory too, without a limit.
    args.words(&["--remount-ro", "/dev", "--remount-ro", "/", "--chdir"]);
    args.0.push(view.cwd.into());
    args.words(&["--"]);
    args.0.extend(prlimit(limits));
    args.0
}

/// `prlimit` (util-linux) and its arguments, up to the program that it starts.
pub fn prlimit(limits: &Limits) -> Vec<OsString> {
    let Limits { address_space, threads, file, .. } = limits;
    let mut args = Args(Vec::new());
    args.words(&["prlimit", &format!("--as={address_space}"), &format!("--nproc={threads}")]);
    args.words(&[&format!("--fsize={file}"), "--core=0", "--"]);
    args.0
}

struct Args(Vec<OsString>);

impl Args {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn of<T: Into<OsString> + Clone>(&mut self, flag: &str, operands: &[&T]) {
        self.0.push(flag.into());
        self.0.extend(operands.iter().map(|&o| o.clone().into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_shown_and_writable_wins() {
        let system =
            System { directories: vec!["/usr".into()], links: vec![("/bin".into(), "usr/bin".into())] };
        let env = [("ARCH".into(), "x86_64".into())];
        let (reads, writes) = (["/w/source".into()], ["/w/source/build".into()]);
        let view = View { cwd: Path::new("/w/source"), env: &env, reads: &reads, writes: &writes };
        let limits = Limits { address_space: 1, threads: 2, file: 3, memory: 4, disk: 5, reserve: 6 };
        let words = bwrap(Path::new("/usr/bin/bwrap"), &system, &view, &limits);
        let words: Vec<_> = words.iter().map(|w| w.to_str().unwrap()).collect();
        assert_eq!(
            words.join(" "),
            "/usr/bin/bwrap --die-with-parent --new-session --unshare-all --unshare-user --disable-userns --uid 1000 \
             --gid 1000 --hostname sandbox --clearenv --setenv PATH \
             /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --setenv HOME /tmp --setenv TMPDIR /tmp \
             --setenv LC_ALL C --setenv ARCH x86_64 --ro-bind /usr /usr --symlink usr/bin /bin --ro-bind-try \
             /etc/alternatives /etc/alternatives --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache --ro-bind-try \
             /etc/ld.so.conf /etc/ld.so.conf --ro-bind-try /etc/ld.so.conf.d /etc/ld.so.conf.d --proc /proc --dev /dev \
             --size 4 --tmpfs /tmp --ro-bind /w/source /w/source --bind /w/source/build /w/source/build --remount-ro /dev \
             --remount-ro / --chdir /w/source -- prlimit --as=1 --nproc=2 --fsize=3 --core=0 --"
        );
    }
}
