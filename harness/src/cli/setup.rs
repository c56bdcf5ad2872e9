//! `--setup`: installs what is missing with the distribution's package manager.

use super::failure::Failure;
use std::process::Command;

/// Programs a run needs, with the packages of Debian, Fedora and Arch that hold them.
const NEEDED: [(&str, [&str; 3]); 1] =
    [("qemu-system-x86_64", ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86"])];
/// Package managers in the same order: program, arguments before the packages.
const MANAGERS: [(&str, &[&str]); 3] = [
    ("apt-get", &["install", "-y", "--no-install-recommends"]),
    ("dnf", &["install", "-y"]),
    ("pacman", &["-S", "--needed", "--noconfirm"]),
];

/// Installs, saying what it does; nothing where nothing is missing.
pub fn install() -> Result<(), Failure> {
    let missing: Vec<_> = NEEDED.iter().filter(|(program, _)| !on_path(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(index) = MANAGERS.iter().position(|(program, _)| on_path(program)) else {
        let names: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
        return Err(Failure::host(format!(
            "{} missing, and no apt-get, dnf or pacman here to install it",
            names.join(", ")
        )));
    };
    let (manager, options) = MANAGERS[index];
    let packages: Vec<&str> = missing.iter().map(|(_, names)| names[index]).collect();
    if manager == "apt-get" {
        command(manager, &["update", "-q"])?;
    }
    command(manager, &[options, &packages].concat())
}

fn command(program: &str, args: &[&str]) -> Result<(), Failure> {
    let root = rustix::process::geteuid().is_root();
    let line = if root { vec![program] } else { vec!["sudo", program] };
    let line = [line.as_slice(), args].concat();
    say!("memhp: {}", line.join(" "));
    let mut child = Command::new(line[0]);
    // Results belong on stdout, and nothing else.
    child.args(&line[1..]).env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr());
    let status = child.status().map_err(|e| Failure::host(format!("{}: {e}", line[0])))?;
    if status.success() { Ok(()) } else { Err(Failure::host(format!("{}: {status}", line.join(" ")))) }
}

/// Is there a file of this name in PATH?
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
