//! Takes the image, the configuration and the modules out of Debian kernel packages, and the source out of theirs, without
//! dpkg.

use super::error::{KernelError, at};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Name of the image in the directory that is filled.
pub(super) const IMAGE: &str = "vmlinuz";
/// Name of the configuration.
pub(super) const CONFIG: &str = "config";
/// Name of the directory of modules: what /lib/modules/RELEASE is.
pub(super) const MODULES: &str = "modules";
/// Name of the directory of a source.
pub(super) const SOURCE: &str = "source";

/// Unpacks what belongs to `release` from one package file into a directory.
pub(super) fn unpack(deb: &Path, release: &str, into: &Path) -> Result<(), KernelError> {
    each_entry(deb, &mut |path, entry| {
        let Some(place) = place(path, release).filter(|_| entry.header().entry_type().is_file()) else {
            return Ok(());
        };
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(Failed::Archive)?;
        write(&into.join(place), content).map_err(Failed::File)
    })
}

/// Unpacks the tree that is packed in `usr/src/PACKAGE.tar.xz` of a linux-source package; its own top directory becomes
/// `into`.
pub(super) fn unpack_source(deb: &Path, package: &str, into: &Path) -> Result<(), KernelError> {
    let name = format!("usr/src/{package}.tar.xz");
    let mut found = false;
    each_entry(deb, &mut |path, entry| {
        if path.strip_prefix("./").unwrap_or(path) != Path::new(&name) {
            return Ok(());
        }
        found = true;
        unpack_tree(liblzma::read::XzDecoder::new(entry), into)
    })?;
    if found { Ok(()) } else { Err(KernelError::Deb { path: deb.into(), why: format!("holds no {name}") }) }
}

fn unpack_tree(data: impl Read, into: &Path) -> Result<(), Failed> {
    let failed = |e: io::Error| Failed::File(at("unpacking into", into)(e));
    fs::create_dir_all(into).map_err(failed)?;
    let mut archive = tar::Archive::new(io::BufReader::with_capacity(1 << 20, data));
    for entry in archive.entries().map_err(Failed::Archive)? {
        let mut entry = entry.map_err(Failed::Archive)?;
        let path = entry.path().map_err(Failed::Archive)?.into_owned();
        let below: PathBuf = path.components().skip_while(|c| *c == Component::CurDir).skip(1).collect();
        if below.as_os_str().is_empty() {
            continue;
        }
        if below.components().any(|c| !matches!(c, Component::Normal(_))) {
            return Err(Failed::Archive(io::Error::other(format!("{} leads elsewhere", path.display()))));
        }
        let path = into.join(below);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        // Directories come before what is in them, so a link cannot be put in a directory's place: the archive is signed.
        entry.unpack(path).map_err(failed)?;
    }
    Ok(())
}

/// Something in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packed {
    /// a regular file
    File(Vec<u8>),
    /// a symbolic link, and its target
    Link(String),
}

/// The files and links of a package whose path, without its first slash, is wanted.
pub(crate) fn read(
    deb: &Path,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, Packed>, KernelError> {
    let mut found = BTreeMap::new();
    each_entry(deb, &mut |path, entry| {
        let Some(name) = path.to_str() else { return Ok(()) };
        let name = name.strip_prefix("./").unwrap_or(name).to_string();
        if !wanted(&name) {
            return Ok(());
        }
        let kind = entry.header().entry_type();
        if kind.is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(Failed::Archive)?;
            found.insert(name, Packed::File(content));
        } else if kind.is_symlink() {
            let target = entry.link_name().map_err(Failed::Archive)?;
            let target = target.map(|t| t.to_string_lossy().into_owned()).unwrap_or_default();
            found.insert(name, Packed::Link(target));
        }
        Ok(())
    })?;
    Ok(found)
}

/// A damaged archive told apart from a disk that is full.
enum Failed {
    Archive(io::Error),
    File(KernelError),
}

type Entry<'a, 'b> = tar::Entry<'a, Box<dyn Read + 'b>>;

/// Shows every entry of a package's data to `visit`.
fn each_entry(
    deb: &Path,
    visit: &mut dyn FnMut(&Path, &mut Entry<'_, '_>) -> Result<(), Failed>,
) -> Result<(), KernelError> {
    let broken = |why: String| KernelError::Deb { path: deb.to_path_buf(), why };
    let file = File::open(deb).map_err(at("opening", deb))?;
    let mut members = ar::Archive::new(io::BufReader::new(file));
    while let Some(member) = members.next_entry() {
        let member = member.map_err(|e| broken(e.to_string()))?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        let Some(packing) = name.strip_prefix("data.tar") else { continue };
        let data: Box<dyn Read + '_> = match packing {
            "" => Box::new(member),
            ".xz" => Box::new(liblzma::read::XzDecoder::new(member)),
            ".gz" => Box::new(flate2::read::GzDecoder::new(member)),
            ".zst" => Box::new(zstd::stream::read::Decoder::new(member).map_err(|e| broken(e.to_string()))?),
            other => return Err(broken(format!("data.tar{other} is packed in an unknown way"))),
        };
        return each_of_tar(data, visit).map_err(|e| match e {
            Failed::Archive(e) => broken(e.to_string()),
            Failed::File(e) => e,
        });
    }
    Err(broken("not a Debian package: it has no data.tar".into()))
}

fn each_of_tar<'b>(
    data: Box<dyn Read + 'b>,
    visit: &mut dyn FnMut(&Path, &mut Entry<'_, '_>) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut archive = tar::Archive::new(data);
    for entry in archive.entries().map_err(Failed::Archive)? {
        let mut entry = entry.map_err(Failed::Archive)?;
        let path = entry.path().map_err(Failed::Archive)?.into_owned();
        visit(&path, &mut entry)?;
    }
    Ok(())
}

