//! From what was recorded of a scenario to its judgement: at its end, and again from a saved run.
//!
//! A saved run is judged by the judge of this memhp: its observations are folded anew, its console's complaints and
//! the trouble it met are taken as recorded.

use super::judge::{Context, Judge};
use super::observation::{self, Observation};
use crate::event::{Event, Evidence, Kind, ScenarioEnd};
use crate::finding::Finding;
use crate::policy::Subject;
use crate::verdict::{self, Judgement, Known, Purpose, Trouble, Verdict};
use std::collections::BTreeMap;

/// Everything that a judgement is made of besides [`Evidence`]: the differences found, and those in `evidence`.
pub fn all_findings(found: &[Finding], evidence: &Evidence) -> Vec<Finding> {
    // The console's own words, where there are any, say more than the line that set off the alarm.
    let own = evidence.own.iter().filter(|f| f.fact != "console" || evidence.complaints.is_empty());
    found.iter().filter(|f| !evidence.starved || f.fact != "within").chain(own).cloned().collect()
}

/// The judgement.
pub fn judgement(findings: &[Finding], evidence: &Evidence) -> Judgement {
    verdict::judge(findings, &evidence.complaints, evidence.trouble.as_slice(), Purpose::Judge)
}

/// Says in a failure's end which known issue it is; where it is more than known ones, its title is of what is more.
pub fn tell_known(
    known: &Known,
    id: &str,
    subject: &Subject,
    end: &mut ScenarioEnd,
    findings: &[Finding],
    evidence: &Evidence,
) {
    end.known = None;
    if end.verdict != Verdict::Fail {
        return;
    }
    let console = evidence.complaints.iter().map(verdict::known::console_finding);
    let all: Vec<Finding> = findings.iter().cloned().chain(console).collect();
    if let Some(entry) = known.matches(id, subject.version, &end.title, &all) {
        end.known = Some(entry.id.clone());
    } else if findings.first().map(verdict::title).as_ref() == Some(&end.title)
        && let Some(other) = known.others(id, subject.version, &all).next()
    {
        end.title = verdict::title(other);
    }
}

/// One scenario of a saved run, as far as it was read.
#[derive(Default)]
struct Open {
    subject: Option<Subject>,
    judge: Option<Judge>,
    /// findings of this judge
    findings: Vec<Finding>,
    /// findings that the log has
    recorded: usize,
    broke: Option<String>,
    evidence: Option<Evidence>,
}

/// The events of a saved run with findings and judgements made anew; `known`: issues that count as known.
///
/// # Errors
/// An event is not what its kind says: its number, and why.
pub fn rejudge(events: Vec<Event>, known: Option<&Known>) -> Result<Vec<Event>, (u64, String)> {
    let mut subjects: BTreeMap<String, Subject> = BTreeMap::new();
    let mut open: BTreeMap<(String, u32), Open> = BTreeMap::new();
    let mut judged = Vec::new();
    for mut event in events {
        let wrong = |e: serde_json::Error| (event.seq, e.to_string());
        let key = event.scenario.clone().map(|id| (id, event.round));
        match (&mut event.kind, key) {
            (Kind::RunStart(start), _) => {
                for (name, subject) in &start.subjects {
                    subjects.insert(name.clone(), serde_json::from_value(subject.clone()).map_err(wrong)?);
                }
            }
            (Kind::ScenarioStart { kernel, .. }, Some(key)) => {
                let one = Open { subject: subjects.get(kernel).cloned(), ..Open::default() };
                open.insert(key, one);
            }
            (Kind::Observation { step, data }, Some(key)) => {
                let observation = observation::from_map(data).map_err(wrong)?;
                let (step, one) = (step.clone(), open.entry(key).or_default());
                let found = one.take(&observation);
                let template = event.clone();
                judged.push(event);
                judged.extend(found.into_iter().map(|finding| Event {
                    kind: Kind::Finding { step: step.clone(), text: String::new(), finding },
                    ..template.clone()
                }));
                continue;
            }
            (Kind::Finding { text, finding, .. }, Some(key)) => {
                let one = open.entry(key).or_default();
                one.recorded += 1;
                // The step's words are in the log only with the finding that was made then.
                restore_text(&mut judged, event.scenario.as_deref(), finding, text);
                continue;
            }
            (Kind::Evidence(evidence), Some(key)) => {
                open.entry(key).or_default().evidence = Some(evidence.clone());
            }
            (Kind::ScenarioEnd(end), Some(key)) => {
                if let Some(one) = open.remove(&key) {
                    one.end(&key.0, end, known);
                }
            }
            _ => {}
        }
        judged.push(event);
    }
    for (seq, event) in (1..).zip(&mut judged) {
        event.seq = seq;
    }
    Ok(judged)
}

