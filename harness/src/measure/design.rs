//! Which cells are measured, and in which order. Pure.
//!
//! Samples are interleaved: a round takes each cell once, in an order of its own, so that a host that slows down slows
//! all cells (randomised blocks). Where the budget does not carry every cell, a regular fraction of the design is taken:
//! cell (policy i, load j, size k, kernel l) is in the fraction of one in m when i + j + k + l leaves a certain rest by m
//! (Box, Hunter, Hunter, "Statistics for Experimenters", on Latin squares and fractions): every level of every factor
//! stays as near equally often as can be, and what is left out is known beforehand.

use super::cell::{Cell, Load, Policy, size};

/// Levels of each factor, in the order of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factors {
    /// kernels
    pub kernels: Vec<String>,
    /// bytes of the DIMM
    pub sizes: Vec<u64>,
    /// loads
    pub loads: Vec<Load>,
    /// policies
    pub policies: Vec<Policy>,
}

/// What is done with the cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Design {
    /// to be measured
    pub cells: Vec<Cell>,
    /// left out: the budget does not carry them
    pub left_out: Vec<Cell>,
    /// one of so many cells is measured
    pub fraction: u64,
}

/// Chooses the largest fraction that `samples` carry with `least` samples of each cell.
pub fn design(factors: &Factors, samples: Option<u64>, least: u64, seed: u64) -> Design {
    let all = all(factors);
    let carried = |m: u64| {
        let kept = all.iter().filter(|(sum, _)| in_fraction(*sum, m, seed)).count() as u64;
        kept * least
    };
    let most = all.len() as u64;
    let fraction =
        (1..=most).find(|m| samples.is_none_or(|samples| carried(*m) <= samples)).unwrap_or(most.max(1));
    let (kept, left): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(sum, _)| in_fraction(*sum, fraction, seed));
    let cells = |all: Vec<(u64, Cell)>| all.into_iter().map(|(_, cell)| cell).collect();
    Design { cells: cells(kept), left_out: cells(left), fraction }
}

/// Every cell with the sum of its levels' numbers.
fn all(factors: &Factors) -> Vec<(u64, Cell)> {
    let mut all = Vec::new();
    for (l, kernel) in factors.kernels.iter().enumerate() {
        for (k, size) in factors.sizes.iter().enumerate() {
            for (j, load) in factors.loads.iter().enumerate() {
                for (i, policy) in factors.policies.iter().enumerate() {
                    let cell = Cell { kernel: kernel.clone(), size: *size, load: *load, policy: *policy };
                    all.push(((i + j + k + l) as u64, cell));
                }
            }
        }
    }
    all
}

fn in_fraction(sum: u64, fraction: u64, seed: u64) -> bool {
    (sum.wrapping_add(seed)).is_multiple_of(fraction)
}

/// Why a cell cannot be: the memory map of the DIMM (64 bytes of struct page for each page of 4 KiB) has to come from what
/// is free before anything of the DIMM is online. `free`: MemFree of the idle guest, bytes.
pub fn cannot_fit(cell: &Cell, free: u64) -> Option<String> {
    let map = cell.size / 4096 * 64;
    let left = free / 100 * u64::from(100 - cell.load.held().min(100));
    (map > left).then(|| {
        let mib = |bytes: u64| bytes >> 20;
        format!("memmap of {} needs {} MiB, {} MiB are free", size(cell.size), mib(map), mib(left))
    })
}

/// The order of a round.
pub fn round(cells: &[Cell], round: u32, seed: u64) -> Vec<Cell> {
    let mut order = cells.to_vec();
    let mut random = SplitMix(seed ^ (u64::from(round) << 32));
    // Fisher and Yates.
    for last in (1..order.len()).rev() {
        let other = random.below(last as u64 + 1);
        order.swap(last, usize::try_from(other).unwrap_or(0));
    }
    order
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; the bias of the remainder is below n / 2^64.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn factors() -> Factors {
        Factors {
            kernels: vec!["a".into(), "b".into()],
            sizes: vec![1 << 30],
            loads: Load::ALL.to_vec(),
            policies: Policy::ALL.to_vec(),
        }
    }

    #[test]
    fn all_cells_without_a_budget() {
        let design = design(&factors(), None, 6, 1);
        assert_eq!((design.cells.len(), design.left_out.len(), design.fraction), (90, 0, 1));
    }

    #[test]
    fn a_fraction_fits_the_budget_is_balanced_and_names_the_rest() {
        for seed in 0..7 {
            let design = design(&factors(), Some(200), 6, seed);
            assert_eq!(design.fraction, 3);
            assert!(design.cells.len() * 6 <= 200, "{}", design.cells.len());
            assert_eq!(design.cells.len() + design.left_out.len(), 90);
            let mut policies: BTreeMap<Policy, usize> = BTreeMap::new();
            let mut loads: BTreeMap<Load, usize> = BTreeMap::new();
            for cell in &design.cells {
                *policies.entry(cell.policy).or_default() += 1;
                *loads.entry(cell.load).or_default() += 1;
            }
            assert!(policies.len() == 5 && policies.values().all(|n| *n == 6), "{policies:?}");
            assert!(loads.len() == 9 && loads.values().all(|n| (2..=4).contains(n)), "{loads:?}");
        }
    }

    #[test]
    fn a_budget_for_nothing_leaves_little() {
        let design = design(&factors(), Some(0), 6, 1);
        assert!(design.cells.len() <= 1);
        assert_eq!(design.cells.len() + design.left_out.len(), 90);
    }

    #[test]
    fn a_round_is_a_permutation_that_the_seed_decides() {
        let cells = design(&factors(), None, 6, 1).cells;
        let first = round(&cells, 0, 7);
        assert_eq!(round(&cells, 0, 7), first);
        assert_ne!(round(&cells, 1, 7), first);
        assert_ne!(round(&cells, 0, 8), first);
        let sorted = |mut order: Vec<Cell>| {
            order.sort();
            order
        };
        assert_eq!(sorted(first), sorted(cells));
    }

    #[test]
    fn the_memory_map_decides_what_cannot_be() {
        let cell = |size, load| Cell { kernel: "k".into(), size, load, policy: Policy::Online };
        let free = 400 * 1024 * 1024 + 400;
        assert_eq!(cannot_fit(&cell(16 << 30, Load::Idle), free), None); // 256 MiB
        let why = cannot_fit(&cell(16 << 30, Load::Memory(50)), free);
        assert_eq!(why.as_deref(), Some("memmap of 16G needs 256 MiB, 200 MiB are free"));
        assert!(cannot_fit(&cell(32 << 30, Load::Idle), free).is_some());
    }
}
