//! Real programs for guests: a distribution's own binaries with their libraries, from its packages, without root.
//!
//! A part is a cpio archive of its own, to be put behind the agent's. It is made once of the packages that the host's
//! suite has at that time and kept in the cache with the list of what it was made of; from then on it works offline.

use super::newc::{Archive, Head, S_IFDIR, S_IFLNK, S_IFREG};
use crate::kernel::apt::Apt;
use crate::kernel::archive::Stanza;
use crate::kernel::deb::{self, Packed};
use crate::kernel::elf::Elf;
use crate::kernel::{Context, KernelError, Notice, at};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Changes when what is made of the same packages changes.
const FORMAT: &str = "1";
const KIND: &str = "user-space";
const ARCHIVE: &str = "part.cpio";
const PACKAGES: &str = "packages.json";
const APT: &str = "apt";
/// Name of the program that starts every other one.
const LOADER: &str = "ld-linux-x86-64.so.2";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// Where packages have their libraries, and where a merged /usr has them.
const PLACES: [&str; 4] = ["lib/x86_64-linux-gnu/", "usr/lib/x86_64-linux-gnu/", "lib64/", "usr/lib64/"];
const LIST: &str = include_str!("../../../images/udev/packages");

/// Programs that a guest may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// systemd-udevd and udevadm
    Udev,
    /// stress-ng
    StressNg,
}

impl Part {
    /// Its name in images/udev/packages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udev => "udev",
            Self::StressNg => "stress-ng",
        }
    }

    /// Package, and program in it.
    fn source(self) -> Option<(&'static str, &'static str)> {
        let lines = LIST.lines().filter(|l| !l.starts_with('#'));
        let mut words = lines.map(|l| l.split_whitespace().collect::<Vec<_>>());
        words.find_map(|w| match w.as_slice() {
            [name, package, program] if *name == self.name() => Some((*package, *program)),
            _ => None,
        })
    }
}

/// The part as an archive, fetched and made where the cache has none.
///
/// # Errors
/// [`KernelError`], of apt, of a package that is not as it was expected, of files.
pub fn part(part: Part, ctx: &Context<'_>) -> Result<Vec<u8>, KernelError> {
    let suite = suite()?;
    let wrong = |why: &str| KernelError::Deb { path: part.name().into(), why: why.into() };
    let (package, program) = part.source().ok_or_else(|| wrong("is not in images/udev/packages"))?;
    let made_of = format!("{FORMAT} {suite} {package} {program}");
    let key = format!("{}-{suite}-{}", part.name(), &crate::kernel::sha256(made_of.as_bytes())[..12]);
    let dir = ctx.cache.entry_or_build(KIND, &key, ctx.notify, |dir| {
        (ctx.notify)(Notice::Fetching { name: part.name().into(), what: format!("{package} of {suite}") });
        let _lock = ctx.cache.lock(APT, ctx.notify)?;
        let mut apt = Apt::open(&ctx.cache.dir(APT), ctx.archive.as_ref(), &ctx.tools.stop)?;
        apt.update(&suite)?;
        let mut closure = Closure::new(&apt, dir.join("debs"));
        closure.program(package, program)?;
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            fs::write(&path, bytes).map_err(at("writing", &path))
        };
        write(ARCHIVE, &archive(part, &closure.files))?;
        let versions: Vec<_> = closure.packages.values().map(|p| &p.stanza.file).collect();
        let versions = serde_json::to_string_pretty(&versions).expect("texts always serialize");
        write(PACKAGES, versions.as_bytes())?;
        let debs = dir.join("debs");
        fs::remove_dir_all(&debs).map_err(at("removing", &debs))?;
        Ok(vec![ARCHIVE, PACKAGES])
    })?;
    let path = dir.join(ARCHIVE);
    fs::read(&path).map_err(at("reading", &path))
}

/// The host's own Debian suite.
fn suite() -> Result<String, KernelError> {
    let path = Path::new("/etc/os-release");
    let text = fs::read_to_string(path).map_err(at("reading", path))?;
    code_name(&text)
        .ok_or_else(|| KernelError::NoArchive("a host that is not Debian: /etc/os-release".into()))
}

/// Of /etc/os-release; `None` for another distribution.
fn code_name(os_release: &str) -> Option<String> {
    let field = |name: &str| {
        let line = os_release.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_string())
    };
    field("VERSION_CODENAME").filter(|name| field("ID").as_deref() == Some("debian") && !name.is_empty())
}

