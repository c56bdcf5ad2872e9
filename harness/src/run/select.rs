//! From a selection of blocks to their numbers in the guest.

use crate::case::schema::Order;
use crate::case::select::{Part, Selection};
use crate::policy::Layout;

/// Why a selection names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// no such DIMM, or it has no blocks
    #[error("{0:?} is no DIMM with blocks in the guest (nor boot, nor memoryN)")]
    Unknown(String),
    /// the index is out of range
    #[error("{part:?}: the DIMM has {blocks} blocks")]
    Index {
        /// part of the selection
        part: String,
        /// number of blocks
        blocks: usize,
    },
    /// not a selection
    #[error("{0}")]
    Malformed(String),
}

/// Numbers of the blocks that `text` selects in `layout`, in the order `order` (shuffled by `seed`).
///
/// A DIMM's blocks are those of its address range, whether the guest has them or not: a selection never
/// shrinks because the kernel lost a block.
pub fn select(layout: &Layout, text: &str, order: Order, seed: u64) -> Result<Vec<u32>, SelectError> {
    let selection = Selection::parse(text).map_err(SelectError::Malformed)?;
    let mut blocks = Vec::new();
    for part in &selection.0 {
        blocks.extend(one(layout, part)?);
    }
    Ok(arrange(blocks, order, seed))
}

fn one(layout: &Layout, part: &Part) -> Result<Vec<u32>, SelectError> {
    let name = match part {
        Part::Boot => {
            return Ok(layout.blocks.iter().filter(|(_, b)| b.dimm.is_none()).map(|(n, _)| *n).collect());
        }
        Part::Memory(number) => return Ok(vec![*number]),
        Part::Dimm(name) | Part::Range(name, ..) => name,
    };
    let dimm = layout.dimms.get(name).ok_or_else(|| SelectError::Unknown(part.to_string()))?;
    let all: Vec<u32> = layout.block_range(dimm.addr, dimm.size).collect();
    let Part::Range(_, first, last) = part else { return Ok(all) };
    let picked = all.get(*first as usize..=*last as usize).map(<[u32]>::to_vec);
    picked.ok_or_else(|| SelectError::Index { part: part.to_string(), blocks: all.len() })
}

pub(super) fn arrange(mut blocks: Vec<u32>, order: Order, seed: u64) -> Vec<u32> {
    match order {
        Order::AsGiven => blocks,
        Order::Descending => {
            blocks.sort_unstable_by(|a, b| b.cmp(a));
            blocks
        }
        Order::EvenOdd => {
            let (even, odd): (Vec<_>, Vec<_>) = blocks.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
            even.into_iter().chain(odd).map(|(_, b)| b).collect()
        }
        Order::Shuffled => {
            let mut random = SplitMix(seed);
            for i in (1..blocks.len()).rev() {
                let j = (random.next() % (i as u64 + 1)) as usize;
                blocks.swap(i, j);
            }
            blocks
        }
    }
}

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014), the 64-bit finaliser.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Dimm;
    use std::collections::BTreeMap;

    fn layout() -> Layout {
        let dimm = Dimm { addr: 0x1_0000_0000, size: 512 << 20, slot: 0, node: 0, cold: false };
        Layout {
            block_bytes: 128 << 20,
            early: BTreeMap::new(),
            blocks: BTreeMap::new(),
            dimms: BTreeMap::from([("a".to_string(), dimm)]),
            remembered: BTreeMap::new(),
        }
    }

    #[test]
    fn selections_follow_the_address_range() {
        let pick = |text, order| select(&layout(), text, order, 1);
        assert_eq!(pick("a", Order::AsGiven), Ok(vec![32, 33, 34, 35]));
        assert_eq!(pick("a[2], a[0..1],memory7", Order::AsGiven), Ok(vec![34, 32, 33, 7]));
        assert_eq!(pick("a", Order::Descending), Ok(vec![35, 34, 33, 32]));
        assert_eq!(pick("a", Order::EvenOdd), Ok(vec![32, 34, 33, 35]));
        assert_eq!(pick("a[4]", Order::AsGiven), Err(SelectError::Index { part: "a[4]".into(), blocks: 4 }));
        assert_eq!(pick("b", Order::AsGiven), Err(SelectError::Unknown("b".into())));
        assert!(matches!(pick("a[1", Order::AsGiven), Err(SelectError::Malformed(_))));
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_depends_on_the_seed() {
        let all: Vec<u32> = (0..64).collect();
        let mut one = arrange(all.clone(), Order::Shuffled, 1);
        assert_ne!(one, arrange(all.clone(), Order::Shuffled, 2));
        assert_eq!(one, arrange(all.clone(), Order::Shuffled, 1));
        one.sort_unstable();
        assert_eq!(one, all);
    }
}
