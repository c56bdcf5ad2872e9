//! YAML, read strictly and with positions: the one place that knows the YAML library.
//!
//! Unknown and duplicate keys, nulls, wrong types, several documents, anchors, aliases and merge keys are errors.
//! Every error displays `file:line:col: what` and the line with a caret. [`Positions`] remembers where every
//! value of a file stands, for checks that are made after the types have been read.

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Location, MessageFormatter, Options, Spanned, UserMessageFormatter};
use std::fmt;
use std::path::{Path, PathBuf};

/// A step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// value of a map's key
    Name(String),
    /// item of a list, from 0
    Index(usize),
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self::Name(name.to_string())
    }
}

impl From<usize> for Key {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// the file, as it was named
    pub file: PathBuf,
    /// line from 1 and column (in characters) from 1; `None` where the trouble has no place
    pub place: Option<(usize, usize)>,
    /// what is wrong, in a lowercase fragment
    pub what: String,
    /// the text of the line, without its end
    pub line: String,
}

impl YamlError {
    fn new(file: &Path, text: &str, location: Option<Location>, what: String) -> Self {
        let number = |n: u64| usize::try_from(n).ok().filter(|n| *n > 0);
        let place = location.and_then(|l| Some((number(l.line())?, number(l.column())?)));
        let line = place.and_then(|(line, _)| text.lines().nth(line - 1)).unwrap_or_default();
        Self { file: file.to_path_buf(), place, what, line: line.to_string() }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        let Some((line, column)) = self.place else { return write!(f, " {}", self.what) };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let before: String =
            self.line.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "{line}:{column}: {}", self.what)?;
        writeln!(f, " {margin} |")?;
        writeln!(f, " {number} | {}", self.line)?;
        write!(f, " {margin} | {before}^")
    }
}

impl std::error::Error for YamlError {}

/// Where every value of a file stands.
#[derive(Debug, Clone)]
pub struct Positions {
    file: PathBuf,
    text: String,
    root: Spanned<Node>,
}

impl Positions {
    /// The error `what` about the value at `path`, or about the nearest value around it where that does not exist.
    pub fn error(&self, path: &[Key], what: impl Into<String>) -> YamlError {
        let mut node = &self.root;
        for key in path {
            match node.value.child(key) {
                Some(child) => node = child,
                None => break,
            }
        }
        YamlError::new(&self.file, &self.text, Some(node.referenced), what.into())
    }
}

/// Reads `text`, the content of `file`, into `T`.
pub fn from_str<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, YamlError> {
    from_str_with_positions(file, text).map(|(value, _)| value)
}

/// Reads `text`, the content of `file`, into `T`, and remembers where everything stands.
pub fn from_str_with_positions<T: DeserializeOwned>(
    file: &Path,
    text: &str,
) -> Result<(T, Positions), YamlError> {
    let failed =
        |e: serde_saphyr::Error| YamlError::new(file, text, e.location(), in_words(e.without_snippet()));
    let root: Spanned<Node> = serde_saphyr::from_str_with_options(text, strict()).map_err(failed)?;
    if let Some(null) = first_null(&root) {
        let what = "null is no value: leave the key away, or write \"\" for an empty text".to_string();
        return Err(YamlError::new(file, text, Some(null), what));
    }
    let value = serde_saphyr::from_str_with_options(text, strict()).map_err(failed)?;
    Ok((value, Positions { file: file.to_path_buf(), text: text.to_string(), root }))
}

fn in_words(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::Budget { breach, .. } => match breach {
            BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => {
                "anchors and aliases are not taken".into()
            }
            BudgetBreach::Documents { .. } => "one document only".into(),
            other => format!("far larger than any file of this project: {other:?}"),
        },
        other => {
            let what = UserMessageFormatter.format_message(other);
            let flow = what.contains("parsing a flow mapping");
            format!("{what}{}", if flow { " (within { } a text with [ ] needs quotes)" } else { "" })
        }
    }
}

/// Far more than a file of this project needs, and far less than what hurts.
fn strict() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 50_000,
            max_aliases: 0,
            max_anchors: 0,
            max_depth: 24,
            max_documents: 1,
            max_nodes: 25_000,
            max_total_scalar_bytes: 1 << 20,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// Any YAML value, kept for its position only.
