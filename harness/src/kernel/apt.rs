//! apt without root: its own lists and cache in a directory of ours, the host's archive, keys and proxy settings.
//!
//! apt checks the signatures; nothing of the system's package state is read or written. The caller holds the lock of
//! the directory. Every command has a deadline, and ends when the fetch is told to.

use super::archive::{self, Archive, Candidate, Stanza};
use super::build::{BuildError, Group, Stop, TICK};
use super::error::{KernelError, at};
use super::fetch::Wanted;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const ASK: Duration = Duration::from_secs(120);
const UPDATE: Duration = Duration::from_secs(600);
const DOWNLOAD: Duration = Duration::from_secs(1800);
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// A private apt.
#[derive(Debug)]
pub(crate) struct Apt {
    dir: PathBuf,
    archive: Archive,
    suites: BTreeSet<String>,
    stop: Stop,
}

impl Apt {
    /// Makes the directory ready. Without an archive given, the host's is found.
    pub(crate) fn open(dir: &Path, archive: Option<&Archive>, stop: &Stop) -> Result<Self, KernelError> {
        for sub in ["lists/partial", "cache/archives/partial"] {
            let path = dir.join(sub);
            fs::create_dir_all(&path).map_err(at("creating", &path))?;
        }
        write(&dir.join("status"), "")?;
        write(&dir.join("apt.conf"), &configuration(dir))?;
        let archive = match archive {
            Some(archive) => archive.clone(),
            None => host_archive(stop)?,
        };
        Ok(Self { dir: dir.to_path_buf(), archive, suites: BTreeSet::new(), stop: stop.clone() })
    }

    /// Fetches the package list of a suite, which the other questions can then be asked about.
    pub(crate) fn update(&mut self, suite: &str) -> Result<(), KernelError> {
        write(&self.dir.join("sources.list"), &self.archive.source_line(suite))?;
        self.run("apt-get", &["update"], UPDATE)?;
        self.suites.insert(suite.to_string());
        let lines: String = self.suites.iter().map(|s| self.archive.source_line(s)).collect();
        write(&self.dir.join("sources.list"), &lines)
    }

    /// What is wanted and in the suites that were updated.
    pub(super) fn candidates(&self, wanted: &dyn Wanted) -> Result<Vec<Candidate>, KernelError> {
        let listed = self.run("apt-cache", &["pkgnames", &wanted.prefix()], ASK)?;
        let names = archive::kernel_names(&listed, wanted);
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let arguments: Vec<&str> =
            std::iter::once("madison").chain(names.iter().map(String::as_str)).collect();
        Ok(archive::parse_madison(&self.run("apt-cache", &arguments, ASK)?))
    }

    /// Whether the archive has this version of a package: a kernel may depend on what is not there (any more).
    pub(super) fn has(&self, package: &str, version: &str) -> Result<bool, KernelError> {
        let listed = archive::parse_madison(&self.run("apt-cache", &["madison", package], ASK)?);
        Ok(listed.iter().any(|c| c.package == package && c.version == version))
    }

    /// What the signed package list says about one version of a package.
    pub(super) fn show(&self, package: &str, version: &str) -> Result<Stanza, KernelError> {
        let wanted = format!("{package}={version}");
        let text = self.run("apt-cache", &["show", &wanted], ASK)?;
        let mut found = archive::parse_show(&text).into_iter();
        found.find(|s| s.file.package == package && s.file.version == version).ok_or_else(|| {
            KernelError::Apt {
                command: format!("apt-cache show {wanted}"),
                stderr: "no paragraph with a SHA256".into(),
            }
        })
    }

    /// The newest version of a package in the suites that were updated; `None` where they have none (a virtual package).
    pub(crate) fn newest(&self, package: &str) -> Result<Option<Stanza>, KernelError> {
        let listed = archive::parse_madison(&self.run("apt-cache", &["madison", package], ASK)?);
        let versions = listed.iter().filter(|c| c.package == package).map(|c| c.version.as_str());
        let newest = versions.max_by(|a, b| archive::compare_versions(a, b));
        newest.map(|version| self.show(package, version)).transpose()
    }

    /// Downloads into a directory, which is checked by apt against the signed list.
    pub(crate) fn download(&self, package: &str, version: &str, into: &Path) -> Result<PathBuf, KernelError> {
        let dir = into.join(package);
        fs::create_dir_all(&dir).map_err(at("creating", &dir))?;
        let wanted = format!("{package}={version}");
        self.run_in(&dir, "apt-get", &["download", &wanted], DOWNLOAD)?;
        let mut files = fs::read_dir(&dir).map_err(at("reading", &dir))?;
        let file = files
            .find_map(|f| f.ok().map(|f| f.path()).filter(|p| p.extension().is_some_and(|e| e == "deb")));
        file.ok_or_else(|| KernelError::Apt {
            command: format!("apt-get download {wanted}"),
            stderr: "no .deb was left".into(),
        })
    }

    fn run(&self, program: &str, arguments: &[&str], limit: Duration) -> Result<String, KernelError> {
        self.run_in(&self.dir, program, arguments, limit)
    }

