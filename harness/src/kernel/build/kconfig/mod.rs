//! Which options a source knows, and on what each depends: its Kconfig files, read as x86 sees them. Pure but for reading
//! them.
//!
//! Kconfig itself says nothing of why an option was dropped, so the files are read here, only as far as that needs:
//! which blocks an option is defined in and under which conditions. What is selected or defaulted is Kconfig's own
//! business.

mod expr;

pub(super) use expr::{Expr, Tristate};

use super::error::BuildError;
use crate::kernel::error::at;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// All options of a source.
#[derive(Debug, Default)]
pub(super) struct Kconfig {
    options: BTreeMap<String, Vec<Definition>>,
}

/// One place where an option is defined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Definition {
    /// Kconfig file, relative to the source.
    pub(super) file: String,
    /// `depends on` of its own and of all blocks around it, and the condition of its prompt; all must hold.
    pub(super) depends: Vec<Expr>,
    /// It can be set by hand.
    pub(super) prompt: bool,
    /// Number of the choice it is a member of.
    pub(super) choice: Option<usize>,
}

impl Kconfig {
    /// Reads the files from the top one on.
    pub(super) fn load(tree: &Path) -> Result<Self, BuildError> {
        let mut reader = Reader {
            tree,
            kconfig: Self::default(),
            blocks: Vec::new(),
            current: None,
            choices: 0,
            depth: 0,
            read: 0,
        };
        reader.file("Kconfig", true)?;
        Ok(reader.kconfig)
    }

    /// Whether an option of this name exists.
    pub(super) fn defines(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// Where it is defined.
    pub(super) fn definitions(&self, name: &str) -> &[Definition] {
        self.options.get(name).map_or(&[], Vec::as_slice)
    }

    /// Options in the same choice.
    pub(super) fn rivals(&self, name: &str) -> Vec<&str> {
        let choices: Vec<usize> = self.definitions(name).iter().filter_map(|d| d.choice).collect();
        if choices.is_empty() {
            return Vec::new();
        }
        let others = self.options.iter().filter(|(other, definitions)| {
            other.as_str() != name
                && definitions.iter().any(|d| d.choice.is_some_and(|c| choices.contains(&c)))
        });
        others.map(|(other, _)| other.as_str()).collect()
    }
}

struct Reader<'a> {
    tree: &'a Path,
    kconfig: Kconfig,
    /// `if`, `menu` and `choice` that are open, with their conditions.
    blocks: Vec<(Option<usize>, Vec<Expr>)>,
    current: Option<(String, Definition)>,
    choices: usize,
    depth: usize,
    read: usize,
}

impl Reader<'_> {
    fn file(&mut self, name: &str, must: bool) -> Result<(), BuildError> {
        let path = self.tree.join(name);
        // The kernel has some 1,700 such files; one that includes itself would never end.
        self.read += 1;
        if self.depth > 40 || self.read > 20_000 || (!must && !path.is_file()) {
            return Ok(());
        }
        let text = fs::read(&path).map_err(at("reading", &path))?;
        let text = String::from_utf8_lossy(&text).replace("\\\n", " ");
        let mut help: Option<usize> = None;
        self.depth += 1;
        for line in text.lines() {
            let indent = indent(line);
            if line.trim().is_empty() {
                continue;
            }
            match help {
                Some(0) => help = Some(indent),
                Some(level) if indent >= level => {}
                _ => help = None,
            }
            // A help text is what is indented at least as far as its first line.
            if help.is_some_and(|level| level > 0 && indent >= level) {
                continue;
            }
            help = None;
            if self.line(line.trim(), name)? {
                help = Some(0);
            }
        }
        self.depth -= 1;
        self.close();
        Ok(())
    }

    /// One line; whether a help text follows.
    fn line(&mut self, line: &str, file: &str) -> Result<bool, BuildError> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "config" | "menuconfig" => self.open(rest, file),
            "if" => self.block(None, Expr::parse(rest)),
            "menu" => self.block(None, None),
            "choice" => {
                self.choices += 1;
                self.block(Some(self.choices), None);
            }
            "endif" | "endmenu" | "endchoice" => {
                self.close();
                self.blocks.pop();
            }
            "comment" | "mainmenu" => self.close(),
            "depends" => self.depends(Expr::parse(rest.strip_prefix("on").unwrap_or(rest))),
            "bool" | "tristate" | "string" | "int" | "hex" | "prompt" => self.prompt(rest),
            "source" | "osource" => {
                self.close();
                let name = rest.trim_matches(['"', '\'']).replace("$(SRCARCH)", "x86");
                self.file(&name.replace("$(HEADER_ARCH)", "x86"), false)?;
            }
            "help" | "---help---" => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn open(&mut self, name: &str, file: &str) {
        self.close();
        let choice = self.blocks.iter().rev().find_map(|(choice, _)| *choice);
        let depends = self.blocks.iter().flat_map(|(_, c)| c.clone()).collect();
        self.current = Some((name.into(), Definition { file: file.into(), depends, prompt: false, choice }));
    }

    fn block(&mut self, choice: Option<usize>, condition: Option<Expr>) {
        self.close();
        self.blocks.push((choice, condition.into_iter().flat_map(Expr::conjuncts).collect()));
    }

    /// Belongs to the option that is open, else to the menu or choice.
    fn depends(&mut self, condition: Option<Expr>) {
        let conditions = condition.into_iter().flat_map(Expr::conjuncts);
        match (&mut self.current, self.blocks.last_mut()) {
            (Some((_, definition)), _) => definition.depends.extend(conditions),
            (None, Some((_, block))) => block.extend(conditions),
            (None, None) => {}
        }
    }

    /// `bool "text" if CONDITION`: without a text the option cannot be set by hand.
    fn prompt(&mut self, rest: &str) {
        let Some((_, definition)) = &mut self.current else { return };
        let Some(quote) = rest.chars().next().filter(|c| "\"'".contains(*c)) else { return };
        definition.prompt = true;
        let Some(end) = rest[1..].find(quote) else { return };
        let after = rest[end + 2..].trim();
        let condition = after.strip_prefix("if").and_then(Expr::parse);
        definition.depends.extend(condition.into_iter().flat_map(Expr::conjuncts));
    }

    fn close(&mut self) {
        if let Some((name, definition)) = self.current.take() {
            self.kconfig.options.entry(name).or_default().push(definition);
        }
    }
}

/// Columns of blank space in front, a tab being up to the next multiple of eight.
fn indent(line: &str) -> usize {
    let blanks = line.chars().take_while(|c| c.is_whitespace());
    blanks.fold(0, |at, c| if c == '\t' { at - at % 8 + 8 } else { at + 1 })
}

#[cfg(test)]
pub(super) mod tests;
