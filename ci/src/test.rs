//! `cargo ci test`: set up, lint, unit tests, and the corpus on real kernels.

use anyhow::{Context, Result, ensure};
use std::time::Instant;
use xshell::{Shell, cmd};

/// All of it; the first part that fails ends it.
pub(crate) fn run(sh: &Shell) -> Result<()> {
    crate::setup::run(sh, crate::setup::TEST_TOOLS)?;
    part("lint", || crate::lint::run(sh))?;
    part("tests, the corpus on two kernels among them", || {
        // The command's own tests run `memhp` as a user would; the suite boots guests, as many at once as there are cores.
        Ok(cmd!(sh, "cargo test --workspace --release --no-fail-fast").run()?)
    })?;
    part("kcidb.json against the published schema", || kcidb(sh))
}

fn part(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("== {name}");
    let begun = Instant::now();
    work().with_context(|| name.to_string())?;
    eprintln!("== {name}: {} s", begun.elapsed().as_secs());
    Ok(())
}

/// Runs a few cases and validates what they report with kcidb-io, the validator that KCIDB itself uses.
fn kcidb(sh: &Shell) -> Result<()> {
    let dir = sh.create_temp_dir()?;
    let (out, venv) = (dir.path().join("out"), dir.path().join("venv"));
    cmd!(
        sh,
        "cargo run --quiet --release --package memhp --bin memhp -- run policy/compiled-default --out {out}"
    )
    .run()?;
    cmd!(sh, "python3 -m venv {venv}").run()?;
    let pip = venv.join("bin/pip");
    cmd!(sh, "{pip} install --quiet kcidb-io").run()?;
    let (validate, report) = (venv.join("bin/kcidb-io-validate"), out.join("kcidb.json"));
    ensure!(validate.exists(), "kcidb-io has no {} any more", validate.display());
    cmd!(sh, "{validate}").stdin(sh.read_file(report)?).ignore_stdout().run()?;
    Ok(())
}
