//! What the brackets of a subject say: `[RFC PATCH v2 3/7] mm: …`. Pure.

use regex::Regex;
use std::sync::LazyLock;

/// A subject taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `Re:` in front: an answer, no patch of the series
    pub reply: bool,
    /// of `v2`; 1 where none is said
    pub version: u32,
    /// of `3/7`
    pub number: Option<(u32, u32)>,
    /// the rest
    pub text: String,
}

static REPLY: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^(?i)(re|aw|fwd?):\s*").ok());
static BRACKET: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\s*\[([^\]]*)\]\s*").ok());

impl Subject {
    /// Takes a decoded subject apart.
    pub fn parse(subject: &str) -> Self {
        let (mut reply, mut version, mut number, mut rest) = (false, 1, None, subject.trim());
        while let Some(found) = REPLY.as_ref().and_then(|r| r.find(rest)) {
            (reply, rest) = (true, &rest[found.end()..]);
        }
        while let Some(found) = BRACKET.as_ref().and_then(|r| r.captures(rest)) {
            for word in found[1].split([' ', ',']) {
                let of_version = word.strip_prefix(['v', 'V']).and_then(|n| n.parse().ok());
                version = of_version.unwrap_or(version);
                number = word
                    .split_once('/')
                    .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)))
                    .or(number);
            }
            rest = &rest[found[0].len()..];
        }
        Self { reply, version, number, text: rest.trim().to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets() {
        let of = |s| {
            let Subject { reply, version, number, text } = Subject::parse(s);
            (reply, version, number, text)
        };
        assert_eq!(of("[RFC PATCH v2 03/7] mm: x [y]"), (false, 2, Some((3, 7)), "mm: x [y]".into()));
        assert_eq!(of("[PATCH] [mm/hotplug] a"), (false, 1, None, "a".into()));
        assert_eq!(of("Re: [PATCH 0/2] a"), (true, 1, Some((0, 2)), "a".into()));
        assert_eq!(of("RE: Re: b"), (true, 1, None, "b".into()));
        assert_eq!(of("[PATCH net-next,V3,1/2] c"), (false, 3, Some((1, 2)), "c".into()));
        assert_eq!(of("d"), (false, 1, None, "d".into()));
    }
}
