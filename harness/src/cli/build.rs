//! `memhp kernels build`: a kernel from source, into the cache.

use super::failure::Failure;
use crate::kernel::build::{self, Base, Fragment, Recipe, Request, Source};
use crate::kernel::{self, Context, Kernel, Origin};
use serde::Serialize;
use std::path::PathBuf;

/// Options of `memhp kernels build`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    override_usage = "memhp kernels build [--check] NAME...\n       memhp kernels build [--check] --tree DIR [--revision REV] [--base BASE] [--fragment F]..."
)]
pub struct BuildArgs {
    /// definitions of kernels that are built
    #[arg(value_name = "NAME", required_unless_present = "tree", conflicts_with = "tree")]
    pub names: Vec<String>,
    /// build this source directory; it is not written to
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// with --tree: this revision of it, as git has it, instead of what lies there
    #[arg(long, value_name = "REV", requires = "tree")]
    pub revision: Option<String>,
    /// with --tree: where the configuration begins: tinyconfig, defconfig, or a .config
    #[arg(long, value_name = "BASE", default_value = "tinyconfig")]
    pub base: String,
    /// with --tree: change the configuration: a fragment that comes with memhp, or a file; repeatable, later ones win
    /// [with tinyconfig, hotplug-x86_64 comes first]
    #[arg(long = "fragment", value_name = "F", requires = "tree")]
    pub fragments: Vec<String>,
    /// configure and check every option, without building
    #[arg(long)]
    pub check: bool,
}

/// What was built.
#[derive(Debug, Serialize)]
pub struct Line {
    /// For `-k`: a definition's name, or the directory.
    pub kernel: String,
    /// `uname -r`; of a check the source's version.
    pub release: String,
    /// Hex sha256 of the image; none of a check.
    pub sha256: Option<String>,
    /// Directory of the build; none of a check.
    pub dir: Option<PathBuf>,
}

/// Builds what is asked for.
pub fn build(args: &BuildArgs, context: &Context<'_>) -> Result<Vec<Line>, Failure> {
    let requests = match &args.tree {
        Some(tree) => {
            vec![(None, of_tree(args, tree).map_err(kernel::KernelError::from).map_err(Failure::kernel)?)]
        }
        None => {
            let one = |name: &String| {
                kernel::build_request(name, context).map(|request| (Some(name.clone()), request))
            };
            args.names.iter().map(one).collect::<Result<Vec<_>, _>>().map_err(Failure::kernel)?
        }
    };
    let one = |(name, request): &(Option<String>, Request)| {
        let name = name.as_deref();
        if args.check { check(name, request, context) } else { one(name, request, context) }
    };
    requests.iter().map(one).collect::<Result<_, _>>().map_err(Failure::kernel)
}

fn one(name: Option<&str>, request: &Request, context: &Context<'_>) -> Result<Line, kernel::KernelError> {
    let Kernel { release, sha256, origin, .. } = kernel::build_kernel(name, request, context)?;
    let Origin::Build { path: dir, .. } = origin else { unreachable!("what was built says so") };
    let kernel = name.map_or_else(|| dir.display().to_string(), str::to_string);
    Ok(Line { kernel, release, sha256: Some(sha256), dir: Some(dir) })
}

fn check(name: Option<&str>, request: &Request, context: &Context<'_>) -> Result<Line, kernel::KernelError> {
    let version = build::check(context, request, &context.tools)?;
    let kernel = name.unwrap_or("(not built)").to_string();
    Ok(Line { kernel, release: version.to_string(), sha256: None, dir: None })
}

fn of_tree(args: &BuildArgs, tree: &std::path::Path) -> Result<Request, build::BuildError> {
    let source = match &args.revision {
        Some(revision) => Source::Git { repository: tree.into(), revision: revision.clone() },
        None => Source::Directory(tree.into()),
    };
    let base = match args.base.as_str() {
        "tinyconfig" => Base::Tinyconfig,
        "defconfig" => Base::Defconfig,
        file => Base::File(file.into()),
    };
    // tinyconfig alone cannot even boot.
    let first = (base == Base::Tinyconfig).then_some("hotplug-x86_64");
    let names = first.into_iter().chain(args.fragments.iter().map(String::as_str));
    let fragments = names.map(|name| Fragment::load(name, None)).collect::<Result<_, _>>()?;
    Ok(Request { source, recipe: Recipe { base, fragments } })
}
