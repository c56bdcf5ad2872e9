//! The report as an answer to the series: written, never sent, and without any tag. Pure.

use super::Report;
use super::text::{WIDTH, text};

/// Header and text of a mail.
pub fn mail(report: &Report) -> String {
    let header = &report.facts.header;
    let subject = header.get("Subject").unwrap_or(&report.facts.title);
    let answers = subject.get(..3).is_some_and(|s| s.eq_ignore_ascii_case("re:"));
    let subject = if answers { subject.to_string() } else { format!("Re: {subject}") };
    let mut lines = Vec::new();
    let mut field = |name: &str, value: Option<String>| lines.extend(value.map(|v| folded(name, &v)));
    field("To", header.get("From").map(str::to_string));
    let others: Vec<&str> = ["To", "Cc"].iter().filter_map(|n| header.get(n)).collect();
    field("Cc", Some(others.join(", ")).filter(|o| !o.is_empty()));
    field("Subject", Some(subject));
    let id = header.get("Message-ID");
    field("In-Reply-To", id.map(str::to_string));
    // RFC 5322, 3.6.4: those of the mail that is answered, then its own name.
    let earlier = header.get("References").or_else(|| header.get("In-Reply-To"));
    let references: Vec<&str> = earlier.into_iter().chain(id).collect();
    field("References", Some(references.join(" ")).filter(|r| !r.is_empty()));
    field("Content-Type", Some("text/plain; charset=UTF-8".into()));
    field("Content-Transfer-Encoding", Some("8bit".into()));
    lines.concat() + "\n" + &text(report)
}

/// A field in lines of at most 75 columns, where its blanks allow that.
fn folded(name: &str, value: &str) -> String {
    let mut line = format!("{name}:");
    let mut out = String::new();
    for word in value.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && !line.ends_with(':') {
            out += &line;
            out += "\n";
            line = String::new();
        }
        line.push(' ');
        line += word;
    }
    out + &line + "\n"
}