#[derive(Debug, Clone)]
enum Node {
    Null,
    Scalar,
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

impl Node {
    fn child(&self, key: &Key) -> Option<&Spanned<Self>> {
        match (self, key) {
            (Self::List(items), Key::Index(index)) => items.get(*index),
            (Self::Map(entries), Key::Name(name)) => entries.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }
}

fn first_null(node: &Spanned<Node>) -> Option<Location> {
    match &node.value {
        Node::Null => Some(node.referenced),
        Node::Scalar => None,
        Node::List(items) => items.iter().find_map(first_null),
        Node::Map(entries) => entries.iter().find_map(|(_, value)| first_null(value)),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::schema::Case;

    fn error(text: &str) -> String {
        from_str::<Case>(Path::new("x.yaml"), text).unwrap_err().to_string()
    }

    const NULL: &str = "null is no value: leave the key away, or write \"\" for an empty text";
    const HEAD: &str = "summary: s\norigin: o\n";

    #[test]
    fn shows_line_and_caret() {
        assert_eq!(
            error(&format!("{HEAD}steps:\n  - plug: {{ dimm: a, size: 1G, colour: red }}\n")),
            "x.yaml:4:32: unknown field `colour`, expected one of dimm, size, node, slot, addr, refused, race, within\n   |\n \
             4 |   - plug: { dimm: a, size: 1G, colour: red }\n   |                                ^"
        );
    }

    /// Message and place of each kind of mistake, one by one.
    #[test]
    fn every_mistake_has_its_place() {
        for (text, place, what) in [
            (
                "steps:\n  - plug: { dimm: a, dimm: b, size: 1G }",
                "4:22",
                "duplicate mapping key `dimm` is not allowed here",
            ),
            ("steps: []\nsummary: t", "4:1", "duplicate mapping key `summary` is not allowed here"),
            (
                "steps: []\nmatrix: { a: [\"1\"], a: [\"2\"] }",
                "4:21",
                "duplicate mapping key `a` is not allowed here",
            ),
            ("steps: []\nkernel:", "4:7", NULL),
            ("steps: []\nkernel: ~", "4:9", NULL),
            ("steps: []\nmatrix: { a: [x, null] }", "4:18", NULL),
            ("steps: 3", "3:8", "expected sequence start"),
            ("steps: []\nmachine: { slots: four }", "4:19", "invalid u32"),
            ("steps: []\nmachine: { slots: -1 }", "4:19", "invalid u32"),
            (
                "steps:\n  - plug: { dimm: a, size: 1G, race: yes }",
                "4:38",
                "invalid boolean (true or false expected)",
            ),
            (
                "steps:\n  - plugg: { dimm: a, size: 1G }",
                "4:5",
                "unknown variant `plugg`, expected one of plug, unplug, write, set, start, finish, hold, held, release, load, end, prove, exec, touch, udevd, repeat, each, expect",
            ),
            ("steps:\n  - plug: { dimm: a }", "4:13", "missing field `size`"),
            ("steps: []\nboot: warm", "4:7", "unknown variant `warm`, expected one of auto, cold"),
            ("steps: &a []\nconfig: *a", "3:11", "anchors and aliases are not taken"),
            ("steps: []\n---\nsteps: []", "4:1", "one document only"),
            ("steps: [", "3:8", "unclosed bracket '['"),
            ("<<: { steps: [] }", "3:1", "merge key not allowed here"),
            ("steps: !odd []", "3:13", "unsupported tag `!odd`"),
        ] {
            let error = error(&format!("{HEAD}{text}\n"));
            assert_eq!(error.lines().next().unwrap(), format!("x.yaml:{place}: {what}"), "{text:?}");
        }
        assert!(error("").starts_with("x.yaml:"), "{}", error(""));
    }

    #[test]
    fn positions_of_values_and_of_what_is_missing() {
        let text =
            format!("{HEAD}steps:\n  - repeat: {{ times: 2, steps: [ {{ unplug: {{ dimm: q }} }} ] }}\n");
        let (_, positions) = from_str_with_positions::<Case>(Path::new("x.yaml"), &text).unwrap();
        let place = |path: &[Key]| positions.error(path, "w").place.unwrap();
        let repeat = ["steps".into(), 0.into(), "repeat".into()];
        assert_eq!(place(&repeat), (4, 13));
        let inner: Vec<Key> = repeat
            .iter()
            .cloned()
            .chain(["steps".into(), 0.into(), "unplug".into(), "dimm".into()])
            .collect();
        assert_eq!(place(&inner), (4, 52));
        assert_eq!(place(&["origin".into()]), (2, 9));
        assert_eq!(place(&["matrix".into(), "axis".into()]), (1, 1));
    }
}
