//! QMP events. The ones that matter here have a type; every other one passes through as it is.

use serde_json::Value;

/// An event's name and data.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// a device is gone
    DeviceDeleted {
        /// its id, if it had one
        device: Option<String>,
        /// its path in the object tree
        path: String,
    },
    /// the guest's firmware interface (_OST) reports on a slot
    AcpiDeviceOst {
        /// id of the device in the slot, if there is one (still)
        device: Option<String>,
        /// slot, in decimal
        slot: String,
        /// `DIMM` or `CPU`
        slot_type: String,
        /// ACPI notification or 0x103 (259: ejection asked for by the guest), 1 device check, 3 eject request
        source: u64,
        /// 0 success, 128 not supported, 130 busy, 132 in progress
        status: u64,
    },
    /// an unplug failed in QEMU (or, on other machines than x86, in the guest)
    MemUnplugError {
        /// device id
        device: String,
        /// QEMU's words
        msg: String,
    },
    /// the guest refused an unplug (not sent for x86 DIMMs)
    DeviceUnplugGuestError {
        /// device id, if it had one
        device: Option<String>,
        /// path in the object tree
        path: String,
    },
    /// QEMU is about to end
    Shutdown {
        /// the guest asked for it
        guest: bool,
        /// QEMU's word: `guest-reset`, `guest-shutdown`, `host-qmp-quit`, ...
        reason: String,
    },
    /// the guest was reset
    Reset {
        /// the guest asked for it
        guest: bool,
    },
    /// a paravirtual panic device reported
    GuestPanicked {
        /// `pause`, `poweroff`, ...
        action: String,
    },
    /// a virtio-mem or virtio-pmem device changed its size
    MemoryDeviceSizeChange {
        /// device id, if it had one
        id: Option<String>,
        /// bytes
        size: u64,
        /// path in the object tree
        path: String,
    },
    /// processors stopped
    Stop,
    /// processors run again
    Resume,
    /// migration changed its state
    Migration {
        /// `setup`, `active`, `completed`, `failed`, ...
        status: String,
    },
    /// any other event, and a known one whose data are not as documented
    Other {
        /// name
        name: String,
        /// data, null if there are none
        data: Value,
    },
}

impl Event {
    /// Reads an event; what it does not know, or finds odd, becomes [`Event::Other`].
    pub fn read(name: &str, data: &Value) -> Self {
        known(name, data).unwrap_or_else(|| Self::Other { name: name.to_string(), data: data.clone() })
    }
}

fn known(name: &str, data: &Value) -> Option<Event> {
    let text = |key: &str| data.get(key).and_then(Value::as_str).map(str::to_string);
    Some(match name {
        "DEVICE_DELETED" => Event::DeviceDeleted { device: text("device"), path: text("path")? },
        "ACPI_DEVICE_OST" => ost(data.get("info")?)?,
        "MEM_UNPLUG_ERROR" => Event::MemUnplugError { device: text("device")?, msg: text("msg")? },
        "DEVICE_UNPLUG_GUEST_ERROR" => {
            Event::DeviceUnplugGuestError { device: text("device"), path: text("path")? }
        }
        "SHUTDOWN" => Event::Shutdown { guest: data.get("guest")?.as_bool()?, reason: text("reason")? },
        "RESET" => Event::Reset { guest: data.get("guest")?.as_bool()? },
        "GUEST_PANICKED" => Event::GuestPanicked { action: text("action")? },
        "MEMORY_DEVICE_SIZE_CHANGE" => Event::MemoryDeviceSizeChange {
            id: text("id"),
            size: data.get("size")?.as_u64()?,
            path: text("qom-path")?,
        },
        "STOP" => Event::Stop,
        "RESUME" => Event::Resume,
        "MIGRATION" => Event::Migration { status: text("status")? },
        _ => return None,
    })
}

fn ost(info: &Value) -> Option<Event> {
    let text = |key: &str| info.get(key).and_then(Value::as_str).map(str::to_string);
    Some(Event::AcpiDeviceOst {
        device: text("device"),
        slot: text("slot")?,
        slot_type: text("slot-type")?,
        source: info.get("source")?.as_u64()?,
        status: info.get("status")?.as_u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ost_with_and_without_device() {
        let data =
            json!({"info": {"device": "d0", "source": 1, "status": 0, "slot": "0", "slot-type": "DIMM"}});
        let ost = |device: Option<&str>, source, status| Event::AcpiDeviceOst {
            device: device.map(str::to_string),
            slot: "0".into(),
            slot_type: "DIMM".into(),
            source,
            status,
        };
        assert_eq!(Event::read("ACPI_DEVICE_OST", &data), ost(Some("d0"), 1, 0));
        let data = json!({"info": {"source": 259, "status": 132, "slot": "0", "slot-type": "DIMM"}});
        assert_eq!(Event::read("ACPI_DEVICE_OST", &data), ost(None, 259, 132));
    }

    #[test]
    fn the_unknown_and_the_odd_pass_through() {
        let odd = json!({"info": {"source": "three"}});
        assert_eq!(
            Event::read("ACPI_DEVICE_OST", &odd),
            Event::Other { name: "ACPI_DEVICE_OST".into(), data: odd.clone() }
        );
        assert_eq!(
            Event::read("RTC_CHANGE", &json!({"offset": 1})),
            Event::Other { name: "RTC_CHANGE".into(), data: json!({"offset": 1}) }
        );
        assert_eq!(Event::read("STOP", &Value::Null), Event::Stop);
        assert_eq!(
            Event::read("DEVICE_UNPLUG_GUEST_ERROR", &json!({"path": "/p"})),
            Event::DeviceUnplugGuestError { device: None, path: "/p".into() }
        );
        assert_eq!(
            Event::read("MEMORY_DEVICE_SIZE_CHANGE", &json!({"id": "vm0", "size": 7, "qom-path": "/v"})),
            Event::MemoryDeviceSizeChange { id: Some("vm0".into()), size: 7, path: "/v".into() }
        );
    }
}
