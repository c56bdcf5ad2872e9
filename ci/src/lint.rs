//! Formatting, clippy, rustdoc, and that generated files are fresh.

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

/// All lints; the first that fails ends it.
pub(crate) fn run(sh: &Shell) -> Result<()> {
    cmd!(sh, "cargo fmt --all -- --check").run()?;
    cmd!(sh, "cargo clippy --workspace --all-targets --quiet -- -D warnings").run()?;
    let _doc = sh.push_env("RUSTDOCFLAGS", "-D warnings");
    cmd!(sh, "cargo doc --workspace --no-deps --quiet").run()?;
    let fresh = crate::schema::text(sh)?;
    let kept = sh.read_file(crate::schema::PATH)?;
    ensure!(fresh == kept, "{} is stale: run `cargo ci schema`", crate::schema::PATH);
    Ok(())
}
