//! A guest for the tests: 512 MiB in QEMU, hot-plugged memory from 4 GiB on.

use super::*;
use std::collections::BTreeMap;

/// A kernel as Debian builds it.
pub(super) fn subject(version: &str) -> Subject {
    let version: crate::version::Version = version.parse().unwrap();
    let online = if version.at_least(6, 12) { OnlineType::Online } else { OnlineType::Offline };
    Subject::usual(version, online)
}

/// Boot memory of a 512 MiB guest: DMA and DMA32, the last block cut short by the firmware.
pub(super) fn layout() -> Layout {
    let zone =
        |start_pfn, spanned, present| EarlyZone { start_pfn, spanned, present, managed: present, cma: 0 };
    let early = BTreeMap::from([
        ((0, Zone::Dma), zone(1, 4095, 3998)),
        ((0, Zone::Dma32), zone(4096, 126_944, 126_944)),
    ]);
    let block = |zone| Block { node: 0, state: BlockState::Online, zone, dimm: None, vmemmap_pages: 0 };
    let mut blocks: BTreeMap<u32, Block> = (1..4).map(|n| (n, block(Some(Zone::Dma32)))).collect();
    blocks.insert(0, block(None));
    Layout { block_bytes: 128 << 20, early, blocks, dimms: BTreeMap::new(), remembered: BTreeMap::new() }
}

/// Layout, settings and kernel.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) layout: Layout,
    pub(super) knobs: Knobs,
    pub(super) subject: Subject,
}

impl Guest {
    pub(super) fn new(subject: Subject, cmdline: &str) -> Self {
        let (knobs, _) = Knobs::boot(&subject, cmdline).unwrap();
        Self { layout: layout(), knobs, subject }
    }

    /// Adds a DIMM of so many blocks behind all others, `dimm0`, `dimm1`, …
    pub(super) fn plug(&mut self, blocks: u64, node: u32) -> Added {
        let nth = self.layout.dimms.len();
        let end = self.layout.dimms.values().map(|d| d.addr + d.size).max().unwrap_or(4 << 30);
        let slot = u32::try_from(nth).unwrap();
        let dimm = Dimm { addr: end, size: blocks * self.layout.block_bytes, slot, node, cold: false };
        add(&mut self.layout, &self.knobs, &self.subject, &format!("dimm{nth}"), dimm).unwrap()
    }

    /// Zones of the hot-plugged blocks: `N`, `M`, `-` offline.
    pub(super) fn pattern(&self) -> String {
        let hot = self.layout.blocks.values().filter(|b| b.dimm.is_some());
        hot.map(|b| b.zone.map_or('-', |z| z.name().chars().next().unwrap())).collect()
    }

    /// Writes `state`, which must be possible, and must work whenever it can.
    pub(super) fn write(&mut self, block: u32, text: &str) {
        let permitted = write_state(&self.layout, &self.knobs, &self.subject, block, text).unwrap();
        let outcome = permitted.allowed[0].outcome;
        apply_write_state(&mut self.layout, block, text, &outcome);
    }

    pub(super) fn valid_zones(&self, block: u32) -> String {
        valid_zones(&self.layout, &self.knobs, &self.subject, block).unwrap().unwrap()
    }
}
