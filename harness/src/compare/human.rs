//! A comparison for people: what changed, A and B side by side, how to repeat it, and what could not be said.

use super::comparison::{Change, Class, Comparison, Difference, Latency, Seen, What};
use super::facts::Origin;
use std::collections::BTreeMap;

/// Differences of one scenario that are shown; comparison.json has all.
const MOST: usize = 12;
/// Scenarios of one list that are shown.
const MOST_LISTED: usize = 20;
/// Durations that are shown.
const MOST_LATENCIES: usize = 20;

/// Lines for people.
pub fn human(comparison: &Comparison) -> String {
    let mut text = side("A", &comparison.a, comparison.repeats.0);
    text += &side("B", &comparison.b, comparison.repeats.1);
    comparison.notes.iter().for_each(|note| text += &format!("note: {note}\n"));
    let (console_only, others): (Vec<&Change>, Vec<&Change>) =
        comparison.changes.iter().partition(|c| c.differences.iter().all(|d| d.what == What::Console));
    for change in others.iter().filter(|c| c.class != Class::Noise) {
        text += &scenario(change);
    }
    text += &console(&console_only);
    text += &latency(comparison);
    text += &noise(comparison);
    let boot = comparison.boot_messages.iter().map(|(m, n)| format!("{m} (in {n} scenarios)")).collect();
    text += &list("on the console while booting in B only (restored guests share a boot: not judged):", boot);
    let one = |o: &super::OneSided| match &o.expected {
        Some(reason) => format!("{}: {}; expected: {reason}", o.scenario, o.why),
        None => format!("{}: {}", o.scenario, o.why),
    };
    let lines = |all: &[super::OneSided]| all.iter().map(one).collect();
    text += &list("in A only:", lines(&comparison.only_a));
    text += &list("in B only:", lines(&comparison.only_b));
    let not_judged = comparison.not_judged.iter().map(|n| format!("{}: {}", n.scenario, n.why)).collect();
    text += &list("not judged:", not_judged);
    for unused in &comparison.unused {
        text += &format!("\n{unused}\n");
    }
    text + &summary(comparison)
}

fn side(name: &str, origin: &Origin, repeats: u32) -> String {
    let kernel = |k: &super::facts::KernelId| {
        let short: String = k.sha256.chars().take(12).collect();
        format!("{} ({}, sha256 {short}…)", k.name, k.release)
    };
    let kernels: Vec<String> = origin.kernels.iter().map(kernel).collect();
    format!("{name}  {}: {}, {} a scenario\n", origin.name, kernels.join(", "), plural(repeats, "repeat"))
}

fn plural(n: u32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn scenario(change: &Change) -> String {
    let mut text = format!("\n{} {}\n", change.class.to_string().to_uppercase(), change.scenario);
    if let Some(reason) = &change.expected {
        text += &format!("    expected: {reason}\n");
    }
    let shown = change.differences.iter().filter(|d| d.class != Class::Noise);
    shown.clone().take(MOST).for_each(|d| text += &difference(d, change.repeats));
    if let Some(more) = shown.count().checked_sub(MOST).filter(|n| *n > 0) {
        text += &format!("    … and {more} more\n");
    }
    text + &repeat(change)
}

fn repeat(change: &Change) -> String {
    let line = |side, command: &str| match command {
        "" => String::new(),
        command => format!("    repeat {side}: {command}\n"),
    };
    line("A", &change.repeat_a) + &line("B", &change.repeat_b)
}

fn difference(d: &Difference, repeats: (u32, u32)) -> String {
    let step = d.step.as_ref().map_or(String::new(), |step| match &d.step_text {
        Some(text) => format!("step {step} ({text}): "),
        None => format!("step {step}: "),
    });
    let what = match d.what {
        What::Verdict => "verdict".to_string(),
        What::Console => format!("new on the console: {}", d.subject),
        What::Unplug => format!("unplug of {}", d.subject),
        What::Plug => format!("plug of {}", d.subject),
        What::State | What::Zone | What::Finding | What::Write | What::Memtotal => d.subject.clone(),
    };
    let p = d.p.map_or(String::new(), |p| format!("  (Fisher's exact test: p = {})", Short(p)));
    let mut text = format!("    {step}{what}{p}\n");
    if let Some(expected) = &d.expected {
        text += &format!("        expected {expected}\n");
    }
    if d.what != What::Console || d.p.is_some() {
        text += &format!("        A  {}\n        B  {}\n", values(&d.a, repeats.0), values(&d.b, repeats.1));
    }
    text
}

/// A p value with two digits that count.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 >= 0.001 { write!(f, "{:.3}", self.0) } else { write!(f, "{:.1e}", self.0) }
    }
}