/// A package that was unpacked.
struct Unpacked {
    stanza: Stanza,
    files: BTreeMap<String, Packed>,
}

/// A program and all the libraries that it is linked with.
struct Closure<'a> {
    apt: &'a Apt,
    debs: std::path::PathBuf,
    packages: BTreeMap<String, Unpacked>,
    /// path in the guest -> content
    files: BTreeMap<String, Vec<u8>>,
}

impl<'a> Closure<'a> {
    fn new(apt: &'a Apt, debs: std::path::PathBuf) -> Self {
        Self { apt, debs, packages: BTreeMap::new(), files: BTreeMap::new() }
    }

    fn program(&mut self, package: &str, program: &str) -> Result<(), KernelError> {
        self.unpack(package)?;
        let lacks = |what: &str| KernelError::Deb { path: package.into(), why: format!("holds no {what}") };
        let files = self.packages.get(package).map(|p| &p.files);
        let binary = files.and_then(|files| {
            [program.to_string(), format!("usr/{program}")].iter().find_map(|path| content(files, path))
        });
        let binary = binary.ok_or_else(|| lacks(program))?;
        let mut todo = vec![(package.to_string(), LOADER.to_string())];
        todo.extend(libraries(&binary).into_iter().map(|soname| (package.to_string(), soname)));
        let name = program.rsplit('/').next().unwrap_or(program);
        self.files.insert(format!("usr/bin/{name}"), binary);
        while let Some((needs, soname)) = todo.pop() {
            let place =
                if soname == LOADER { format!("lib64/{soname}") } else { format!("{LIBRARIES}/{soname}") };
            if self.files.contains_key(&place) {
                continue;
            }
            let (owner, library) = self.find(&needs, &soname)?;
            todo.extend(libraries(&library).into_iter().map(|soname| (owner.clone(), soname)));
            self.files.insert(place, library);
        }
        Ok(())
    }

    /// The package that has a library which one of `package` needs, and its content: among those that are here, else
    /// among all that `package` depends on (zlib1g has a library too), those first whose names are like the library's.
    fn find(&mut self, package: &str, soname: &str) -> Result<(String, Vec<u8>), KernelError> {
        if let Some(found) =
            self.packages.iter().find_map(|(name, p)| Some((name.clone(), library(&p.files, soname)?)))
        {
            return Ok(found);
        }
        let depends = self.packages.get(package).map(|p| p.stanza.depends.clone()).unwrap_or_default();
        let mut depends: Vec<String> =
            depends.into_iter().filter(|d| !self.packages.contains_key(d)).collect();
        depends.sort_by_key(|d| std::cmp::Reverse(likeness(d, soname)));
        depends.dedup();
        for depend in depends {
            self.unpack(&depend)?;
            if let Some(found) = self.packages.get(&depend).and_then(|p| library(&p.files, soname)) {
                return Ok((depend, found));
            }
        }
        let why = format!("needs {soname}, and nothing that it depends on holds it");
        Err(KernelError::Deb { path: package.into(), why })
    }

    /// Packages without a version of their own (virtual ones) are left out.
    fn unpack(&mut self, package: &str) -> Result<(), KernelError> {
        let Some(stanza) = self.apt.newest(package)? else { return Ok(()) };
        let deb = self.apt.download(package, &stanza.file.version, &self.debs)?;
        let sha256 = crate::kernel::sha256(&fs::read(&deb).map_err(at("reading", &deb))?);
        if sha256 != stanza.file.sha256 {
            let why = format!("has sha256 {sha256}, not {}", stanza.file.sha256);
            return Err(KernelError::Deb { path: deb, why });
        }
        let files = deb::read(&deb, &|path| {
            let path = path.strip_prefix("usr/").unwrap_or(path);
            path.starts_with("bin/")
                || path.starts_with("lib/x86_64-linux-gnu/")
                || path.starts_with("lib64/")
        })?;
        self.packages.insert(package.into(), Unpacked { stanza, files });
        Ok(())
    }
}

fn libraries(binary: &[u8]) -> Vec<String> {
    Elf::parse(binary).map(|elf| elf.needed()).unwrap_or_default()
}

fn library(files: &BTreeMap<String, Packed>, soname: &str) -> Option<Vec<u8>> {
    PLACES.iter().find_map(|place| content(files, &format!("{place}{soname}")))
}

