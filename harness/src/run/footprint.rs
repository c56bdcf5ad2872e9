//! What a scenario's guest may take of the host's memory at most. Pure.

use super::host::Host;
use super::plan::Planned;
use super::spec;
use crate::case::schema::Step;
use crate::case::units::{self, Amount};
use std::collections::BTreeMap;

/// QEMU itself, with the code that it has translated.
const QEMU: u64 = 256 << 20;
/// A memory map takes this part of its memory: 64 bytes for a page of 4 KiB.
const MAP: u64 = 64;
/// Boot memory that counts in full; of what a guest has beyond it, a kernel touches what a DIMM's would be.
const FULL: u64 = 8 << 30;

/// Bytes. Boot memory counts (also that of a restored guest, which shares what it does not change), and
/// what is touched of the DIMMs: their memory maps, and what the case holds.
pub fn bytes(host: &Host, planned: &Planned) -> u64 {
    let case = &planned.scenario.case;
    // What cannot be understood is told when the scenario is tried.
    let base = spec::machine(&case.machine, host).map_or(0, |m| m.memory);
    let mut wants = Wants::default();
    case.machine.dimms.iter().for_each(|dimm| wants.dimm(&dimm.dimm, &dimm.size));
    wants.steps(&case.steps);
    let dimms: u64 = wants.dimms.values().sum();
    let percent = (base + dimms) / 100 * wants.percent.min(100);
    let rest = base.saturating_sub(FULL) + dimms;
    base.min(FULL) + rest.min(rest / MAP + wants.held + percent) + QEMU
}

/// What the steps of a case ask for together.
#[derive(Default)]
struct Wants {
    dimms: BTreeMap<String, u64>,
    held: u64,
    percent: u64,
}

impl Wants {
    fn dimm(&mut self, name: &str, size: &str) {
        let (size, dimm) = (units::size(size).unwrap_or(0), self.dimms.entry(name.into()).or_default());
        *dimm = size.max(*dimm);
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Plug(plug) => self.dimm(&plug.dimm, &plug.size),
                Step::Hold(hold) => match units::amount(&hold.size) {
                    Ok(Amount::Bytes(bytes)) => self.held += bytes,
                    Ok(Amount::Percent(percent)) => self.percent += percent,
                    Ok(Amount::FreeBut(_) | Amount::AvailableBut(_)) => self.percent = 100,
                    Err(_) => {}
                },
                // A program may touch all there is.
                Step::Exec(_) => self.percent = 100,
                Step::Load(load) if load.stress.is_some() => self.percent = 100,
                Step::Repeat(repeat) => self.steps(&repeat.steps),
                Step::Each(each) => {
                    for number in each.numbers().into_iter().flatten() {
                        self.steps(&each.steps_for(number).unwrap_or_default());
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(steps: &str) -> Wants {
        let mut wants = Wants::default();
        wants.steps(&serde_json::from_str::<Vec<Step>>(steps).unwrap());
        wants
    }

    #[test]
    fn dimms_count_once_by_name_and_holds_add_up() {
        let wants = wants(
            r#"[{"repeat":{"times":9,"steps":[{"plug":{"dimm":"a","size":"1G"}},{"plug":{"dimm":"a","size":"2G"}}]}},
                {"each":{"of":"0..3","steps":[{"plug":{"dimm":"d${n}","size":"128M"}}]}},
                {"hold":{"name":"h","kind":"slab","size":"48M"}},{"hold":{"name":"i","kind":"tmpfs","size":"40%"}}]"#,
        );
        assert_eq!(wants.dimms.values().sum::<u64>(), (2 << 30) + (4 << 27));
        assert_eq!((wants.held, wants.percent), (48 << 20, 40));
    }
}
