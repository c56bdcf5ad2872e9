//! Installs what the tests need with apt. Other distributions: the names are in README.md.

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

/// A program (or the absolute path of a file, for what is no program) and the Debian package that holds it.
pub(crate) type Tool = (&'static str, &'static str);

/// What `cargo ci test` needs.
pub(crate) const TEST_TOOLS: &[Tool] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("gcc", "gcc"),
    ("python3", "python3"),
    ("pip3", "python3-pip"),
    ("apt-get", "apt"),
    ("git", "git"),
    ("bwrap", "bubblewrap"),
    ("make", "make"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
];

/// What `cargo ci mutants` needs on top.
pub(crate) const KERNEL_BUILD_TOOLS: &[Tool] =
    &[("xz", "xz-utils"), ("cpio", "cpio"), ("/usr/include/gelf.h", "libelf-dev")];

/// Installs the packages whose program is not on PATH; says what it does, does nothing where nothing is missing.
pub(crate) fn run(sh: &Shell, tools: &[Tool]) -> Result<()> {
    let missing: Vec<&str> = tools.iter().filter(|(program, _)| !on_path(program)).map(|(_, p)| *p).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !on_path("apt-get") {
        bail!(
            "missing: {}; apt-get is not here either: install them with this system's package manager",
            missing.join(" ")
        );
    }
    eprintln!("installing with apt: {}", missing.join(" "));
    let root = user_id(sh)? == "0";
    let program = if root { "env" } else { "sudo" };
    let apt = ["DEBIAN_FRONTEND=noninteractive", "apt-get"];
    cmd!(sh, "{program} {apt...} update -q").run().context("apt-get update")?;
    cmd!(sh, "{program} {apt...} install -q -y --no-install-recommends {missing...}")
        .run()
        .context("apt-get install")?;
    Ok(())
}

fn user_id(sh: &Shell) -> Result<String> {
    Ok(cmd!(sh, "id -u").quiet().read()?)
}

/// Whether the program is in a directory of PATH; an absolute path stands for itself.
fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
