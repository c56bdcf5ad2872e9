//! Which of the mails are the series, in which order, and whether it is whole. Pure.

use super::mail::Mail;
use std::collections::BTreeMap;

/// A series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// `0/N`
    pub cover: Option<Mail>,
    /// in the order in which they apply, at least one
    pub patches: Vec<Mail>,
    /// what was left out: answers, mails without a diff
    pub left_out: Vec<String>,
}

/// Why mails make no series.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OrderError {
    /// Nothing to apply.
    #[error("no patch among the {0} mails: none has a diff")]
    NoPatch(usize),
    /// Several versions.
    #[error("patches of versions {} in one input: give one version of the series", .0.iter().map(|v| format!("v{v}")).collect::<Vec<_>>().join(" and "))]
    Versions(Vec<u32>),
    /// Several series.
    #[error("patches of a series of {0} and of a series of {1} in one input: give one series")]
    Totals(u32, u32),
    /// A number twice.
    #[error("patch {number}/{total} is there twice: {first} and {second}")]
    Twice {
        /// which
        number: u32,
        /// of how many
        total: u32,
        /// one subject
        first: String,
        /// another one
        second: String,
    },
    /// Numbers missing.
    #[error("the series is not whole: of {total} patches {} missing", list(.missing))]
    Missing {
        /// which
        missing: Vec<u32>,
        /// of how many
        total: u32,
    },
    /// Patches with numbers and without.
    #[error("{0} has no number in its subject, and others have")]
    Unnumbered(String),
    /// Impossible numbers.
    #[error("{0}: such a number is none")]
    Number(String),
}

fn list(missing: &[u32]) -> String {
    let numbers = missing.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    format!("{numbers} {}", if missing.len() == 1 { "is" } else { "are" })
}

/// Sorts mails by the numbers in their subjects; without any numbers the given order stands.
pub fn order(mails: Vec<Mail>) -> Result<Ordered, OrderError> {
    let (count, mut ordered) =
        (mails.len(), Ordered { cover: None, patches: Vec::new(), left_out: Vec::new() });
    for mail in mails {
        match (mail.subject.reply, mail.has_diff(), mail.subject.number) {
            (true, _, _) => ordered.left_out.push(format!("{}, an answer", mail.name())),
            (false, true, _) => ordered.patches.push(mail),
            (false, false, Some((0, _))) if ordered.cover.is_none() => ordered.cover = Some(mail),
            (false, false, _) => ordered.left_out.push(format!("{}, without a diff", mail.name())),
        }
    }
    if ordered.patches.is_empty() {
        return Err(OrderError::NoPatch(count));
    }
    one_version(&ordered)?;
    if ordered.patches.iter().any(|m| m.subject.number.is_some()) {
        ordered.patches = by_number(ordered.patches)?;
    }
    Ok(ordered)
}

fn one_version(ordered: &Ordered) -> Result<(), OrderError> {
    let all = ordered.patches.iter().chain(&ordered.cover);
    let mut versions: Vec<u32> = all.map(|m| m.subject.version).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 { Err(OrderError::Versions(versions)) } else { Ok(()) }
}

fn by_number(patches: Vec<Mail>) -> Result<Vec<Mail>, OrderError> {
    let mut sorted: BTreeMap<u32, Mail> = BTreeMap::new();
    let mut of = None;
    for mail in patches {
        let (number, total) = mail.subject.number.ok_or_else(|| OrderError::Unnumbered(mail.name()))?;
        if number == 0 || number > total {
            return Err(OrderError::Number(mail.name()));
        }
        let known = *of.get_or_insert(total);
        if known != total {
            return Err(OrderError::Totals(known, total));
        }
        if let Some(other) = sorted.get(&number) {
            let (first, second) = (other.name(), mail.name());
            return Err(OrderError::Twice { number, total, first, second });
        }
        sorted.insert(number, mail);
    }
    let total = of.unwrap_or_default();
    // Counted before it is listed: a subject can claim any total.
    let lacking = (total as usize).saturating_sub(sorted.len());
    if lacking > 0 {
        let missing = (1..=total).filter(|n| !sorted.contains_key(n)).take(20).collect();
        return Err(OrderError::Missing { missing, total });
    }
    Ok(sorted.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::super::mail::testing::mail;
    use super::*;

    const DIFF: &str = "diff --git a/f b/f\n";

    fn texts(mails: Vec<Mail>) -> Vec<String> {
        order(mails).unwrap().patches.iter().map(|m| m.subject.text.clone()).collect()
    }

    #[test]
    fn by_their_numbers_without_answers() {
        let mails = vec![
            mail("Re: [PATCH v2 1/2] a", DIFF),
            mail("[PATCH v2 2/2] b", DIFF),
            mail("[PATCH v2 0/2] c", ""),
            mail("[PATCH v2 1/2] a", DIFF),
            mail("thoughts", ""),
        ];
        let ordered = order(mails.clone()).unwrap();
        assert_eq!(texts(mails), ["a", "b"]);
        assert_eq!(ordered.cover.unwrap().subject.text, "c");
        assert_eq!(ordered.left_out, ["1/2 \"a\", an answer", "\"thoughts\", without a diff"]);
        assert_eq!(texts(vec![mail("b", DIFF), mail("a", DIFF)]), ["b", "a"]);
    }

    #[test]
    fn what_is_no_series() {
        let wrong = |subjects: &[&str]| {
            order(subjects.iter().map(|s| mail(s, DIFF)).collect()).unwrap_err().to_string()
        };
        assert_eq!(
            wrong(&["[PATCH 1/4] a", "[PATCH 4/4] d"]),
            "the series is not whole: of 4 patches 2, 3 are missing"
        );
        assert_eq!(wrong(&["[PATCH 2/2] b"]), "the series is not whole: of 2 patches 1 is missing");
        assert_eq!(
            wrong(&["[PATCH 1/1] a", "[PATCH v2 1/1] a"]),
            "patches of versions v1 and v2 in one input: give one version of the series"
        );
        assert_eq!(
            wrong(&["[PATCH 1/2] a", "[PATCH 1/2] b"]),
            "patch 1/2 is there twice: 1/2 \"a\" and 1/2 \"b\""
        );
        assert_eq!(
            wrong(&["[PATCH 1/2] a", "[PATCH 2/3] b"]),
            "patches of a series of 2 and of a series of 3 in one input: give one series"
        );
        assert_eq!(wrong(&["[PATCH 1/2] a", "b"]), "\"b\" has no number in its subject, and others have");
        assert_eq!(wrong(&["[PATCH 0/2] a"]), "0/2 \"a\": such a number is none");
        assert_eq!(wrong(&["[PATCH 1/4294967295] a"]).len(), "the series is not whole: of 4294967295 patches 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21 are missing".len());
        assert_eq!(order(vec![mail("a", "")]).unwrap_err(), OrderError::NoPatch(1));
    }
}
