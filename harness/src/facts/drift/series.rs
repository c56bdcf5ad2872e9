//! Does a series of samples creep?
//!
//! The statistic is Tukey's resistant line: after [`WARM_UP`] rounds (caches fill, workers start) the series is cut
//! into thirds, and the medians of the thirds are compared. Medians do not see outliers, and ties do not harm them.
//! A quantity leaks if all three hold, with D the growth from the first to the last median:
//!
//! 1. D is at least half of what a leak of 1 unit (page, object; 4 kB for rows of meminfo) per round would add
//!    between the middles of these thirds;
//! 2. D is at least 6 standard errors of a difference of medians, 1.253 s sqrt(2 / (n/3)), where s is the pooled
//!    interquartile range within the thirds, less the slope, divided by 1.349;
//! 3. the growth is steady: the middle median lies at least D/4 from both others. A step (a cache that took one more
//!    slab, one more kernel thread) puts it on one of them.
//!
//! False alarms: for independent noise (2) alone is passed with probability below 1e-9 per quantity; what defeats it
//! is noise that is not independent, steps, which (3) rejects unless two of them fall near the two cuts. On five
//! Debian kernels (5.10 to 7.3, 60 rounds, some 200 quantities each) it gave none.
//!
//! What can be found, over 60 rounds: free memory varies by about 20 pages when [`settle`](super::settle) was done, so
//! one page per round shows; a memory map (1/64 of the DIMM) shows by thousands. One object per round shows in caches
//! that were shrunk before each sample; without shrinking, active objects move by whole slabs, and about four slabs'
//! worth of objects must have leaked: use DIMMs of 8 blocks and more.

use super::sample::{Sample, TAKEN};
use crate::finding::Finding;
use std::collections::BTreeSet;

/// Rounds that are not judged.
pub const WARM_UP: usize = 10;
/// Samples that are needed after them.
const LEAST: usize = 30;

/// Too few samples for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{have} samples are too few to tell a leak from noise, {need} are needed")]
pub struct Short {
    /// samples there are
    pub have: usize,
    /// samples that are needed
    pub need: usize,
}

/// Leaks that the series of samples shows: one sample after each round, none left out.
///
/// # Errors
/// [`Short`] where there are too few samples: nothing can be said then, which is not the same as no leak.
pub fn flat(series: &[Sample]) -> Result<Vec<Finding>, Short> {
    let need = WARM_UP + LEAST;
    if series.len() < need {
        return Err(Short { have: series.len(), need });
    }
    let steady = &series[WARM_UP..];
    let names: BTreeSet<&String> = steady.iter().flat_map(|s| s.values.keys()).collect();
    let mut findings = Vec::new();
    for name in names {
        // a slab cache that is not there has no objects
        let values: Vec<f64> = steady.iter().map(|s| s.values.get(name).copied().unwrap_or(0) as f64).collect();
        if let Some(per_round) = leak(&values, unit(name)) {
            let seen = format!("{per_round:+.1} each round, over {} rounds", values.len());
            let rule = "after each round of plug and unplug everything that it took has been given back";
            findings.push(Finding::new("drift.leak", name, "flat", seen, rule));
        }
    }
    Ok(findings)
}

/// The smallest leak per round that matters.
fn unit(name: &str) -> f64 {
    if name == TAKEN || name.starts_with("slab ") { 1.0 } else { 4.0 }
}

/// Growth per round, if the three conditions hold.
fn leak(values: &[f64], unit: f64) -> Option<f64> {
    let third = values.len() / 3;
    let last = values.len() - third;
    let parts = [&values[..third], &values[third..last], &values[last..]];
    let [first, middle, end] = parts.map(|p| median(p.to_vec()));
    let growth = end - first;
    let per_round = growth / last as f64;
    if growth < 0.5 * unit * last as f64 {
        return None;
    }
    let noise = spread(&parts, per_round) / 1.349;
    let error = 1.253 * noise * (2.0 / third as f64).sqrt();
    let steady = middle - first >= growth / 4.0 && end - middle >= growth / 4.0;
    (growth >= 6.0 * error && steady).then_some(per_round)
}

