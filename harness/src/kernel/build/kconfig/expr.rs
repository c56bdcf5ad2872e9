//! Expressions of Kconfig files: `A && (B = "x" || !C)`, with the three values n < m < y. Pure.

use std::fmt;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr {
    /// An option, a constant (`y`, `"text"`, `0x10`) or a macro (`$(cc-option,-m)`).
    Atom(String),
    /// `A = B`, `A < B`, …
    Compare(String, &'static str, String),
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
}

/// n, m or y.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tristate {
    N,
    M,
    Y,
}

/// Value of an option; `None` where it is not set or not defined.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Expr {
    /// Reads one; `None` where it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens };
        let expr = parser.or()?;
        parser.tokens.is_empty().then_some(expr)
    }

    /// Its value; `None` where it depends on a macro, which only Kconfig itself can expand.
    pub(crate) fn value(&self, lookup: Lookup<'_>) -> Option<Tristate> {
        match self {
            Self::Atom(name) => atom(name, lookup),
            Self::Compare(a, operator, b) => compare(a, operator, b, lookup),
            Self::Not(inner) => inner.value(lookup).map(|v| match v {
                Tristate::N => Tristate::Y,
                Tristate::M => Tristate::M,
                Tristate::Y => Tristate::N,
            }),
            Self::And(parts) => fold(parts, lookup, Tristate::N, Iterator::min),
            Self::Or(parts) => fold(parts, lookup, Tristate::Y, Iterator::max),
        }
    }

    /// The parts of a conjunction.
    pub(crate) fn conjuncts(self) -> Vec<Self> {
        match self {
            Self::And(parts) => parts.into_iter().flat_map(Self::conjuncts).collect(),
            other => vec![other],
        }
    }

    /// Names of the options in it.
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::Atom(name) => Some(name.as_str()).filter(|n| is_option(n)).into_iter().collect(),
            Self::Compare(a, _, b) => {
                [a, b].map(String::as_str).into_iter().filter(|n| is_option(n)).collect()
            }
            Self::Not(inner) => inner.names(),
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::names).collect(),
        }
    }
}

/// One part with the value `decides` decides whatever the others are; else an unknown part makes all unknown.
fn fold(
    parts: &[Expr],
    lookup: Lookup<'_>,
    decides: Tristate,
    extreme: fn(std::vec::IntoIter<Tristate>) -> Option<Tristate>,
) -> Option<Tristate> {
    let values: Vec<Option<Tristate>> = parts.iter().map(|p| p.value(lookup)).collect();
    if values.contains(&Some(decides)) {
        return Some(decides);
    }
    extreme(values.into_iter().collect::<Option<Vec<_>>>()?.into_iter())
}

fn atom(name: &str, lookup: Lookup<'_>) -> Option<Tristate> {
    if name.starts_with('$') {
        return None;
    }
    let known = match name {
        "y" | "m" | "n" => Some(name.to_string()),
        _ => lookup(name),
    };
    Some(match known.as_deref() {
        Some("y") => Tristate::Y,
        Some("m") => Tristate::M,
        _ => Tristate::N,
    })
}

