//! Which QEMU, how old, and what it can do: asked once, by starting it.

use super::arch::Arch;
use serde_json::Value;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The oldest QEMU that has all we need: `reserve=off` of memory backends came with 6.1.
pub const OLDEST: QemuVersion = QemuVersion { major: 6, minor: 1, micro: 0 };

/// Version of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QemuVersion {
    /// 7 of 7.2.22
    pub major: u64,
    /// 2 of 7.2.22
    pub minor: u64,
    /// 22 of 7.2.22
    pub micro: u64,
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// No usable QEMU.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// none in PATH
    #[error("{program} is not in PATH: install it, or name one with --qemu")]
    NotFound {
        /// what was looked for
        program: &'static str,
    },
    /// it does not run
    #[error("cannot run {}: {source}", path.display())]
    Run {
        /// which
        path: PathBuf,
        /// why
        source: io::Error,
    },
    /// it did not answer as QEMU does
    #[error("{} does not answer over QMP: {why}", path.display())]
    Probe {
        /// which
        path: PathBuf,
        /// what it said instead
        why: String,
    },
    /// too old
    #[error("{} is version {version}; {OLDEST} or later is needed", path.display())]
    TooOld {
        /// which
        path: PathBuf,
        /// its version
        version: QemuVersion,
    },
}

/// A QEMU that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    /// the program, absolute
    pub path: PathBuf,
    /// its version
    pub version: QemuVersion,
    /// the packager's addition to the version, may be empty
    pub package: String,
    /// built with seccomp, and it works here
    pub sandbox: bool,
    /// built with KVM, and /dev/kvm could be opened (which proves little)
    pub kvm: bool,
    /// migration can leave out shared memory (`x-ignore-shared`): guests can be forked
    pub ignore_shared: bool,
}

impl Qemu {
    /// The QEMU at `path`, or the architecture's in PATH, asked what it can do.
    ///
    /// # Errors
    /// See [`QemuError`].
    pub fn find(path: Option<&Path>, arch: Arch) -> Result<Self, QemuError> {
        let path = match path {
            Some(path) => std::path::absolute(path)
                .map_err(|source| QemuError::Run { path: path.to_path_buf(), source })?,
            None => in_path(arch.program()).ok_or(QemuError::NotFound { program: arch.program() })?,
        };
        let probe = |why| QemuError::Probe { path: path.clone(), why };
        let with = ask(&path, true)?;
        let sandbox = parse(&with.0).is_ok();
        let (text, stderr) = if sandbox { with } else { ask(&path, false)? };
        let qemu = parse(&text).map_err(|why| {
            probe(if stderr.is_empty() { why } else { format!("{why}; standard error: {stderr}") })
        })?;
        let qemu = Self { path: path.clone(), sandbox, ..qemu };
        if qemu.version < OLDEST {
            return Err(QemuError::TooOld { path, version: qemu.version });
        }
        Ok(qemu)
    }
}

/// A program in PATH.
fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Commands of the conversation, in order; [`parse`] reads the answers by these ids.
const QUESTIONS: &str = r#"{"execute":"qmp_capabilities","id":"hello"}
{"execute":"query-kvm","id":"kvm"}
{"execute":"query-migrate-capabilities","id":"migrate"}
{"execute":"quit","id":"quit"}
"#;

/// Starts a QEMU without a machine, asks [`QUESTIONS`], and returns what it said and its standard error.
fn ask(path: &Path, sandbox: bool) -> Result<(String, String), QemuError> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let fixed =
        ["-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-S", "-qmp", "stdio"];
    let mut args: Vec<String> = fixed.map(str::to_string).to_vec();
    args.extend(super::args::sandbox_args(sandbox));
    let run = |source| QemuError::Run { path: path.to_path_buf(), source };
    let handle = duct::cmd(path, args)
        .stdin_bytes(QUESTIONS)
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .start()
        .map_err(run)?;
    match handle.wait_timeout(PATIENCE).map_err(run)? {
        Some(output) => Ok((
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).trim().to_string(),
        )),
        None => {
            let _ = handle.kill(); // it is gone already where this fails
            Err(QemuError::Probe {
                path: path.to_path_buf(),
                why: format!("no end within {}s", PATIENCE.as_secs()),
            })
        }
    }
}

