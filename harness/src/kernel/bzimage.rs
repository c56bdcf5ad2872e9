//! The x86 boot sector of a bzImage: what it says about itself, and where the compressed kernel lies in it. Pure.
//!
//! Source: Documentation/arch/x86/boot.rst (boot protocol 2.12 and later; every kernel since 3.8).

/// What the setup header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header<'a> {
    /// `RELEASE (user@host) #1 SMP … DATE`
    pub banner: String,
    /// The compressed kernel, with the four bytes of its unpacked length at its end (except for gzip, which has its own).
    pub payload: &'a [u8],
}

/// What a file that is no 64-bit bzImage is instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotBzImage {
    /// No boot sector of Linux.
    #[error("no Linux boot sector")]
    NoMagic,
    /// Kernel for 32-bit machines.
    #[error("a 32-bit kernel")]
    Bits32,
    /// The header points behind the end.
    #[error("cut short or damaged: its header points behind its end")]
    CutShort,
    /// A protocol from before 3.8.
    #[error("its boot protocol {0:#x} is older than 2.12")]
    Old(u16),
}

/// Reads the header.
pub(super) fn parse(image: &[u8]) -> Result<Header<'_>, NotBzImage> {
    const XLF_KERNEL_64: u16 = 1;
    if image.get(0x1fe..0x200) != Some(&[0x55, 0xaa]) || image.get(0x202..0x206) != Some(b"HdrS") {
        return Err(NotBzImage::NoMagic);
    }
    let u16_at = |at| word(image, at, 2).map(|v| v as u16);
    let protocol = u16_at(0x206)?;
    if protocol < 0x20c {
        return Err(NotBzImage::Old(protocol));
    }
    if u16_at(0x236)? & XLF_KERNEL_64 == 0 {
        return Err(NotBzImage::Bits32);
    }
    let setup_sectors = match image[0x1f1] {
        0 => 4,
        n => usize::from(n),
    };
    let start = (setup_sectors + 1) * 512 + word(image, 0x248, 4)? as usize;
    let length = word(image, 0x24c, 4)? as usize;
    let payload = image.get(start..start + length).ok_or(NotBzImage::CutShort)?;
    let banner_at = 0x200 + usize::from(u16_at(0x20e)?);
    let rest = image.get(banner_at..).ok_or(NotBzImage::CutShort)?;
    let end = rest.iter().take(512).position(|b| *b == 0).ok_or(NotBzImage::CutShort)?;
    Ok(Header { banner: String::from_utf8_lossy(&rest[..end]).into_owned(), payload })
}

fn word(image: &[u8], at: usize, bytes: usize) -> Result<u32, NotBzImage> {
    let raw = image.get(at..at + bytes).ok_or(NotBzImage::CutShort)?;
    Ok(raw.iter().rev().fold(0, |sum, b| sum << 8 | u32::from(*b)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A bzImage of one setup sector around `payload`.
    pub(crate) fn image(banner: &str, payload: &[u8]) -> Vec<u8> {
        let mut b = vec![0u8; 0x800];
        b[0x1f1] = 3;
        b[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        b[0x202..0x206].copy_from_slice(b"HdrS");
        b[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
        b[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
        b[0x236] = 1;
        b[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        b[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        b[0x300..0x300 + banner.len()].copy_from_slice(banner.as_bytes());
        b.extend([0x90; 16]);
        b.extend(payload);
        b
    }

    #[test]
    fn banner_and_payload() {
        let b = image("6.1.0-56-cloud-amd64 (x@y) #1 SMP Debian 6.1.192-2 (2026)", b"payload!");
        let h = parse(&b).unwrap();
        assert_eq!(h.banner, "6.1.0-56-cloud-amd64 (x@y) #1 SMP Debian 6.1.192-2 (2026)");
        assert_eq!(h.payload, b"payload!");
    }

    #[test]
    fn what_is_no_bzimage() {
        let good = image("6.1.0", b"payload!");
        assert_eq!(parse(b"#!/bin/sh\n"), Err(NotBzImage::NoMagic));
        assert_eq!(parse(&good[..0x210]), Err(NotBzImage::CutShort));
        assert_eq!(parse(&good[..good.len() - 1]), Err(NotBzImage::CutShort));
        let mut bad = good.clone();
        bad[0x236] = 0;
        assert_eq!(parse(&bad), Err(NotBzImage::Bits32));
        bad[0x206] = 9;
        assert_eq!(parse(&bad), Err(NotBzImage::Old(0x209)));
    }
}
