//! The command `memhp`. See `memhp --help` and README.md.

fn main() {
    std::process::exit(memhp::cli::main());
}
