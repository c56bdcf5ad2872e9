//! Builds in the cache: one directory for each set of inputs, begun from a copy of the nearest one.
//!
//! A build grows in a directory of its own (`.work-KEY`) and takes its place when it is whole. What was interrupted in an
//! orderly way is gone on with; what a crash left is thrown away. One lock for each key makes a second process wait.

use super::error::BuildError;
use super::make;
use super::process;
use super::source::{Ready, Source, lock};
use super::step::{Step, Tools};
use super::tree::Tree;
use super::{Base, Built, CONFIG, LOG, Recipe, manifest::Manifest};
use crate::kernel::Context;
use crate::kernel::cache::{SEAL, sha256};
use crate::kernel::error::at;
use crate::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) const KIND: &str = "builds";
const META: &str = "memhp-build.json";
const MANIFEST: &str = "memhp-manifest.zst";
/// In a work directory: its last build ended by itself, or was told to end and did.
const WHOLE: &str = "memhp-may-go-on";
/// Builds of one source tree that are kept, and how long one that was used is kept in any case.
const KEEP: usize = 6;
const FRESH: Duration = Duration::from_secs(3600);

/// A kernel to be built into the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its source.
    pub source: Source,
    /// Its configuration.
    pub recipe: Recipe,
}

/// Everything that makes a build what it is, and where it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    /// Where the source lies: make's own records name it.
    path: PathBuf,
    /// Identity of the source's content.
    source: String,
    /// `tinyconfig`, or the checksum of a .config.
    base: String,
    /// Lines of all fragments, in order.
    fragments: Vec<String>,
    /// What compiler and linker say they are.
    compiler: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    inputs: Inputs,
    title: String,
    /// End of the build, nanoseconds since 1970.
    built: i128,
    image: String,
}

/// A build that is in the cache, and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The kernel.
    pub built: Built,
    /// For people: the source.
    pub title: String,
    /// Name of its directory, made from all inputs.
    pub key: String,
    /// It was there already.
    pub found: bool,
}

/// Builds a kernel, unless one with the same inputs was built before. The source is not written to.
///
/// # Errors
/// As [`super::build_in`]; also what fetching or checking out the source says, and [`BuildError::SourceChanged`] where
/// somebody edited it meanwhile.
pub fn build(ctx: &Context<'_>, request: &Request, tools: &Tools<'_>) -> Result<Kept, BuildError> {
    let source = request.source.ready(ctx, tools)?;
    let inputs = inputs(&source, &request.recipe)?;
    let key = key(&inputs, &source.tree);
    if let Some(dir) = ctx.cache.entry(KIND, &key, ctx.notify)? {
        return found(&dir, &source.tree, &key);
    }
    let store = ctx.cache.dir(KIND);
    fs::create_dir_all(&store).map_err(at("creating", &store))?;
    let _lock = lock(&store.join(format!(".lock-{key}")), ctx, tools)?;
    if let Some(dir) = ctx.cache.entry(KIND, &key, ctx.notify)? {
        return found(&dir, &source.tree, &key);
    }
    let work = store.join(format!(".work-{key}"));
    if let Err(error) = prepare(&work, &inputs, &source, ctx, tools) {
        return Err(interrupted(&work, error, false));
    }
    let built = match super::build_in(&source.tree.path, &work, &request.recipe, tools) {
        Ok(built) => built,
        Err(error) => return Err(interrupted(&work, error, true)),
    };
    if let Err(error) = source.check_unchanged() {
        return Err(interrupted(&work, error, false));
    }
    let image = built.image.strip_prefix(&built.dir).unwrap_or(&built.image).display().to_string();
    let meta = Meta { inputs, title: source.title.clone(), built: now(), image };
    write_meta(&work, &meta)?;
    let dir = ctx.cache.adopt(KIND, &key, &work, &[&meta.image, CONFIG, META])?;
    prune(&meta.inputs.path, &key, ctx)?;
    Ok(Kept { built: relocate(built, &dir), title: source.title, key, found: false })
}

/// Configures without building, in a directory that is thrown away, and checks every option that was asked for; the
/// source's version.
///
/// # Errors
/// As [`build`].
pub fn check(ctx: &Context<'_>, request: &Request, tools: &Tools<'_>) -> Result<Version, BuildError> {
    let source = request.source.ready(ctx, tools)?;
    let store = ctx.cache.dir(KIND);
    fs::create_dir_all(&store).map_err(at("creating", &store))?;
    let work = tempfile::tempdir_in(&store).map_err(at("creating a directory in", &store))?;
    super::configure_in(&source.tree.path, work.path(), &request.recipe, tools)?;
    Ok(source.tree.version)
}

