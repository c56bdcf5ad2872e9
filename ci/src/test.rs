//! `cargo ci test`: set up, lint, unit tests, and a part of the corpus on real kernels.

use anyhow::{Context, Result};
use std::time::Instant;
use xshell::{Shell, cmd};

/// Patterns of the suite.
const CASES: &str = "policy/compiled-default policy/boot-param-* policy/change-between-plugs zone/span-rules \
                     zone/contiguous-* zone/unaligned-dimm unplug/* sysfs/*";

/// All of it; the first part that fails ends it.
pub(crate) fn run(sh: &Shell) -> Result<()> {
    crate::setup::run(sh, crate::setup::TEST_TOOLS)?;
    part("lint", || crate::lint::run(sh))?;
    part("tests, a part of the corpus on two kernels among them", || {
        // The suite boots real kernels, as many guests at once as there are cores. Here a part of the corpus that meets
        // every rule once; `cargo memhp run` is the whole of it.
        Ok(cmd!(sh, "cargo test --workspace --release --no-fail-fast").env("MEMHP_CASES", CASES).run()?)
    })?;
    part("workflows in ci/examples, against the vendors' schemas", || workflows(sh))?;
    part("forks against boots, and kcidb.json against the published schema", || kcidb(sh))
}

fn part(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("== {name}");
    let begun = Instant::now();
    work().with_context(|| name.to_string())?;
    eprintln!("== {name}: {} s", begun.elapsed().as_secs());
    Ok(())
}

/// The recorded workflows are what the hosts they are for take.
fn workflows(sh: &Shell) -> Result<()> {
    let dir = sh.create_temp_dir()?;
    let packages = dir.path().join("packages");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"];
    cmd!(sh, "python3 {pip...} {packages} check-jsonschema").run()?;
    for (schema, file) in [
        ("vendor.github-workflows", "ci/examples/github.yml"),
        ("vendor.gitlab-ci", "ci/examples/gitlab-ci.yml"),
    ] {
        cmd!(sh, "python3 -m check_jsonschema --builtin-schema {schema} {file}")
            .env("PYTHONPATH", &packages)
            .run()?;
    }
    Ok(())
}

/// A short run, whose forks are compared with boots and whose report is validated with kcidb-io, KCIDB's own schema.
fn kcidb(sh: &Shell) -> Result<()> {
    const CHECK: &str = "import json, sys, kcidb_io; kcidb_io.schema.V5_0.validate(json.load(sys.stdin))";
    let dir = sh.create_temp_dir()?;
    let (out, packages) = (dir.path().join("out"), dir.path().join("packages"));
    cmd!(
        sh,
        "cargo run --quiet --release --package memhp --bin memhp -- run policy/compiled-default zone/spans-* unplug/one-of-two --verify-forks 4 --out {out}"
    )
    .run()?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"];
    cmd!(sh, "python3 {pip...} {packages} kcidb-io").run()?;
    let report = sh.read_file(out.join("kcidb.json"))?;
    cmd!(sh, "python3 -c {CHECK}").env("PYTHONPATH", &packages).stdin(report).run()?;
    Ok(())
}
