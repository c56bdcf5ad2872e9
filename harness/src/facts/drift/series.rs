//! Does a series of samples creep?
//!
//! Two robust statistics of the samples after [`WARM_UP`] rounds (caches fill, workers start), over all pairs of them:
//! Kendall's tau (how steadily it grows; Kendall, A new measure of rank correlation, 1938) and the Theil-Sen slope (how
//! much per round: the median of the pairs' slopes; Sen, 1968). A quantity leaks if tau is at least [`STEADY`] and the
//! slope at least half of the smallest leak that matters (a page, an object, 4 kB of a row of meminfo, each round).
//!
//! One step (a cache that took one more slab, one more kernel thread) gives tau of 0.51 at most, an outlier next to
//! nothing. For 50 independent samples tau has a standard deviation of 0.098: noise alone reaches [`STEADY`] with a
//! probability below 1e-13. Noise that is not independent is the danger; the recorded rounds of real guests are the test.
//!
//! The other test is the floor: see [`floor_rises`].
//!
//! What can be found: in the recorded rounds (two blocks each, caches not shrunk) 32 pages or 64 objects a round. Where
//! the caches were shrunk before each sample, as [`settle`](super::settle) does, three of four caches do not move at all
//! over 50 rounds, and one object a round is found in them; in the busiest ones (dentry, inode_cache, kmalloc-8,
//! kmalloc-96) it can hide in 50 rounds.

use super::sample::{Sample, TAKEN};
use crate::finding::Finding;
use std::collections::{BTreeMap, BTreeSet};

/// Samples that are not judged.
pub const WARM_UP: usize = 10;
/// Samples that are needed after them.
const LEAST: usize = 30;

/// Kendall's tau of a steady growth.
const STEADY: f64 = 0.75;
/// The same of [`MANY`] samples or more, whose tau strays less: a standard deviation of 0.047.
const STEADY_OF_MANY: f64 = 0.6;
/// See there.
const MANY: usize = 200;

/// Samples that are enough: of more rounds than that, only some are followed by one (taking it shrinks every slab cache,
/// which costs as much as the round).
const ENOUGH: u32 = 64;

/// Of how many rounds one is followed by a sample: `rounds / ENOUGH`, at least 1.
pub fn stride(rounds: u32) -> u32 {
    (rounds / ENOUGH).max(1)
}

/// Too few samples for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{have} samples are too few to tell a leak from noise, {need} are needed")]
pub struct Short {
    /// samples there are
    pub have: usize,
    /// samples that are needed
    pub need: usize,
}

/// Leaks that the series of samples shows: one sample after `every` rounds, none left out.
///
/// # Errors
/// [`Short`] where there are too few samples: nothing can be said then, which is not the same as no leak.
pub fn flat(series: &[Sample], every: u32) -> Result<Vec<Finding>, Short> {
    let need = WARM_UP + LEAST;
    if series.len() < need {
        return Err(Short { have: series.len(), need });
    }
    let rounds = (series.len() - WARM_UP) as f64 * f64::from(every);
    let finding = |(name, growth): (&String, Growth)| {
        let seen = format!("{:+.1} each round, over {rounds} rounds", growth.slope / f64::from(every));
        let rule = "after each round of plug and unplug everything that it took has been given back";
        Finding::new("drift.leak", name, "flat", seen, rule)
    };
    Ok(growing(series, every).into_iter().map(finding).collect())
}

/// Does the series show a leak by its floors alone? Six floors in a row rise by chance in one of 720 series of noise, and
/// there are many noisy caches: as many rounds again tell. A series that [`flat`] finds too short is not in doubt.
pub fn doubtful(series: &[Sample], every: u32) -> bool {
    series.len() >= WARM_UP + LEAST && growing(series, every).values().any(|growth| !growth.steady)
}

/// What grows in the samples after the warm-up.
fn growing(series: &[Sample], every: u32) -> BTreeMap<&String, Growth> {
    let steady = series.get(WARM_UP..).unwrap_or_default();
    let names: BTreeSet<&String> = steady.iter().flat_map(|s| s.values.keys()).collect();
    let growth = |name: &String| {
        // a slab cache that is not there has no objects
        let values: Vec<f64> =
            steady.iter().map(|s| s.values.get(name).copied().unwrap_or(0) as f64).collect();
        leak(&values, unit(name) * f64::from(every))
            .filter(|_| !(name.starts_with("slab ") && rests(&values)))
    };
    names.into_iter().filter_map(|name| Some((name, growth(name)?))).collect()
}

