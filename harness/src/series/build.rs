//! The two kernels: the base as the user would build it, and on top of a copy of that the patched one, in the sandbox.
//!
//! The patched kernel has the base's configuration, brought up to date by its own Kconfig: what a series does to the
//! options is part of the series. Nothing of the patched source is read here but through make.

use super::error::{SeriesError, at};
use super::shell::Shell;
use crate::kernel::build::{self, Built, Direct, Recipe, Runner, Tools};
use crate::sandbox::Sandbox;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// No configuration is larger.
const LARGEST_CONFIG: u64 = 4 << 20;

/// Builds the base; it is the user's own source, and ccache helps.
pub fn base(source: &Path, dir: &Path, recipe: &Recipe, tools: &Tools<'_>) -> Result<Built, SeriesError> {
    build::build_in(source, dir, recipe, &Tools { runner: &Direct, ..tools.clone() })
        .map_err(SeriesError::Base)
}

/// Copies the base's build directory, so that the patched kernel costs only its difference.
pub fn seed(base: &Path, dir: &Path, shell: &Shell<'_>) -> Result<(), SeriesError> {
    let direct = Shell {
        runner: &Direct,
        stop: shell.stop.clone(),
        scratch: shell.scratch.clone(),
        reads: Vec::new(),
        writes: Vec::new(),
    };
    let what = "copying the base's build";
    direct
        .run(what, "cp -a --reflink=auto -T -- \"$1\" \"$2\"", &[base, dir], Path::new("/"))?
        .must(what)
        .map(|_| ())
}

/// Builds what is in the worktree now; what became of the configuration.
pub fn patched(
    source: &Path,
    dir: &Path,
    base: &Built,
    sandbox: &Sandbox,
    tools: &Tools<'_>,
) -> Result<Vec<String>, SeriesError> {
    let runner: &dyn Runner = sandbox;
    let tools = Tools { runner, ..tools.clone() };
    let config = dir.join(".config");
    fs::copy(base.dir.join(".config"), &config).map_err(at("copying", &config))?;
    build::make_in(source, dir, &["olddefconfig"], &tools)?;
    let (before, after) = (options(&base.dir.join(".config"))?, options(&config)?);
    let is_y = |name: &str| after.get(name).is_some_and(|v| v == "y");
    let image = if is_y("CONFIG_PVH") { "vmlinux" } else { "bzImage" };
    let modules = is_y("CONFIG_MODULES").then_some("modules");
    let targets: Vec<&str> = std::iter::once(image).chain(modules).collect();
    build::make_in(source, dir, &targets, &tools)?;
    Ok(difference(&before, &after))
}

/// Options that are set, with their values.
fn options(path: &Path) -> Result<BTreeMap<String, String>, SeriesError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|f| f.take(LARGEST_CONFIG).read_to_string(&mut text));
    read.map_err(at("reading", path))?;
    let set = |line: &str| line.split_once('=').map(|(n, v)| (n.to_string(), v.to_string()));
    Ok(text.lines().filter(|l| l.starts_with("CONFIG_")).filter_map(set).collect())
}

/// `CONFIG_X: y, now gone`; versions of the compiler and the like are no options.
fn difference(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let gone =
        before.iter().filter(|(n, _)| !after.contains_key(*n)).map(|(n, v)| format!("{n}={v} is gone"));
    let other = after.iter().filter_map(|(n, v)| match before.get(n) {
        None => Some(format!("{n}={v} is new")),
        Some(old) if old != v => Some(format!("{n}={v}, was {old}")),
        Some(_) => None,
    });
    gone.chain(other).collect()
}

/// Copies what a guest needs of a build into a directory that stays: image, configuration, modules. Only files, and only
/// what is in the build directory.
pub fn keep(build: &Path, to: &Path) -> Result<(), SeriesError> {
    const IMAGES: [&str; 2] = ["vmlinux", "arch/x86/boot/bzImage"];
    let order = build.join("modules.order");
    let mut names: Vec<String> = IMAGES.iter().map(ToString::to_string).collect();
    names.extend([".config", "modules.order", "modules.builtin"].map(String::from));
    if order.is_file() {
        let text = fs::read_to_string(&order).map_err(at("reading", &order))?;
        let module = |line: &str| {
            let path = line.strip_prefix("kernel/").unwrap_or(line);
            path.strip_suffix(".o").map_or(path.to_string(), |stem| format!("{stem}.ko"))
        };
        names.extend(text.lines().map(module));
    }
    let real = fs::canonicalize(build).map_err(at("reading", build))?;
    for name in names {
        let Ok(from) = fs::canonicalize(real.join(&name)) else { continue };
        let plain = Path::new(&name).components().all(|c| matches!(c, std::path::Component::Normal(_)));
        if !from.starts_with(&real) || !from.is_file() || !plain {
            continue;
        }
        let copy = to.join(&name);
        let parent = copy.parent().unwrap_or(to);
        fs::create_dir_all(parent).map_err(at("making", parent))?;
        fs::copy(&from, &copy).map_err(at("copying", &from))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_options() {
        let of = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), text).unwrap();
            options(file.path()).unwrap()
        };
        let before = of("# comment\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"x=y\"\n");
        let after = of("CONFIG_B=y\nCONFIG_C=y\nCONFIG_D=\"x=y\"\n");
        assert_eq!(
            difference(&before, &after),
            ["CONFIG_A=y is gone", "CONFIG_B=y, was m", "CONFIG_C=y is new"]
        );
    }
}