/// Gives the finding that was made anew the words of the step that the log has for it.
fn restore_text(judged: &mut [Event], scenario: Option<&str>, recorded: &Finding, words: &str) {
    for event in judged.iter_mut().rev().filter(|e| e.scenario.as_deref() == scenario) {
        match &mut event.kind {
            Kind::Finding { text, finding, .. } if finding == recorded => {
                *text = words.to_string();
                return;
            }
            Kind::Finding { .. } => {}
            _ => return,
        }
    }
}

impl Open {
    fn take(&mut self, observation: &Observation) -> Vec<Finding> {
        if let (Observation::Boot(boot), Some(subject)) = (observation, &self.subject) {
            self.judge = Some(Judge::new(Context {
                subject: subject.clone(),
                cmdline: boot.hello.cmdline.trim_end().to_string(),
                uevents: boot.hello.uevents,
            }));
        }
        let Some(judge) = &mut self.judge else { return Vec::new() };
        match judge.take(observation) {
            Ok(found) => {
                self.findings.extend(found.iter().cloned());
                found
            }
            Err(why) => {
                self.broke.get_or_insert(why.to_string());
                Vec::new()
            }
        }
    }

    fn end(self, id: &str, end: &mut ScenarioEnd, known: Option<&Known>) {
        // What was never judged by observations (skipped, missed, did not boot) stands as it is.
        let (Some(mut evidence), Some(subject), Some(_)) = (self.evidence, self.subject, &self.judge) else {
            return end.known = end.known.take().filter(|_| known.is_some());
        };
        if let Some(why) = self.broke {
            evidence.trouble.get_or_insert(Trouble::Broke(why));
        }
        if self.findings.is_empty() && self.recorded > 0 {
            let why =
                "judged anew, the finding that ended the case is none: what would have followed is not known";
            evidence.trouble.get_or_insert(Trouble::Broke(why.into()));
        }
        let findings = all_findings(&self.findings, &evidence);
        let judgement = judgement(&findings, &evidence);
        (end.verdict, end.title) = (judgement.verdict, judgement.title);
        end.known = None;
        if let Some(known) = known {
            tell_known(known, id, &subject, end, &findings, &evidence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_a_starved_guest_missed_is_not_its_kernels() {
        let late = Finding::new("within", "the outcome of the unplug of a", "within 30 s", "not within", "r");
        let hang = Finding::new("hang", "the outcome of the unplug of a", "an answer", "none", "r");
        let mut evidence = Evidence { own: Some(hang), ..Evidence::default() };
        let judged = |evidence: &Evidence| {
            let findings = all_findings(std::slice::from_ref(&late), evidence);
            judgement(&findings, evidence).verdict
        };
        assert_eq!(judged(&evidence), Verdict::Fail);
        let starved = Trouble::NotRun("the guest waited for a processor".into());
        evidence = Evidence { trouble: Some(starved), starved: true, ..Evidence::default() };
        assert_eq!(judged(&evidence), Verdict::Miss);
    }
}
