//! Where kernels come from: a package, an image file, a build tree.
//!
//! [`resolve`] turns what was typed after `-k` into kernels that can be booted. With `vm/` this is the only place
//! that touches the host: it reads files, runs apt and keeps what it got in a cache. Reading formats is pure and in
//! modules of their own (config, bzimage, elf, image, archive).

pub(crate) mod apt;
pub(crate) mod archive;
pub mod build;
mod bzimage;
mod cache;
mod config;
pub(crate) mod deb;
mod decompress;
mod definition;
pub(crate) mod elf;
mod embedded;
mod error;
mod fetch;
mod image;
mod listed;
mod local;
mod lock;
mod modules;
mod offered;
mod prepared;

pub use archive::Archive;
pub use cache::{Cache, sha256};
pub use config::{Config, NotAConfig, OPTIONS_THAT_MATTER};
pub use definition::{
    BaseConfig, Build, DEFAULT, Definition, GitSource, Package, Source, SourceCode, SourcePackage,
};
pub use error::{KernelError, Notice};
pub use listed::{Listed, Moved, list, update};
pub use lock::{Lock, PackageFile, Pin};
pub use modules::{Module, Modules};
pub use offered::{Offered, fetch_offered, offered};

use crate::version::Version;
pub(crate) use error::at;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The definition's name, or `local-` and the first 12 hex digits of the image's sha256.
    pub name: String,
    /// Upstream version. Of a Debian kernel it has the patch level that the release name lacks (6.1.192 for
    /// 6.1.0-56-cloud-amd64).
    pub version: Version,
    /// `uname -r`
    pub release: String,
    /// The image as given: bzImage or vmlinux.
    pub image: PathBuf,
    /// What to hand to QEMU's `-kernel`: the kernel unpacked from the bzImage where it has a PVH entry, for it starts
    /// quicker; else the image itself.
    pub boot: PathBuf,
    /// Hex sha256 of `image`.
    pub sha256: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Its configuration; `None` where it is not known before the guest is asked (/proc/config.gz).
    pub config: Option<Config>,
    /// Its modules.
    pub modules: Modules,
}

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A distribution's package.
    Package {
        /// suite it was found in
        suite: String,
        /// package that gives it its name
        package: String,
        /// its version, as Debian writes it
        version: String,
        /// it is the one of kernels.lock
        pinned: bool,
    },
    /// An image file.
    File {
        /// absolute
        path: PathBuf,
    },
    /// A build directory, used as it is.
    Tree {
        /// absolute
        path: PathBuf,
    },
    /// Built from source.
    Build {
        /// package and version, directory, or revision
        source: String,
        /// directory of the build: its name is made from all inputs
        path: PathBuf,
    },
}

/// What the results say about a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// As in scenario ids.
    pub name: String,
    /// `uname -r`
    pub release: String,
    /// Upstream version.
    pub version: Version,
    /// Hex sha256 of the image.
    pub sha256: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Those of [`OPTIONS_THAT_MATTER`] that its configuration knows; `None` where no whole configuration is known.
    pub config: Option<BTreeMap<String, String>>,
}

impl Kernel {
    /// For the results.
    pub fn identity(&self) -> Identity {
        Identity {
            name: self.name.clone(),
            release: self.release.clone(),
            version: self.version,
            sha256: self.sha256.clone(),
            origin: self.origin.clone(),
            config: self.config.as_ref().filter(|c| c.is_whole()).map(Config::that_matters),
        }
    }
}

/// What resolving needs from its caller.
pub struct Context<'a> {
    /// Where fetched and unpacked things are kept.
    pub cache: Cache,
    /// `--kernels-dir`: definitions and lock of this directory instead of the embedded ones.
    pub kernels_dir: Option<PathBuf>,
    /// The archive to fetch from; `None`: the one of the host's apt configuration.
    pub archive: Option<Archive>,
    /// Told what the user should know.
    pub notify: &'a dyn Fn(Notice),
    /// What kernels are built with.
    pub tools: build::Tools<'a>,
}

