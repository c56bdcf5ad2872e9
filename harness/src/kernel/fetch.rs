//! Packages of kernels and of their sources: from the lock, the cache and the archive to a directory with what is needed.
//!
//! The pinned packages are used where the cache has them or the archive still does; else the newest of the series is
//! taken, told, and kept to until the lock moves. Without a network, what was fetched before serves.

use super::Context;
use super::apt::Apt;
use super::archive::{self, Candidate};
use super::cache::sha256_file;
use super::deb;
use super::definition::{Package, SourcePackage};
use super::error::{KernelError, Notice, at};
use super::lock::{PackageFile, Pin};
use std::fs;
use std::path::{Path, PathBuf};

const STAND_INS: &str = "stand-ins";
const META: &str = "pin.json";
/// Kind and directory of the private apt.
pub(super) const APT: &str = "apt";

/// A package kernel that is at hand.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) dir: PathBuf,
    pub(super) pin: Pin,
    /// It is what the lock says.
    pub(super) pinned: bool,
}

/// A series of packages, one of which is wanted.
pub(super) trait Wanted: std::fmt::Debug {
    /// How their names begin.
    fn prefix(&self) -> String;
    /// Whether this is the name of one.
    fn is(&self, package: &str) -> bool;
    /// Suites to look in, the first the best.
    fn suites(&self) -> &[String];
    /// For people: `linux-image-6.1*-cloud-amd64`.
    fn title(&self) -> String;
    /// Kind of cache entry.
    fn kind(&self) -> &'static str;
    /// Takes what is needed out of a package file.
    fn unpack(&self, deb: &Path, release: &str, into: &Path) -> Result<(), KernelError>;
    /// Files that there must be then.
    fn needed(&self) -> &'static [&'static str];
}

impl Wanted for Package {
    fn prefix(&self) -> String {
        format!("linux-image-{}.", self.series)
    }

    fn is(&self, package: &str) -> bool {
        archive::is_kernel(package, self)
    }

    fn suites(&self) -> &[String] {
        &self.suites
    }

    fn title(&self) -> String {
        format!("linux-image-{}*-{}", self.series, self.flavour)
    }

    fn kind(&self) -> &'static str {
        "packages"
    }

    fn unpack(&self, deb: &Path, release: &str, into: &Path) -> Result<(), KernelError> {
        deb::unpack(deb, release, into)
    }

    fn needed(&self) -> &'static [&'static str] {
        &[deb::IMAGE, deb::CONFIG]
    }
}

impl Wanted for SourcePackage {
    fn prefix(&self) -> String {
        format!("linux-source-{}", self.series)
    }

    fn is(&self, package: &str) -> bool {
        let rest = package.strip_prefix("linux-source-").and_then(|p| p.strip_prefix(&self.series));
        rest.is_some_and(|r| r.is_empty() || r.starts_with('.'))
    }

    fn suites(&self) -> &[String] {
        &self.suites
    }

    fn title(&self) -> String {
        format!("linux-source-{}", self.series)
    }

    fn kind(&self) -> &'static str {
        "sources"
    }

    fn unpack(&self, deb: &Path, release: &str, into: &Path) -> Result<(), KernelError> {
        deb::unpack_source(deb, release, &into.join(deb::SOURCE))
    }

    fn needed(&self) -> &'static [&'static str] {
        &["source/Makefile", "source/Kconfig", "source/MAINTAINERS"]
    }
}

/// Gets a definition's packages.
pub(super) fn fetch(
    name: &str,
    wanted: &dyn Wanted,
    pin: Option<&Pin>,
    ctx: &Context<'_>,
) -> Result<Kept, KernelError> {
    if let Some(pin) = pin.filter(|p| !wanted.is(&p.packages[0].package)) {
        let error = format!("{name}: {} is no {}", pin.title(), wanted.title());
        return Err(KernelError::Lock { file: super::lock::FILE.into(), error });
    }
    if let Some(kept) = at_hand(name, wanted, pin, ctx)? {
        return Ok(kept);
    }
    match from_archive(name, wanted, pin, ctx) {
        Err(error) if error.is_apt() => offline(name, wanted, error, ctx),
        other => other,
    }
}

/// Whether the pinned packages are in the cache already.
pub(super) fn is_cached(wanted: &dyn Wanted, pin: &Pin, ctx: &Context<'_>) -> Result<bool, KernelError> {
    Ok(ctx.cache.entry(wanted.kind(), &pin.key(), ctx.notify)?.is_some())
}

/// The newest of a definition in the archive, without fetching it.
pub(super) fn newest(wanted: &dyn Wanted, ctx: &Context<'_>) -> Result<Pin, KernelError> {
    let _lock = ctx.cache.lock(APT, ctx.notify)?;
    let mut apt = Apt::open(&ctx.cache.dir(APT), ctx.archive.as_ref(), &ctx.tools.stop)?;
    newest_in(&mut apt, wanted, ctx)
}

