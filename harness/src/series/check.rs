//! What a decoded patch must not do, found before anything of it is applied. Pure.
//!
//! git refuses most of it too, and the sandbox contains the rest; a patch that tries is refused here with its reason.
//! What was applied is checked again by what git says has changed ([`changed`]).

use std::collections::BTreeSet;
use std::path::{Component, Path};

/// The largest patch, bytes.
pub const LARGEST: usize = 8 << 20;
/// Most patches of a series.
pub const MOST: usize = 500;

/// Why a patch is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Too large.
    #[error("it is {} KiB long, more than {} KiB", .0 >> 10, LARGEST >> 10)]
    Large(usize),
    /// Nothing that a reviewer could read.
    #[error("it holds a binary change")]
    Binary,
    /// `/etc/passwd`, `../x`
    #[error("it names a path outside the tree: {0}")]
    Outside(String),
    /// `.git/hooks/x`
    #[error("it names a path in git's own directory: {0}")]
    Git(String),
    /// `"a/\303\251"`
    #[error("it names a path that is not plain text: {0}")]
    Quoted(String),
    /// A symbolic link, through which a later write could leave the tree.
    #[error("it makes or changes a symbolic link: {0}")]
    Link(String),
    /// A submodule.
    #[error("it makes or changes a submodule: {0}")]
    Submodule(String),
    /// Neither a file nor anything that is known.
    #[error("it has an unknown file mode {mode}: {path}")]
    Mode {
        /// octal
        mode: String,
        /// where
        path: String,
    },
}

/// Looks at every line of a patch that names a path or a mode. Lines of hunks begin with a blank, `+`, `-` or `\` and
/// can look like `+++ b/x`: the head of a hunk says how many there are. The paths.
pub fn patch(text: &[u8]) -> Result<BTreeSet<String>, Refused> {
    if text.len() > LARGEST {
        return Err(Refused::Large(text.len()));
    }
    if text.contains(&0) {
        return Err(Refused::Binary);
    }
    let mut in_hunk = Hunk::default();
    let (mut file, mut paths) = (String::new(), BTreeSet::new());
    for line in String::from_utf8_lossy(text).lines() {
        if in_hunk.takes(line) {
            continue;
        }
        if line.starts_with("GIT binary patch")
            || (line.starts_with("Binary files ") && line.ends_with(" differ"))
        {
            return Err(Refused::Binary);
        }
        if let Some(names) = line.strip_prefix("diff --git ") {
            file = names.to_string();
            for name in names.split(' ') {
                paths.extend(named(name)?);
            }
        }
        for head in ["--- ", "+++ "] {
            // A name can be followed by a tab and a time.
            let name = line.strip_prefix(head).map(|n| n.split('\t').next().unwrap_or(n));
            paths.extend(name.map(named).transpose()?.flatten());
        }
        for head in ["rename from ", "rename to ", "copy from ", "copy to "] {
            paths.extend(line.strip_prefix(head).map(path).transpose()?);
        }
        for head in ["new file mode ", "deleted file mode ", "new mode ", "old mode "] {
            line.strip_prefix(head).map_or(Ok(()), |m| mode(m.trim(), &file))?;
        }
        if let Some(m) = line.strip_prefix("index ").and_then(|rest| rest.split(' ').nth(1)) {
            mode(m.trim(), &file)?;
        }
    }
    Ok(paths)
}

/// Lines that a hunk's head has announced.
#[derive(Default)]
struct Hunk {
    old: u64,
    new: u64,
}

impl Hunk {
    /// Whether the line is part of a hunk, its head included.
    fn takes(&mut self, line: &str) -> bool {
        if self.old == 0 && self.new == 0 {
            if let Some((old, new)) = head(line) {
                (self.old, self.new) = (old, new);
                return true;
            }
            return false;
        }
        match line.as_bytes().first() {
            Some(b'-') => self.old = self.old.saturating_sub(1),
            Some(b'+') => self.new = self.new.saturating_sub(1),
            Some(b' ') | None => {
                (self.old, self.new) = (self.old.saturating_sub(1), self.new.saturating_sub(1))
            }
            Some(b'\\') => {}
            // No hunk any more, whatever its head said: git finds it corrupt, and here nothing is left unread.
            Some(_) => {
                (self.old, self.new) = (0, 0);
                return false;
            }
        }
        true
    }
}

/// `@@ -12,3 +12,4 @@`: lines before and after.
fn head(line: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("@@ ")?.split(' ');
    let count = |word: &str| word.split_once(',').map_or(Some(1), |(_, n)| n.parse().ok());
    let old = count(words.next()?.strip_prefix('-')?)?;
    Some((old, count(words.next()?.strip_prefix('+')?)?))
}

/// A name with `a/` or `b/` in front; `None` for /dev/null.
fn named(name: &str) -> Result<Option<String>, Refused> {
    if name == "/dev/null" {
        return Ok(None);
    }
    path(name.strip_prefix("a/").or_else(|| name.strip_prefix("b/")).unwrap_or(name)).map(Some)
}

