//! Kernels from source: configured, checked and built, out of tree.
//!
//! [`build`] builds into the cache and keeps what it built. [`build_in`] builds a source into a directory of the caller's, as often as the source changes; [`make_in`] is only
//! its last part. Every command goes through the caller's [`Runner`], so that it can be run in a sandbox. The source is
//! never written to.

mod complaint;
mod error;
mod fragment;
mod git;
mod kconfig;
mod make;
mod manifest;
mod process;
mod source;
mod step;
mod store;
mod took;
mod tree;
mod update;

pub use error::BuildError;
pub use fragment::Fragment;
pub(crate) use process::{Group, TICK, run as run_step};
pub use source::Source;
pub use step::{Direct, Progress, Quiet, Runner, Step, Stop, Tools, Trouble};
pub use store::{Kept, Request, build, check};
pub use took::{NotTaken, Why};
pub use tree::is_configured_source;
pub(super) use update::update;

use super::Config;
use super::error::at;
use crate::version::Version;
use fragment::Asked;
use kconfig::Kconfig;
use make::{Environment, Make};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tree::Tree;

/// Name of the log in a build directory.
const LOG: &str = "memhp-build.log";
const CONFIG: &str = ".config";

/// What a kernel shall be configured as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Where the configuration begins.
    pub base: Base,
    /// What is changed in it, later ones over earlier ones.
    pub fragments: Vec<Fragment>,
}

/// Where a configuration begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// `make tinyconfig`: as small as can be.
    Tinyconfig,
    /// `make defconfig`: the architecture's usual one.
    Defconfig,
    /// A .config.
    File(PathBuf),
}

/// A kernel that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The build directory.
    pub dir: PathBuf,
    /// What to boot: vmlinux where it has a PVH entry, else the bzImage.
    pub image: PathBuf,
    /// Its configuration.
    pub config: Config,
    /// `uname -r`
    pub release: String,
    /// The source's version.
    pub version: Version,
}

/// Configures and builds a source tree into a build directory, which is made where it is not there. In a directory that
/// was built before, only what changed is made again; the configuration begins at the recipe's base every time, so that
/// it does not depend on what was built there before.
///
/// The directory's log is `memhp-build.log`. The caller keeps others out of the directory meanwhile.
///
/// # Errors
/// Every option of the fragments that is not in the configuration as wanted is one of [`BuildError::NotTaken`], before
/// anything is compiled. A failed make carries the compiler's own message.
pub fn build_in(
    source: &Path,
    build_dir: &Path,
    recipe: &Recipe,
    tools: &Tools<'_>,
) -> Result<Built, BuildError> {
    let tree = Tree::open(source)?;
    tree.check_clean()?;
    let config = configure(&tree, build_dir, recipe, tools)?;
    make(&tree.path, build_dir, &targets(&config), tools)?;
    describe(&tree, build_dir, config)
}

/// Makes targets (`vmlinux`, `bzImage`, `modules`) in a build directory that is configured.
///
/// # Errors
/// As [`build_in`].
pub fn make_in(
    source: &Path,
    build_dir: &Path,
    targets: &[&str],
    tools: &Tools<'_>,
) -> Result<(), BuildError> {
    let tree = Tree::open(source)?;
    if !build_dir.join(CONFIG).is_file() {
        return Err(BuildError::NotConfigured(build_dir.to_path_buf()));
    }
    make(&tree.path, build_dir, targets, tools)
}

/// Configures without building, and checks every option that was asked for.
///
/// # Errors
/// As [`build_in`].
pub fn configure_in(
    source: &Path,
    build_dir: &Path,
    recipe: &Recipe,
    tools: &Tools<'_>,
) -> Result<Config, BuildError> {
    let tree = Tree::open(source)?;
    tree.check_clean()?;
    configure(&tree, build_dir, recipe, tools)
}

fn configure(
    tree: &Tree,
    build_dir: &Path,
    recipe: &Recipe,
    tools: &Tools<'_>,
) -> Result<Config, BuildError> {
    fs::create_dir_all(build_dir).map_err(at("creating", build_dir))?;
    let kconfig = Kconfig::load(&tree.path)?;
    let asked = Asked { version: tree.version, defines: &|name| kconfig.defines(name) };
    let mut wanted = BTreeMap::new();
    for fragment in &recipe.fragments {
        let later = fragment.wanted(&asked)?;
        // Of a choice there is only one: what a later fragment chooses takes the place of an earlier one's.
        for (name, _) in later.iter().filter(|(_, value)| *value == "y") {
            kconfig.rivals(name).into_iter().for_each(|rival| drop(wanted.remove(rival)));
        }
        wanted.extend(later);
    }
    let path = build_dir.join(CONFIG);
    let base = match &recipe.base {
        Base::Tinyconfig => made_base("tinyconfig", tree, build_dir, tools)?,
        Base::Defconfig => made_base("defconfig", tree, build_dir, tools)?,
        Base::File(file) => fs::read_to_string(file).map_err(at("reading", file))?,
    };
    fs::write(&path, base + &fragment::render(&wanted)).map_err(at("writing", &path))?;
    make(&tree.path, build_dir, &["olddefconfig"], tools)?;
    let config = read_config(&path)?;
    let not_taken = took::check(&wanted, &config, &kconfig, tree.version);
    if not_taken.is_empty() { Ok(config) } else { Err(BuildError::NotTaken(not_taken)) }
}

fn made_base(target: &str, tree: &Tree, build_dir: &Path, tools: &Tools<'_>) -> Result<String, BuildError> {
    make(&tree.path, build_dir, &[target], tools)?;
    let path = build_dir.join(CONFIG);
    Ok(fs::read_to_string(&path).map_err(at("reading", &path))?)
}

fn read_config(path: &Path) -> Result<Config, BuildError> {
    let text = fs::read_to_string(path).map_err(at("reading", path))?;
    let wrong = |e: super::NotAConfig| at("reading", path)(std::io::Error::other(e));
    Ok(Config::parse(&text).map_err(wrong)?)
}

fn make(tree: &Path, build_dir: &Path, targets: &[&str], tools: &Tools<'_>) -> Result<(), BuildError> {
    let build_dir = tree::directory(build_dir)?;
    let log = tools.log.clone().unwrap_or_else(|| build_dir.join(LOG));
    Make { tree, build_dir: &build_dir, environment: Environment::Ours, log: &log }.run(targets, tools)
}

/// vmlinux can be booted by itself where it has a PVH entry, and costs no compression.
fn targets(config: &Config) -> Vec<&'static str> {
    let image = if config.is_y("PVH") { "vmlinux" } else { "bzImage" };
    let modules = config.is_y("MODULES").then_some("modules");
    std::iter::once(image).chain(modules).collect()
}

fn describe(tree: &Tree, build_dir: &Path, config: Config) -> Result<Built, BuildError> {
    let dir = tree::directory(build_dir)?;
    let release = dir.join("include/config/kernel.release");
    let text = fs::read_to_string(&release).map_err(at("reading", &release))?;
    let image = if config.is_y("PVH") { "vmlinux" } else { super::local::BZIMAGE };
    Ok(Built { image: dir.join(image), config, release: text.trim().to_string(), version: tree.version, dir })
}