/// What needs no network: the pin, or what already stands in for it.
fn at_hand(
    name: &str,
    wanted: &dyn Wanted,
    pin: Option<&Pin>,
    ctx: &Context<'_>,
) -> Result<Option<Kept>, KernelError> {
    if let Some(pin) = pin
        && let Some(dir) = ctx.cache.entry(wanted.kind(), &pin.key(), ctx.notify)?
    {
        return Ok(Some(Kept { dir, pin: pin.clone(), pinned: true }));
    }
    let Some(other) = read_pin(&stand_in_path(wanted, pin, ctx)) else { return Ok(None) };
    let Some(dir) = ctx.cache.entry(wanted.kind(), &other.key(), ctx.notify)? else { return Ok(None) };
    tell_gone(name, pin, &other, ctx);
    Ok(Some(Kept { dir, pin: other, pinned: false }))
}

fn from_archive(
    name: &str,
    wanted: &dyn Wanted,
    pin: Option<&Pin>,
    ctx: &Context<'_>,
) -> Result<Kept, KernelError> {
    let _lock = ctx.cache.lock(APT, ctx.notify)?;
    if let Some(kept) = at_hand(name, wanted, pin, ctx)? {
        return Ok(kept);
    }
    let mut apt = Apt::open(&ctx.cache.dir(APT), ctx.archive.as_ref(), &ctx.tools.stop)?;
    if let Some(pin) = pin {
        match apt.update(&pin.suite) {
            Ok(()) if still_there(&apt, wanted, pin)? => {
                let dir = download(&apt, name, wanted, pin, ctx)?;
                return Ok(Kept { dir, pin: pin.clone(), pinned: true });
            }
            Err(error) if error.is_apt() && newest_cached(wanted, ctx)?.is_some() => return Err(error),
            Ok(()) => {}
            Err(error) if error.is_apt() => {
                ctx.tell(Notice::SuiteSkipped { suite: pin.suite.clone(), why: error.to_string() });
            }
            Err(error) => return Err(error),
        }
    }
    let other = newest_in(&mut apt, wanted, ctx)?;
    let dir = download(&apt, name, wanted, &other, ctx)?;
    write_pin(&stand_in_path(wanted, pin, ctx), &other)?;
    tell_gone(name, pin, &other, ctx);
    Ok(Kept { dir, pin: other, pinned: false })
}

/// The newest entry of the cache that fits, told as what it is.
fn offline(
    name: &str,
    wanted: &dyn Wanted,
    error: KernelError,
    ctx: &Context<'_>,
) -> Result<Kept, KernelError> {
    let Some((pin, dir)) = newest_cached(wanted, ctx)? else { return Err(error) };
    let release = pin.release.clone();
    ctx.tell(Notice::Offline { name: name.to_string(), release, why: error.to_string() });
    Ok(Kept { dir, pin, pinned: false })
}

fn newest_cached(wanted: &dyn Wanted, ctx: &Context<'_>) -> Result<Option<(Pin, PathBuf)>, KernelError> {
    let all = cached(wanted, ctx)?;
    let best = all.into_iter().max_by(|a, b| archive::compare_versions(a.version(), b.version()));
    let Some(pin) = best else { return Ok(None) };
    Ok(ctx.cache.entry(wanted.kind(), &pin.key(), ctx.notify)?.map(|dir| (pin, dir)))
}

/// Everything in the cache that fits a definition.
pub(super) fn cached(wanted: &dyn Wanted, ctx: &Context<'_>) -> Result<Vec<Pin>, KernelError> {
    let keys = ctx.cache.keys(wanted.kind())?;
    let pins = keys.iter().filter_map(|key| read_pin(&ctx.cache.dir(wanted.kind()).join(key).join(META)));
    Ok(pins.filter(|pin| wanted.is(&pin.packages[0].package)).collect())
}

/// A kernel that is in the cache.
pub(super) fn kept(wanted: &dyn Wanted, pin: &Pin, ctx: &Context<'_>) -> Result<Kept, KernelError> {
    let dir = ctx.cache.entry(wanted.kind(), &pin.key(), ctx.notify)?;
    let gone = || KernelError::Missing(ctx.cache.dir(wanted.kind()).join(pin.key()));
    Ok(Kept { dir: dir.ok_or_else(gone)?, pin: pin.clone(), pinned: false })
}

/// A kernel that the archive lists; its suite's package list is at hand.
pub(super) fn this(
    name: &str,
    wanted: &dyn Wanted,
    found: &Candidate,
    ctx: &Context<'_>,
) -> Result<Kept, KernelError> {
    let _lock = ctx.cache.lock(APT, ctx.notify)?;
    let mut apt = Apt::open(&ctx.cache.dir(APT), ctx.archive.as_ref(), &ctx.tools.stop)?;
    apt.update(&found.suite)?;
    let pin = describe(&apt, found)?;
    let dir = download(&apt, name, wanted, &pin, ctx)?;
    Ok(Kept { dir, pin, pinned: false })
}

