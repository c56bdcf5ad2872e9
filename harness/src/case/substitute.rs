//! `${axis}` in the text fields of a case.

use super::schema::Case;
use super::yaml::Key;
use serde_json::Value;
use std::collections::BTreeSet;

/// Something wrong with a case: where in its file, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// way to the value
    pub path: Vec<Key>,
    /// lowercase fragment
    pub what: String,
}

/// Parts of a case that are about its matrix or its reader, where `${…}` means nothing.
const UNTOUCHED: [&str; 4] = ["summary", "origin", "matrix", "exclude"];

/// The case with `${axis}` replaced by the values of `params`, and the names of the axes that were used.
pub fn substitute(
    case: &Case,
    params: &[(String, String)],
) -> Result<(Case, BTreeSet<String>), Vec<Problem>> {
    let wrong = |what: String| vec![Problem { path: Vec::new(), what }];
    let mut value =
        serde_json::to_value(case).map_err(|e| wrong(format!("the case cannot be copied: {e}")))?;
    let mut walk = Walk { params, path: Vec::new(), used: BTreeSet::new(), problems: Vec::new() };
    for (name, part) in value.as_object_mut().into_iter().flatten() {
        if !UNTOUCHED.contains(&name.as_str()) {
            walk.enter(name.as_str(), part);
        }
    }
    if !walk.problems.is_empty() {
        return Err(walk.problems);
    }
    let used = walk.used;
    let mut resolved: Case =
        serde_json::from_value(value).map_err(|e| wrong(format!("the case cannot be copied: {e}")))?;
    // a JSON object does not keep the order of the axes
    resolved.matrix.clone_from(&case.matrix);
    Ok((resolved, used))
}

struct Walk<'a> {
    params: &'a [(String, String)],
    path: Vec<Key>,
    used: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn enter(&mut self, key: impl Into<Key>, value: &mut Value) {
        self.path.push(key.into());
        match value {
            Value::String(text) => {
                if let Some(new) = self.text(text) {
                    *text = new;
                }
            }
            Value::Array(items) => items.iter_mut().enumerate().for_each(|(i, item)| self.enter(i, item)),
            Value::Object(map) => map.iter_mut().for_each(|(name, value)| self.enter(name.as_str(), value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        self.path.pop();
    }

    /// The text with axes replaced; `None` when nothing changes or something is wrong.
    fn text(&mut self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((name, behind)) = after.split_once('}') else {
                self.wrong(format!("no }} after ${{ in {text:?}"));
                return None;
            };
            match self.value(name) {
                Ok(value) => out.push_str(&value),
                Err(what) => {
                    self.wrong(what);
                    return None;
                }
            }
            rest = behind;
        }
        out.push_str(rest);
        (out != text).then_some(out)
    }

    fn value(&mut self, name: &str) -> Result<String, String> {
        if name.starts_with("BLOCK:") {
            return Ok(format!("${{{name}}}"));
        }
        if name == super::each::NUMBER && !self.params.iter().any(|(n, _)| n == name) {
            return Ok(format!("${{{name}}}"));
        }
        let Some((_, value)) = self.params.iter().find(|(n, _)| n == name) else {
            return Err(format!("unknown axis ${{{name}}}"));
        };
        if value == super::matrix::ABSENT {
            return Err(format!("${{{name}}} has no text where {name} is absent"));
        }
        self.used.insert(name.to_string());
        Ok(value.clone())
    }

    fn wrong(&mut self, what: String) {
        self.problems.push(Problem { path: self.path.clone(), what });
    }
}
