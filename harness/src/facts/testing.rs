//! Real guests for tests: what Debian's kernels showed, stage by stage (fixtures/README.md tells how it was taken).

use super::expect::{self, Base, Context};
use super::{Raw, Snapshot};
use crate::finding::Finding;
use crate::policy::{Block, BlockState, Dimm, Layout, Zone};
use crate::version::Version;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex};

/// Kernels that there are fixtures of.
pub(crate) const KERNELS: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.3"];

#[derive(Deserialize)]
struct File {
    release: String,
    scenarios: BTreeMap<String, Vec<Stage>>,
}

#[derive(Deserialize)]
struct Stage {
    dimms: BTreeMap<String, Dimm>,
    written: BTreeMap<String, String>,
    pages: BTreeMap<u32, BTreeMap<u8, u64>>,
    snapshot: wire::Snapshot,
}

/// A stage of a scenario, with the boot of the same guest.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) version: Version,
    pub(crate) base: Snapshot,
    pub(crate) base_layout: Layout,
    /// what must be: boot memory as at boot, DIMMs as spelled
    pub(crate) layout: Layout,
    pub(crate) raw: Raw,
    pub(crate) written: BTreeMap<String, String>,
    pub(crate) valid_zones: BTreeMap<u32, String>,
    pub(crate) pages: BTreeMap<u32, BTreeMap<u8, u64>>,
}

/// The fixture of a kernel, read once.
fn file(kernel: &str) -> Arc<File> {
    static FILES: Mutex<BTreeMap<String, Arc<File>>> = Mutex::new(BTreeMap::new());
    let mut files = FILES.lock().unwrap();
    files.entry(kernel.to_string()).or_insert_with(|| Arc::new(read(kernel))).clone()
}

fn read(kernel: &str) -> File {
    let path = format!("{}/src/facts/fixtures/debian-{kernel}.json.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let packed = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let mut file: File = serde_json::from_str(&text).unwrap();
    // with memory enough for huge pages; taken when nobody looked at this thread
    let big = file.scenarios.get_mut("big").into_iter().flatten();
    big.for_each(|stage| stage.snapshot.threads.push("khugepaged".into()));
    file
}

/// Stage `stage` of `scenario` on `kernel`. `blocks` spells out the blocks of DIMMs: words `32-39=offline`,
/// `33=Movable`, later ones win.
pub(crate) fn guest(kernel: &str, scenario: &str, stage: usize, blocks: &str) -> Guest {
    let file = file(kernel);
    let version: Version = file.release.parse().unwrap();
    let stages = &file.scenarios[scenario];
    let own_memmap = |d: &Dimm| match scenario {
        // memmap_on_memory: not in 5.10; in 6.1 only for a DIMM of one block; later for every DIMM
        "mom" if version.at_least(6, 12) || version.at_least(6, 1) && d.size == 128 << 20 => 512,
        _ => 0,
    };
    let mut raw = Raw::new();
    raw.apply(&stages[0].snapshot);
    let base = Snapshot::parse(&raw).unwrap();
    let cold = stages[0].dimms.iter().map(|(n, d)| (n.clone(), d.clone())).collect();
    let base_layout = Layout::from_boot(&base, &cold, &own_memmap).unwrap();
    stages[1..=stage].iter().for_each(|s| raw.apply(&s.snapshot));
    let mut layout = base_layout.clone();
    layout.blocks.retain(|_, b| b.dimm.is_none());
    layout.dimms = stages[stage].dimms.clone();
    for (name, dimm) in layout.dimms.clone() {
        for number in layout.block_range(dimm.addr, dimm.size) {
            let block = Block {
                node: dimm.node,
                state: BlockState::Offline,
                zone: None,
                dimm: Some(name.clone()),
                vmemmap_pages: own_memmap(&dimm),
            };
            layout.blocks.insert(number, block);
        }
    }
    spell(&mut layout, blocks);
    Guest {
        version,
        base,
        base_layout,
        layout,
        raw,
        written: stages[stage].written.clone(),
        valid_zones: BTreeMap::new(),
        pages: stages[stage].pages.clone(),
    }
}

/// Sets states and zones: `32-39=offline 33=Movable`.
fn spell(layout: &mut Layout, blocks: &str) {
    for word in blocks.split_whitespace() {
        let (range, what) = word.split_once('=').unwrap();
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        for number in first.parse::<u32>().unwrap()..=last.parse().unwrap() {
            let block = layout.blocks.get_mut(&number).unwrap_or_else(|| panic!("no block {number}"));
            block.zone = Zone::parse(what);
            block.state = if what == "offline" { BlockState::Offline } else { BlockState::Online };
            assert!(what == "offline" || block.zone.is_some(), "{what}");
        }
    }
}

impl Guest {
    /// What is seen now.
    pub(crate) fn now(&self) -> Snapshot {
        Snapshot::parse(&self.raw).unwrap()
    }

    /// Replaces text in a file; it must occur exactly once.
    pub(crate) fn edit(mut self, path: &str, from: &str, to: &str) -> Self {
        let text = self.text(path);
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {path}:\n{text}");
        let text = text.replace(from, to);
        self.put(path, Some(&text));
        self
    }

    /// One more of the watched kernel threads.
    pub(crate) fn with_thread(mut self, name: &str) -> Self {
        let mut threads = self.raw.threads().to_vec();
        threads.push(name.to_string());
        self.raw.apply(&wire::Snapshot { changed: BTreeMap::new(), gone: vec![], threads });
        self
    }

    /// Content of a file.
    pub(crate) fn text(&self, path: &str) -> String {
        match self.raw.file(path) {
            Some(wire::Value::Text(text)) => text.clone(),
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Writes or removes an entry of a directory.
    pub(crate) fn put(&mut self, path: &str, text: Option<&str>) {
        let (dir, name) = path.rsplit_once('/').unwrap();
        let mut entries = self.raw.dir(dir).cloned().unwrap_or_default();
        match text {
            Some(text) => entries.insert(name.into(), wire::Value::Text(text.into())),
            None => entries.remove(name),
        };
        let changed = [(dir.to_string(), entries)].into();
        let threads = self.raw.threads().to_vec();
        self.raw.apply(&wire::Snapshot { changed, gone: vec![], threads });
    }

    /// Edits one value of a zone in /proc/zoneinfo.
    pub(crate) fn zone(self, head: &str, field: &str, to: &str) -> Self {
        let text = self.text("/proc/zoneinfo");
        let start = text.find(head).unwrap_or_else(|| panic!("no {head}"));
        let at = start + text[start..].find(field).unwrap_or_else(|| panic!("no {field}")) + field.len();
        let end = at + text[at..].find('\n').unwrap();
        let mut text = text.clone();
        text.replace_range(at..end, to);
        let mut guest = self;
        guest.put("/proc/zoneinfo", Some(&text));
        guest
    }

    /// All findings.
    pub(crate) fn check(&self) -> Vec<Finding> {
        let context = Context {
            version: self.version,
            hotremove: Some(true),
            written: &self.written,
            valid_zones: &self.valid_zones,
            min_free_written: true,
            poisoned: &Default::default(),
        };
        let base = Base { snapshot: &self.base, layout: &self.base_layout };
        expect::check(&self.layout, base, &self.now(), &context)
    }

    /// Facts, subjects, expected and seen values of all findings.
    pub(crate) fn found(&self) -> Vec<(String, String, String, String)> {
        self.check().into_iter().map(|f| (f.fact, f.subject, f.expected, f.seen)).collect()
    }
}
