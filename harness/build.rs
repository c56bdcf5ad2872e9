//! Build steps of the binary.

mod build_cases;

use std::env;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let project = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("..");
    build_cases::embed(&project.canonicalize()?, Path::new(&env::var("OUT_DIR")?))?;
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build_cases.rs");
    Ok(())
}
