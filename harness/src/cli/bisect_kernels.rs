//! `memhp bisect --kernels A..B`: between which packaged kernels what is observed changes.

use super::bisect::{BisectArgs, progress, run_args};
use super::failure::Failure;
use crate::bisect::interval::{self, Found, Observe, Seen};
use crate::bisect::search::Stop;
use crate::case::{self, Loaded, Pattern};
use crate::event::{Facts, Kind};
use crate::facts::{Raw, Snapshot};
use crate::kernel::{self, Cache, Config, Kernel, Offered};
use crate::policy::Subject;
use crate::run::durations::name;
use crate::run::host::Host;
use crate::run::observation::Observation;
use crate::run::plan;
use crate::run::schedule::{self, News};
use crate::verdict::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Times that a scenario is tried whose guest the host loses.
const TRIES: u32 = 3;

/// Walks; the exit status: 0 if any interval is named, 1 if none can be.
pub(super) fn kernels(args: &BisectArgs, range: &str) -> Result<i32, Failure> {
    let wrong = || Failure::usage(format!("--kernels {range:?}: want A..B, names of definitions"));
    let (from, to) = range.split_once("..").ok_or_else(wrong)?;
    let patterns: Vec<Pattern> = args.patterns.iter().map(Pattern::new).collect();
    let corpus = case::corpus(args.cases.as_deref()).map_err(Failure::usage)?;
    let notify = |notice: kernel::Notice| progress(&notice.to_string());
    let context = kernel::Context::new(&notify).map_err(Failure::kernel)?;
    let row = kernel::offered(from, to, &context).map_err(Failure::kernel)?;
    if row.len() < 2 {
        return Err(Failure::usage(format!(
            "--kernels {range}: {} kernels in this order, want two or more",
            row.len()
        )));
    }
    progress(&format!("{} kernels from {} to {}", row.len(), row[0].version, row[row.len() - 1].version));
    for one in &row {
        progress(&format!("    {} {} ({})", one.definition, one.version, one.suite));
    }
    let run_args = run_args(args);
    let mut host = super::run::bare_host(&run_args)?;
    host.fetches = context.tools.stop.clone();
    let cache = Cache::of_user().map_err(Failure::kernel)?;
    // The accelerator is proven with a kernel that is needed anyway.
    let first = Arc::new(kernel::fetch_offered(&row[0], &context).map_err(Failure::kernel)?);
    super::prove::prove(&run_args, &mut host, std::slice::from_ref(&first), &mut Vec::new())?;
    let mut walk = Walk {
        args,
        host: &host,
        context: &context,
        row: &row,
        corpus: &corpus,
        patterns: &patterns,
        jobs: super::run::jobs(args.jobs),
        cache: cache.root().to_path_buf(),
        configs: BTreeMap::new(),
    };
    let mut result = None;
    super::signals::with_signals(&host, || {
        result = Some(interval::intervals(row.len(), &mut walk));
        Ok(())
    })?;
    match result {
        Some(Ok(found)) => Ok(tell(&row, &found, &walk.configs)),
        Some(Err(Stop::Signal(signal))) => Ok(128 + signal),
        Some(Err(Stop::Host(why) | Stop::Undecided(why))) => Err(Failure::host(why)),
        None => Err(Failure::host("nothing was walked")),
    }
}

struct Walk<'a> {
    args: &'a BisectArgs,
    host: &'a Host,
    context: &'a kernel::Context<'a>,
    row: &'a [Offered],
    corpus: &'a [Loaded],
    patterns: &'a [Pattern],
    jobs: usize,
    cache: PathBuf,
    /// of the kernels that were observed: options that decide
    configs: BTreeMap<usize, BTreeMap<String, String>>,
}