fn inputs(source: &Ready, recipe: &Recipe) -> Result<Inputs, BuildError> {
    let base = match &recipe.base {
        Base::Tinyconfig => "tinyconfig".to_string(),
        Base::Defconfig => "defconfig".to_string(),
        Base::File(file) => format!("file {}", sha256(&fs::read(file).map_err(at("reading", file))?)),
    };
    let lines = |text: &str| text.lines().map(str::to_string).collect::<Vec<_>>();
    Ok(Inputs {
        path: source.tree.path.clone(),
        source: source.identity.clone(),
        base,
        fragments: recipe.fragments.iter().flat_map(|f| lines(&f.text)).collect(),
        compiler: make::compiler()?,
    })
}

/// Where the source lies is no input of the kernel, but of the build directory: a moved source is another key.
fn key(inputs: &Inputs, tree: &Tree) -> String {
    let text = serde_json::to_string(inputs).expect("strings always serialize");
    format!("{}-{}", tree.version, &sha256(text.as_bytes())[..16])
}

fn found(dir: &Path, tree: &Tree, key: &str) -> Result<Kept, BuildError> {
    let meta = read_meta(dir).ok_or_else(|| {
        at("reading", &dir.join(META))(std::io::Error::other("not what memhp wrote; delete the directory"))
    })?;
    // Its time tells when it was last used; without it the build is only forgotten sooner.
    let _ = fs::File::open(dir.join(META)).and_then(|f| f.set_modified(SystemTime::now()));
    let config = super::read_config(&dir.join(CONFIG))?;
    let built = super::describe(tree, dir, config)?;
    Ok(Kept { built, title: meta.title, key: key.to_string(), found: true })
}

/// Makes the work directory ready: what was begun, else a copy of the nearest build, else an empty one.
fn prepare(
    work: &Path,
    inputs: &Inputs,
    source: &Ready,
    ctx: &Context<'_>,
    tools: &Tools<'_>,
) -> Result<(), BuildError> {
    let whole = work.join(WHOLE);
    if whole.is_file() && may_go_on(work, source) {
        return Ok(fs::remove_file(&whole).map_err(at("removing", &whole))?);
    }
    if work.exists() {
        fs::remove_dir_all(work).map_err(at("removing", work))?;
    }
    match nearest(inputs, source, ctx)? {
        Some(nearest) => copy(&nearest, work, ctx, tools)?,
        None => fs::create_dir(work).map_err(at("creating", work))?,
    }
    let Some(manifest) = &source.manifest else { return Ok(()) };
    let path = work.join(MANIFEST);
    let packed = zstd::encode_all(manifest.render().as_bytes(), 1).map_err(at("packing", &path))?;
    Ok(fs::write(&path, packed).map_err(at("writing", &path))?)
}

/// Times are kept: they are what make goes by.
fn copy(from: &Path, to: &Path, ctx: &Context<'_>, tools: &Tools<'_>) -> Result<(), BuildError> {
    let store = ctx.cache.dir(KIND);
    let argv = ["cp", "-a", "--reflink=auto", "--"].map(Into::into).into_iter();
    let step = Step {
        argv: argv.chain([from.as_os_str().to_owned(), to.as_os_str().to_owned()]).collect(),
        cwd: store.clone(),
        env: Vec::new(),
        reads: vec![from.to_path_buf()],
        writes: vec![store.clone()],
    };
    let log = store.join("logs/copy.log");
    fs::create_dir_all(store.join("logs")).map_err(at("creating", &store))?;
    let copied = process::run("copy a like build", step, &log, tools);
    if !matches!(&copied, Ok(status) if status.success()) {
        // Half a copy is worth nothing, least of all where the disk is full.
        let _ = fs::remove_dir_all(to);
        let what = format!("copying {}", from.display());
        let message = copied?.to_string();
        return Err(match fs::read_to_string(&log) {
            Ok(text) if text.contains("No space left") => BuildError::NoSpace { what, dir: store },
            _ => BuildError::Make { what, message, log },
        });
    }
    for name in [SEAL, META, MANIFEST, LOG] {
        let path = to.join(name);
        if path.exists() {
            fs::remove_file(&path).map_err(at("removing", &path))?;
        }
    }
    Ok(())
}