/// How a quantity grows.
#[derive(Clone, Copy)]
struct Growth {
    /// from sample to sample
    slope: f64,
    /// not only its floor does
    steady: bool,
}

/// The smallest leak per round that matters.
fn unit(name: &str) -> f64 {
    if name == TAKEN || name.starts_with("slab ") { 1.0 } else { 4.0 }
}

/// Growth from sample to sample, if it is steady and matters; `unit` is the least that matters.
fn leak(values: &[f64], unit: f64) -> Option<Growth> {
    let mut slopes = Vec::with_capacity(values.len() * values.len() / 2);
    let mut balance = 0.0;
    for (i, early) in values.iter().enumerate() {
        for (distance, late) in values[i + 1..].iter().enumerate() {
            let growth = late - early;
            balance += if growth == 0.0 { 0.0 } else { growth.signum() };
            slopes.push(growth / (distance + 1) as f64);
        }
    }
    let tau = balance / slopes.len() as f64;
    let slope = median(slopes);
    let least = if values.len() < MANY { STEADY } else { STEADY_OF_MANY };
    let steady = tau >= least && slope >= unit / 2.0;
    (steady || floor_rises(values, unit)).then_some(Growth { slope, steady })
}

/// Noise of slab caches is one-sided (the objects of a processor's own slab count as active): what a cache never falls
/// below says more than its middle. The lowest of each sixth of the samples is half the smallest leak above the one
/// before.
fn floor_rises(values: &[f64], unit: f64) -> bool {
    const PARTS: usize = 6;
    let part = values.len() as f64 / PARTS as f64;
    let at = |i: usize| values.len() * i / PARTS;
    let lowest = |i| values[at(i)..at(i + 1)].iter().copied().fold(f64::INFINITY, f64::min);
    let floors: Vec<f64> = (0..PARTS).map(lowest).collect();
    floors.windows(2).all(|pair| pair[1] - pair[0] >= part * unit / 2.0)
}

