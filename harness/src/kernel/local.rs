//! Kernels that are at hand: an image file or a build tree, with the configuration and modules that lie next to it.

use super::build::Kept;
use super::cache::sha256;
use super::config::Config;
use super::error::{KernelError, Notice, at};
use super::modules::Modules;
use super::prepared::{Prepared, prepare};
use super::{Context, Kernel, Origin};
use std::fs;
use std::path::{Path, PathBuf};

pub(super) const BZIMAGE: &str = "arch/x86/boot/bzImage";

/// A path as typed: a file, or a directory in which a kernel was built.
pub(super) fn from_path(path: &Path, ctx: &Context<'_>) -> Result<Kernel, KernelError> {
    let absolute = fs::canonicalize(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => KernelError::Missing(path.to_path_buf()),
        _ => at("reading", path)(e),
    })?;
    if absolute.is_dir() {
        return from_tree(&absolute, ctx);
    }
    match absolute.to_str().and_then(|p| p.strip_suffix(BZIMAGE)) {
        Some(tree) => {
            from_image(None, &absolute, Some(Path::new(tree)), Origin::File { path: absolute.clone() }, ctx)
        }
        None => from_image(None, &absolute, None, Origin::File { path: absolute.clone() }, ctx),
    }
}

fn from_tree(tree: &Path, ctx: &Context<'_>) -> Result<Kernel, KernelError> {
    let images = [BZIMAGE, "vmlinux"].map(|name| tree.join(name));
    let image =
        images.iter().find(|p| p.is_file()).ok_or_else(|| KernelError::NoImage(tree.to_path_buf()))?;
    from_image(None, image, Some(tree), Origin::Tree { path: tree.to_path_buf() }, ctx)
}

/// A kernel that was built into the cache.
pub(super) fn from_build(name: Option<&str>, kept: &Kept, ctx: &Context<'_>) -> Result<Kernel, KernelError> {
    let (source, path) = (kept.title.clone(), kept.built.dir.clone());
    from_image(name, &kept.built.image, Some(&kept.built.dir), Origin::Build { source, path }, ctx)
}

fn from_image(
    name: Option<&str>,
    path: &Path,
    tree: Option<&Path>,
    origin: Origin,
    ctx: &Context<'_>,
) -> Result<Kernel, KernelError> {
    let data = fs::read(path).map_err(at("reading", path))?;
    let sha256 = sha256(&data);
    let prepared = prepare(&ctx.cache, path, &data, &sha256, ctx.notify)?;
    let name = name.map_or_else(|| format!("local-{}", &sha256[..12]), str::to_string);
    let (config, source) = configuration(path, tree, &prepared, ctx)?;
    super::check_hotplug(&path.display().to_string(), config.as_ref(), &source)?;
    let modules = match tree {
        Some(tree) => Modules::tree(&prepared.release, tree.to_path_buf()),
        None => modules_near(path, &prepared.release),
    };
    Ok(Kernel {
        name,
        version: prepared.version,
        release: prepared.release,
        image: path.to_path_buf(),
        boot: prepared.boot,
        sha256,
        origin,
        config,
        modules,
    })
}

/// The configuration and where it was read. The one inside the image is the one it was built with and wins; one that
/// lies next to it must fit the image's release.
fn configuration(
    path: &Path,
    tree: Option<&Path>,
    image: &Prepared,
    ctx: &Context<'_>,
) -> Result<(Option<Config>, String), KernelError> {
    if let Some(config) = image.config.as_deref().and_then(|text| Config::parse(text).ok()) {
        return Ok((Some(config), format!("the configuration built into {}", path.display())));
    }
    let mut ignored = Vec::new();
    for file in config_files(path, tree, &image.release) {
        let text = match fs::read_to_string(&file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(at("reading", &file))?,
        };
        let why = match Config::parse(&text) {
            Ok(config) if config.fits(&image.release, image.version) => {
                if tree.is_some() && newer(&file, path) {
                    ctx.tell(Notice::ConfigNewer { path: file.clone() });
                }
                return Ok((Some(config), file.display().to_string()));
            }
            Ok(_) => format!("its heading does not name {}", image.release),
            Err(error) => error.to_string(),
        };
        ignored.push(Notice::ConfigIgnored { path: file, why });
    }
    ignored.into_iter().for_each(|notice| ctx.tell(notice));
    Ok((None, String::new()))
}

fn config_files(path: &Path, tree: Option<&Path>, release: &str) -> Vec<PathBuf> {
    if let Some(tree) = tree {
        return vec![tree.join(".config")];
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    let own = [path.file_name(), path.file_stem()].into_iter().flatten();
    let own = own.map(|name| format!("{}.config", name.to_string_lossy()));
    let shared = [format!("config-{release}"), ".config".into(), "config".into()];
    own.into_iter().chain(shared).map(|name| dir.join(name)).collect()
}

fn newer(a: &Path, b: &Path) -> bool {
    let time = |p: &Path| fs::metadata(p).and_then(|m| m.modified()).ok();
    matches!((time(a), time(b)), (Some(a), Some(b)) if a > b)
}

/// The image's own directory (as distributions with /usr/lib/modules/RELEASE/vmlinuz have it), or lib/modules next to
/// it or next to its directory.
fn modules_near(path: &Path, release: &str) -> Modules {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let own = Some(dir.to_path_buf()).filter(|d| d.file_name().is_some_and(|n| n == release));
    let near = [Some(dir), dir.parent()].into_iter().flatten();
    let near = near.flat_map(|d| ["lib/modules", "usr/lib/modules"].map(|m| d.join(m).join(release)));
    match own.into_iter().chain(near).find(|d| d.join("kernel").is_dir()) {
        Some(dir) => Modules::installed(release, dir),
        None => Modules::unknown(release),
    }
}