    fn run_in(
        &self,
        cwd: &Path,
        program: &str,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<String, KernelError> {
        run(cwd, program, Some(&self.dir.join("apt.conf")), arguments, limit, &self.stop)
    }
}

/// Lists of hooks are cleared: the host's may touch the system's state. `-c` is read after the host's files, so that
/// its proxy and mirror settings stay.
fn configuration(dir: &Path) -> String {
    let mut text = String::new();
    for list in ["Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"] {
        text += &format!("#clear APT::Update::{list};\n");
    }
    text += "#clear APT::Architectures;\nAPT::Architecture \"amd64\";\nAPT::Architectures { \"amd64\"; };\n";
    for (name, file) in [
        ("Dir::State", "."),
        ("Dir::State::lists", "lists/"),
        ("Dir::State::status", "status"),
        ("Dir::State::extended_states", "extended_states"),
        ("Dir::Cache", "cache"),
        ("Dir::Cache::archives", "archives/"),
        ("Dir::Etc::sourcelist", "sources.list"),
    ] {
        let base = if name == "Dir::Cache::archives" { dir.join("cache") } else { dir.to_path_buf() };
        text += &format!("{name} \"{}\";\n", base.join(file).display());
    }
    text += "Dir::Etc::sourceparts \"/dev/null\";\nDir::Etc::preferences \"/dev/null\";\n\
        Dir::Etc::preferencesparts \"/dev/null\";\nDir::Cache::pkgcache \"pkgcache.bin\";\n\
        Dir::Cache::srcpkgcache \"srcpkgcache.bin\";\nAcquire::Languages \"none\";\nAcquire::Retries \"2\";\n\
        Acquire::http::Timeout \"30\";\nAcquire::https::Timeout \"30\";\nAPT::Get::List-Cleanup \"false\";\n\
        APT::Update::Error-Mode \"any\";\n";
    text
}

/// The Debian archive among the host's package sources, with the keys that Debian's own package installs and those
/// that the host names for it.
fn host_archive(stop: &Stop) -> Result<Archive, KernelError> {
    let empty = tempfile::tempdir().map_err(at("creating a directory in", &std::env::temp_dir()))?;
    let lists = format!("Dir::State::lists={}/", empty.path().display());
    let arguments = ["update", "--print-uris", "-o", &lists];
    let text = run(empty.path(), "apt-get", None, &arguments, ASK, stop)?;
    let Some(mut archive) = Archive::from_print_uris(&text) else {
        let uris = text.lines().filter(|l| l.contains("/InRelease'")).filter_map(|l| l.split('\'').nth(1));
        let seen = uris.collect::<Vec<_>>().join(", ");
        return Err(KernelError::NoArchive(if seen.is_empty() { "none".into() } else { seen }));
    };
    archive.keyrings = KEYRINGS.iter().filter(|k| Path::new(k).is_file()).map(|k| k.to_string()).collect();
    archive.keyrings.truncate(1);
    archive.keyrings.extend(host_keyrings(&archive.main));
    archive.keyrings.dedup();
    Ok(archive)
}

/// Key rings in the host's sources that name this archive (`signed-by=/…` or `Signed-By: /…`).
fn host_keyrings(main: &str) -> Vec<String> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|e| e.path());
    let files = std::iter::once(PathBuf::from("/etc/apt/sources.list")).chain(parts);
    let texts = files.filter_map(|f| fs::read_to_string(f).ok());
    texts.flat_map(|t| signed_by(&t, main)).collect()
}

fn signed_by(text: &str, main: &str) -> Vec<String> {
    let old = text.lines().filter(|l| l.starts_with("deb ")).map(str::to_string);
    let new =
        text.split("\n\n").filter(|s| s.contains("\nURIs:") || s.starts_with("URIs:")).map(str::to_string);
    let entries = old.chain(new).filter(|e| e.contains(main));
    let rings = entries.filter_map(|e| {
        let lower = e.to_ascii_lowercase();
        let at = lower.find("signed-by")?;
        let value = e[at + "signed-by".len()..].trim_start_matches([':', '=', ' ']);
        let path = value.split([']', ' ', '\n']).next()?;
        path.starts_with('/').then(|| path.to_string())
    });
    rings.collect()
}

fn write(path: &Path, text: &str) -> Result<(), KernelError> {
    fs::write(path, text).map_err(at("writing", path))
}

