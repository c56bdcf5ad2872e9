//! The definitions as a list, and their pins moved to the newest of the archive.

use super::{Context, DEFAULT, KernelError, Pin, definition, fetch, lock, package_of};
use serde::Serialize;
use std::path::Path;

/// A definition as `memhp kernels` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// For `-k`.
    pub name: String,
    /// What it stands for.
    pub summary: String,
    /// Tested when no kernel is named.
    pub default: bool,
    /// What the lock says.
    pub pin: Option<Pin>,
    /// What the lock says is in the cache.
    pub cached: bool,
}

/// All definitions, sorted by name.
pub fn list(ctx: &Context<'_>) -> Result<Vec<Listed>, KernelError> {
    let lock = lock::load(ctx.kernels_dir.as_deref())?;
    let mut listed = Vec::new();
    for (name, definition) in definition::load(ctx.kernels_dir.as_deref())? {
        let pin = lock.get(&name).cloned();
        let package = package_of(&definition);
        let cached = match (package, &pin) {
            (Some(wanted), Some(pin)) => fetch::is_cached(wanted, pin, ctx)?,
            _ => false,
        };
        let default = DEFAULT.contains(&name.as_str());
        listed.push(Listed { name, summary: definition.summary, default, pin, cached });
    }
    Ok(listed)
}

/// A pin that was looked up anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Definition.
    pub name: String,
    /// What the lock said.
    pub from: Option<Pin>,
    /// The newest of the archive, which the lock says now.
    pub to: Pin,
}

/// Moves the lock to the newest of the archive for these definitions (none: all) and writes `kernels.lock` into a
/// directory. Nothing is written when one of them fails.
pub fn update(names: &[String], dir: &Path, ctx: &Context<'_>) -> Result<Vec<Moved>, KernelError> {
    let definitions = definition::load(ctx.kernels_dir.as_deref())?;
    let mut lock = lock::load(ctx.kernels_dir.as_deref())?;
    lock.retain(|name, _| definitions.contains_key(name));
    let all: Vec<String> = definitions.keys().cloned().collect();
    let mut moved = Vec::new();
    for name in if names.is_empty() { &all } else { names } {
        let definition = definitions
            .get(name)
            .ok_or_else(|| KernelError::Unknown { spec: name.clone(), names: all.join(", ") })?;
        let Some(package) = package_of(definition) else { continue };
        let to = fetch::newest(package, ctx)?;
        let from = lock.insert(name.clone(), to.clone());
        moved.push(Moved { name: name.clone(), from, to });
    }
    fetch::write_whole(&dir.join(lock::FILE), &lock::render(&lock))?;
    Ok(moved)
}