impl Observe for Walk<'_> {
    fn observe(
        &mut self,
        kernel: usize,
        scenarios: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Seen>, Stop> {
        let offered = &self.row[kernel];
        let host = |e: &dyn std::fmt::Display| Stop::Host(e.to_string());
        let packaged = Arc::new(
            kernel::fetch_offered(offered, self.context)
                .map_err(|e| self.host.signal().map_or_else(|| host(&e), Stop::Signal))?,
        );
        let config = packaged.config.as_ref().map(Config::that_matters).unwrap_or_default();
        self.configs.insert(kernel, config);
        let met =
            super::subjects::of(std::slice::from_ref(&packaged), Some(self.host)).map_err(|e| host(&e))?;
        let met = met.into_iter().next().ok_or_else(|| Stop::Host("no subject".into()))?;
        let mut seen = BTreeMap::new();
        let mut left = scenarios.clone();
        for attempt in 0..TRIES {
            let now = self.once(&met.kernel, &met.subject, &left, attempt)?;
            seen.extend(now);
            left =
                seen.iter().filter(|(_, s)| matches!(s, Seen::Unknown(_))).map(|(n, _)| n.clone()).collect();
            if left.is_empty() {
                break;
            }
        }
        Ok(seen)
    }
}

impl Walk<'_> {
    fn once(
        &self,
        kernel: &Arc<Kernel>,
        subject: &Subject,
        scenarios: &BTreeSet<String>,
        attempt: u32,
    ) -> Result<BTreeMap<String, Seen>, Stop> {
        let chosen = case::choose(self.corpus, self.patterns, &[&kernel.name])
            .map_err(|e| Stop::Host(e.to_string()))?;
        let wanted = |c: &case::Chosen| scenarios.is_empty() || scenarios.contains(name(&c.id));
        let chosen = chosen.into_iter().filter(wanted).collect();
        let kernels = [(Arc::clone(kernel), subject.clone())];
        let seed = self.args.seed.wrapping_add(u64::from(attempt));
        let mut plan = plan::plan(chosen, &kernels, &self.args.append, seed);
        // Another attempt starts from another template.
        plan.iter_mut().for_each(|planned| planned.round = attempt);
        progress(&format!("{}: observing {} scenarios", kernel.name, plan.len()));
        let (mut seen, mut boots) = (BTreeMap::new(), BTreeMap::new());
        schedule::run(self.host, &plan, self.jobs, &self.cache, &mut |planned, news| {
            let scenario = name(&planned.id).to_string();
            match news {
                News::Entry(Kind::Observation { data, .. }) => {
                    if let Some(total) = memtotal_at_boot(data) {
                        boots.insert(scenario, total);
                    }
                }
                News::Entry(_) => {}
                News::End(end) => {
                    let one = match end.0.verdict {
                        Verdict::Skip => Seen::Skipped(end.0.title.clone()),
                        Verdict::Miss | Verdict::Error => Seen::Unknown(end.0.title.clone()),
                        // A kernel that never answered has no facts.
                        _ if end.0.boot_ns.is_none() => Seen::Unknown(end.0.title.clone()),
                        _ => Seen::Facts(facts(&end.0.facts, boots.get(&scenario).copied())),
                    };
                    seen.insert(scenario, one);
                }
            }
        });
        match self.host.signal() {
            Some(signal) => Err(Stop::Signal(signal)),
            None => Ok(seen),
        }
    }
}

fn memtotal_at_boot(data: BTreeMap<String, serde_json::Value>) -> Option<u64> {
    if data.get("what").and_then(|w| w.as_str()) != Some("boot") {
        return None;
    }
    let Ok(Observation::Boot(boot)) = serde_json::from_value(data.into_iter().collect()) else { return None };
    let mut raw = Raw::default();
    raw.apply(&boot.settled.snapshot);
    Snapshot::parse(&raw).ok()?.meminfo.get("MemTotal").copied()
}