fn path(name: &str) -> Result<String, Refused> {
    let name = name.trim_end_matches('\r');
    if name.starts_with('"') || name.contains('\\') || name.chars().any(char::is_control) {
        return Err(Refused::Quoted(name.escape_debug().to_string()));
    }
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) if is_git(&part.to_string_lossy()) => {
                return Err(Refused::Git(name.into()));
            }
            Component::Normal(_) | Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Refused::Outside(name.into()));
            }
        }
    }
    Ok(name.into())
}

/// `.git` in all the spellings that some file system takes for it, and `.gitmodules`.
fn is_git(part: &str) -> bool {
    let folded: String = part.to_lowercase().chars().filter(|c| c.is_ascii_graphic()).collect();
    let trimmed = folded.trim_end_matches(['.', ' ']);
    trimmed == ".git" || trimmed == ".gitmodules" || folded.starts_with("git~") || folded.starts_with(".git:")
}

fn mode(mode: &str, file: &str) -> Result<(), Refused> {
    let path = file.to_string();
    match mode {
        "100644" | "100755" | "000000" => Ok(()),
        "120000" => Err(Refused::Link(path)),
        "160000" => Err(Refused::Submodule(path)),
        mode => Err(Refused::Mode { mode: mode.to_string(), path }),
    }
}

/// Checks what git says has changed: `git diff-tree -r -z --raw --no-renames BASE HEAD`. The paths.
pub fn changed(raw: &[u8]) -> Result<Vec<String>, Refused> {
    let text = String::from_utf8_lossy(raw);
    let mut fields = text.split('\0').filter(|f| !f.is_empty());
    let mut paths = Vec::new();
    while let (Some(modes), Some(name)) = (fields.next(), fields.next()) {
        let mut words = modes.trim_start_matches(':').split(' ');
        for one in [words.next(), words.next()] {
            mode(one.unwrap_or_default(), name)?;
        }
        paths.push(path(name)?);
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &[u8]) -> Result<(), Refused> {
        patch(text).map(|_| ())
    }

    fn of(name: &str) -> Result<(), Refused> {
        ok(format!("diff --git a/{name} b/{name}\nindex 1..2 100644\n--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-a\n+b\n").as_bytes())
    }

    #[test]
    fn paths() {
        assert_eq!(of("mm/memory_hotplug.c"), Ok(()));
        assert_eq!(of(".gitignore"), Ok(()));
        assert_eq!(of("../x"), Err(Refused::Outside("../x".into())));
        assert_eq!(of("mm/../../x"), Err(Refused::Outside("mm/../../x".into())));
        assert_eq!(of(".git/hooks/post-checkout"), Err(Refused::Git(".git/hooks/post-checkout".into())));
        for name in [".GIT/config", "x/.git./config", "git~1/config", ".g\u{200c}it/config", ".gitmodules"] {
            assert_eq!(of(name), Err(Refused::Git(name.into())), "{name}");
        }
        let absolute = "--- /dev/null\n+++ /etc/cron.d/x\n@@ -0,0 +1 @@\n+x\n";
        assert_eq!(ok(absolute.as_bytes()), Err(Refused::Outside("/etc/cron.d/x".into())));
        assert!(matches!(patch(b"diff --git \"a/\\056git/x\" \"b/\\056git/x\"\n"), Err(Refused::Quoted(_))));
        assert_eq!(ok(b"rename from a\nrename to ../b\n"), Err(Refused::Outside("../b".into())));
    }

    #[test]
    fn modes_and_binaries() {
        let link = "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n";
        assert_eq!(ok(link.as_bytes()), Err(Refused::Link("a/l b/l".into())));
        assert!(matches!(patch(b"diff --git a/s b/s\nindex 1..2 160000\n"), Err(Refused::Submodule(_))));
        assert!(matches!(patch(b"diff --git a/s b/s\nnew file mode 104755\n"), Err(Refused::Mode { .. })));
        assert_eq!(ok(b"GIT binary patch\nliteral 3\n"), Err(Refused::Binary));
        assert_eq!(ok(b"Binary files a/x and b/x differ\n"), Err(Refused::Binary));
        assert_eq!(ok(b"+a\0b"), Err(Refused::Binary));
        assert_eq!(ok(&vec![b' '; LARGEST + 1]), Err(Refused::Large(LARGEST + 1)));
    }

    #[test]
    fn text_in_hunks_is_no_name() {
        let doc = "diff --git a/d b/d\n--- a/d\n+++ b/d\n@@ -1,2 +1,3 @@\n one\n--- ../gone\n+++ /etc/x\n+new file mode 120000\n";
        assert_eq!(ok(doc.as_bytes()), Ok(()));
        // A head that announces more lines than there are hides nothing.
        let liar = "--- a/d\n+++ b/d\n@@ -1,99 +1,99 @@\n one\ndiff --git a/../x b/../x\n";
        assert_eq!(ok(liar.as_bytes()), Err(Refused::Outside("../x".into())));
    }

    #[test]
    fn what_git_says_has_changed() {
        let good = b":100644 100755 1 2 M\0a/b\0:000000 100644 0 3 A\0c\0";
        assert_eq!(changed(good).unwrap(), ["a/b", "c"]);
        assert_eq!(changed(b":000000 120000 0 1 A\0l\0"), Err(Refused::Link("l".into())));
        assert!(matches!(changed(b":000000 160000 0 1 A\0s\0"), Err(Refused::Submodule(_))));
    }
}
