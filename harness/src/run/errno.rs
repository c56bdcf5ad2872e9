//! Words of case files for results: errnos by name, `ok`, outcomes of unplugs, lists of words.

use super::observation::Outcome;
use crate::case::errno;

/// The number of an errno's name.
///
/// # Errors
/// The text, if the name is not known.
pub fn by_name(name: &str) -> Result<i32, String> {
    errno::number(name).ok_or_else(|| format!("{name:?} is no errno that memhp knows"))
}

/// The name of a number; `ok` for 0.
pub fn name(number: i32) -> String {
    match errno::name(number) {
        _ if number == wire::SHORT_WRITE => "less written than given".into(),
        _ if number == 0 => "ok".into(),
        Some(name) => name.into(),
        None => format!("errno {number}"),
    }
}

/// `policy` (nothing), or `ok` and errnos with commas, as numbers with 0 for `ok`.
///
/// # Errors
/// A word that is none of these.
pub fn results(text: &str) -> Result<Vec<i32>, String> {
    if text == "policy" {
        return Ok(Vec::new());
    }
    text.split(',').map(str::trim).map(|w| if w == "ok" { Ok(0) } else { by_name(w) }).collect()
}

/// Outcomes of an unplug with commas; nothing where the oracle decides.
///
/// # Errors
/// A word that is no outcome.
pub fn outcomes(text: Option<&str>) -> Result<Vec<Outcome>, String> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let one =
        |w: &str| Outcome::parse(w).ok_or_else(|| format!("{w:?} is no outcome (done, refused, disabled)"));
    text.split(',').map(str::trim).map(one).collect()
}

/// One word for each of `count` blocks: a single word stands for all.
///
/// # Errors
/// Another number of words.
pub fn spread(words: &str, count: usize) -> Result<Vec<String>, String> {
    let words: Vec<String> = words.split_whitespace().map(str::to_string).collect();
    match words.len() {
        1 => Ok(vec![words[0].clone(); count]),
        n if n == count => Ok(words),
        n => Err(format!("{n} words for {count} blocks")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(results("ok, EBUSY"), Ok(vec![0, 16]));
        assert_eq!(results("policy"), Ok(vec![]));
        assert!(results("EWHAT").is_err());
        assert_eq!(name(22), "EINVAL");
        assert_eq!(name(0), "ok");
        assert_eq!(spread("online", 2), Ok(vec!["online".to_string(); 2]));
        assert_eq!(spread("a b", 3), Err("2 words for 3 blocks".into()));
        assert_eq!(outcomes(Some("done,refused")), Ok(vec![Outcome::Done, Outcome::Refused]));
    }
}
