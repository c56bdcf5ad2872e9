//! Builds the guest's agent as a static program, so that `memhp` carries it (see `src/image/agent.rs`).
//!
//! The agent is always built optimised, in a target directory of its own: cargo locks the outer one while this runs,
//! and its flags (coverage, clippy, mutants) are not for the guest.

use std::env;
use std::path::Path;
use std::process::Command;

/// The guest's architecture; a harness for another one builds the same package for another target.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Settings of the outer build that must not reach the inner one.
const NOT_INHERITED: [&str; 9] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "LLVM_PROFILE_FILE",
];

pub(crate) fn build(workspace: &Path, out_dir: &Path) {
    for input in ["images", "Cargo.toml", "Cargo.lock", "harness/build_agent.rs"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    let target_dir = out_dir.join("agent");
    run(workspace, &target_dir);
    let agent = target_dir.join(TARGET).join("release").join("memhp-agent");
    assert!(agent.is_file(), "cargo built no {}", agent.display());
    println!("cargo::rustc-env=MEMHP_AGENT={}", agent.display());
}

fn run(workspace: &Path, target_dir: &Path) {
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(workspace);
    cargo.args(["rustc", "--quiet", "--package", "memhp-agent", "--bin", "memhp-agent", "--release"]);
    cargo.args(["--target", TARGET, "--target-dir"]).arg(target_dir);
    cargo.args(["--config", "profile.release.strip=true", "--config", "profile.release.debug=false"]);
    cargo.args(["--", "-C", "target-feature=+crt-static"]);
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let flags = name.starts_with("CARGO_TARGET_") && name.ends_with("_RUSTFLAGS");
        if flags || name.starts_with("CARGO_PROFILE_") {
            cargo.env_remove(name);
        }
    }
    let status = cargo.status().unwrap_or_else(|e| panic!("run {cargo:?}: {e}"));
    assert!(status.success(), "building the agent failed ({status}): {cargo:?}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|e| panic!("{name}, which cargo sets: {e}"))
}
