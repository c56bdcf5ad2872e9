//! DIMMs: plug, unplug, and what QEMU and the guest's firmware interface say of them.

use super::event::Event;
use super::hub::{Deadline, State, WaitError};
use super::qmp::{QmpError, Stamped};
use super::start::Vm;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A DIMM to plug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plug {
    /// device id; its backend is `mem-NAME`
    pub name: String,
    /// bytes
    pub size: u64,
    /// node it belongs to
    pub node: Option<u32>,
    /// slot, else the first free one
    pub slot: Option<u32>,
    /// guest physical address, else the first that fits
    pub addr: Option<u64>,
}

/// A DIMM as `query-memory-devices` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryDevice {
    /// `dimm`, `nvdimm`, `virtio-mem`, ...
    pub kind: String,
    /// device id, if it has one
    pub id: Option<String>,
    /// slot; virtio devices have none
    pub slot: Option<u64>,
    /// node
    pub node: Option<u64>,
    /// guest physical address
    pub addr: u64,
    /// bytes
    pub size: u64,
}

/// A plug that QEMU took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugged {
    /// where it went
    pub device: MemoryDevice,
    /// position of the first event after the plug was asked for
    pub since: u64,
    /// `device_add` was sent
    pub sent: Instant,
    /// QEMU had answered it
    pub answered: Instant,
}

/// An unplug that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplugging {
    /// device id
    pub name: String,
    /// its slot
    pub slot: u64,
    /// position of the first event after the request
    pub since: u64,
}

/// A report of the guest's firmware interface on a slot, with the event's times.
#[derive(Debug, Clone, PartialEq)]
pub struct Ost {
    /// 1 device check (insert), 3 eject request, 259 eject that the guest began
    pub source: u64,
    /// 0 success, 128 not supported, 130 busy, 132 in progress
    pub status: u64,
    /// the event
    pub event: Stamped,
}

/// How an unplug went, as far as QEMU can tell.
#[derive(Debug, Clone, PartialEq)]
pub enum UnplugOutcome {
    /// the device is gone
    Done {
        /// reports on the slot, in order
        osts: Vec<Ost>,
        /// the last one says success (else it did not come until the deadline)
        reported: bool,
    },
    /// the guest, or QEMU, said no; the device is still there
    Refused {
        /// reports on the slot, in order
        osts: Vec<Ost>,
        /// the error event's words, where there was one (never for a refused x86 DIMM)
        error: Option<String>,
    },
    /// neither until the deadline
    Pending {
        /// reports on the slot, in order
        osts: Vec<Ost>,
    },
}

/// Why QEMU did not plug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlugError {
    /// the backend was refused
    #[error("no memory backend: {0}")]
    Backend(QmpError),
    /// the device was refused, and the backend removed again
    #[error("no device: {0}")]
    Device(QmpError),
    /// QEMU said yes, and does not list the device
    #[error("QEMU took the device {0} and does not list it")]
    Unlisted(String),
    /// the list could not be had, or the backend could not be removed
    #[error(transparent)]
    Qmp(QmpError),
}

/// Why an unplug could not be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnplugError {
    /// no such DIMM
    #[error("no DIMM {0} in a slot")]
    NoDimm(String),
    /// QEMU's words
    #[error(transparent)]
    Qmp(#[from] QmpError),
}

/// ACPI's notification values, as _OST's source (ACPI 6.4, 5.6.6 and 6.3.5).
const DEVICE_CHECK: u64 = 1;
const EJECT_REQUEST: u64 = 3;
const GUEST_EJECT: u64 = 0x103;
/// _OST's status: the eject goes on.
const IN_PROGRESS: u64 = 0x84;

/// QEMU answers these commands at once unless the host is out of breath.
const ANSWER: Duration = Duration::from_secs(30);

