//! Bisecting as a user does: with `git bisect run`, and what `memhp bisect` refuses. Guests run the kernels of debian-6.1 and
//! debian-6.12.

// Helpers of tests are tests: what goes wrong in them is to fail the test where it happens.
#![allow(clippy::unwrap_used)]

use memhp::bisect::git::git;
use memhp::kernel;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn memhp(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_memhp")).current_dir(dir).args(args).output().unwrap()
}

fn commit(dir: &Path, message: &str) -> String {
    git(dir, &["add", "-A"]).unwrap();
    let who = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
    git(dir, &[&who[..], &["commit", "--quiet", "--allow-empty", "-m", message]].concat()).unwrap();
    git(dir, &["rev-parse", "HEAD"]).unwrap().trim().to_string()
}

/// The images of two kernels whose compiled defaults differ.
fn images() -> [PathBuf; 2] {
    let context = kernel::Context::new(&|_| {}).unwrap();
    let names = ["debian-6.1", "debian-6.12"].map(String::from);
    let kernels = kernel::resolve(&names, &context).unwrap();
    [kernels[0].image.clone(), kernels[1].image.clone()]
}

/// Written in a place that bisect does not check out.
fn case(dir: &Path) -> String {
    let path = dir.join("stays-offline.yaml");
    let text = "summary: s\norigin: o\nsteps:\n  - plug: { dimm: a, size: 128M }\n  - expect: { blocks: a, state: offline }\n";
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn git_bisect_run_finds_the_commit_that_changed_the_kernel() {
    let base = tempfile::tempdir().unwrap();
    let tree = base.path().join("tree");
    fs::create_dir(&tree).unwrap();
    git(&tree, &["init", "--quiet"]).unwrap();
    let case = case(base.path());
    let [old, new] = images();
    let set = |image: &Path| {
        let _ = fs::remove_file(tree.join("kernel"));
        std::os::unix::fs::symlink(image, tree.join("kernel")).unwrap();
    };
    set(&old);
    let good = commit(&tree, "old");
    commit(&tree, "nothing");
    set(&new);
    let first_bad = commit(&tree, "new");
    commit(&tree, "nothing");
    let bad = commit(&tree, "nothing");
    git(&tree, &["bisect", "start", &bad, &good]).unwrap();
    let out = base.path().join("out");
    let run = ["bisect", "run", env!("CARGO_BIN_EXE_memhp"), "run", "--exit=bisect", "-k", "./kernel"];
    let said = git(&tree, &[&run[..], &[&case, "--out", out.to_str().unwrap()]].concat()).unwrap();
    assert!(said.contains(&format!("{first_bad} is the first bad commit")), "{said}");
}

#[test]
fn a_wrong_question_is_status_2() {
    let base = tempfile::tempdir().unwrap();
    git(base.path(), &["init", "--quiet"]).unwrap();
    let only = commit(base.path(), "only");
    let refused = |args: &[&str], why: &str| {
        let output = memhp(base.path(), &[&["bisect", "zone/order"], args].concat());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(why), "{args:?}: {stderr}");
        assert_eq!(output.stdout, b"", "{args:?}");
    };
    refused(&[], "--tree");
    refused(&["--tree", ".", "--good", &only], "--bad");
    refused(&["--tree", ".", "--good", &only, "--bad", "nothing"], "--bad nothing");
    refused(&["--tree", ".", "--good", &only, "--bad", &only], "are both");
    refused(&["--tree", "/proc/none", "--good", "a", "--bad", "b"], "/proc/none");
    let ends = ["--tree", ".", "--good", "a", "--bad", "b"];
    refused(&[&ends[..], &["--confidence", "1"]].concat(), "--confidence 1");
    refused(&[&ends[..], &["--rate", "0"]].concat(), "--rate 0");
    refused(&["--kernels", "debian-6.1"], "want A..B");
    refused(&["--kernels", "debian-6.1..debian-0"], "debian-0");
}

#[test]
fn the_interval_in_which_the_compiled_default_changed_is_named() {
    let base = tempfile::tempdir().unwrap();
    let range = ["--kernels", "debian-6.1..debian-6.12", "-j", "1"];
    let output = memhp(
        base.path(),
        &[&["bisect", "policy/boot-param[memhp_default_state=absent]"], &range[..]].concat(),
    );
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert!(
        stdout.starts_with("debian-6.1 6.1.") && stdout.contains(" .. debian-6.12 6.12."),
        "{stdout}{stderr}"
    );
    assert!(stdout.contains("configuration: MEMORY_HOTPLUG_DEFAULT_ONLINE: "), "{stdout}");
    assert!(stdout.contains("memory32: offline -> online Normal"), "{stdout}");
}
