//! What changed in a text since it was last sent, line by line: the port is slow, and most of /proc stays as it was.

use serde::{Deserialize, Serialize};

/// Lines to replace: from line `at` (from 0) of the old text on, `gone` lines go and `text` comes in their place.
/// Edits of one text are in ascending order and do not overlap; places are those of the old text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit(
    /// first line
    pub usize,
    /// lines that go
    pub usize,
    /// what comes instead, whole lines (the last one as the text ends)
    pub String,
);

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// The edits that make `new` of `old`; none where both are the same.
pub fn edits(old: &str, new: &str) -> Vec<Edit> {
    let (old, new) = (lines(old), lines(new));
    if old.len() == new.len() { replaced(&old, &new) } else { middle(&old, &new) }
}

/// Runs of lines that differ.
fn replaced(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for (at, line) in new.iter().enumerate().filter(|(at, line)| old[*at] != **line) {
        match edits.last_mut() {
            Some(Edit(first, gone, text)) if *first + *gone == at => {
                *gone += 1;
                text.push_str(line);
            }
            _ => edits.push(Edit(at, 1, (*line).to_string())),
        }
    }
    edits
}

/// All between the lines at the beginning and those at the end that are the same.
fn middle(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    vec![Edit(head, old.len() - head - tail, new[head..new.len() - tail].concat())]
}

/// The new text; `None`: the edits do not fit this text.
pub fn apply(old: &str, edits: &[Edit]) -> Option<String> {
    let old = lines(old);
    let (mut new, mut at) = (String::new(), 0);
    for Edit(first, gone, text) in edits {
        new.extend(old.get(at..*first)?.iter().copied());
        new.push_str(text);
        at = first.checked_add(*gone).filter(|end| *end <= old.len())?;
    }
    new.extend(old[at..].iter().copied());
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_made_again_from_its_edits() {
        let texts =
            ["", "a\n", "a\nb\nc\n", "a\nx\nc\n", "x\nb\ny", "b\nc\n", "a\nb\nb\nc\n", "c", "a\nb\n\n"];
        for old in texts {
            for new in texts {
                let edits = edits(old, new);
                assert_eq!(apply(old, &edits).as_deref(), Some(new), "{old:?} to {new:?} by {edits:?}");
                assert_eq!(edits.is_empty(), old == new);
            }
        }
    }

    #[test]
    fn only_lines_that_changed_are_sent() {
        let old = "one 1\ntwo 2\nthree 3\nfour 4\n";
        let new = "one 1\ntwo 0\nthree 0\nfour 4\n";
        assert_eq!(edits(old, new), [Edit(1, 2, "two 0\nthree 0\n".to_string())]);
        let longer = "one 1\nnew\ntwo 2\nthree 3\nfour 4\n";
        assert_eq!(edits(old, longer), [Edit(1, 0, "new\n".to_string())]);
    }

    #[test]
    fn edits_of_another_text_are_refused() {
        assert_eq!(apply("a\n", &[Edit(2, 0, String::new())]), None);
        assert_eq!(apply("a\n", &[Edit(0, 2, String::new())]), None);
        assert_eq!(apply("a\nb\n", &[Edit(1, 1, String::new()), Edit(0, 1, String::new())]), None);
        assert_eq!(apply("a\n", &[Edit(0, usize::MAX, String::new())]), None);
    }
}
