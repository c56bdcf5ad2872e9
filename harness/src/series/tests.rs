//! Patches that do harm, and patches that do not, on small trees: real git, real bubblewrap, no kernel.

use super::apply::{self, NotApplied};
use super::input;
use super::shell::Shell;
use super::split::{self, Bad};
use super::tree::Base;
use crate::kernel::build::{Direct, Stop};
use crate::sandbox::{Limits, Sandbox};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with a tree, and one for us.
struct Place {
    dir: tempfile::TempDir,
}

#[derive(Debug, PartialEq, Eq)]
enum Came {
    Applied,
    Refused(String),
    Failed(String),
}

impl Place {
    /// A plain directory, or a git tree with two commits.
    fn new(git: bool) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        let tree = place.at("tree");
        fs::create_dir_all(tree.join("mm")).unwrap();
        fs::create_dir(place.at("scratch")).unwrap();
        for (name, text) in [
            ("Makefile", "VERSION = 6\n"),
            ("Kconfig", "\n"),
            ("MAINTAINERS", "\n"),
            ("mm/a.c", "one\ntwo\nthree\n"),
        ] {
            fs::write(tree.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("../../outside", tree.join("mm/link")).unwrap();
        fs::create_dir(place.at("outside")).unwrap();
        if git {
            place.git("init -q . && git add -A && git commit -qm first && echo four >>mm/a.c && git commit -qam second");
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn git(&self, script: &str) -> String {
        let identity = ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"];
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("git {script}")])
            .current_dir(self.at("tree"))
            .envs(identity.map(|n| (n, "user")));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Applies one mail with this patch to the tree at a revision.
    fn apply(&self, patch: &str, rev: Option<&str>) -> Came {
        let mail = format!(
            "From 0 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nDate: Fri, 20 Nov 2026 10:00:00 +0000\nSubject: [PATCH] x\n\nwhy\n---\n{patch}"
        );
        let file = self.at("x.mbox");
        fs::write(&file, mail).unwrap();
        let scratch = self.at("scratch");
        let sandbox =
            Sandbox::find(Limits::of_patching(), &self.at("log")).expect("bubblewrap works here").for_git();
        let shell = Shell {
            runner: &sandbox,
            stop: Stop::default(),
            scratch: scratch.clone(),
            reads: Vec::new(),
            writes: Vec::new(),
        };
        let files = input::copy(file.to_str().unwrap(), &scratch.join("input")).unwrap();
        let (ordered, checked) = split::split("x.mbox", &files, &shell).unwrap();
        let paths = match checked {
            Ok(paths) => paths,
            Err(Bad { why, .. }) => return Came::Refused(why),
        };
        let base = Base::find(&self.at("tree"), rev, None, &scratch).unwrap();
        let source = self.at("source");
        let shell = base.check_out(&source, &paths, &sandbox, &scratch, &Stop::default()).unwrap();
        match apply::apply(&ordered.patches[0], &source, &shell).unwrap() {
            Ok(()) => Came::Applied,
            Err(NotApplied::Failed(Bad { why, .. })) => Came::Failed(why),
            Err(NotApplied::Refused(Bad { why, .. })) => Came::Refused(why),
        }
    }

    fn source(&self, name: &str) -> String {
        fs::read_to_string(self.at("source").join(name)).unwrap()
    }
}

const CHANGE: &str =
    "diff --git a/mm/a.c b/mm/a.c\n--- a/mm/a.c\n+++ b/mm/a.c\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n";

fn adds(name: &str, mode: &str, text: &str) -> String {
    format!(
        "diff --git a/{name} b/{name}\nnew file mode {mode}\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{text}\n"
    )
}

/// Everything in a directory, with what it holds.
fn all(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut rest) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = rest.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            if meta.is_dir() {
                rest.push(path);
            } else {
                let time = format!("{:?}", meta.modified().unwrap());
                let text = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                found.push((path, [time.into_bytes(), text].concat()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_patch_applies_and_the_user_s_tree_stays_as_it_is() {
    for (git, rev, text) in [
        (true, None, "one\n2\nthree\nfour\n"),
        (true, Some("HEAD~1"), "one\n2\nthree\n"),
        (false, None, "one\n2\nthree\n"),
    ] {
        let place = Place::new(git);
        // What is not committed is neither touched nor part of the base.
        if git {
            fs::write(place.at("tree/mm/b.c"), "mine\n").unwrap();
            place.git("config user.name me && git add mm/b.c");
        }
        let before = all(&place.at("tree"));
        assert_eq!(place.apply(CHANGE, rev), Came::Applied);
        assert_eq!(place.source("mm/a.c"), text);
        assert_eq!(all(&place.at("tree")), before, "git: {git}");
        assert!(!place.at("source/mm/b.c").exists());
        if git {
            assert_eq!(place.git("worktree list --porcelain").matches("worktree ").count(), 1);
        }
    }
}

#[test]
fn a_patch_that_does_not_fit_is_told_with_git_s_words() {
    let Came::Failed(why) = Place::new(true).apply(&CHANGE.replace("-two", "-zwei"), None) else { panic!() };
    assert!(why.contains("patch does not apply") && why.contains("mm/a.c"), "{why}");
}

#[test]
fn patches_that_leave_the_tree_are_refused_before_git_sees_them() {
    let refused = |patch: &str| match Place::new(true).apply(patch, None) {
        Came::Refused(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(&adds("../outside/x", "100644", "x")).contains("outside the tree"));
    assert!(
        refused(&adds(".git/hooks/post-checkout", "100755", "#!/bin/sh")).contains("git's own directory")
    );
    assert!(refused(&adds("mm/l", "120000", "/etc")).contains("symbolic link"));
    assert!(refused(&adds("mm/s", "160000", "Subproject commit 0")).contains("submodule"));
    assert!(
        refused("diff --git a/x b/x\nnew file mode 100644\nGIT binary patch\nliteral 0\n").contains("binary")
    );
    let absolute = "--- /dev/null\n+++ /tmp/memhp-escaped\n@@ -0,0 +1 @@\n+x\n";
    assert!(refused(absolute).contains("outside the tree"));
    let large = format!("{CHANGE}{}", "+x\n".repeat(3 << 20));
    assert!(refused(&large).contains("more than 8192 KiB"));
}

#[test]
fn writes_through_a_link_of_the_tree_are_refused_by_git() {
    for git in [true, false] {
        let place = Place::new(git);
        let Came::Failed(why) = place.apply(&adds("mm/link/x", "100644", "x"), None) else { panic!() };
        assert!(why.contains("beyond a symbolic link") || why.contains("error"), "{why}");
        assert_eq!(fs::read_dir(place.at("outside")).unwrap().count(), 0);
    }
}

#[test]
fn what_mime_hides_is_decoded_before_it_is_checked() {
    let place = Place::new(true);
    let scratch = place.at("scratch");
    // `diff --git a/../x b/../x` and its like in quoted-printable.
    let hidden: String = adds("../outside/x", "100644", "x")
        .bytes()
        .map(|b| match b {
            b'\n' => "\n".to_string(),
            b => format!("={b:02X}"),
        })
        .collect();
    let mail = format!(
        "From: A <a@example.org>\nSubject: [PATCH] x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nwhy\n---\n{hidden}"
    );
    let file = place.at("x.eml");
    fs::write(&file, mail).unwrap();
    let shell = Shell {
        runner: &Direct,
        stop: Stop::default(),
        scratch: scratch.clone(),
        reads: Vec::new(),
        writes: Vec::new(),
    };
    let (_, checked) = split::split("x", &[file], &shell).unwrap();
    assert!(checked.unwrap_err().why.contains("outside the tree"));
}

#[test]
fn a_base_that_is_not_there_and_a_tree_that_is_none() {
    let place = Place::new(true);
    let scratch = place.at("scratch");
    let wrong = |tree: PathBuf, rev: &str| {
        let error = Base::find(&tree, Some(rev), None, &scratch).unwrap_err();
        assert!(error.is_usage(), "{error}");
        error.to_string()
    };
    assert!(wrong(place.at("tree"), "v9.9").contains("has no commit \"v9.9\""));
    assert!(wrong(place.at("tree"), "--output=x").contains("has no commit"));
    assert!(wrong(place.at("outside"), "HEAD").contains("it has no Makefile"));
    assert!(wrong(place.at("none"), "HEAD").contains("No such file"));
    let plain = Place::new(false);
    assert!(wrong(plain.at("tree"), "HEAD").contains("--base needs a git tree"));
    let named =
        Base::find(&place.at("tree"), None, Some(place.git("rev-parse HEAD~1").trim()), &scratch).unwrap();
    assert_eq!(named.subject.as_deref(), Some("first"));
}

#[test]
fn a_mail_chooses_no_base_that_head_did_not_come_from() {
    let place = Place::new(true);
    let scratch = place.at("scratch");
    place.git("checkout -q -b other && echo evil >>mm/a.c && git commit -qam other && git checkout -q -");
    let other = place.git("rev-parse other").trim().to_string();
    let error = Base::find(&place.at("tree"), None, Some(&other), &scratch).unwrap_err();
    assert!(error.is_usage(), "{error}");
    assert_eq!(
        error.to_string(),
        format!(
            "the series names {other} as its base, which HEAD of {} did not come from: give --base {other} if that \
             commit is to be trusted and built, or another --base",
            place.at("tree").display()
        )
    );
    let asked = Base::find(&place.at("tree"), Some("other"), Some(&other), &scratch).unwrap();
    assert_eq!(asked.commit, Some(other));
    let unknown = Base::find(&place.at("tree"), None, Some(&"a".repeat(40)), &scratch).unwrap();
    assert_eq!(unknown.subject.as_deref(), Some("second"));
}