/// Mean interquartile range within the parts, less a slope.
fn spread(parts: &[&[f64]; 3], slope: f64) -> f64 {
    let range = |part: &&[f64]| {
        let mut level: Vec<f64> = part.iter().enumerate().map(|(i, v)| v - slope * i as f64).collect();
        level.sort_by(f64::total_cmp);
        level[level.len() * 3 / 4] - level[level.len() / 4]
    };
    parts.iter().map(range).sum::<f64>() / 3.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
    (values[low] + values[high]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read;

    /// Samples of 60 rounds of a 256 MiB DIMM (two blocks) in real guests.
    fn rounds(kernel: &str) -> Vec<Sample> {
        let path = format!("{}/src/facts/fixtures/rounds-{kernel}.json.gz", env!("CARGO_MANIFEST_DIR"));
        let mut text = String::new();
        flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        let columns: BTreeMap<String, Vec<i64>> = serde_json::from_str(&text).unwrap();
        let samples = columns.values().next().unwrap().len();
        let row = |i: usize| columns.iter().map(|(n, v)| (n.clone(), v[i])).collect();
        (0..samples).map(|i| Sample { values: row(i) }).collect()
    }

    /// Adds `per_round` units to `name` after each round.
    fn with_leak(mut series: Vec<Sample>, name: &str, per_round: i64) -> Vec<Sample> {
        for (round, sample) in series.iter_mut().enumerate() {
            *sample.values.entry(name.to_string()).or_default() += per_round * round as i64;
        }
        series
    }

    fn names(series: &[Sample]) -> Vec<String> {
        flat(series).unwrap().into_iter().map(|f| f.subject).collect()
    }

    const HEALTHY: [&str; 4] = ["5.10", "6.1", "6.12", "7.3"];

    #[test]
    fn healthy_guests_are_flat() {
        for kernel in HEALTHY {
            assert_eq!(names(&rounds(kernel)), [""; 0], "{kernel}");
        }
    }

    #[test]
    fn the_memory_map_that_6_18_loses() {
        // 511 of every 512 pages of the map of 256 MiB: 39406c05f8f1 has the fix
        let findings = flat(&rounds("6.18")).unwrap();
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.fact.as_str(), finding.subject.as_str()), ("drift.leak", TAKEN));
        assert!(finding.seen.starts_with("+1022."), "{}", finding.seen);
    }

    #[test]
    fn one_page_each_round_is_found() {
        for kernel in HEALTHY {
            assert_eq!(names(&with_leak(rounds(kernel), TAKEN, 1)), [TAKEN], "{kernel}");
        }
    }

    #[test]
    fn one_object_for_each_block_is_found() {
        for kernel in HEALTHY {
            for cache in ["slab kmalloc-64", "slab kmalloc-192", "slab kernfs_node_cache"] {
                assert_eq!(names(&with_leak(rounds(kernel), cache, 2)), [cache], "{kernel}");
            }
        }
    }

    #[test]
    fn steps_and_outliers_are_not_leaks() {
        let sample = |v: i64| Sample { values: BTreeMap::from([("slab x".to_string(), v)]) };
        for at in 0..60 {
            let step: Vec<Sample> = (0..60).map(|i| sample(if i < at { 1000 } else { 1064 })).collect();
            assert_eq!(names(&step), [""; 0], "step at {at}");
            let spike: Vec<Sample> = (0..60).map(|i| sample(if i == at { 9000 } else { 1000 })).collect();
            assert_eq!(names(&spike), [""; 0], "spike at {at}");
        }
        let flip: Vec<Sample> = (0..60).map(|i| sample(if i * 7 % 3 == 0 { 34 } else { 68 })).collect();
        assert_eq!(names(&flip), [""; 0]);
        let shrinking: Vec<Sample> = (0..60).map(|i| sample(1000 - 5 * i)).collect();
        assert_eq!(names(&shrinking), [""; 0]);
    }

    #[test]
    fn too_few_samples_are_no_verdict() {
        assert_eq!(flat(&rounds("6.12")[..39]), Err(Short { have: 39, need: 40 }));
    }
}
