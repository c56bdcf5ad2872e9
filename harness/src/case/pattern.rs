//! Patterns that choose scenarios: `*` (crosses `/`) and `?` are special, all else is literal, so an id matches itself.

use std::fmt;

/// A pattern as the user typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Every text is a pattern.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As it was typed.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether it chooses the scenario with this id.
    ///
    /// With `@` it is matched against the whole id; with `[` alone also against the id without its kernel; with
    /// neither against `FOLDER/CASE`.
    pub fn matches(&self, id: &str) -> bool {
        let without_kernel = id.rsplit_once('@').map_or(id, |(rest, _)| rest);
        if self.0.contains('@') {
            glob(&self.0, id)
        } else if self.0.contains('[') {
            glob(&self.0, id) || glob(&self.0, without_kernel)
        } else {
            let case = without_kernel.split_once('[').map_or(without_kernel, |(case, _)| case);
            glob(&self.0, case)
        }
    }

    /// Whether it can only be meant as a case file: `./x.yaml`, `DIR/x.yaml`.
    pub fn is_case_file(&self) -> bool {
        self.0.ends_with(".yaml")
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `*` stands for any text, `?` for one character, everything else for itself.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // where to go on after a mismatch: behind the last star, with that star taking one character more
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((behind, taken)) => {
                    retry = Some((behind, taken + 1));
                    (p, t) = (behind, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "policy/boot-param[memhp_default_state=online]@debian-6.12";

    #[test]
    fn what_is_matched() {
        for pattern in [
            ID,
            "*",
            "policy/*",
            "*boot-param",
            "policy/boot?param",
            "policy/boot-param[memhp_default_state=online]",
            "*[*=online]",
            "*[*",
            "*@debian-6.12",
            "policy/*@debian*",
            "**",
        ] {
            assert!(Pattern::new(pattern).matches(ID), "{pattern}");
        }
        for pattern in [
            "",
            "policy",
            "boot-param",
            "policy/boot-param@debian-6.12",
            "*debian-6.12",
            "*[*=offline]",
            "policy/boot-param[memhp_default_state=onlin]",
            "*@debian-6.1",
            "policy/boot-para",
            "[po]olicy/*",
        ] {
            assert!(!Pattern::new(pattern).matches(ID), "{pattern}");
        }
    }

    #[test]
    fn glob_backtracks() {
        assert!(glob("*ab*b", "xxababb") && glob("a*?", "ab") && glob("", ""));
        assert!(!glob("a*?", "a") && !glob("*ab", "abc") && !glob("", "a") && !glob("?", ""));
    }

    proptest! {
        /// The recursive definition of a glob, against the loop.
        #[test]
        fn glob_agrees_with_its_definition(pattern in "[ab?*]{0,8}", text in "[ab]{0,8}") {
            fn plainly(p: &[u8], t: &[u8]) -> bool {
                match (p.first(), t.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => plainly(&p[1..], t) || (!t.is_empty() && plainly(p, &t[1..])),
                    (Some(a), Some(b)) if *a == b'?' || a == b => plainly(&p[1..], &t[1..]),
                    _ => false,
                }
            }
            prop_assert_eq!(glob(&pattern, &text), plainly(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