/// Reads the conversation. Path and sandbox are for the caller to fill in.
fn parse(text: &str) -> Result<Qemu, String> {
    let messages: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let greeting = messages.iter().find_map(|m| m.pointer("/QMP/version"));
    let version = greeting.ok_or("no greeting")?;
    let number = |key: &str| version["qemu"][key].as_u64().ok_or("no version in the greeting");
    let answer = |id: &str| {
        let found = messages.iter().find(|m| m["id"] == id).map(|m| &m["return"]);
        found.filter(|v| !v.is_null()).ok_or_else(|| format!("no answer to {id}"))
    };
    answer("quit")?;
    let capabilities = answer("migrate")?.as_array().ok_or("capabilities are no list")?;
    Ok(Qemu {
        path: PathBuf::new(),
        version: QemuVersion { major: number("major")?, minor: number("minor")?, micro: number("micro")? },
        package: version["package"].as_str().unwrap_or_default().trim().to_string(),
        sandbox: false,
        kvm: answer("kvm")?["present"].as_bool().ok_or("query-kvm without present")?,
        ignore_shared: capabilities.iter().any(|c| c["capability"] == "x-ignore-shared"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SAID: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2"}, "capabilities": ["oob"]}}
{"return": {}, "id": "hello"}
{"return": {"enabled": false, "present": true}, "id": "kvm"}
{"return": [{"state": false, "capability": "xbzrle"}, {"state": false, "capability": "x-ignore-shared"}], "id": "migrate"}
{"return": {}, "id": "quit"}
{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}
"#;

    #[test]
    fn a_conversation_is_read() {
        let qemu = parse(SAID).unwrap();
        assert_eq!(qemu.version, QemuVersion { major: 7, minor: 2, micro: 22 });
        assert_eq!(qemu.package, "Debian 1:7.2");
        assert!(qemu.kvm && qemu.ignore_shared);
        let without = SAID.replace("x-ignore-shared", "x-other");
        assert!(!parse(&without).unwrap().ignore_shared);
    }

    #[test]
    fn half_a_conversation_is_an_error() {
        assert_eq!(parse("").unwrap_err(), "no greeting");
        let cut: String = SAID.lines().take(3).map(|l| format!("{l}\n")).collect();
        assert_eq!(parse(&cut).unwrap_err(), "no answer to quit");
    }

    /// A program that says `text`, whatever it is asked.
    fn fake(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("qemu");
        std::fs::write(&path, format!("#!/bin/sh\ncat > /dev/null\ncat <<'END'\n{text}END\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn too_old_says_what_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = fake(dir.path(), &SAID.replace("\"major\": 7", "\"major\": 5"));
        let error = Qemu::find(Some(&path), Arch::X86_64).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{} is version 5.2.22; 6.1.0 or later is needed", path.display())
        );
    }

    #[test]
    fn something_else_is_not_qemu() {
        let dir = tempfile::tempdir().unwrap();
        let path = fake(dir.path(), "hello\n");
        assert!(matches!(Qemu::find(Some(&path), Arch::X86_64), Err(QemuError::Probe { .. })));
        let missing = dir.path().join("none");
        assert!(matches!(Qemu::find(Some(&missing), Arch::X86_64), Err(QemuError::Run { .. })));
    }

    #[test]
    fn the_installed_one_answers() {
        let qemu = Qemu::find(None, Arch::X86_64).unwrap();
        assert!(qemu.path.is_absolute() && qemu.version >= OLDEST);
    }
}
