//! Maps with numbers for keys, read from a log. Keys of JSON objects are texts; inside a tagged enum serde does not make
//! numbers of them by itself.

use serde::de::{Deserialize, Deserializer, Error};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Bit of /proc/kpageflags -> pages.
type Flags = BTreeMap<u8, u64>;

/// Flags.
///
/// # Errors
/// A key is no number.
pub fn flags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Flags, D::Error> {
    by_number(BTreeMap::deserialize(deserializer)?)
}

/// Flags of each block.
///
/// # Errors
/// A key is no number.
pub fn pages<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u32, Flags>, D::Error> {
    let blocks = BTreeMap::<String, BTreeMap<String, u64>>::deserialize(deserializer)?;
    let blocks: Result<BTreeMap<String, Flags>, D::Error> =
        blocks.into_iter().map(|(block, flags)| Ok((block, by_number(flags)?))).collect();
    by_number(blocks?)
}

fn by_number<K: FromStr + Ord, V, E: Error>(map: BTreeMap<String, V>) -> Result<BTreeMap<K, V>, E> {
    let number = |key: String| {
        key.parse().map_err(|_| E::custom(format!("{key:?} is no number of a block or page flag")))
    };
    map.into_iter().map(|(key, value)| Ok((number(key)?, value))).collect()
}
