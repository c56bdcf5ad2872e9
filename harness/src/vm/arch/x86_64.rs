//! x86-64 guests: q35, two 16550 ports (ttyS0 console, ttyS1 agent), DIMMs over ACPI (PNP0C80).

use crate::vm::args::Accel;

/// QEMU's program.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// Machine type. The port of VMware's backdoor is of no use here.
pub const MACHINE: &str = "q35,vmport=off";

/// Processor model. Under emulation cmpxchg16b is left out: with it, Linux 6.12 oopses in more than half of its boots
/// (QEMU 7.2), in code that never fails on hardware.
pub fn cpu(accel: Accel) -> &'static str {
    match accel {
        Accel::Kvm => "host",
        Accel::Tcg => "max,-cx16",
    }
}
