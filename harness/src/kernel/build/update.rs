//! `tree:DIR`: a build directory of the user's, or a source tree built in place, is brought up to date as `make` in the
//! user's own shell would, and then used where it is.

use super::error::BuildError;
use super::make::{Environment, Make};
use super::step::Tools;
use super::{CONFIG, read_config, tree};
use crate::kernel::error::at;
use crate::kernel::local::BZIMAGE;
use std::fs;
use std::path::{Path, PathBuf};

/// Makes what is stale of the image that lies there (none yet: vmlinux, or bzImage without a PVH entry), and of the
/// modules where some were made. New options of a source that moved get their defaults. The log goes into `logs`.
pub(in crate::kernel) fn update(dir: &Path, logs: &Path, tools: &Tools<'_>) -> Result<PathBuf, BuildError> {
    let dir = tree::directory(dir)?;
    if !dir.join(CONFIG).is_file() {
        return Err(BuildError::NotConfigured(dir));
    }
    if !dir.join("Makefile").is_file() {
        return Err(BuildError::NotASource { path: dir, lacks: "Makefile" });
    }
    fs::create_dir_all(logs).map_err(at("creating", logs))?;
    let name = &crate::kernel::cache::sha256(dir.as_os_str().as_encoded_bytes())[..12];
    let log = logs.join(format!("tree-{name}.log"));
    fs::write(&log, "").map_err(at("writing", &log))?;
    let make = Make { tree: &dir, build_dir: &dir, environment: Environment::Users, log: &log };
    make.run(&["olddefconfig"], tools)?;
    let config = read_config(&dir.join(CONFIG))?;
    let plain = config.is_y("PVH") && !dir.join(BZIMAGE).is_file();
    let mut targets = vec![if plain { "vmlinux" } else { "bzImage" }];
    if config.is_y("MODULES") && dir.join("modules.order").is_file() {
        targets.push("modules");
    }
    make.run(&targets, tools)?;
    Ok(dir)
}