/// Facts that can be compared between kernels: MemTotal as what it is above that at boot, for kernels are not all of
/// one size.
fn facts(facts: &Facts, boot: Option<u64>) -> BTreeMap<String, String> {
    let block = |(number, b): (&String, &crate::event::BlockFact)| {
        let zone = b.zone.as_ref().map(|z| format!(" {z}")).unwrap_or_default();
        (format!("memory{number}"), format!("{}{zone}", b.state))
    };
    let mut all: BTreeMap<String, String> = facts.blocks.iter().map(block).collect();
    for (number, outcome) in (1..).zip(&facts.unplug) {
        all.insert(format!("unplug {number}"), outcome.clone());
    }
    let total = match (facts.memtotal_kib, boot) {
        (Some(now), Some(boot)) if now >= boot => format!("+{} KiB", now - boot),
        (Some(now), Some(boot)) => format!("-{} KiB", boot - now),
        _ => "not seen".into(),
    };
    all.insert("MemTotal since boot".into(), total);
    all
}

/// Prints what was found; the exit status.
fn tell(row: &[Offered], found: &Found, configs: &BTreeMap<usize, BTreeMap<String, String>>) -> i32 {
    let mut text = String::new();
    for interval in &found.intervals {
        let (before, after) = (&row[interval.after], &row[interval.after + 1]);
        text += &format!(
            "{} {} .. {} {}: what is observed of {} scenarios changes\n",
            before.definition,
            before.version,
            after.definition,
            after.version,
            interval.changes.len()
        );
        for line in options(configs.get(&interval.after), configs.get(&(interval.after + 1))) {
            text += &format!("    configuration: {line}\n");
        }
        for (scenario, changes) in &interval.changes {
            text += &format!("    {scenario}\n");
            for (what, old, new) in changes {
                text += &format!("        {what}: {old} -> {new}\n");
            }
        }
    }
    if found.intervals.is_empty() {
        text += "nothing that is observed changes\n";
    }
    for (scenario, why) in &found.unknown {
        text += &format!("not known of {scenario}: {why}\n");
    }
    for scenario in &found.varying {
        text += &format!("varies by itself: {scenario}\n");
    }
    if !found.skipped.is_empty() {
        text += &format!("{} scenarios do not apply to both ends\n", found.skipped.len());
    }
    super::print(&text);
    progress(&format!("{} of {} kernels were run", found.observed.len(), row.len()));
    i32::from(found.intervals.is_empty())
}

fn options(
    before: Option<&BTreeMap<String, String>>,
    after: Option<&BTreeMap<String, String>>,
) -> Vec<String> {
    let (Some(before), Some(after)) = (before, after) else { return Vec::new() };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |config: &BTreeMap<String, String>, name: &String| {
        config.get(name).cloned().unwrap_or_else(|| "not set".into())
    };
    let changed = names.into_iter().filter(|n| before.get(*n) != after.get(*n));
    changed.map(|n| format!("{n}: {} -> {}", of(before, n), of(after, n))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BlockFact;

    #[test]
    fn facts_that_kernels_can_be_compared_by() {
        let block = BlockFact { state: "online".into(), zone: Some("Movable".into()) };
        let offline = BlockFact { state: "offline".into(), zone: None };
        let seen = Facts {
            blocks: BTreeMap::from([("32".into(), block), ("33".into(), offline)]),
            unplug: vec!["a: done".into()],
            memtotal_kib: Some(1_131_072),
        };
        let text: Vec<String> =
            facts(&seen, Some(1_000_000)).iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            text,
            [
                "MemTotal since boot=+131072 KiB",
                "memory32=online Movable",
                "memory33=offline",
                "unplug 1=a: done"
            ]
        );
        assert_eq!(facts(&seen, None)["MemTotal since boot"], "not seen");
    }

    #[test]
    fn options_that_change() {
        let of = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        let (old, new) = (of(&[("A", "y"), ("B", "n")]), of(&[("A", "y"), ("B", "y"), ("C", "y")]));
        assert_eq!(options(Some(&old), Some(&new)), ["B: n -> y", "C: not set -> y"]);
    }
}
