//! Reading flat KTAP.

use super::Totals;

/// What a KTAP text says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ktap {
    /// results that were announced
    pub planned: usize,
    /// results that came
    pub results: Vec<Line>,
    /// the closing line
    pub totals: Option<Totals>,
}

impl Ktap {
    /// Results that were announced and did not come: the writer died.
    pub fn missing(&self) -> usize {
        self.planned - self.results.len()
    }
}

/// One result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `ok`, not `not ok`
    pub ok: bool,
    /// as it was before `#` was escaped
    pub description: String,
    /// `SKIP`, `XFAIL`, `ERROR`
    pub directive: Option<String>,
    /// behind the directive
    pub reason: String,
}

/// Why a text is no flat KTAP version 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct KtapError {
    /// from 1
    pub line: usize,
    /// what is wrong
    pub what: &'static str,
}

/// What comes next.
enum Expected {
    Version,
    Plan,
    Results,
    Nothing,
}

/// Reads flat KTAP version 1. Diagnostic lines (`# …`) and empty lines may be anywhere; all else must be in order.
pub fn parse(text: &str) -> Result<Ktap, KtapError> {
    let mut ktap = Ktap::default();
    let mut expected = Expected::Version;
    let mut last = 0;
    for (line, text) in text.lines().enumerate().map(|(index, text)| (index + 1, text)) {
        last = line;
        let totals = text.strip_prefix("# Totals:");
        if totals.is_none() && (text.is_empty() || text.starts_with('#')) {
            continue;
        }
        let error = |what| KtapError { line, what };
        expected = match (expected, totals) {
            (Expected::Version, None) if text == "KTAP version 1" => Expected::Plan,
            (Expected::Version, _) => return Err(error("does not begin with `KTAP version 1`")),
            (Expected::Plan, None) => {
                let count = text.strip_prefix("1..").and_then(|n| n.parse().ok());
                ktap.planned = count.ok_or_else(|| error("no plan `1..N`"))?;
                Expected::Results
            }
            (Expected::Plan, Some(_)) => return Err(error("no plan `1..N`")),
            (Expected::Results, None) => {
                let (number, result) = result(text).ok_or_else(|| error("not a result"))?;
                if number != ktap.results.len() + 1 {
                    return Err(error("results are not numbered 1, 2, 3, …"));
                }
                if number > ktap.planned {
                    return Err(error("more results than planned"));
                }
                ktap.results.push(result);
                Expected::Results
            }
            (Expected::Results, Some(totals)) => {
                ktap.totals = Some(read_totals(totals).ok_or_else(|| error("totals cannot be read"))?);
                if ktap.totals != Some(counted(&ktap.results)) {
                    return Err(error("totals are not those of the results"));
                }
                Expected::Nothing
            }
            (Expected::Nothing, _) => return Err(error("something comes after the totals")),
        };
    }
    match expected {
        Expected::Version | Expected::Plan => Err(KtapError { line: last + 1, what: "ends before the plan" }),
        Expected::Results | Expected::Nothing => Ok(ktap),
    }
}

/// `ok N DESCRIPTION # DIRECTIVE REASON`
fn result(text: &str) -> Option<(usize, Line)> {
    let not_ok = text.strip_prefix("not ok ");
    let rest = not_ok.or_else(|| text.strip_prefix("ok "))?;
    let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (description, comment) = rest.split_once(" # ").unwrap_or((rest, ""));
    let (word, reason) = comment.split_once(' ').unwrap_or((comment, ""));
    let is_directive = ["SKIP", "XFAIL", "ERROR", "TODO", "TIMEOUT"].contains(&word);
    let line = Line {
        ok: not_ok.is_none(),
        description: description.strip_prefix("- ").unwrap_or(description).replace(r"\#", "#"),
        directive: is_directive.then(|| word.to_string()),
        reason: if is_directive { reason } else { comment }.to_string(),
    };
    Some((number.parse().ok()?, line))
}

fn read_totals(text: &str) -> Option<Totals> {
    let mut totals = Totals::default();
    let mut parts = text.split_whitespace();
    for (name, count) in [
        ("pass", &mut totals.pass),
        ("fail", &mut totals.fail),
        ("xfail", &mut totals.xfail),
        ("xpass", &mut totals.xpass),
        ("skip", &mut totals.skip),
        ("error", &mut totals.error),
    ] {
        let (seen, number) = parts.next()?.split_once(':')?;
        *count = number.parse().ok().filter(|_| seen == name)?;
    }
    parts.next().is_none().then_some(totals)
}

fn counted(results: &[Line]) -> Totals {
    let mut totals = Totals::default();
    for line in results {
        let count = match (line.ok, line.directive.as_deref()) {
            (_, Some("SKIP")) => &mut totals.skip,
            (false, Some("XFAIL")) => &mut totals.xfail,
            (true, Some("XFAIL")) => &mut totals.xpass,
            (_, Some("ERROR" | "TIMEOUT")) => &mut totals.error,
            (true, _) => &mut totals.pass,
            (false, _) => &mut totals.fail,
        };
        *count += 1;
    }
    totals
}
