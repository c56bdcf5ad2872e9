//! What was found out about an image, kept under its checksum: looking at it means unpacking it.

use super::cache::Cache;
use super::error::{KernelError, Notice, at};
use super::image::{self, Boot, NotUsable};
use crate::version::Version;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const KIND: &str = "images";
const FACTS: &str = "image.json";
const KERNEL: &str = "vmlinux";
const CONFIG: &str = "config";

/// An image that was looked at.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) release: String,
    pub(super) version: Version,
    /// What to hand to QEMU.
    pub(super) boot: PathBuf,
    /// Built-in configuration.
    pub(super) config: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    release: String,
    version: Version,
    unpacked: bool,
    /// Why it is booted compressed.
    compressed: Option<String>,
    config: bool,
}

/// Looks at an image whose content and checksum are at hand.
pub(super) fn prepare(
    cache: &Cache,
    path: &Path,
    data: &[u8],
    sha256: &str,
    notify: &dyn Fn(Notice),
) -> Result<Prepared, KernelError> {
    let entry = cache.entry_or_build(KIND, sha256, notify, |dir| fill(dir, path, data))?;
    let read = |name: &str| {
        let file = entry.join(name);
        fs::read_to_string(&file).map_err(at("reading", &file))
    };
    let facts: Facts = serde_json::from_str(&read(FACTS)?)
        .map_err(|e| at("reading", &entry.join(FACTS))(std::io::Error::other(e)))?;
    if let Some(why) = facts.compressed {
        notify(Notice::Compressed { path: path.into(), why });
    }
    Ok(Prepared {
        boot: if facts.unpacked { entry.join(KERNEL) } else { path.to_path_buf() },
        config: if facts.config { Some(read(CONFIG)?) } else { None },
        release: facts.release,
        version: facts.version,
    })
}

fn fill(dir: &Path, path: &Path, data: &[u8]) -> Result<Vec<&'static str>, KernelError> {
    let image = image::inspect(data).map_err(|e| refuse(path, e))?;
    let mut files = vec![FACTS];
    let mut keep = |name: &'static str, content: &[u8]| {
        files.push(name);
        let file = dir.join(name);
        fs::write(&file, content).map_err(at("writing", &file))
    };
    let mut facts = Facts {
        release: image.release,
        version: image.version,
        unpacked: false,
        compressed: None,
        config: image.config.is_some(),
    };
    match image.boot {
        Boot::AsIs => {}
        Boot::Compressed(why) => facts.compressed = Some(why),
        Boot::Unpacked(kernel) => {
            keep(KERNEL, &kernel)?;
            facts.unpacked = true;
        }
    }
    if let Some(config) = image.config {
        keep(CONFIG, config.as_bytes())?;
    }
    let text = serde_json::to_string_pretty(&facts).expect("strings and numbers always serialize");
    let file = dir.join(FACTS);
    fs::write(&file, text).map_err(at("writing", &file))?;
    Ok(files)
}

fn refuse(path: &Path, error: NotUsable) -> KernelError {
    let path = path.to_path_buf();
    match error {
        NotUsable::NotAKernel(why) => KernelError::NotAKernel { path, why },
        NotUsable::OtherArch(arch) => KernelError::OtherArch { path, arch },
        NotUsable::NoPvh => KernelError::NoPvh(path),
        NotUsable::BadRelease(error) => KernelError::BadRelease { path, error },
    }
}