impl Vm {
    /// Plugs a DIMM: a lazy backend, then the device. The guest has not noticed when this returns; see
    /// [`Vm::wait_inserted`].
    ///
    /// # Errors
    /// See [`PlugError`]; QEMU's own words are in it, and nothing is left behind.
    pub fn plug(&self, plug: &Plug) -> Result<Plugged, PlugError> {
        let since = self.qmp().events_end();
        let backend = backend_of(&plug.name);
        let object =
            json!({ "qom-type": "memory-backend-ram", "id": backend, "size": plug.size, "reserve": false });
        self.qmp().execute("object-add", object, deadline()).map_err(PlugError::Backend)?;
        let mut device = json!({ "driver": "pc-dimm", "id": plug.name, "memdev": backend });
        let places =
            [("node", plug.node.map(u64::from)), ("slot", plug.slot.map(u64::from)), ("addr", plug.addr)];
        for (key, value) in places {
            if let Some(value) = value {
                device[key] = value.into();
            }
        }
        let sent = Instant::now();
        let taken = self.qmp().execute("device_add", device, deadline());
        let answered = Instant::now();
        if let Err(refused) = taken {
            self.remove_backend(&plug.name).map_err(PlugError::Qmp)?;
            return Err(PlugError::Device(refused));
        }
        let devices = self.memory_devices().map_err(PlugError::Qmp)?;
        let device = devices.into_iter().find(|d| d.id.as_deref() == Some(&plug.name));
        let device = device.ok_or_else(|| PlugError::Unlisted(plug.name.clone()))?;
        Ok(Plugged { device, since, sent, answered })
    }

    /// Waits for the guest's report on the insertion. It comes after the kernel has added and onlined what it wants
    /// to online: a good barrier, and no proof, for it says success even when nothing was added.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub fn wait_inserted(&self, plugged: &Plugged, deadline: Deadline) -> Result<Ost, WaitError> {
        let name = plugged.device.id.as_deref().unwrap_or("?");
        let what = format!("the guest's report on the insertion of DIMM {name}");
        self.hub.wait_guest(&what, deadline, |state| {
            let mut osts = osts(state, plugged.device.slot?, plugged.since);
            osts.find(|ost| ost.source == DEVICE_CHECK && ost.status != IN_PROGRESS)
        })
    }

    /// Asks the guest to let a DIMM go. What comes of it: [`Vm::unplug_outcome`].
    ///
    /// # Errors
    /// See [`UnplugError`].
    pub fn unplug(&self, name: &str) -> Result<Unplugging, UnplugError> {
        let unplugging = self.expect_unplug(name)?;
        self.qmp().execute("device_del", json!({ "id": name }), deadline())?;
        Ok(unplugging)
    }

    /// The same without asking: for an eject that the guest begins itself, later than this call.
    ///
    /// # Errors
    /// See [`UnplugError`].
    pub fn expect_unplug(&self, name: &str) -> Result<Unplugging, UnplugError> {
        let since = self.qmp().events_end();
        let devices = self.memory_devices()?;
        let device = devices.iter().find(|d| d.id.as_deref() == Some(name));
        let slot = device.and_then(|d| d.slot).ok_or_else(|| UnplugError::NoDimm(name.to_string()))?;
        Ok(Unplugging { name: name.to_string(), slot, since })
    }

    /// Waits until the device is gone and reported so, or refused, at most until the deadline.
    ///
    /// # Errors
    /// An alarm or QEMU's end ([`WaitError`]); never `Timeout`, which is [`UnplugOutcome::Pending`].
    pub fn unplug_outcome(&self, asked: &Unplugging, deadline: Deadline) -> Result<UnplugOutcome, WaitError> {
        let what = format!("the outcome of the unplug of DIMM {}", asked.name);
        let end = self.hub.wait_guest(&what, deadline, |state| match judge(state, asked) {
            UnplugOutcome::Pending { .. } | UnplugOutcome::Done { reported: false, .. } => None,
            outcome => Some(outcome),
        });
        match end {
            Err(WaitError::Timeout { .. }) => Ok(self.hub.look(|state| judge(state, asked))),
            end => end,
        }
    }

    /// Removes the backend of a DIMM that is gone.
    ///
    /// # Errors
    /// See [`QmpError`]; it is refused while the device is there.
    pub fn remove_backend(&self, name: &str) -> Result<(), QmpError> {
        self.qmp().execute("object-del", json!({ "id": backend_of(name) }), deadline()).map(drop)
    }

    /// All memory devices.
    ///
    /// # Errors
    /// See [`QmpError`].
    pub fn memory_devices(&self) -> Result<Vec<MemoryDevice>, QmpError> {
        const COMMAND: &str = "query-memory-devices";
        let answer = self.qmp().execute(COMMAND, Value::Null, deadline())?;
        let devices = answer.as_array().and_then(|all| all.iter().map(memory_device).collect());
        devices.ok_or_else(|| QmpError::Shape { command: COMMAND.to_string(), answer: answer.to_string() })
    }
}