impl<'a> Context<'a> {
    /// The user's cache, the embedded definitions, the host's archive.
    pub fn new(notify: &'a dyn Fn(Notice)) -> Result<Self, KernelError> {
        let tools = build::Tools::default();
        Ok(Self { cache: Cache::of_user()?, kernels_dir: None, archive: None, notify, tools })
    }

    fn tell(&self, notice: Notice) {
        (self.notify)(notice);
    }
}

/// Kernels for what was typed after `-k`, in its order, each once. A spec is a definition's name, `all` (every
/// definition of a package: what is built from source takes long and is asked for by name), else a path; a slash in front or `./` forces a path; `tree:DIR` is a build directory that is brought up to
/// date first. Without a spec: [`DEFAULT`].
pub fn resolve(specs: &[String], ctx: &Context<'_>) -> Result<Vec<Kernel>, KernelError> {
    let definitions = definition::load(ctx.kernels_dir.as_deref())?;
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    if specs.is_empty() {
        for name in DEFAULT {
            wanted.push(understand(name, &definitions)?);
        }
    }
    for spec in specs {
        match spec.as_str() {
            "all" => {
                let packaged = definitions.iter().filter(|(_, d)| matches!(d.from, Source::Package(_)));
                wanted.extend(packaged.map(|(n, d)| Wanted::Definition(n, d)));
            }
            spec => wanted.push(understand(spec, &definitions)?),
        }
    }
    let lock = lock::load(ctx.kernels_dir.as_deref())?;
    let mut names = BTreeSet::new();
    let mut kernels = Vec::new();
    for one in wanted {
        let kernel = match one {
            Wanted::Definition(name, _) if names.contains(name) => continue,
            Wanted::Definition(name, definition) => from_definition(name, definition, lock.get(name), ctx)?,
            Wanted::Path(path) => local::from_path(&path, ctx)?,
            Wanted::Tree(path) => {
                let dir = build::update(&path, &ctx.cache.dir("builds").join("logs"), &ctx.tools)?;
                local::from_path(&dir, ctx)?
            }
        };
        if names.insert(kernel.name.clone()) {
            kernels.push(kernel);
        }
    }
    Ok(kernels)
}

enum Wanted<'a> {
    Definition(&'a str, &'a Definition),
    Path(PathBuf),
    Tree(PathBuf),
}

fn understand<'a>(
    spec: &'a str,
    definitions: &'a BTreeMap<String, Definition>,
) -> Result<Wanted<'a>, KernelError> {
    if let Some((name, definition)) = definitions.get_key_value(spec) {
        return Ok(Wanted::Definition(name, definition));
    }
    if let Some(dir) = spec.strip_prefix("tree:") {
        return Ok(Wanted::Tree(dir.into()));
    }
    let path = Path::new(spec);
    if path.exists() {
        return Ok(Wanted::Path(path.to_path_buf()));
    }
    if spec.contains('/') {
        return Err(KernelError::Missing(path.to_path_buf()));
    }
    let names = definitions.keys().cloned().collect::<Vec<_>>().join(", ");
    Err(KernelError::Unknown { spec: spec.to_string(), names })
}

fn from_definition(
    name: &str,
    definition: &Definition,
    pin: Option<&Pin>,
    ctx: &Context<'_>,
) -> Result<Kernel, KernelError> {
    let package = match &definition.from {
        Source::Package(package) => package,
        Source::Build(build) => return from_build(name, build, pin, ctx),
    };
    of_package(name, &fetch::fetch(name, package, pin, ctx)?, ctx)
}

