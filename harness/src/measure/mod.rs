//! How long it takes from a plug to memory that is online, and what goes wrong meanwhile: policy by load by size by kernel.
//!
//! [`design`] (pure) chooses cells and their order, [`guest`] and [`script`] run one trial in a guest, [`sample`] is what came
//! of it, [`summary`] and [`stats`] (pure) say what the samples carry, [`table`] and [`plots`] (pure) show it. Nothing here
//! judges a kernel.
//!
//! A trial is timed in the guest alone. The guest stops the machine itself (QEMU's panic port), the DIMM is plugged while
//! no processor runs, and the guest goes on: it knows when the plug came, and nothing crosses the serial port until the
//! last block is online or the limit is reached.

pub mod cell;
pub mod design;
pub mod guest;
pub mod plots;
pub mod sample;
pub mod script;
pub mod stats;
pub mod steps;
pub mod summary;
pub mod table;

pub use cell::{Cell, Load, Policy};
pub use sample::{Outcome, Sample};

/// What the guest's time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// as the host's: guests are restored from a template, noise of the host is in the figures
    Host,
    /// executed instructions (-icount): guests boot, one processor, nothing couples to the host
    Instructions,
}

/// The limits of what is measured, for every output.
pub fn limits(clock: Clock, accel: &str, processors: u32) -> Vec<String> {
    let mut all = vec![
        "Latency: from the moment the machine goes on with the DIMM plugged (by instructions: in which the kernel is told of \
         it) to the uevent of the last block that comes online, both by the guest's CLOCK_BOOTTIME, taken by a thread of nice -20. Firmware and ACPI are in it."
            .to_string(),
        "udevd is the distribution's, with one rule, no other devices, no journal, in an initramfs: a floor for real systems."
            .to_string(),
        "Loads: cpu-Nx is N processes per virtual processor that write to memory and poll (nice 0); memory-N is N % of MemFree \
         held by a process that may be killed, no swap; uevents is a storm of 1000 change events a second at most."
            .to_string(),
    ];
    match clock {
        Clock::Host => {
            all.push(format!(
                "{processors} virtual processors, accelerator {accel}: under tcg every instruction costs about ten times what it \
                 does on hardware, and the host's load is in the figures. Ratios between policies carry over, milliseconds do not."
            ));
            all.push(
                "Guests of one kernel are forks of one boot: they share the kernel's random placement and the order of free pages."
                    .into(),
            );
        }
        Clock::Instructions => all.push(
            "Instructions: one nanosecond of the guest is one instruction of its only processor, idle time counts as well; boots \
             with fixed entropy. Repeats show repeatability, not a distribution: no interval is given, and another phase of the \
             timers at the plug would give another figure. Not represented: \
             parallel processors, caches, the cost of memory access, and everything that depends on real time."
                .into(),
        ),
    }
    all
}
