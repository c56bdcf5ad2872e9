//! The command line as the kernel splits it (lib/cmdline.c:next_arg, kernel/params.c:parse_args; same in 5.10
//! to 7.3).

/// Bytes of the command line that x86 keeps (arch/x86/include/asm/setup.h: COMMAND_LINE_SIZE, less the NUL).
const KEPT_BYTES: usize = 2047;

/// One word of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// before the first `=`
    pub(super) name: String,
    /// after it, quotes taken off; `None` where there is no `=`
    pub(super) value: Option<String>,
}

impl Word {
    /// Is this parameter `name`? `-` and `_` are one (kernel/params.c:parameq).
    pub(super) fn is(&self, name: &str) -> bool {
        underscored(&self.name) == underscored(name)
    }

    /// Does the whole word begin with `prefix`, as `__setup` handlers match
    /// (init/main.c:obsolete_checksetup)?
    pub(super) fn begins(&self, prefix: &str) -> bool {
        let line = self.value.as_ref().map_or(self.name.clone(), |v| format!("{}={v}", self.name));
        underscored(&line).starts_with(&underscored(prefix))
    }
}

fn underscored(text: &str) -> String {
    text.replace('-', "_")
}

/// The kernel's words: what stands behind a word `--` is init's.
pub(super) fn words(cmdline: &str) -> Vec<Word> {
    let bytes = cmdline.as_bytes();
    let mut rest = &bytes[..bytes.len().min(KEPT_BYTES)];
    let mut words = Vec::new();
    loop {
        rest = skip_spaces(rest);
        if rest.is_empty() {
            return words;
        }
        let (word, after) = next_arg(rest);
        if word.value.is_none() && word.name == "--" {
            return words;
        }
        words.push(word);
        rest = after;
    }
}

/// The kernel's `isspace` (lib/ctype.c: Latin-1, so that 0xa0 is a space).
fn is_space(byte: u8) -> bool {
    matches!(byte, 9..=13 | b' ' | 0xa0)
}

fn skip_spaces(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|b| !is_space(*b)).unwrap_or(bytes.len());
    &bytes[start..]
}

/// Splits the first word off. A quote makes blanks part of the word, wherever it stands; only a quote at the
/// beginning of the word or of the value is taken off, with the last byte if that is a quote too.
fn next_arg(args: &[u8]) -> (Word, &[u8]) {
    let quoted = args.first() == Some(&b'"');
    let args = if quoted { &args[1..] } else { args };
    let mut in_quote = quoted;
    let mut equals = None;
    let mut end = args.len();
    for (i, byte) in args.iter().enumerate() {
        if is_space(*byte) && !in_quote {
            end = i;
            break;
        }
        if equals.is_none() && *byte == b'=' && i > 0 {
            equals = Some(i);
        }
        in_quote ^= *byte == b'"';
    }
    let value_quoted = equals.is_some_and(|at| args[..end].get(at + 1) == Some(&b'"'));
    let last_is_quote = end > 0 && args[end - 1] == b'"';
    let word_end = if (quoted || value_quoted) && last_is_quote { end - 1 } else { end };
    let text = |from: usize, to: usize| String::from_utf8_lossy(&args[from.min(to)..to]).into_owned();
    let word = match equals {
        None => Word { name: text(0, word_end), value: None },
        Some(at) => Word {
            name: text(0, at),
            value: Some(text(at + 1 + usize::from(value_quoted), word_end.max(at + 1))),
        },
    };
    (word, &args[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(cmdline: &str) -> Vec<(String, Option<String>)> {
        words(cmdline).into_iter().map(|w| (w.name, w.value)).collect()
    }

    fn word(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.into(), value.map(Into::into))
    }

    #[test]
    fn splits_as_the_kernel_does() {
        assert_eq!(split(""), []);
        assert_eq!(split("  \t "), []);
        assert_eq!(
            split(" quiet a=b  c= d=e=f"),
            [word("quiet", None), word("a", Some("b")), word("c", Some("")), word("d", Some("e=f"))]
        );
        assert_eq!(
            split(r#"a="b c" "d=e f" g"#),
            [word("a", Some("b c")), word("d", Some("e f")), word("g", None)]
        );
        assert_eq!(split(r#"a="" b=x"y z"#), [word("a", Some("")), word("b", Some("x\"y z"))]);
        assert_eq!(split("=a=b"), [word("=a", Some("b"))]);
        assert_eq!(split("a -- b"), [word("a", None)]);
        assert_eq!(
            split("a --b --=c d"),
            [word("a", None), word("--b", None), word("--", Some("c")), word("d", None)]
        );
    }

    #[test]
    fn dashes_are_underscores_in_names_only() {
        let word = &words("memory-hotplug.online-policy=auto-movable")[0];
        assert!(word.is("memory_hotplug.online_policy"));
        assert_eq!(word.value.as_deref(), Some("auto-movable"));
        assert!(words("acpi-no-memhotplug_x=1")[0].begins("acpi_no_memhotplug"));
        assert!(!words("acpi")[0].begins("acpi_no_memhotplug"));
    }

    #[test]
    fn no_more_than_the_kernel_keeps() {
        let cmdline = format!("{} memhp_default_state=online", "x".repeat(KEPT_BYTES));
        assert_eq!(words(&cmdline).len(), 1);
    }
}
