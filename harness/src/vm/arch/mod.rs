//! What differs between architectures: machine type, processor model, program name. One module each.

pub mod x86_64;

use super::args::Accel;

/// Architectures that guests can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Arch {
    /// x86-64, machine q35
    #[default]
    X86_64,
}

impl Arch {
    /// QEMU's program for it.
    pub fn program(self) -> &'static str {
        match self {
            Self::X86_64 => x86_64::PROGRAM,
        }
    }

    /// Machine type with its options.
    pub fn machine(self) -> &'static str {
        match self {
            Self::X86_64 => x86_64::MACHINE,
        }
    }

    /// Processor model where none is asked for.
    pub fn cpu(self, accel: Accel) -> &'static str {
        match self {
            Self::X86_64 => x86_64::cpu(accel),
        }
    }
}
