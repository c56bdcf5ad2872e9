//! QEMU: arguments, process, monitor, console, the line to the agent.
//!
//! The picture: [`Vm::start`] makes a private run directory, a socket pair and two pairs of pipes, starts QEMU bound to this
//! process, and a thread for each source (QMP, console, agent, process) posts what comes to one hub. Every wait is a
//! wait there, with a [`Deadline`], and is ended by an alarming console line and by QEMU's death as well.
//!
//! Nothing here judges the kernel. Errors keep apart what the judge must: QEMU gone, the agent's line damaged, a time
//! that was up, a line on the console, an errno of the guest's kernel.

pub mod accel;
pub mod arch;
pub mod args;
mod channel;
mod console;
mod diagnose;
mod dimm;
mod event;
mod hub;
mod inbox;
mod line;
pub mod panic_port;
mod process;
mod qemu;
mod qmp;
mod record;
mod rundir;
mod sparse;
mod start;
mod starved;
pub mod template;

pub use args::{Accel, Boot, ColdDimm, Machine, NodeSpec, Ram};
pub use channel::{Channel, ChannelError, Reply};
pub use console::{Console, MARK as CONSOLE_MARK, Predicate};
pub use diagnose::Diagnosis;
pub use dimm::{MemoryDevice, Ost, Plug, PlugError, Plugged, UnplugError, UnplugOutcome, Unplugging};
pub use event::Event;
pub use hub::{Deadline, WaitError};
pub use inbox::{Counters, JobEnd, Push};
pub use process::{Exit, Gone};
pub use qemu::{OLDEST, Qemu, QemuError, QemuVersion};
pub use qmp::{Qmp, QmpError, Stamped};
pub use record::{Line, Lines, Record};
pub use rundir::{RunDir, RunDirError, base as run_base, sweep};
pub use start::{Spec, StartError, Vm};