fn newest_in(apt: &mut Apt, wanted: &dyn Wanted, ctx: &Context<'_>) -> Result<Pin, KernelError> {
    let mut first_error = None;
    let mut read = 0;
    for suite in wanted.suites() {
        match apt.update(suite) {
            Ok(()) => read += 1,
            Err(error) if error.is_apt() => {
                ctx.tell(Notice::SuiteSkipped { suite: suite.clone(), why: error.to_string() });
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    if let (0, Some(error)) = (read, first_error) {
        return Err(error);
    }
    let candidates = apt.candidates(wanted)?;
    let best = archive::newest(&candidates, wanted.suites()).ok_or_else(|| KernelError::NoPackage {
        wanted: wanted.title(),
        suites: wanted.suites().join(", "),
    })?;
    describe(apt, best)
}

/// All package files of a kernel that the archive has, with the checksums of the signed list. A part that it lacks is no
/// mistake (linux-image-6.18.15+deb13-cloud-amd64 depends on a linux-base-* that was never there, and is whole without);
/// unpacking tells when something needed is missing.
fn describe(apt: &Apt, found: &Candidate) -> Result<Pin, KernelError> {
    let stanza = apt.show(&found.package, &found.version)?;
    let mut packages = vec![stanza.file.clone()];
    for part in stanza.parts(found.release()) {
        if apt.has(part, &found.version)? {
            packages.push(apt.show(part, &found.version)?.file);
        }
    }
    Ok(Pin { release: found.release().to_string(), suite: found.suite.clone(), packages })
}

fn still_there(apt: &Apt, wanted: &dyn Wanted, pin: &Pin) -> Result<bool, KernelError> {
    let image = &pin.packages[0];
    let candidates = apt.candidates(wanted)?;
    if !candidates.iter().any(|c| c.package == image.package && c.version == image.version) {
        return Ok(false);
    }
    for file in &pin.packages {
        let listed = apt.show(&file.package, &file.version)?.file;
        if listed.sha256 != file.sha256 {
            return Err(KernelError::LockMismatch {
                package: file.package.clone(),
                version: file.version.clone(),
                archive: listed.sha256,
                lock: file.sha256.clone(),
            });
        }
    }
    Ok(true)
}

fn download(
    apt: &Apt,
    name: &str,
    wanted: &dyn Wanted,
    pin: &Pin,
    ctx: &Context<'_>,
) -> Result<PathBuf, KernelError> {
    ctx.cache.entry_or_build(wanted.kind(), &pin.key(), ctx.notify, |dir| {
        ctx.tell(Notice::Fetching { name: name.to_string(), what: pin.title() });
        let debs = dir.join("debs");
        for file in &pin.packages {
            let deb = apt.download(&file.package, &file.version, &debs)?;
            check_sum(&deb, file)?;
            wanted.unpack(&deb, &pin.release, dir)?;
        }
        fs::remove_dir_all(&debs).map_err(at("removing", &debs))?;
        for needed in wanted.needed() {
            if !dir.join(needed).is_file() {
                let why = format!("holds no {needed} of {}", pin.release);
                return Err(KernelError::Deb { path: pin.title().into(), why });
            }
        }
        write_pin(&dir.join(META), pin)?;
        Ok(wanted.needed().iter().copied().chain([META]).collect())
    })
}

/// apt has checked the file against the signed list; this checks it against the lock.
fn check_sum(deb: &Path, file: &PackageFile) -> Result<(), KernelError> {
    let sha256 = sha256_file(deb)?;
    if sha256 == file.sha256 {
        return Ok(());
    }
    Err(KernelError::Deb { path: deb.into(), why: format!("has sha256 {sha256}, not {}", file.sha256) })
}

/// A stand-in is one for just this definition and just this pin: it ends when either moves.
fn stand_in_path(wanted: &dyn Wanted, pin: Option<&Pin>, ctx: &Context<'_>) -> PathBuf {
    let text = format!("{wanted:?} {}", pin.map_or_else(|| "none".into(), Pin::key));
    ctx.cache.dir(STAND_INS).join(format!("{}.json", &super::cache::sha256(text.as_bytes())[..16]))
}

fn tell_gone(name: &str, pin: Option<&Pin>, used: &Pin, ctx: &Context<'_>) {
    if let Some(pin) = pin {
        let (pinned, version) = (pin.version().to_string(), used.version().to_string());
        ctx.tell(Notice::PinGone { name: name.to_string(), pinned, version });
    }
}

/// `None` for what is not there or not readable: it is then fetched again.
fn read_pin(path: &Path) -> Option<Pin> {
    let pin: Pin = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    (!pin.packages.is_empty()).then_some(pin)
}

fn write_pin(path: &Path, pin: &Pin) -> Result<(), KernelError> {
    let text = serde_json::to_string_pretty(pin).expect("strings always serialize");
    write_whole(path, &text)
}

/// Writes through a temporary file, so that a reader finds all of it or the old one.
pub(super) fn write_whole(path: &Path, text: &str) -> Result<(), KernelError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(at("creating", dir))?;
    let file = tempfile::NamedTempFile::new_in(dir).map_err(at("creating a file in", dir))?;
    fs::write(file.path(), text).map_err(at("writing", file.path()))?;
    file.persist(path).map_err(|e| at("writing", path)(e.error))?;
    Ok(())
}
