//! The JSON schema of case files, made from the types that read them.

use anyhow::Result;
use xshell::{Shell, cmd};

/// Where it is kept.
pub(crate) const PATH: &str = "cases/case.schema.json";

/// The schema as the types are now.
pub(crate) fn text(sh: &Shell) -> Result<String> {
    let mut text = cmd!(sh, "cargo run --quiet --package memhp --bin memhp -- schema").quiet().read()?;
    text.push('\n');
    Ok(text)
}

/// Writes it.
pub(crate) fn write(sh: &Shell) -> Result<()> {
    let text = text(sh)?;
    sh.write_file(PATH, text)?;
    Ok(())
}
