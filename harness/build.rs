//! What is built into the binary: the guest's agent, the corpus and the kernel definitions.

#[path = "build_agent.rs"]
mod build_agent;
#[path = "build_cases.rs"]
mod build_cases;

use std::path::PathBuf;

fn main() {
    let variable = |name: &str| {
        PathBuf::from(std::env::var(name).unwrap_or_else(|e| panic!("{name}, which cargo sets: {e}")))
    };
    let project = variable("CARGO_MANIFEST_DIR").join("..");
    let out_dir = variable("OUT_DIR");
    build_cases::embed(&project, &out_dir).unwrap_or_else(|e| panic!("embed cases and kernels: {e}"));
    build_agent::build(&project, &out_dir);
}