/// Runs a command to its end, its deadline or the stop, in a group of its own: a Ctrl-C must not look like a failure of
/// the archive. Output goes through files, so that nothing waits for a reader.
fn run(
    cwd: &Path,
    program: &str,
    config: Option<&Path>,
    arguments: &[&str],
    limit: Duration,
    stop: &Stop,
) -> Result<String, KernelError> {
    let named = format!("{program} {}", arguments.join(" "));
    let output = tempfile::tempdir().map_err(at("creating a directory in", &std::env::temp_dir()))?;
    let (out, err) = (output.path().join("out"), output.path().join("err"));
    let create = |path: &Path| File::create(path).map_err(at("creating", path));
    let config = config.map(|c| vec![OsString::from("-c"), c.into()]).unwrap_or_default();
    let all: Vec<OsString> = config.into_iter().chain(arguments.iter().map(OsString::from)).collect();
    let mut command = Command::new(program);
    command.args(all).current_dir(cwd).env("LC_ALL", "C").stdin(Stdio::null());
    command.stdout(create(&out)?).stderr(create(&err)?);
    let Some(status) = ended(&mut command, program, limit, stop)? else {
        return Err(KernelError::AptTimeout { command: named, seconds: limit.as_secs() });
    };
    let read = |path: &Path| fs::read_to_string(path).map_err(at("reading", path));
    if status.success() {
        return read(&out);
    }
    let stderr = read(&err)?;
    if stderr.contains("No space left on device") || stderr.contains("enough free space") {
        return Err(KernelError::NoSpace(cwd.to_path_buf()));
    }
    Err(KernelError::Apt { command: named, stderr: complaint(&stderr, &status.to_string()) })
}

/// Its status; `None`: the deadline passed.
fn ended(
    command: &mut Command,
    program: &str,
    limit: Duration,
    stop: &Stop,
) -> Result<Option<ExitStatus>, KernelError> {
    let stopped =
        || stop.signal().map_or(Ok(()), |signal| Err(KernelError::from(BuildError::Stopped(signal))));
    let path = Path::new(program);
    stopped()?;
    let child = crate::sys::spawn_bound(command, &[], Signal::TERM).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => KernelError::AptMissing(program.to_string()),
        _ => at("starting", path)(e),
    })?;
    let mut group = Group::of(child).map_err(at("watching", path))?;
    let begun = Instant::now();
    while !group.ended_within(&TICK).map_err(at("waiting for", path))? {
        stopped()?;
        if begun.elapsed() > limit {
            return Ok(None);
        }
    }
    let status = group.reap().map_err(at("waiting for", path))?;
    if !status.success() {
        stopped()?;
    }
    Ok(Some(status))
}

/// apt's errors in a line: the first two, without doubles.
fn complaint(stderr: &str, status: &str) -> String {
    let mut lines: Vec<&str> = stderr.lines().filter_map(|l| l.strip_prefix("E: ")).collect();
    lines.dedup();
    lines.truncate(2);
    if lines.is_empty() { status.to_string() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_rings_of_the_archive_and_of_no_other() {
        let text = "Types: deb\nURIs: http://m/debian\nSuites: trixie\nSigned-By: /k/debian.gpg\n\n\
            Types: deb\nURIs: https://other/apt\nSigned-By: /k/other.gpg\n";
        assert_eq!(signed_by(text, "http://m/debian"), ["/k/debian.gpg"]);
        let old =
            "deb [arch=amd64 signed-by=/k/a.gpg] http://m/debian sid main\ndeb http://m/debian trixie main\n";
        assert_eq!(signed_by(old, "http://m/debian"), ["/k/a.gpg"]);
        let inline = "URIs: http://m/debian\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(signed_by(inline, "http://m/debian"), Vec::<String>::new());
    }

    #[test]
    fn complaints_in_a_line() {
        let text =
            "W: old\nE: Failed to fetch x\nE: Failed to fetch x\nE: Some index files failed\nE: more\n";
        assert_eq!(complaint(text, "exit status: 100"), "Failed to fetch x; Some index files failed");
        assert_eq!(complaint("", "exit status: 100"), "exit status: 100");
    }

    #[test]
    fn a_stop_ends_a_command_and_is_no_failure_of_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let stop = Stop::default();
        let sh = |script: &str| run(dir.path(), "sh", None, &["-c", script], ASK, &stop);
        assert_eq!(sh("echo out").unwrap(), "out\n");
        let failed = sh("echo E: gone >&2; exit 100").unwrap_err();
        assert_eq!(
            (failed.is_apt(), failed.to_string()),
            (true, "sh -c echo E: gone >&2; exit 100 failed: gone".into())
        );
        let begun = dir.path().join("begun");
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !begun.exists() {
                    std::thread::yield_now();
                }
                stop.request(15);
            });
            sh("> begun; exec sleep 3600").unwrap_err()
        });
        assert_eq!((error.is_apt(), error.to_string()), (false, "ended by signal 15".into()));
        fs::remove_file(&begun).unwrap();
        assert_eq!(sh("> begun").unwrap_err().to_string(), "ended by signal 15");
        assert!(!begun.exists(), "nothing is started after a stop");
    }

    #[test]
    fn a_command_has_a_deadline() {
        let limit = Duration::from_millis(10);
        let error = run(Path::new("/"), "sleep", None, &["3600"], limit, &Stop::default()).unwrap_err();
        assert_eq!(error.to_string(), "sleep 3600 did not end within 0 s");
    }

    #[test]
    fn nothing_of_the_system_is_touched() {
        let text = configuration(Path::new("/c/apt"));
        for path in ["lists/", "status", "cache", "sources.list"] {
            assert!(text.contains(&format!("\"/c/apt/{path}\"")), "{path}");
        }
        assert!(text.contains("#clear APT::Update::Post-Invoke;"));
    }
}
