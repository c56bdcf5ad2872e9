//! Build step: lists of the case files, kernel definitions and fragments, to be built into the binary.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes `OUT_DIR/embedded_cases.rs` with `CASES` and `RULES`, and `OUT_DIR/embedded_kernels.rs` with `KERNELS` and `FRAGMENTS`:
/// (path below their directory, content), sorted.
pub(crate) fn embed(project: &Path, out_dir: &Path) -> io::Result<()> {
    let mut code = String::new();
    list(&mut code, "CASES", "Case files and known issues", &project.join("cases"), "yaml")?;
    list(&mut code, "RULES", "udev rules", &project.join("images/udev/rules"), "rules")?;
    fs::write(out_dir.join("embedded_cases.rs"), &code)?;
    code.clear();
    list(&mut code, "KERNELS", "Kernel definitions", &project.join("kernels"), "yaml")?;
    list(&mut code, "FRAGMENTS", "Config fragments", &project.join("kernels/fragments"), "config")?;
    fs::write(out_dir.join("embedded_kernels.rs"), code)
}

fn list(code: &mut String, name: &str, what: &str, dir: &Path, extension: &str) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut files = Vec::new();
    files_in(dir, extension, &mut files)?;
    files.sort();
    let _ = writeln!(
        code,
        "/// {what}: path below their directory, and content.\npub static {name}: &[(&str, &str)] = &["
    );
    for file in files {
        let below = file.strip_prefix(dir).unwrap_or(&file);
        let _ = writeln!(code, "    ({below:?}, include_str!({file:?})),");
    }
    code.push_str("];\n");
    Ok(())
}

fn files_in(dir: &Path, extension: &str, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files_in(&path, extension, files)?;
        } else if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    Ok(())
}
