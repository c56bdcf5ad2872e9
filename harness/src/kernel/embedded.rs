//! Kernel definitions and config fragments that are built into the binary (`build_cases.rs` writes the lists).

include!(concat!(env!("OUT_DIR"), "/embedded_kernels.rs"));