/// A fetched package's kernel.
fn of_package(name: &str, kept: &fetch::Kept, ctx: &Context<'_>) -> Result<Kernel, KernelError> {
    let image = kept.dir.join(deb::IMAGE);
    let data = fs::read(&image).map_err(at("reading", &image))?;
    let sha256 = cache::sha256(&data);
    let prepared = prepared::prepare(&ctx.cache, &image, &data, &sha256, ctx.notify)?;
    let config_path = kept.dir.join(deb::CONFIG);
    let text = fs::read_to_string(&config_path).map_err(at("reading", &config_path))?;
    let config = Config::parse(&text)
        .map_err(|e| KernelError::Deb { path: config_path.clone(), why: e.to_string() })?;
    check_hotplug(name, Some(&config), &config_path.display().to_string())?;
    Ok(Kernel {
        name: name.to_string(),
        version: prepared.version,
        boot: prepared.boot,
        image,
        sha256,
        origin: Origin::Package {
            suite: kept.pin.suite.clone(),
            package: kept.pin.packages[0].package.clone(),
            version: kept.pin.version().to_string(),
            pinned: kept.pinned,
        },
        config: Some(config),
        modules: Modules::installed(&prepared.release, kept.dir.join(deb::MODULES)),
        release: prepared.release,
    })
}

fn from_build(
    name: &str,
    definition: &definition::Build,
    pin: Option<&Pin>,
    ctx: &Context<'_>,
) -> Result<Kernel, KernelError> {
    build_kernel(Some(name), &request(name, definition, pin, ctx)?, ctx)
}

/// Paths of a definition are relative to its directory.
fn request(
    name: &str,
    definition: &definition::Build,
    pin: Option<&Pin>,
    ctx: &Context<'_>,
) -> Result<build::Request, KernelError> {
    let below = |path: &Path| ctx.kernels_dir.as_deref().map_or_else(|| path.into(), |dir| dir.join(path));
    let source = match &definition.source {
        SourceCode::Package(wanted) => {
            build::Source::Package { name: name.into(), wanted: wanted.clone(), pin: pin.cloned() }
        }
        SourceCode::Directory(path) => build::Source::Directory(below(path)),
        SourceCode::Git(git) => {
            build::Source::Git { repository: below(&git.repository), revision: git.revision.clone() }
        }
    };
    let base = match &definition.base {
        BaseConfig::Tinyconfig => build::Base::Tinyconfig,
        BaseConfig::Defconfig => build::Base::Defconfig,
        BaseConfig::File(path) => build::Base::File(below(path)),
    };
    let load = |f: &String| build::Fragment::load(f, ctx.kernels_dir.as_deref());
    let fragments = definition.fragments.iter().map(load).collect::<Result<_, _>>()?;
    Ok(build::Request { source, recipe: build::Recipe { base, fragments } })
}

/// What a definition of a kernel that is built asks for.
pub fn build_request(name: &str, ctx: &Context<'_>) -> Result<build::Request, KernelError> {
    let definitions = definition::load(ctx.kernels_dir.as_deref())?;
    let built = definitions.iter().filter_map(|(name, d)| match &d.from {
        Source::Build(build) => Some((name.as_str(), build)),
        Source::Package(_) => None,
    });
    let built: BTreeMap<_, _> = built.collect();
    let Some(definition) = built.get(name) else {
        let names = built.into_keys().collect::<Vec<_>>().join(", ");
        return Err(KernelError::NotBuilt { name: name.into(), names });
    };
    let lock = lock::load(ctx.kernels_dir.as_deref())?;
    request(name, definition, lock.get(name), ctx)
}

/// Builds into the cache; without a name the kernel has a local one, made from its checksum.
pub fn build_kernel(
    name: Option<&str>,
    request: &build::Request,
    ctx: &Context<'_>,
) -> Result<Kernel, KernelError> {
    let kept = build::build(ctx, request, &ctx.tools)?;
    local::from_build(name, &kept, ctx)
}

/// Without memory hotplug there is nothing to test.
fn check_hotplug(kernel: &str, config: Option<&Config>, source: &str) -> Result<(), KernelError> {
    match config {
        Some(config) if !config.is_y("MEMORY_HOTPLUG") => {
            Err(KernelError::NoMemoryHotplug { kernel: kernel.to_string(), config: source.to_string() })
        }
        _ => Ok(()),
    }
}

/// The package that a definition needs: of the kernel, or of its source.
fn package_of(definition: &Definition) -> Option<&dyn fetch::Wanted> {
    match &definition.from {
        Source::Package(package) => Some(package),
        Source::Build(definition::Build { source: SourceCode::Package(package), .. }) => Some(package),
        Source::Build(_) => None,
    }
}
