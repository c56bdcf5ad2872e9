//! The guest's PID 1, as `build.rs` built it.

/// A static executable for x86-64; made from `images/agent`.
pub const AGENT: &[u8] = include_bytes!(env!("MEMHP_AGENT"));

#[cfg(test)]
mod tests {
    use super::AGENT;

    /// ELF program headers (64 bit, little endian): an interpreter would be missing in the guest.
    #[test]
    fn the_agent_needs_no_interpreter() {
        let half = |at: usize| usize::from(u16::from_le_bytes([AGENT[at], AGENT[at + 1]]));
        let word = |at: usize| u32::from_le_bytes(AGENT[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(AGENT[at..at + 8].try_into().unwrap());
        assert_eq!(&AGENT[..6], b"\x7fELF\x02\x01");
        let (table, size, count) = (usize::try_from(long(32)).unwrap(), half(54), half(56));
        let kinds: Vec<u32> = (0..count).map(|n| word(table + n * size)).collect();
        assert!(kinds.contains(&1), "no PT_LOAD in {kinds:?}");
        assert!(!kinds.contains(&3), "PT_INTERP in {kinds:?}");
    }
}