/// Content of a file of a package; links are followed inside of it.
fn content(files: &BTreeMap<String, Packed>, path: &str) -> Option<Vec<u8>> {
    let mut path = path.to_string();
    for _ in 0..4 {
        match files.get(&path)? {
            Packed::File(bytes) => return Some(bytes.clone()),
            Packed::Link(target) if target.starts_with('/') => path = target[1..].to_string(),
            Packed::Link(target) => path = format!("{}/{target}", path.rsplit_once('/')?.0),
        }
    }
    None
}

/// How much of the beginning of both names is the same, letters and digits alone: libjpeg62-turbo and libjpeg.so.62.
fn likeness(package: &str, soname: &str) -> usize {
    let plain = |text: &str| -> Vec<char> {
        let text = text.replace(".so", "");
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    plain(package).iter().zip(plain(soname)).take_while(|(a, b)| **a == *b).count()
}

/// The files, with what their programs look for besides libraries.
fn archive(part: Part, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut all: BTreeMap<&str, (u32, &[u8])> = BTreeMap::new();
    for (path, bytes) in files {
        all.insert(path, (S_IFREG | 0o755, bytes));
    }
    if part == Part::Udev {
        all.insert("usr/bin/systemd-udevd", (S_IFLNK | 0o777, b"udevadm"));
        all.insert("etc/passwd", (S_IFREG | 0o644, b"root:x:0:0:root:/:/bin/sh\n"));
        all.insert("etc/group", (S_IFREG | 0o644, b"root:x:0:\n"));
        all.insert("etc/udev/udev.conf", (S_IFREG | 0o644, b""));
        all.insert("run", (S_IFDIR | 0o755, b""));
    }
    let above = all.keys().flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at]));
    let dirs: BTreeSet<&str> = above.collect();
    all.extend(dirs.into_iter().map(|dir| (dir, (S_IFDIR | 0o755, &b""[..]))));
    let mut archive = Archive::default();
    for (name, (mode, bytes)) in all {
        archive.add(&Head { name, mode, device: (0, 0) }, bytes);
    }
    archive.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_listed() {
        assert_eq!(Part::Udev.source(), Some(("udev", "bin/udevadm")));
        assert_eq!(Part::StressNg.source(), Some(("stress-ng", "bin/stress-ng")));
    }

    #[test]
    fn names_that_are_alike() {
        assert_eq!(likeness("libjpeg62-turbo", "libjpeg.so.62"), 9);
        assert!(likeness("libjudydebian1", "libJudy.so.1") > likeness("libjpeg62-turbo", "libJudy.so.1"));
        assert!(likeness("libegl1", "libEGL.so.1") > likeness("libegl-mesa0", "libEGL.so.1"));
    }

    #[test]
    fn the_suite_is_the_hosts_own() {
        let text = "PRETTY_NAME=\"Debian\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(code_name(text).as_deref(), Some("bookworm"));
        assert_eq!(code_name("VERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n"), None);
    }

    #[test]
    fn links_are_followed_inside_a_package() {
        let file = |name: &str| (name.to_string(), Packed::File(name.into()));
        let link = |name: &str, to: &str| (name.to_string(), Packed::Link(to.into()));
        let files = BTreeMap::from([
            file("lib/x86_64-linux-gnu/libz.so.1.2"),
            link("lib/x86_64-linux-gnu/libz.so.1", "libz.so.1.2"),
            link("lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libz.so.1"),
            link("lib64/round", "round"),
        ]);
        let there = Some(b"lib/x86_64-linux-gnu/libz.so.1.2".to_vec());
        assert_eq!(library(&files, "libz.so.1"), there);
        assert_eq!(library(&files, LOADER), there);
        assert_eq!(library(&files, "round"), None);
        assert_eq!(library(&files, "libnone.so.1"), None);
    }

    #[test]
    fn the_same_files_make_the_same_bytes() {
        let files = BTreeMap::from([("usr/bin/udevadm".to_string(), vec![1, 2, 3])]);
        let one = archive(Part::Udev, &files);
        assert_eq!(one, archive(Part::Udev, &files));
        let text = String::from_utf8_lossy(&one);
        for name in ["usr\0", "usr/bin\0", "usr/bin/udevadm\0", "etc/passwd\0", "run\0"] {
            assert!(text.contains(name), "{name}");
        }
        assert_ne!(one, archive(Part::StressNg, &files));
    }
}
