//! Build step: lists of the case files and kernel definitions, to be built into the binary.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes `OUT_DIR/embedded_cases.rs` with `CASES` and `KERNELS`: (path below their directory, content), sorted.
pub(crate) fn embed(project: &Path, out_dir: &Path) -> io::Result<()> {
    let mut code = String::new();
    list(&mut code, "CASES", "Case files and known issues", &project.join("cases"))?;
    list(&mut code, "KERNELS", "Kernel definitions", &project.join("kernels"))?;
    fs::write(out_dir.join("embedded_cases.rs"), code)
}

fn list(code: &mut String, name: &str, what: &str, dir: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut files = Vec::new();
    yaml_files(dir, &mut files)?;
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

fn yaml_files(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            yaml_files(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "yaml") {
            files.push(path);
        }
    }
    Ok(())
}
