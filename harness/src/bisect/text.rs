//! The answer as text: for the terminal, in the form of `git bisect log`, as a mail. Pure.

use super::guests::short;
use super::search::{Answer, Role, Step, Wish, counts};
use super::sprt::Mark;
use super::tally::ByTemplate;
use std::collections::BTreeMap;

/// What was searched, and what came of it.
pub struct Report<'a> {
    /// command line, quoted
    pub command: String,
    /// cases as named
    pub cases: String,
    /// what was wanted
    pub wish: Wish,
    /// the answer
    pub answer: &'a Answer,
    /// first lines of the messages, by revision
    pub subjects: BTreeMap<String, String>,
}

impl Report<'_> {
    fn subject(&self, revision: &str) -> &str {
        self.subjects.get(revision).map_or("", String::as_str)
    }

    fn runs(&self) -> u32 {
        self.answer.steps.iter().map(|s| s.runs.sum().runs()).sum()
    }

    /// Runs of the bad revisions, by template: a bad one has one rate, whichever template it is. Template 1 of one
    /// revision has nothing to do with template 1 of another: each is a boot of its own.
    fn spread(&self) -> (ByTemplate, String) {
        let mut all = ByTemplate::default();
        let mut rates: Vec<String> = Vec::new();
        for step in self.answer.steps.iter().filter(|s| s.mark == Mark::Bad) {
            let of: Vec<String> =
                step.runs.0.values().map(|t| format!("{}/{}", t.failed, t.runs())).collect();
            rates.push(of.join(" "));
            let next = u32::try_from(all.0.len()).unwrap_or(u32::MAX);
            all.0.extend((next..).zip(step.runs.0.values().copied()));
        }
        let rates = rates.join(", ");
        let text = match all.spread() {
            None => format!("failures by template: {rates}; no variance between templates"),
            Some(s) => format!(
                "failures by template: {rates}; variance between templates {:.4} (as uneven by chance: p = {:.2})",
                s.between, s.p
            ),
        };
        (all, text)
    }

    /// For standard output.
    pub fn answer(&self) -> String {
        let mut text = match self.answer.first_bad.as_slice() {
            [only] => format!("{only} is the first bad commit\n    {}\n", self.subject(only)),
            several => {
                let lines: String =
                    several.iter().map(|s| format!("{s}\n    {}\n", self.subject(s))).collect();
                format!(
                    "the first bad commit is one of these {}; what lies between cannot be judged:\n{lines}",
                    several.len()
                )
            }
        };
        text += &format!(
            "confidence {}, wanted {}\n",
            percent(self.answer.confidence),
            percent(self.wish.confidence)
        );
        text += &format!(
            "{} revisions judged in {} runs; {}\n",
            self.answer.steps.len(),
            self.runs(),
            self.spread().1
        );
        if let Some(warning) = self.warning() {
            text += &format!("{warning}\n");
        }
        text
    }

    /// What makes the confidence less than it says.
    fn warning(&self) -> Option<String> {
        let spread = self.spread().0.spread()?;
        (spread.p < 0.01).then(|| {
            "runs of one template are alike: the confidence is less than it says; repeat with more --templates".into()
        })
    }

    /// In the form of `git bisect log`; `git bisect replay` takes it.
    pub fn log(&self) -> String {
        let mut text = String::from("git bisect start\n");
        for step in &self.answer.steps {
            let revision = &step.revision;
            text += &format!("# {}: [{revision}] {}\n", step.mark.word(), self.subject(revision));
            text += &format!("# {}\n", what(step));
            text += &format!("git bisect {} {revision}\n", step.mark.word());
        }
        match self.answer.first_bad.as_slice() {
            [only] => text += &format!("# first bad commit: [{only}] {}\n", self.subject(only)),
            several => {
                text += "# only skipped commits left to test\n";
                for revision in several {
                    text +=
                        &format!("# possible first bad commit: [{revision}] {}\n", self.subject(revision));
                }
            }
        }
        text + &format!("# confidence {}\n", percent(self.answer.confidence))
    }

    /// Plain text of 75 columns; never sent.
    pub fn mail(&self) -> String {
        let first = match self.answer.first_bad.as_slice() {
            [only] => format!("{} (\"{}\")", short(only), self.subject(only)),
            several => format!("one of {} commits", several.len()),
        };
        let mut body = vec![
            format!(
                "{first} is the first commit with which {} fails. Confidence: {}.",
                self.cases,
                percent(self.answer.confidence)
            ),
            String::new(),
        ];
        if self.answer.first_bad.len() > 1 {
            body.extend(
                self.answer.first_bad.iter().map(|s| format!("  {} (\"{}\")", short(s), self.subject(s))),
            );
            body.push(String::new());
        }
        body.push("What fails:".into());
        let titles = self.answer.steps.iter().filter(|s| s.mark == Mark::Bad).flat_map(|s| &s.titles);
        let mut seen: Vec<&String> = Vec::new();
        for title in titles {
            if !seen.contains(&title) {
                seen.push(title);
                body.push(format!("  {}", title.lines().next().unwrap_or_default()));
            }
        }
        body.extend([String::new(), "What was judged:".into()]);
        for step in &self.answer.steps {
            body.push(format!(
                "  {} {} (\"{}\")",
                step.mark.word(),
                short(&step.revision),
                self.subject(&step.revision)
            ));
            body.push(format!("      {}", what(step)));
        }
        body.extend([String::new(), self.spread().1]);
        body.extend(self.warning());
        body.push(String::new());
        body.push(format!(
            "Marks come from a sequential test (Wald): bad revisions fail as often as the bad end was seen to, good ones in at most {} of runs. The confidence takes it that the rate of failures is the same from the first bad commit on.",
            super::search::NOISE
        ));
        body.extend([String::new(), "To repeat:".into(), format!("  {}", self.command)]);
        let wrapped: Vec<String> = body.iter().map(|line| wrap(line)).collect();
        format!(
            "Subject: {}\n\n{}\n",
            wrap_to(&format!("memhp bisect: {first}"), usize::MAX),
            wrapped.join("\n")
        )
    }
}

/// How a revision came by its mark.
fn what(step: &Step) -> String {
    let role = match step.role {
        Role::BadEnd => "bad end: ",
        Role::GoodEnd => "good end: ",
        Role::Between => "",
    };
    let missed = if step.missed == 0 { String::new() } else { format!(", {} say nothing", step.missed) };
    if step.mark == Mark::Skip {
        return format!("{role}cannot be judged: {}", step.why.lines().next().unwrap_or_default());
    }
    format!("{role}{}{missed}; wrong with probability {}", counts(step.runs.sum()), small(step.risk))
}

/// A probability near 1, cut, not rounded: never more than it is.
fn percent(p: f64) -> String {
    format!("{:.2} %", (p * 10_000.0).floor() / 100.0)
}

fn small(p: f64) -> String {
    if p < 1e-6 { "below 0.000001".into() } else { format!("{p:.6}") }
}

/// At blanks, at 75 columns; what follows is indented as the first line is.
fn wrap(line: &str) -> String {
    wrap_to(line, 75)
}

fn wrap_to(line: &str, width: usize) -> String {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut out = String::new();
    let mut column = 0;
    for word in line.split_whitespace() {
        let length = word.chars().count();
        if column == 0 {
            out += &indent;
            column = indent.len();
        } else if column + 1 + length > width {
            out += "\n";
            out += &indent;
            column = indent.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += length;
    }
    out
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
