//! The report as plain text of 75 columns: verdict first, then what changed, how to repeat it, what was not tested. Pure.

use super::groups::{self, Group};
use super::{BadPatch, Outcome, Report, Stage};
use crate::compare::{Change, Class, Comparison, Seen, What};

/// Columns, as mails on the kernel's lists have them.
pub const WIDTH: usize = 75;
/// Groups that are shown; the JSON report has all.
const MOST_GROUPS: usize = 40;
/// Lines of a build's message that are shown.
const MOST_LINES: usize = 25;

/// The whole text.
pub fn text(report: &Report) -> String {
    let mut page = Page::default();
    page.wrap("", &format!("memhp {}: {}", report.memhp, report.verdict()));
    page.line("");
    head(&mut page, report);
    match &report.outcome {
        Outcome::Refused(bad) => reason(&mut page, "Why it is refused", bad),
        Outcome::NotApplied(bad) => reason(&mut page, "What git says", bad),
        Outcome::NotBuilt(bad) => reason(&mut page, "What the build says", bad),
        Outcome::Compared(stages) => stages.iter().for_each(|s| stage(&mut page, s, stages.len() > 1)),
    }
    repeat(&mut page, report);
    not_tested(&mut page, report);
    page.0
}

fn head(page: &mut Page, report: &Report) {
    let facts = &report.facts;
    let version = if facts.version > 1 { format!(", v{}", facts.version) } else { String::new() };
    let count = facts.patches.len();
    let patches = if count == 1 { "1 patch".into() } else { format!("{count} patches") };
    page.field("Series", &format!("{} ({patches}{version})", facts.title));
    if let Some(base) = &facts.base {
        let what = match (&base.commit, &base.subject) {
            (Some(commit), Some(subject)) => format!("{} (\"{subject}\")", &commit[..commit.len().min(12)]),
            _ => format!("{}, as it is", base.tree.display()),
        };
        page.field("Base", &what);
    }
    let Outcome::Compared(stages) = &report.outcome else { return };
    let Some(comparison) = stages.iter().rev().find_map(|s| s.comparison.as_ref()) else { return };
    for (name, side) in [("Before", &comparison.a), ("After", &comparison.b)] {
        let kernels: Vec<String> =
            side.kernels.iter().map(|k| format!("{} ({})", k.release, k.name)).collect();
        page.field(name, &kernels.join(", "));
    }
    page.field("Guests", &format!("QEMU {} ({}), x86-64", comparison.b.qemu, comparison.b.accel));
    let cases = if report.cases.is_empty() { "all".into() } else { report.cases.join(" ") };
    page.field("Cases", &format!("{cases}: {} scenarios ran on both kernels", comparison.compared));
}

fn reason(page: &mut Page, title: &str, bad: &BadPatch) {
    page.title(title);
    page.wrap("  ", &bad.patch);
    for line in bad.why.lines().take(MOST_LINES) {
        page.quote("    ", line);
    }
}

fn stage(page: &mut Page, stage: &Stage, several: bool) {
    let title = if several {
        format!("What changed: {} -> {}", stage.before.name, stage.after.name)
    } else {
        "What changed".into()
    };
    page.title(&title);
    let Some(comparison) = &stage.comparison else {
        page.wrap("  ", "Nothing: the two images are the same, byte for byte.");
        return stage.unused.iter().for_each(|unused| page.wrap("  ", unused));
    };
    let groups = groups::groups(comparison);
    if groups.is_empty() && stage.status() == 0 {
        page.wrap("  ", &format!("Nothing, in {} scenarios.", comparison.compared));
    }
    for (number, group) in groups.iter().take(MOST_GROUPS).enumerate() {
        one(page, number + 1, group, comparison);
    }
    if let Some(more) = groups.len().checked_sub(MOST_GROUPS).filter(|n| *n > 0) {
        page.wrap("  ", &format!("... and {more} more kinds of change, see the JSON report"));
    }
    undecided(page, stage);
    one_sided(page, comparison);
    boot_messages(page, comparison);
    for unused in &comparison.unused {
        page.wrap("  ", unused);
    }
    let expected: Vec<_> = comparison.changes.iter().filter(|c| c.expected.is_some()).collect();
    if !expected.is_empty() {
        page.wrap("  ", &format!("Expected, and not counted: changes of {} scenarios.", expected.len()));
    }
}