fn compare(a: &str, operator: &str, b: &str, lookup: Lookup<'_>) -> Option<Tristate> {
    let text = |word: &str| -> Option<String> {
        if word.starts_with('$') {
            return None;
        }
        if let Some(bare) = word.strip_prefix('"') {
            return Some(bare.trim_end_matches('"').to_string());
        }
        Some(if is_option(word) { lookup(word).unwrap_or_else(|| "n".into()) } else { word.to_string() })
    };
    let (a, b) = (text(a)?, text(b)?);
    let order = match (number(&a), number(&b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.cmp(&b),
    };
    let holds = match operator {
        "=" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    };
    Some(if holds { Tristate::Y } else { Tristate::N })
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn is_option(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        || word.starts_with(|c: char| c.is_ascii_digit())
            && word.contains(|c: char| c.is_ascii_uppercase())
            && number(word).is_none()
}

struct Parser<'a> {
    tokens: &'a [String],
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.first().is_some_and(|t| t == token);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn or(&mut self) -> Option<Expr> {
        let mut parts = vec![self.and()?];
        while self.take("||") {
            parts.push(self.and()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Expr::Or(parts) })
    }

    fn and(&mut self) -> Option<Expr> {
        let mut parts = vec![self.not()?];
        while self.take("&&") {
            parts.push(self.not()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Expr::And(parts) })
    }

    fn not(&mut self) -> Option<Expr> {
        if self.take("!") {
            return Some(Expr::Not(Box::new(self.not()?)));
        }
        if self.take("(") {
            let inner = self.or()?;
            return self.take(")").then_some(inner);
        }
        let name = self.word()?;
        for operator in ["=", "!=", "<=", ">=", "<", ">"] {
            if self.take(operator) {
                return Some(Expr::Compare(name, operator, self.word()?));
            }
        }
        Some(Expr::Atom(name))
    }

    fn word(&mut self) -> Option<String> {
        let (word, rest) = self.tokens.split_first()?;
        let operator = ["&&", "||", "!", "(", ")", "=", "!=", "<", ">", "<=", ">="].contains(&word.as_str());
        self.tokens = rest;
        (!operator).then(|| word.clone())
    }
}

fn tokens(text: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => rest[1..].find(first)? + 2,
            '$' => macro_length(rest)?,
            '(' | ')' => 1,
            '&' | '|' => 2,
            '!' | '<' | '>' => {
                if rest[1..].starts_with('=') {
                    2
                } else {
                    1
                }
            }
            '=' => 1,
            '#' => break,
            _ => {
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-./".contains(c))).unwrap_or(rest.len())
            }
        };
        if length == 0 {
            return None;
        }
        found.push(rest.get(..length)?.replace('\'', "\""));
        rest = rest[length..].trim_start();
    }
    Some(found)
}

fn macro_length(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |e: &Expr| match e {
            Expr::And(_) | Expr::Or(_) => format!("({e})"),
            other => other.to_string(),
        };
        let join = |parts: &[Expr], word| parts.iter().map(part).collect::<Vec<_>>().join(word);
        match self {
            Self::Atom(name) => f.write_str(name),
            Self::Compare(a, operator, b) => write!(f, "{a} {operator} {b}"),
            Self::Not(inner) => write!(f, "!{}", part(inner)),
            Self::And(parts) => f.write_str(&join(parts, " && ")),
            Self::Or(parts) => f.write_str(&join(parts, " || ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<Tristate> {
        let lookup = |name: &str| match name {
            "YES" => Some("y".to_string()),
            "MOD" => Some("m".to_string()),
            "NUM" => Some("64".to_string()),
            "STR" => Some("abc".to_string()),
            _ => None,
        };
        Expr::parse(text).unwrap().value(&lookup)
    }

    #[test]
    fn values_as_kconfig_counts() {
        use Tristate::{M, N, Y};
        for (text, want) in [
            ("YES", Y),
            ("MOD && YES", M),
            ("!MOD", M),
            ("NOT || MOD", M),
            ("!NOT && (YES || NOT)", Y),
            ("YES && !YES", N),
            ("NUM >= 8", Y),
            ("NUM < 0x10", N),
            ("STR = \"abc\" && NOT = n", Y),
            ("64BIT", N),
            ("YES != y", N),
        ] {
            assert_eq!(value(text), Some(want), "{text}");
        }
    }

    #[test]
    fn what_only_kconfig_can_expand_is_unknown_unless_it_does_not_matter() {
        assert_eq!(value("$(cc-option,-fa$(b)) && YES"), None);
        assert_eq!(value("$(cc-option,-f) && NOT"), Some(Tristate::N));
        assert_eq!(value("$(x) || YES"), Some(Tristate::Y));
        assert_eq!(value("!$(success,test \"a b\")"), None);
    }

    #[test]
    fn text_parts_and_names() {
        let expr = Expr::parse("A && (B || !C) && D = \"x\" # why").unwrap();
        assert_eq!(expr.to_string(), "A && (B || !C) && D = \"x\"");
        assert_eq!(expr.names(), ["A", "B", "C", "D"]);
        assert_eq!(expr.conjuncts().len(), 3);
        for bad in ["A &&", "(A", "A B", "", "&& A", "= B"] {
            assert_eq!(Expr::parse(bad), None, "{bad}");
        }
    }
}
