//! `memhp kernels`: what is known, fetched, built, pinned.

use super::args::{KernelsAction, KernelsArgs, TextOrJson};
use super::failure::Failure;
use super::progress::Told;
use super::signals::with_stop;
use crate::kernel;
use std::path::Path;

/// Lists, fetches or updates.
pub fn kernels(args: &KernelsArgs) -> Result<String, Failure> {
    let notify = |notice: kernel::Notice| say!("memhp: {notice}");
    let mut context = kernel::Context::new(&notify).map_err(Failure::kernel)?;
    context.kernels_dir.clone_from(&args.kernels_dir);
    let told = Told::new();
    context.tools.progress = &told;
    match args.action.as_ref().unwrap_or(&KernelsAction::List) {
        KernelsAction::List => list(args, &context),
        KernelsAction::Fetch { names } => {
            let stop = context.tools.stop.clone();
            let all = with_stop(&stop, || kernel::resolve(names, &context).map_err(Failure::kernel))?;
            let identities: Vec<_> = all.iter().map(kernel::Kernel::identity).collect();
            show(args, &identities, |k| format!("{}\t{}\t{}", k.name, k.release, k.sha256))
        }
        KernelsAction::Build(build) => {
            let stop = context.tools.stop.clone();
            let built = with_stop(&stop, || super::build::build(build, &context))?;
            show(args, &built, |k| {
                let dir = k.dir.as_ref().map_or_else(|| "checked".into(), |d| d.display().to_string());
                format!("{}\t{}\t{}\t{dir}", k.kernel, k.release, k.sha256.as_deref().unwrap_or("-"))
            })
        }
        KernelsAction::Update { names } => {
            let dir = args.kernels_dir.as_deref().unwrap_or(Path::new("kernels"));
            let moved = kernel::update(names, dir, &context).map_err(Failure::kernel)?;
            show(args, &moved, |m| format!("{m:?}"))
        }
    }
}

fn list(args: &KernelsArgs, context: &kernel::Context<'_>) -> Result<String, Failure> {
    let all = kernel::list(context).map_err(Failure::kernel)?;
    show(args, &all, |k| {
        let default = if k.default { "default" } else { "" };
        let cached = if k.cached { "cached" } else { "not fetched" };
        let pin = k.pin.as_ref().map_or("not pinned", |pin| pin.version());
        format!("{}\t{pin}\t{cached}\t{default}\t{}", k.name, k.summary)
    })
}

fn show<T: serde::Serialize>(
    args: &KernelsArgs,
    all: &[T],
    line: impl Fn(&T) -> String,
) -> Result<String, Failure> {
    match args.format {
        TextOrJson::Text => Ok(all.iter().map(|k| line(k) + "\n").collect()),
        TextOrJson::Json => serde_json::to_string_pretty(all).map(|t| t + "\n").map_err(Failure::host),
    }
}