fn one(page: &mut Page, number: usize, group: &Group<'_>, comparison: &Comparison) {
    let d = group.example;
    let what = match d.what {
        What::Verdict => "verdict".into(),
        What::Console => "new on the console".into(),
        What::Unplug => format!("unplug of {}", d.subject),
        What::Plug => format!("plug of {}", d.subject),
        What::State | What::Zone | What::Finding | What::Write | What::Memtotal => d.subject.clone(),
    };
    let count = group.scenarios.len();
    let all = if count == comparison.compared { "all " } else { "" };
    let scenarios = if count == 1 { "1 scenario".to_string() } else { format!("{all}{count} scenarios") };
    page.wrap(&format!("{number:2}. "), &format!("{}: {what} ({scenarios})", group.class));
    if let Some(text) = &d.step_text {
        page.wrap("      at        ", text);
    }
    if d.what == What::Console {
        page.wrap("                ", &d.subject);
    } else {
        if let Some(expected) = &d.expected {
            page.wrap("      expected  ", expected);
        }
        page.wrap("      before    ", &values(&d.a));
        page.wrap("      after     ", &values(&d.b));
    }
    if count == comparison.compared && count > 1 {
        page.wrap("      in        ", "every scenario");
    } else {
        page.wrap("      in        ", &groups::by_case(&group.scenarios).join(", "));
    }
}

fn values(seen: &[Seen]) -> String {
    if seen.is_empty() {
        return "(nothing)".into();
    }
    seen.iter().map(|s| s.value.as_str()).collect::<Vec<_>>().join(" | ")
}

fn undecided(page: &mut Page, stage: &Stage) {
    let all: Vec<&Change> = stage.undecided().collect();
    if all.is_empty() {
        return;
    }
    page.wrap(
        "  ",
        "Failures after the patches only, in too few repeats to tell them from chance (--repeat):",
    );
    for change in all.iter().take(MOST_GROUPS) {
        let d = change.differences.iter().find(|d| d.what == What::Verdict);
        let fails = d.and_then(|d| d.b.iter().find(|s| s.value.starts_with("FAIL")));
        let how = fails.map_or(String::new(), |s| {
            format!(": {} ({} of {} repeats)", s.value, s.repeats, change.repeats.1)
        });
        page.wrap("    ", &format!("{}{how}", change.scenario));
    }
    if let Some(more) = all.len().checked_sub(MOST_GROUPS).filter(|n| *n > 0) {
        page.wrap("    ", &format!("... and {more} more"));
    }
}

fn one_sided(page: &mut Page, comparison: &Comparison) {
    for (title, all) in [("before", &comparison.only_a), ("after", &comparison.only_b)] {
        if all.is_empty() {
            continue;
        }
        page.wrap("  ", &format!("Scenarios that apply only {title}:"));
        for one in all.iter().take(MOST_GROUPS) {
            let expected = one.expected.as_ref().map_or(String::new(), |r| format!("; expected: {r}"));
            page.wrap("    ", &format!("{}: {}{expected}", one.scenario, one.why));
        }
        if let Some(more) = all.len().checked_sub(MOST_GROUPS).filter(|n| *n > 0) {
            page.wrap("    ", &format!("... and {more} more"));
        }
    }
}

fn boot_messages(page: &mut Page, comparison: &Comparison) {
    if !comparison.boot_messages.is_empty() {
        page.wrap("  ", "New on the console while booting (told, and not judged):");
    }
    for (message, count) in comparison.boot_messages.iter().take(MOST_GROUPS) {
        page.wrap("    ", &format!("{message} (in {count} scenarios)"));
    }
}

fn repeat(page: &mut Page, report: &Report) {
    page.title("How to repeat");
    page.command("  ", &report.command);
    let Outcome::Compared(stages) = &report.outcome else { return };
    let changes = stages.iter().rev().filter_map(|s| s.comparison.as_ref()).flat_map(|c| &c.changes);
    let is_told = |c: &&Change| c.expected.is_none() && (c.class != Class::Noise || c.undecided);
    if let Some(change) = changes.clone().find(is_told) {
        page.wrap("  ", &format!("One scenario, {}, before and after:", change.scenario));
        for command in [&change.repeat_a, &change.repeat_b] {
            page.command("    ", command);
        }
    }
}

