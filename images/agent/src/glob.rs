//! Patterns for one component of a path: `*` stands for any run of characters, all else for itself.

/// Does the name fit the pattern?
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, name) in [
            ("memory*", "memory32"),
            ("memory*", "memory"),
            ("*", "anything"),
            ("*", ""),
            ("PNP0C80:*", "PNP0C80:00"),
            ("a*b*c", "a-b-b-c"),
            ("a**c", "ac"),
            ("state", "state"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn all_else_stands_for_itself() {
        for (pattern, name) in [
            ("memory*", "node0"),
            ("state", "states"),
            ("state", "stat"),
            ("a*b", "a"),
            ("ab*b", "ab"),
            ("a*b*c", "a-c-b"),
            ("node?", "node0"),
            ("", "x"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
