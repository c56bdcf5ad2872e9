//! /proc/pagetypeinfo (mm/vmstat.c:pagetypeinfo_show): one page-block size, then for every node with memory the free
//! counts and the pageblock counts by migrate type of its populated zones.

use super::error::{FactError, Line};
use super::source::small;
use std::collections::BTreeMap;

/// Free lists and pageblocks of the populated zones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageTypes {
    /// pages of a pageblock
    pub pageblock_pages: u64,
    /// migrate types in the kernel's order
    pub types: Vec<String>,
    /// node, zone -> migrate type -> free pages (sum over all orders)
    pub free: BTreeMap<(u32, String), BTreeMap<String, FreePages>>,
    /// node, zone -> migrate type -> pageblocks
    pub blocks: BTreeMap<(u32, String), BTreeMap<String, u64>>,
}

/// Free pages of one migrate type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FreePages {
    /// at least so many
    pub pages: u64,
    /// those of them in pieces of the largest order
    pub in_largest: u64,
    /// pages of such a piece
    pub largest: u64,
    /// the kernel stopped counting a list at 100000 (`>100000`)
    pub at_least: bool,
}

/// What the lines that begin with `Node` are about.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Free,
    Blocks,
    /// only with page_owner=on, and not judged
    Mixed,
}

/// Parses the whole file.
pub(crate) fn parse(path: &str, text: &str) -> Result<PageTypes, FactError> {
    let mut types = PageTypes::default();
    let mut section = Section::Free;
    for line in Line::all(path, text).filter(|l| !l.text.trim().is_empty()) {
        let words: Vec<&str> = line.text.split_whitespace().collect();
        match words.as_slice() {
            ["Page", "block", "order:", order] => {
                line.number(order)?;
                section = Section::Free;
            }
            ["Pages", "per", "block:", pages] => types.pageblock_pages = line.number(pages)?,
            ["Free", "pages", "count", ..] => {}
            ["Number", "of", "blocks", "type", names @ ..] => {
                section = Section::Blocks;
                types.types = names.iter().map(|n| (*n).to_string()).collect();
            }
            ["Number", "of", "mixed", ..] => section = Section::Mixed,
            _ if section == Section::Mixed => {}
            ["Node", node, "zone", zone, "type", migrate, counts @ ..] => {
                let key = zone_key(&line, node, zone)?;
                let free = free_pages(&line, counts)?;
                types.free.entry(key).or_default().insert(migrate.to_string(), free);
            }
            ["Node", node, "zone", zone, counts @ ..]
                if section == Section::Blocks && counts.len() == types.types.len() =>
            {
                let counts = counts.iter().map(|c| line.number(c));
                let counts = counts.collect::<Result<Vec<_>, _>>()?;
                let counts = types.types.iter().cloned().zip(counts).collect();
                types.blocks.insert(zone_key(&line, node, zone)?, counts);
            }
            _ => return Err(line.shape("unknown line")),
        }
    }
    if types.pageblock_pages == 0 || types.free.keys().ne(types.blocks.keys()) {
        let why = "free lists and pageblocks are not of the same zones";
        return Err(FactError::Shape { path: path.into(), line: 0, why, text: String::new() });
    }
    Ok(types)
}

/// `0,` and `DMA32` (also with a comma: the free lists have one after the zone).
fn zone_key(line: &Line<'_>, node: &str, zone: &str) -> Result<(u32, String), FactError> {
    let node = node.strip_suffix(',').ok_or_else(|| line.shape("not `Node N,`"))?;
    Ok((small(line, node)?, zone.strip_suffix(',').unwrap_or(zone).to_string()))
}

/// /proc/buddyinfo (mm/vmstat.c:frag_show_print): free pages of each populated zone, by what the lists are said to hold.
pub(crate) fn buddies(path: &str, text: &str) -> Result<BTreeMap<(u32, String), u64>, FactError> {
    let mut zones = BTreeMap::new();
    for line in Line::all(path, text) {
        let words: Vec<&str> = line.text.split_whitespace().collect();
        let ["Node", node, "zone", zone, counts @ ..] = words.as_slice() else {
            return Err(line.shape("unknown line"));
        };
        zones.insert(zone_key(&line, node, zone)?, free_pages(&line, counts)?.pages);
    }
    Ok(zones)
}

fn free_pages(line: &Line<'_>, counts: &[&str]) -> Result<FreePages, FactError> {
    let mut free = FreePages::default();
    for (order, count) in counts.iter().enumerate() {
        let number = count.strip_prefix('>').unwrap_or(count);
        free.at_least |= number.len() != count.len();
        free.in_largest = line.number(number)? << order;
        free.largest = 1 << order;
        free.pages += free.in_largest;
    }
    match counts {
        [] => Err(line.shape("no orders")),
        _ => Ok(free),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Page block order: 9\nPages per block:  512\n\n\
        Free pages count per migrate type at order       0      1 \n\
        Node    0, zone      DMA, type    Unmovable      1      2 \n\
        Node    0, zone      DMA, type      Movable >100000      1 \n\n\
        Number of blocks type     Unmovable      Movable \n\
        Node 0, zone      DMA            1            7 \n";

    #[test]
    fn free_lists_and_pageblocks() {
        let types = parse("/p", TEXT).unwrap();
        let dma = (0, "DMA".to_string());
        assert_eq!(types.pageblock_pages, 512);
        assert_eq!(
            types.free[&dma]["Unmovable"],
            FreePages { pages: 5, in_largest: 4, largest: 2, at_least: false }
        );
        let movable = FreePages { pages: 100_002, in_largest: 2, largest: 2, at_least: true };
        assert_eq!(types.free[&dma]["Movable"], movable);
        assert_eq!(types.blocks[&dma]["Movable"], 7);
    }

    #[test]
    fn free_pages_by_order() {
        let text =
            "Node 0, zone      DMA      1      0      3 \nNode 1, zone  Movable      0      0     32 \n";
        let expected = [((0, "DMA".to_string()), 13), ((1, "Movable".to_string()), 128)];
        assert_eq!(buddies("/p", text), Ok(expected.into()));
        assert!(buddies("/p", "Node 0, zone\n").is_err() && buddies("/p", "Node 0, zone DMA -1\n").is_err());
    }

    #[test]
    fn odd_text_is_an_error() {
        assert!(parse("/p", &TEXT.replace("            7", "")).is_err());
        assert!(parse("/p", &TEXT.replace("Node 0, zone      DMA ", "Node 0, zone    DMA32 ")).is_err());
        assert!(parse("/p", &TEXT.replace(">100000", "many")).is_err());
    }
}