fn values(seen: &[Seen], repeats: u32) -> String {
    match seen {
        [only] if only.repeats == repeats => only.value.clone(),
        several => {
            let one = |s: &Seen| format!("{} ({} of {repeats})", s.value, s.repeats);
            several.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Messages that are all that changed, with the scenarios that have them.
fn console(changes: &[&Change]) -> String {
    let mut by_message: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        for d in change.differences.iter().filter(|d| d.class != Class::Noise) {
            by_message.entry(&d.subject).or_default().push(change);
        }
    }
    let mut text = String::new();
    for (message, changes) in by_message {
        text += &format!("\nNEW ON THE CONSOLE {message}\n");
        let line = |c: &&Change| match &c.expected {
            Some(reason) => format!("{}: expected: {reason}", c.scenario),
            None => c.scenario.clone(),
        };
        text += &items(changes.iter().map(line).collect());
    }
    text
}

fn latency(comparison: &Comparison) -> String {
    let latency = &comparison.latency;
    let mut text = String::new();
    if !latency.changes.is_empty() {
        text += &format!(
            "\ndurations that differ ({} compared; medians; chance that B is slower; p after Holm's correction):\n",
            latency.tested
        );
        latency.changes.iter().take(MOST_LATENCIES).for_each(|l| text += &duration(l));
        if let Some(more) = latency.changes.len().checked_sub(MOST_LATENCIES).filter(|n| *n > 0) {
            text += &format!("    … and {more} more\n");
        }
    }
    if let Some(why) = &latency.not_tested {
        text += &format!("\ndurations: {why}\n");
    }
    text
}

fn duration(l: &Latency) -> String {
    let word = if l.class == Class::Regression { "slower" } else { "faster" };
    format!(
        "    {word} {}: {}: A {:.1} ms, B {:.1} ms, {:.2}, p = {}\n",
        l.scenario,
        l.measured,
        l.a_ms,
        l.b_ms,
        l.effect,
        Short(l.p)
    )
}

/// What only some repeats show, and chance would too.
fn noise(comparison: &Comparison) -> String {
    let mut lines = Vec::new();
    for change in &comparison.changes {
        for d in change.differences.iter().filter(|d| d.class == Class::Noise) {
            let what = if d.subject.is_empty() { "verdict" } else { &d.subject };
            let (a, b) = (values(&d.a, change.repeats.0), values(&d.b, change.repeats.1));
            let p = d.p.map_or(String::new(), |p| format!(", p = {}", Short(p)));
            let undecided = change.undecided && d.what == What::Verdict;
            let more = if undecided { ": a failure of B alone: decide it with more --repeat" } else { "" };
            lines.push(format!("{}: {what}: A {a}; B {b}{p}{more}", change.scenario));
        }
    }
    list("noise (does not show in every repeat, and chance would do it too):", lines)
}

fn list(title: &str, lines: Vec<String>) -> String {
    if lines.is_empty() { String::new() } else { format!("\n{title}\n{}", items(lines)) }
}

fn items(lines: Vec<String>) -> String {
    let more = lines.len().saturating_sub(MOST_LISTED);
    let mut text: String = lines.iter().take(MOST_LISTED).map(|line| format!("    {line}\n")).collect();
    if more > 0 {
        text += &format!("    … and {more} more\n");
    }
    text
}

fn summary(c: &Comparison) -> String {
    let count = |class| c.changes.iter().filter(|x| x.class == class).count();
    let expected = c.changes.iter().filter(|x| x.expected.is_some() && x.class != Class::Noise).count();
    let mut text = format!(
        "\n{} scenarios compared: {} regressions, {} fixes, {} changed policy, {} noise",
        c.compared,
        count(Class::Regression),
        count(Class::Fix),
        count(Class::ChangedPolicy),
        count(Class::Noise)
    );
    for (n, what) in [
        (expected, "of these expected"),
        (c.unused.len(), "expected that did not come"),
        (c.not_judged.len(), "not judged"),
        (c.only_a.len(), "in A only"),
        (c.only_b.len(), "in B only"),
        (c.skipped, "skipped in both"),
    ] {
        if n > 0 {
            text += &format!(", {n} {what}");
        }
    }
    text + "\n"
}
