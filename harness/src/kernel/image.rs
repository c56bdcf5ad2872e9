//! What a file is that is said to be a kernel. Pure: works on its bytes.

use super::bzimage::{self, NotBzImage};
use super::decompress;
use super::elf::{self, Elf, Kind};
use crate::version::Version;

/// A kernel image as read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// `uname -r`
    pub release: String,
    /// The best that the image says: Debian's own release names carry no patch level, its banners do.
    pub version: Version,
    /// What QEMU is to be given.
    pub boot: Boot,
    /// Text of the configuration that was built in (CONFIG_IKCONFIG).
    pub config: Option<String>,
}

/// What to boot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Boot {
    /// The file itself, because it is a vmlinux with a PVH entry.
    AsIs,
    /// The kernel that was unpacked from the bzImage; it starts quicker than the bzImage, which unpacks itself.
    Unpacked(Vec<u8>),
    /// The bzImage itself, because of this.
    Compressed(String),
}

/// Why it is none that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotUsable {
    /// No kernel.
    NotAKernel(String),
    /// A kernel for this machine.
    OtherArch(String),
    /// A vmlinux that QEMU cannot enter.
    NoPvh,
    /// The release name is none.
    BadRelease(crate::version::BadVersion),
}

/// Looks at the bytes of an image.
pub(super) fn inspect(data: &[u8]) -> Result<Image, NotUsable> {
    let no = |why: &str| Err(NotUsable::NotAKernel(why.to_string()));
    match bzimage::parse(data) {
        Ok(header) => return from_bzimage(&header),
        Err(NotBzImage::Bits32) => return Err(NotUsable::OtherArch("i386".into())),
        Err(NotBzImage::NoMagic) => {}
        Err(other) => return no(&other.to_string()),
    }
    if data.is_empty() {
        return no("it is empty");
    }
    if let Some(arch) = other_boot_image(data) {
        return Err(NotUsable::OtherArch(arch.into()));
    }
    match (Elf::parse(data), elf::machine_name(data)) {
        (Some(elf), _) if elf.machine == elf::X86_64 => from_vmlinux(data, elf),
        (_, Some(machine)) => Err(NotUsable::OtherArch(machine)),
        _ if data.starts_with(b"MZ") => no("a PE executable without a Linux boot sector"),
        _ if data.iter().take(4096).all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => {
            no("it is a text file")
        }
        _ => no("neither a Linux boot sector nor an ELF header"),
    }
}

/// Boot images of other architectures that have a magic of their own (arch/arm64, arch/riscv: image.h; EFI zboot).
fn other_boot_image(data: &[u8]) -> Option<&'static str> {
    match (data.get(0x38..0x3c), data.get(4..8)) {
        (Some(b"ARM\x64"), _) => Some("arm64"),
        (Some(b"RSC\x05"), _) => Some("riscv"),
        (_, Some(b"zimg")) => Some("another architecture (EFI zboot image)"),
        _ => None,
    }
}

fn from_bzimage(header: &bzimage::Header<'_>) -> Result<Image, NotUsable> {
    let (release, version) = names(&header.banner)?;
    let (boot, config) = match decompress::payload(header.payload) {
        Err(error) => (Boot::Compressed(error.to_string()), None),
        Ok(kernel) => {
            let config = embedded_config(&kernel);
            let pvh = Elf::parse(&kernel).is_some_and(|e| e.machine == elf::X86_64 && e.has_pvh_entry());
            let reason = || Boot::Compressed("built without CONFIG_PVH".into());
            (if pvh { Boot::Unpacked(kernel) } else { reason() }, config)
        }
    };
    Ok(Image { release, version, boot, config })
}

fn from_vmlinux(data: &[u8], elf: Elf<'_>) -> Result<Image, NotUsable> {
    if elf.kind != Kind::Executable {
        return Err(NotUsable::NotAKernel("an ELF file that is no executable".into()));
    }
    let Some(banner) = banner(data) else {
        return Err(NotUsable::NotAKernel("an executable without a \"Linux version\" text".into()));
    };
    if !elf.has_pvh_entry() {
        return Err(NotUsable::NoPvh);
    }
    let (release, version) = names(&banner)?;
    Ok(Image { release, version, boot: Boot::AsIs, config: embedded_config(data) })
}

/// `linux_banner` (init/version.c) without its first two words.
fn banner(data: &[u8]) -> Option<String> {
    let found =
        find_all(data, b"Linux version ").find(|rest| rest.first().is_some_and(u8::is_ascii_digit))?;
    let end = found.iter().take(1024).position(|b| *b == 0 || *b == b'\n')?;
    Some(String::from_utf8_lossy(&found[..end]).into_owned())
}