/// A build that was begun has the same inputs; of a directory also the times must be the same, or make would not see
/// what was changed and put back.
fn may_go_on(work: &Path, source: &Ready) -> bool {
    source.manifest.as_ref().is_none_or(|now| read_manifest(work).is_some_and(|begun| begun == *now))
}

/// Keeps what make made where it ended in an orderly way, else clears it away.
fn interrupted(work: &Path, error: BuildError, by_make: bool) -> BuildError {
    use BuildError as E;
    let orderly =
        by_make && matches!(error, E::Stopped(_) | E::Make { .. } | E::Timeout { .. } | E::Watch { .. });
    if !orderly || fs::write(work.join(WHOLE), "").is_err() {
        let _ = fs::remove_dir_all(work);
    }
    error
}

/// The build of the same source and compiler whose inputs differ least.
fn nearest(inputs: &Inputs, source: &Ready, ctx: &Context<'_>) -> Result<Option<PathBuf>, BuildError> {
    let mut best: Option<(usize, PathBuf)> = None;
    for key in ctx.cache.keys(KIND)? {
        let dir = ctx.cache.dir(KIND).join(&key);
        let Some(meta) = read_meta(&dir) else { continue };
        if meta.inputs.path != inputs.path || meta.inputs.compiler != inputs.compiler {
            continue;
        }
        if meta.inputs.source != inputs.source
            && let Some(now) = &source.manifest
        {
            let Some(then) = read_manifest(&dir) else { continue };
            if let Some(file) = now.changed_unseen(&then, meta.built) {
                tracing::info!("{key} is not built on: {file} changed, and its time does not say so");
                continue;
            }
        }
        let distance = distance(&meta.inputs, inputs);
        if best.as_ref().is_none_or(|(d, _)| distance < *d) {
            best = Some((distance, dir));
        }
    }
    let Some((_, dir)) = best else { return Ok(None) };
    // A damaged build is not built on.
    let key = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(ctx.cache.entry(KIND, &key, ctx.notify)?)
}

/// Another base changes nearly everything, another source some, an option little.
fn distance(a: &Inputs, b: &Inputs) -> usize {
    let lines = |i: &Inputs| i.fragments.iter().cloned().collect::<BTreeSet<_>>();
    let options = lines(a).symmetric_difference(&lines(b)).count();
    options + if a.source == b.source { 0 } else { 50 } + if a.base == b.base { 0 } else { 10_000 }
}

/// Old builds of the same source tree are forgotten: each edit of a directory makes a new one.
fn prune(path: &Path, newest: &str, ctx: &Context<'_>) -> Result<(), BuildError> {
    let mut builds = Vec::new();
    for key in ctx.cache.keys(KIND)? {
        let dir = ctx.cache.dir(KIND).join(&key);
        let used = fs::metadata(dir.join(META)).and_then(|m| m.modified());
        let (Some(meta), Ok(used)) = (read_meta(&dir), used) else { continue };
        if meta.inputs.path == path && key != newest {
            builds.push((used, dir));
        }
    }
    builds.sort();
    let too_many = builds.len().saturating_sub(KEEP - 1);
    for (used, dir) in builds.into_iter().take(too_many) {
        if used.elapsed().is_ok_and(|age| age > FRESH) {
            fs::remove_dir_all(&dir).map_err(at("removing", &dir))?;
        }
    }
    Ok(())
}

fn write_meta(work: &Path, meta: &Meta) -> Result<(), BuildError> {
    let text = serde_json::to_string_pretty(meta).expect("strings and numbers always serialize");
    let path = work.join(META);
    Ok(fs::write(&path, text).map_err(at("writing", &path))?)
}

fn read_meta(dir: &Path) -> Option<Meta> {
    serde_json::from_str(&fs::read_to_string(dir.join(META)).ok()?).ok()
}

fn read_manifest(dir: &Path) -> Option<Manifest> {
    let packed = fs::read(dir.join(MANIFEST)).ok()?;
    Manifest::parse(&String::from_utf8(zstd::decode_all(&packed[..]).ok()?).ok()?)
}

fn relocate(built: Built, dir: &Path) -> Built {
    let image = built.image.strip_prefix(&built.dir).map_or_else(|_| built.image.clone(), |i| dir.join(i));
    Built { image, dir: dir.to_path_buf(), ..built }
}

fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos().try_into().unwrap_or(i128::MAX))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
