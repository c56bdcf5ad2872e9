//! What becomes of DIMMs, without a guest: the table of `memhp predict`.

use super::geometry::{device_memory_base, free_address, guest};
use super::{BlockState, Dimm, Knobs, Refusal, Ruling, Subject, Unknown, Zone, add};
use serde::Serialize;

/// A DIMM to be plugged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlugSpec {
    /// bytes
    pub size: u64,
    /// NUMA node
    pub node: u32,
    /// guest physical address; `None`: where QEMU would put it
    pub addr: Option<u64>,
}

impl PlugSpec {
    /// A DIMM on node 0, where QEMU would put it.
    pub const fn of(size: u64) -> Self {
        Self { size, node: 0, addr: None }
    }
}

/// What becomes of one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// number of its DIMM, from 0
    pub plug: usize,
    /// N of memoryN; `None`: the DIMM has no blocks
    pub block: Option<u32>,
    /// online or offline; `None` without a block
    pub state: Option<BlockState>,
    /// zone while online
    pub zone: Option<Zone>,
    /// why
    pub rule: Ruling,
}

/// Nothing can be predicted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PredictError {
    /// the oracle does not know
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// the kernel refuses the value for auto_online_blocks
    #[error("auto_online_blocks={value:?}: {refusal}")]
    AutoOnline {
        /// the value
        value: String,
        /// what the kernel says
        refusal: Refusal,
    },
}

/// The blocks of DIMMs that are plugged one after another into a q35 guest with `memory` bytes, after
/// `cmdline` and, if given, a write to `auto_online_blocks`: one line a block, or one for a DIMM that gets
/// none.
///
/// # Errors
/// [`PredictError`] where the oracle does not know, or the kernel refuses `auto_online_blocks`.
pub fn predict(
    subject: &Subject,
    cmdline: &str,
    auto_online_blocks: Option<&str>,
    memory: u64,
    plugs: &[PlugSpec],
) -> Result<Vec<Line>, PredictError> {
    let (mut knobs, _) = Knobs::boot(subject, cmdline)?;
    if let Some(value) = auto_online_blocks {
        let failed = |refusal| PredictError::AutoOnline { value: value.to_string(), refusal };
        knobs.write_auto_online(value).map_err(failed)?;
    }
    let mut layout = guest(memory)?;
    let base = device_memory_base(memory);
    let mut lines = Vec::new();
    for (plug, spec) in plugs.iter().enumerate() {
        let addr = spec.addr.unwrap_or_else(|| free_address(&layout, base, spec.size));
        let slot = u32::try_from(plug).map_err(|_| Unknown::because("more DIMMs than slots"))?;
        let dimm = Dimm { addr, size: spec.size, slot, node: spec.node, cold: false };
        let added = add(&mut layout, &knobs, subject, &plug.to_string(), dimm)?;
        lines.extend(added.refused.map(|rule| Line { plug, block: None, state: None, zone: None, rule }));
        lines.extend(added.blocks.into_iter().map(|block| Line {
            plug,
            block: Some(block.number),
            state: Some(block.state),
            zone: block.zone,
            rule: block.ruling,
        }));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::subject;

    const GIB: u64 = 1 << 30;

    fn table(version: &str, cmdline: &str, memory: u64, plugs: &[PlugSpec]) -> Vec<String> {
        let lines = predict(&subject(version), cmdline, None, memory, plugs).unwrap();
        let text = |l: Line| {
            let zone = l.zone.map_or("-", |zone| zone.name());
            format!("{} {} {zone} {}", l.plug, l.block.unwrap_or(0), l.rule.rule)
        };
        lines.into_iter().map(text).collect()
    }

    #[test]
    fn one_dimm() {
        assert_eq!(
            table("6.12", "", GIB / 2, &[PlugSpec::of(GIB / 4)]),
            ["0 32 Normal zone.contig.tie", "0 33 Normal zone.contig.tie"]
        );
        assert_eq!(table("6.1", "", GIB / 2, &[PlugSpec::of(GIB / 8)]), ["0 32 - add.offline"]);
        assert_eq!(
            table("5.10", "memhp_default_state=online_movable", 3 * GIB, &[PlugSpec::of(GIB / 8)]),
            ["0 40 Movable zone.online-movable"]
        );
        assert_eq!(table("6.12", "", GIB / 2, &[PlugSpec::of(GIB / 16)]), ["0 0 - add.unaligned"]);
    }

    #[test]
    fn auto_online_blocks_is_checked() {
        let run = |value| predict(&subject("6.12"), "", Some(value), GIB, &[PlugSpec::of(GIB / 8)]);
        assert_eq!(run("online_movable").unwrap()[0].zone, Some(Zone::Movable));
        assert!(matches!(run("Online"), Err(PredictError::AutoOnline { .. })));
    }

    #[test]
    fn a_given_address_is_used() {
        let spec = PlugSpec { size: GIB / 8, node: 0, addr: Some(8 * GIB) };
        assert_eq!(table("6.12", "", GIB, &[spec])[0], "0 64 Normal zone.contig.tie");
    }
}