/// Where a file of the package goes, `None` for those that are not needed.
fn place(path: &Path, release: &str) -> Option<PathBuf> {
    let text = path.to_str()?;
    let text = text.strip_prefix("./").unwrap_or(text);
    if text.split('/').any(|part| part == ".." || part.is_empty()) {
        return None;
    }
    let text = text.strip_prefix("usr/").unwrap_or(text);
    if let Some(name) = text.strip_prefix("boot/") {
        let name = name.strip_suffix(release)?.strip_suffix('-')?;
        return [IMAGE, CONFIG].contains(&name).then(|| name.into());
    }
    let inside = text.strip_prefix("lib/modules/")?.strip_prefix(release)?.strip_prefix('/')?;
    if [IMAGE, CONFIG].contains(&inside) {
        return Some(inside.into());
    }
    let module = inside.starts_with("kernel/") && inside.contains(".ko");
    let index = inside == "modules.builtin" || inside == "modules.order";
    (module || index).then(|| Path::new(MODULES).join(inside))
}

/// Plain modules are packed while they are written: a third of the space, and quicker to read back.
fn write(path: &Path, mut content: Vec<u8>) -> Result<(), KernelError> {
    let mut path = path.to_path_buf();
    if path.extension().is_some_and(|e| e == "ko") {
        content = zstd::encode_all(&content[..], 1).map_err(at("packing", &path))?;
        path.as_mut_os_string().push(".zst");
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(at("creating", dir))?;
    }
    fs::write(&path, content).map_err(at("writing", &path))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A package with these files.
    pub(crate) fn package(path: &Path, files: &[(&str, &[u8])]) {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("./{name}"), *content).unwrap();
        }
        let data = zstd::encode_all(&tar.into_inner().unwrap()[..], 1).unwrap();
        let mut ar = ar::Builder::new(File::create(path).unwrap());
        for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("data.tar.zst", &data)] {
            ar.append(&ar::Header::new(name.into(), content.len() as u64), content).unwrap();
        }
    }

    #[test]
    fn keeps_what_belongs_to_the_release() {
        let dir = tempfile::tempdir().unwrap();
        let deb = dir.path().join("a.deb");
        let files: [(&str, &[u8]); 7] = [
            ("boot/vmlinuz-6.1.0-56", b"image"),
            ("boot/config-6.1.0-56", b"CONFIG"),
            ("boot/System.map-6.1.0-56", b"map"),
            ("boot/vmlinuz-6.1.0-55", b"another"),
            ("usr/lib/modules/6.1.0-56/kernel/drivers/dax/kmem.ko", b"\x7fELF"),
            ("usr/lib/modules/6.1.0-56/modules.builtin", b"kernel/a.ko"),
            ("usr/share/doc/x", b"text"),
        ];
        package(&deb, &files);
        let into = dir.path().join("into");
        unpack(&deb, "6.1.0-56", &into).unwrap();
        let mut names: Vec<_> = fs::read_dir(&into).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["config", "modules", "vmlinuz"]);
        assert_eq!(fs::read(into.join("vmlinuz")).unwrap(), b"image");
        let module = fs::read(into.join("modules/kernel/drivers/dax/kmem.ko.zst")).unwrap();
        assert_eq!(zstd::decode_all(&module[..]).unwrap(), b"\x7fELF");
    }

    #[test]
    fn image_next_to_the_modules_as_in_seven() {
        let to = |path: &str| place(Path::new(path), "7.3.4+deb13");
        assert_eq!(to("./usr/lib/modules/7.3.4+deb13/vmlinuz"), Some("vmlinuz".into()));
        assert_eq!(to("./usr/lib/modules/7.3.4+deb13/config"), Some("config".into()));
        assert_eq!(to("./lib/modules/7.3.4+deb13/kernel/../../../x.ko"), None);
        assert_eq!(to("./lib/modules/7.3.4+deb13/System.map"), None);
    }

    #[test]
    fn a_source_from_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let (deb, into) = (dir.path().join("a.deb"), dir.path().join("source"));
        let mut tar = tar::Builder::new(liblzma::write::XzEncoder::new(Vec::new(), 1));
        for (name, content) in
            [("linux-source-6.12/Makefile", "VERSION"), ("linux-source-6.12/mm/a.c", "int")]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        let packed = tar.into_inner().unwrap().finish().unwrap();
        package(&deb, &[("usr/share/doc/x", b"text"), ("usr/src/linux-source-6.12.tar.xz", &packed)]);
        unpack_source(&deb, "linux-source-6.12", &into).unwrap();
        assert_eq!(fs::read_to_string(into.join("mm/a.c")).unwrap(), "int");
        assert!(into.join("Makefile").is_file());
        let error = unpack_source(&deb, "linux-source-6.1", &into).unwrap_err().to_string();
        assert!(error.ends_with("holds no usr/src/linux-source-6.1.tar.xz"), "{error}");
    }

    #[test]
    fn damaged_packages_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let deb = dir.path().join("a.deb");
        let why = |bytes: &[u8]| {
            fs::write(&deb, bytes).unwrap();
            unpack(&deb, "6.1", dir.path()).unwrap_err().to_string()
        };
        assert!(why(b"!<arch>\n").ends_with("a.deb: not a Debian package: it has no data.tar"));
        package(&deb, &[("boot/vmlinuz-6.1", &[7; 9000])]);
        let whole = fs::read(&deb).unwrap();
        assert!(why(&whole[..whole.len() - 20]).contains("a.deb: "));
    }
}