/// Release name and version from a banner. Debian writes the upstream version into the build version
/// (`#1 SMP … Debian 6.1.192-2 (…)`), because its release name (6.1.0-56-cloud-amd64) keeps the ABI's number.
fn names(banner: &str) -> Result<(String, Version), NotUsable> {
    let release = banner.split_whitespace().next().unwrap_or_default().to_string();
    let named: Version = release.parse().map_err(NotUsable::BadRelease)?;
    let debian = banner.rsplit_once(" Debian ").and_then(|(_, rest)| rest.parse::<Version>().ok());
    let version = debian.filter(|d| (d.major, d.minor) == (named.major, named.minor)).unwrap_or(named);
    Ok((release, version))
}

/// What CONFIG_IKCONFIG puts between two magics (kernel/configs.c).
fn embedded_config(kernel: &[u8]) -> Option<String> {
    let packed = find_all(kernel, b"IKCFG_ST").find(|rest| rest.starts_with(&[0x1f, 0x8b]))?;
    let text = decompress::any(packed).ok()?;
    String::from_utf8(text).ok()
}

/// What follows each place where the needle is found.
fn find_all<'a>(data: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let first = needle[0];
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += data.get(at..)?.iter().position(|b| *b == first)? + 1;
            if let Some(rest) = data[at - 1..].strip_prefix(needle) {
                return Some(rest);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::bzimage::tests::image;
    use super::super::elf::tests::{object, vmlinux};
    use super::*;
    use std::io::Write;

    const BANNER: &[u8] =
        b"%s version %s\0Linux version %s\0Linux version 6.12.107-mine (me@here) (gcc) #5 SMP\n\0";

    fn packed(kernel: &[u8]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(kernel).unwrap();
        gz.finish().unwrap()
    }

    fn not_a_kernel(data: &[u8]) -> String {
        match inspect(data) {
            Err(NotUsable::NotAKernel(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bzimage_with_pvh_kernel_is_unpacked() {
        let kernel = vmlinux(elf::X86_64, true, b"");
        let found =
            inspect(&image("6.1.0-56-cloud-amd64 (x) #1 SMP Debian 6.1.192-2 (2026)", &packed(&kernel)));
        let version = "6.1.192".parse().unwrap();
        let release = "6.1.0-56-cloud-amd64".to_string();
        assert_eq!(found, Ok(Image { release, version, boot: Boot::Unpacked(kernel), config: None }));
    }

    #[test]
    fn bzimage_that_cannot_be_unpacked_is_booted_as_it_is() {
        let kernel = vmlinux(elf::X86_64, false, b"");
        let boot = |payload: &[u8]| inspect(&image("6.12.1 (x) #1", payload)).unwrap().boot;
        assert_eq!(boot(&packed(&kernel)), Boot::Compressed("built without CONFIG_PVH".into()));
        let why = "compressed with bzip2, which is not supported".to_string();
        assert_eq!(boot(b"BZh91AY&SY"), Boot::Compressed(why));
    }

    #[test]
    fn vmlinux_with_embedded_config() {
        let mut tail = BANNER.to_vec();
        tail.extend(b"IKCFG_ST");
        tail.extend(packed(b"CONFIG_MEMORY_HOTPLUG=y\n"));
        tail.extend(b"IKCFG_ED");
        let found = inspect(&vmlinux(elf::X86_64, true, &tail)).unwrap();
        assert_eq!(found.release, "6.12.107-mine");
        assert_eq!(found.version, "6.12.107".parse().unwrap());
        assert_eq!(found.boot, Boot::AsIs);
        assert_eq!(found.config.as_deref(), Some("CONFIG_MEMORY_HOTPLUG=y\n"));
        assert_eq!(inspect(&vmlinux(elf::X86_64, false, &tail)), Err(NotUsable::NoPvh));
    }

    #[test]
    fn what_is_no_kernel_says_what_it_is() {
        assert_eq!(not_a_kernel(b""), "it is empty");
        assert_eq!(not_a_kernel(b"#!/bin/sh\necho hello\n"), "it is a text file");
        assert_eq!(not_a_kernel(&[0xff; 300]), "neither a Linux boot sector nor an ELF header");
        assert_eq!(not_a_kernel(&object(".text", b"")), "an ELF file that is no executable");
        let program = vmlinux(elf::X86_64, true, b"");
        assert_eq!(not_a_kernel(&program), "an executable without a \"Linux version\" text");
    }

    #[test]
    fn kernels_of_other_machines_are_named() {
        let mut arm = vec![0u8; 64];
        arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
        assert_eq!(inspect(&arm), Err(NotUsable::OtherArch("arm64".into())));
        assert_eq!(inspect(&vmlinux(22, true, BANNER)), Err(NotUsable::OtherArch("s390".into())));
    }
}