/// Does a cache hold exactly the same number of objects for more than a fifth of the time? One that an object of each
/// round stays in does not; one that fills up in stairs does (caches that a kernel thread uses now and then).
fn rests(values: &[f64]) -> bool {
    let longest = values.chunk_by(|a, b| a == b).map(<[f64]>::len).max();
    longest.is_some_and(|longest| longest * 5 > values.len())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
    (values[low] + values[high]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
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
        flat(series, 1).unwrap().into_iter().map(|f| f.subject).collect()
    }

    const HEALTHY: [&str; 3] = ["5.10", "6.1", "6.12"];
    /// Those whose noise is small enough for small leaks.
    const QUIET: [&str; 2] = ["6.1", "6.12"];

    #[test]
    fn healthy_guests_are_flat() {
        for kernel in HEALTHY {
            assert_eq!(names(&rounds(kernel)), [""; 0], "{kernel}");
        }
    }

    /// 6.18.15 loses 511 of every 512 pages of the map of 256 MiB on every unplug (39406c05f8f1 has the fix).
    #[test]
    fn a_lost_memory_map_is_found() {
        let findings = flat(&with_leak(rounds("6.12"), TAKEN, 1022), 1).unwrap();
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.fact.as_str(), finding.subject.as_str()), ("drift.leak", TAKEN));
        assert!(finding.seen.starts_with("+102"), "{}", finding.seen);
    }

    #[test]
    fn pages_lost_each_round_are_found() {
        for kernel in QUIET {
            assert_eq!(names(&with_leak(rounds(kernel), TAKEN, 32)), [TAKEN], "{kernel}");
        }
    }

    #[test]
    fn objects_lost_each_round_are_found() {
        for kernel in QUIET {
            for cache in ["slab kmalloc-64", "slab kmalloc-192", "slab kernfs_node_cache"] {
                assert_eq!(names(&with_leak(rounds(kernel), cache, 64)), [cache], "{kernel}");
            }
        }
    }

    /// What kmalloc-96 does: one object a round below spikes of up to four slabs.
    #[test]
    fn a_floor_that_rises_below_spikes_is_a_leak() {
        let spike = |i: i64| if i % 4 == 1 { 0 } else { 42 * (i * 7 % 5) };
        let sample = |i: i64, leak: i64| Sample {
            values: BTreeMap::from([("slab x".to_string(), 1000 + spike(i) + leak * i)]),
        };
        assert_eq!(names(&(0..60).map(|i| sample(i, 0)).collect::<Vec<_>>()), [""; 0]);
        assert_eq!(names(&(0..60).map(|i| sample(i, 1)).collect::<Vec<_>>()), ["slab x"]);
    }

    /// `lsm_inode_cache` of 6.1.192 in 40 rounds of failing onlinings: noise, whose floors rise by chance.
    #[test]
    fn floors_that_rise_by_chance_are_doubtful() {
        let values: [i64; 40] = [
            11136, 11008, 10954, 10953, 11136, 11097, 11103, 11264, 10983, 11088, 11192, 11264, 10946, 11047,
            11264, 11232, 11264, 11021, 10957, 11096, 11011, 11022, 11025, 10964, 11021, 11055, 10971, 11264,
            11024, 11010, 11180, 11264, 10978, 11264, 11051, 11264, 11018, 11264, 11264, 11136,
        ];
        let sample = |value: i64| Sample { values: BTreeMap::from([("slab x".to_string(), value)]) };
        let series: Vec<Sample> = values.into_iter().map(sample).collect();
        assert_eq!(names(&series), ["slab x"]);
        assert!(doubtful(&series, 1));
        let mut beside = series.clone();
        for (i, sample) in (0..).zip(&mut beside) {
            sample.values.insert("slab y".to_string(), 1000 + 50 * i);
        }
        assert_eq!(names(&beside), ["slab x", "slab y"]);
        assert!(doubtful(&beside, 1), "a steady leak beside it takes no doubt away");
        let twice: Vec<Sample> = values.into_iter().chain(values).map(sample).collect();
        assert_eq!(names(&twice), [""; 0]);
        assert!(!doubtful(&twice, 1));
        let leak = with_leak(twice, "slab x", 8);
        assert_eq!(names(&leak), ["slab x"]);
        assert!(!doubtful(&with_leak(series, "slab x", 40), 1), "this is steady");
    }

    #[test]
    fn a_series_too_short_to_judge_is_not_in_doubt() {
        let sample = |i: i64| Sample { values: BTreeMap::from([("slab x".to_string(), i)]) };
        let short: Vec<Sample> = (0..(WARM_UP + 1) as i64).map(sample).collect();
        assert!(!doubtful(&short, 1));
        assert!(flat(&short, 1).is_err());
    }

    /// What the objects of 48 bytes of 6.18.15 did over 42 rounds: stairs that end.
    #[test]
    fn stairs_with_long_rests_are_no_leak() {
        let stairs = [(4530, 2), (4532, 2), (4745, 1), (4534, 1), (4536, 4), (4542, 5), (4550, 5), (4560, 9)];
        let begun = [4537, 4526, 4540, 4672].into_iter();
        let all = stairs.into_iter().chain([(4567, 7), (4568, 2)]);
        let values = begun.chain(all.flat_map(|(value, times)| vec![value; times]));
        let series: Vec<Sample> =
            values.map(|v| Sample { values: BTreeMap::from([("slab x".to_string(), v)]) }).collect();
        assert_eq!(series.len(), 42);
        assert_eq!(names(&series), [""; 0]);
        assert_eq!(names(&with_leak(series, "slab x", 1)), ["slab x"]);
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
    fn a_sample_after_every_fourth_round_will_do() {
        assert_eq!([1, 60, 127, 128, 256].map(stride), [1, 1, 1, 2, 4]);
        let sample = |i: i64, leak: i64| Sample {
            values: BTreeMap::from([("slab x".to_string(), 1000 + 4 * leak * i)]),
        };
        let series = |leak| (0..64).map(|i| sample(i, leak)).collect::<Vec<_>>();
        assert_eq!(flat(&series(0), 4), Ok(Vec::new()));
        let findings = flat(&series(1), 4).unwrap();
        assert_eq!(findings[0].seen, "+1.0 each round, over 216 rounds");
    }

    #[test]
    fn too_few_samples_are_no_verdict() {
        assert_eq!(flat(&rounds("6.12")[..39], 1), Err(Short { have: 39, need: 40 }));
    }
}