fn deadline() -> Deadline {
    Deadline::within(ANSWER)
}

fn backend_of(name: &str) -> String {
    format!("mem-{name}")
}

fn memory_device(value: &Value) -> Option<MemoryDevice> {
    let data = value.get("data")?;
    let number = |key: &str| data.get(key).and_then(Value::as_u64);
    Some(MemoryDevice {
        kind: value.get("type")?.as_str()?.to_string(),
        id: data.get("id").and_then(Value::as_str).map(str::to_string),
        slot: number("slot"),
        node: number("node"),
        addr: number("addr").or_else(|| number("memaddr"))?,
        size: number("size")?,
    })
}

/// Reports on a DIMM slot, in order.
fn osts(state: &State, wanted: u64, since: u64) -> impl Iterator<Item = Ost> {
    state.qmp.events_from(since).filter_map(move |stamped| match &stamped.event {
        Event::AcpiDeviceOst { slot, slot_type, source, status, .. }
            if slot_type == "DIMM" && *slot == wanted.to_string() =>
        {
            Some(Ost { source: *source, status: *status, event: stamped.clone() })
        }
        _ => None,
    })
}

/// What the events since the request say.
fn judge(state: &State, asked: &Unplugging) -> UnplugOutcome {
    let all = osts(state, asked.slot, asked.since);
    let mut osts: Vec<Ost> = all.filter(|ost| matches!(ost.source, EJECT_REQUEST | GUEST_EJECT)).collect();
    let ours = |device: &Option<String>| device.as_deref() == Some(&asked.name);
    let mut deleted = false;
    let mut error = None;
    for stamped in state.qmp.events_from(asked.since) {
        match &stamped.event {
            Event::DeviceDeleted { device, .. } if ours(device) => deleted = true,
            Event::MemUnplugError { device, msg } if *device == asked.name => error = Some(msg.clone()),
            Event::DeviceUnplugGuestError { device, .. } if ours(device) => {
                error = Some("the guest refused (DEVICE_UNPLUG_GUEST_ERROR)".to_string());
            }
            _ => {}
        }
    }
    let last = osts.iter().rev().find(|ost| ost.status != IN_PROGRESS).map(|ost| ost.status);
    match (deleted, last) {
        (true, _) => {
            // What follows belongs to another request for the same slot, which is empty by then.
            let success = osts.iter().position(|ost| ost.status == 0);
            osts.truncate(success.map_or(osts.len(), |at| at + 1));
            UnplugOutcome::Done { reported: success.is_some(), osts }
        }
        (false, Some(status)) if status != 0 => UnplugOutcome::Refused { osts, error },
        (false, _) if error.is_some() => UnplugOutcome::Refused { osts, error },
        (false, _) => UnplugOutcome::Pending { osts },
    }
}

#[cfg(test)]
#[path = "dimm_tests.rs"]
mod tests;