fn not_tested(page: &mut Page, report: &Report) {
    page.title("What was not tested");
    if report.facts.trusted {
        page.item("the patches were trusted: they were applied and built without a sandbox");
    }
    for text in &report.facts.left_out {
        page.item(&format!("left out: {text}"));
    }
    for text in &report.facts.configuration {
        page.item(&format!("configuration: {text}"));
    }
    let Outcome::Compared(stages) = &report.outcome else {
        return page.item("everything else: no patched kernel was run");
    };
    if stages.len() == 1 && report.facts.patches.len() > 1 {
        page.item("patches by themselves: the whole series was built and run (--each does both)");
    }
    page.item("other architectures, configurations and machines than the one above");
    page.item("speed: no verdict judges it");
    let mut seen = Vec::new();
    for comparison in stages.iter().filter_map(|s| s.comparison.as_ref()) {
        if comparison.skipped > 0 {
            seen.push(format!("{} scenarios that apply to neither kernel", comparison.skipped));
        }
        seen.extend(comparison.not_judged.iter().map(|n| format!("not judged: {}: {}", n.scenario, n.why)));
        seen.extend(comparison.notes.iter().cloned());
    }
    seen.sort();
    seen.dedup();
    seen.iter().take(MOST_GROUPS).for_each(|text| page.item(text));
    if let Some(more) = seen.len().checked_sub(MOST_GROUPS).filter(|n| *n > 0) {
        page.item(&format!("... and {more} more"));
    }
}

/// Parts of a command between blanks that are not within single quotes.
fn words(command: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = command.split(move |c| {
        quoted ^= c == '\'';
        c == ' ' && !quoted
    });
    parts.filter(|word| !word.is_empty())
}

/// Text that grows.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        self.0 += line.trim_end();
        self.0.push('\n');
    }

    fn title(&mut self, title: &str) {
        self.line("");
        self.line(title);
        self.line(&"-".repeat(title.chars().count()));
    }

    fn field(&mut self, name: &str, value: &str) {
        self.wrap(&format!("{name:8}"), value);
    }

    fn item(&mut self, text: &str) {
        self.wrap("  - ", text);
    }

    /// A line of somebody else's, as it is where it fits.
    fn quote(&mut self, indent: &str, line: &str) {
        let blanks: String = line.chars().take_while(|c| *c == ' ').take(WIDTH / 2).collect();
        match indent.chars().count() + line.chars().count() <= WIDTH {
            true => self.line(&format!("{indent}{line}")),
            false => self.wrap(&format!("{indent}{blanks}"), line),
        }
    }

    /// A command of the shell; what does not fit goes on in the next line, so that it can be copied. Nothing is broken
    /// within quotes.
    fn command(&mut self, indent: &str, command: &str) {
        let mut line = indent.to_string();
        let mut empty = true;
        for word in words(command) {
            // The backslash needs room too.
            let needed = line.chars().count() + 1 + word.chars().count() + 2;
            if !empty && needed > WIDTH {
                self.line(&format!("{line} \\"));
                (line, empty) = (format!("{indent}    "), true);
            }
            if !empty {
                line.push(' ');
            }
            line += word;
            empty = false;
        }
        self.line(&line);
    }

    /// Words in lines of [`WIDTH`]; later lines are as far in as the first one's text. A word that is longer stays whole.
    fn wrap(&mut self, first: &str, text: &str) {
        let (mut line, indent) = (first.to_string(), " ".repeat(first.chars().count()));
        let mut empty = true;
        for word in text.split_whitespace() {
            let needed = line.chars().count() + usize::from(!empty) + word.chars().count();
            if !empty && needed > WIDTH {
                self.line(&line);
                (line, empty) = (indent.clone(), true);
            }
            if !empty {
                line.push(' ');
            }
            line += word;
            empty = false;
        }
        self.line(&line);
    }
}
