//! Every version of a series that the archive offers or that was fetched before, not just the one of the lock.

use super::apt::Apt;
use super::archive::{Candidate, compare_versions};
use super::definition::{Package, Source};
use super::error::{KernelError, Notice};
use super::lock::Pin;
use super::{Context, Kernel, definition, fetch};
use std::collections::BTreeMap;

/// A packaged kernel that can be fetched, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// definition that its series belongs to
    pub definition: String,
    /// package version, as Debian writes it
    pub version: String,
    /// `uname -r`
    pub release: String,
    /// where it is, or was
    pub suite: String,
    package: Package,
    from: From,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    Archive(Candidate),
    Cache(Pin),
}

/// Kernels from the oldest of one definition's series to the newest of another's, those of the definitions between them
/// too, oldest first, each version once.
///
/// # Errors
/// No such definition, in that order, or no archive and nothing kept.
pub fn offered(from: &str, to: &str, ctx: &Context<'_>) -> Result<Vec<Offered>, KernelError> {
    let definitions = definition::load(ctx.kernels_dir.as_deref())?;
    let package = |name: &str| match definitions.get(name).map(|d| &d.from) {
        Some(Source::Package(package)) => Ok(package.clone()),
        Some(Source::Build(_)) => Err(KernelError::NotPackaged(name.into())),
        None => {
            let names = definitions.keys().cloned().collect::<Vec<_>>().join(", ");
            Err(KernelError::Unknown { spec: name.into(), names })
        }
    };
    let (first, last) = (package(from)?, package(to)?);
    let mut wanted: Vec<(&String, Package)> = Vec::new();
    for (name, definition) in &definitions {
        let Source::Package(package) = &definition.from else { continue };
        let above = compare_versions(&package.series, &first.series).is_ge();
        if above
            && compare_versions(&package.series, &last.series).is_le()
            && package.flavour == first.flavour
        {
            wanted.push((name, package.clone()));
        }
    }
    let mut all: BTreeMap<(String, String), Offered> = BTreeMap::new();
    // What is kept needs no network.
    for one in listed(&wanted, ctx)?.into_iter().chain(kept(&wanted, ctx)?) {
        all.insert((one.version.clone(), one.release.clone()), one);
    }
    let mut all: Vec<Offered> = all.into_values().collect();
    all.sort_by(|a, b| compare_versions(&a.version, &b.version));
    Ok(all)
}

/// Fetches it, if it is not kept already.
///
/// # Errors
/// The archive's, or a package that does not hold what it must.
pub fn fetch_offered(offered: &Offered, ctx: &Context<'_>) -> Result<Kernel, KernelError> {
    let kept = match &offered.from {
        From::Archive(found) => fetch::this(&offered.definition, &offered.package, found, ctx)?,
        From::Cache(pin) => fetch::kept(&offered.package, pin, ctx)?,
    };
    let name = format!("{}-{}", offered.definition, offered.version.replace('/', "_"));
    super::of_package(&name, &kept, ctx)
}

fn kept(wanted: &[(&String, Package)], ctx: &Context<'_>) -> Result<Vec<Offered>, KernelError> {
    let mut all = Vec::new();
    for (name, package) in wanted {
        for pin in fetch::cached(package, ctx)? {
            all.push(Offered {
                definition: name.to_string(),
                version: pin.version().to_string(),
                release: pin.release.clone(),
                suite: pin.suite.clone(),
                package: package.clone(),
                from: From::Cache(pin),
            });
        }
    }
    Ok(all)
}

fn listed(wanted: &[(&String, Package)], ctx: &Context<'_>) -> Result<Vec<Offered>, KernelError> {
    let _lock = ctx.cache.lock(fetch::APT, ctx.notify)?;
    let mut apt = Apt::open(&ctx.cache.dir(fetch::APT), ctx.archive.as_ref(), &ctx.tools.stop)?;
    let mut suites: Vec<&String> = wanted.iter().flat_map(|(_, p)| &p.suites).collect();
    suites.sort();
    suites.dedup();
    let mut read = 0;
    for suite in suites {
        match apt.update(suite) {
            Ok(()) => read += 1,
            Err(error) if error.is_apt() => {
                (ctx.notify)(Notice::SuiteSkipped { suite: suite.clone(), why: error.to_string() });
            }
            Err(error) => return Err(error),
        }
    }
    if read == 0 {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for (name, package) in wanted {
        for found in apt.candidates(package)? {
            all.push(Offered {
                definition: name.to_string(),
                version: found.version.clone(),
                release: found.release().to_string(),
                suite: found.suite.clone(),
                package: package.clone(),
                from: From::Archive(found),
            });
        }
    }
    Ok(all)
}
