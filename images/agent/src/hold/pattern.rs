//! The content of held pages: what each word of each page must be, and keeping that true while it is rewritten.

/// Words of a page: from seed, round and page number, different for all of them and in every place of the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pattern {
    seed: u64,
}

impl Pattern {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Fills page `number` for the given round of rewriting.
    pub(crate) fn fill(self, page: &mut [u64], number: u64, round: u64) {
        let mut word = self.first(number, round);
        for w in page {
            *w = word;
            word = word.wrapping_add(STEP);
        }
    }

    /// Is the page, every word of it, as [`Pattern::fill`] left it?
    pub(crate) fn holds(self, page: &[u64], number: u64, round: u64) -> bool {
        let mut word = self.first(number, round);
        let mut differing = 0;
        for w in page {
            differing |= w ^ word;
            word = word.wrapping_add(STEP);
        }
        differing == 0
    }

    /// One 64-bit value for an object of this number.
    pub(crate) fn first(self, number: u64, round: u64) -> u64 {
        mix(mix(self.seed ^ round.rotate_left(32)).wrapping_add(number.wrapping_mul(STEP)))
    }
}

/// The golden ratio in 64 bits, odd: its multiples run through all values.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection, so no two pages of a round begin alike.
fn mix(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// How far a rewriter that goes round and round has come: pages before the cursor are one round ahead.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    round: u64,
    cursor: u64,
}

impl Rounds {
    /// The round that page `number` was last written in.
    pub(crate) fn of(&self, number: u64) -> u64 {
        self.round + u64::from(number < self.cursor)
    }

    /// The page to write next, and the round to write it in; [`Rounds::step`] says that it was done.
    pub(crate) fn next(&self) -> (u64, u64) {
        (self.cursor, self.round + 1)
    }

    /// That page was written; `pages` is how many there are.
    pub(crate) fn step(&mut self, pages: u64) {
        self.cursor += 1;
        if self.cursor == pages {
            self.cursor = 0;
            self.round += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_page_is_its_own_and_every_word_counts() {
        let pattern = Pattern::new(42);
        let mut page = [0u64; 512];
        pattern.fill(&mut page, 7, 0);
        assert!(pattern.holds(&page, 7, 0));
        assert!(!pattern.holds(&page, 8, 0));
        assert!(!pattern.holds(&page, 7, 1));
        assert!(!Pattern::new(43).holds(&page, 7, 0));
        for at in [0, 1, 255, 511] {
            page[at] ^= 1 << 63;
            assert!(!pattern.holds(&page, 7, 0), "word {at}");
            page[at] ^= 1 << 63;
        }
        page.swap(3, 4);
        assert!(!pattern.holds(&page, 7, 0));
        let firsts: BTreeSet<u64> = (0..10_000).map(|n| pattern.first(n, 0)).collect();
        assert_eq!(firsts.len(), 10_000);
    }

    #[test]
    fn rounds_follow_the_rewriter() {
        let mut rounds = Rounds::default();
        let mut written = [0u64; 3];
        for _ in 0..8 {
            let (number, round) = rounds.next();
            written[number as usize] = round;
            rounds.step(3);
            for (number, round) in (0u64..).zip(written) {
                assert_eq!(rounds.of(number), round, "page {number} of {written:?}");
            }
        }
        assert_eq!(written, [3, 3, 2]);
    }
}
